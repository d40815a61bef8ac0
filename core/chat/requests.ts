/**
 * OpenAI's requests as what the engine is asked: messages, prompts, sampling. Pure.
 */
import type { ChatMessage, ChatRequest, CompletionRequest } from "../../contract/chat.ts";
import { BullionError } from "../../contract/errors.ts";
import type { ToolCall } from "../../contract/tools.ts";
import type { GenerateSpec, Message, Prompt, Sampling } from "../../contract/worker.ts";
import type { Places } from "./generation.ts";
import { declaredTools, forcedCalls } from "./tools.ts";
import { faultOf, schemaFaultOf } from "./values.ts";

type Shared = Pick<
  ChatRequest,
  | "temperature"
  | "top_p"
  | "top_k"
  | "min_p"
  | "repetition_penalty"
  | "presence_penalty"
  | "frequency_penalty"
  | "logit_bias"
  | "seed"
  | "stop"
  | "ignore_eos"
>;

/** `model` is the engine's name of it. Throws for what is well-formed and not possible here. */
export function chatSpec(request: ChatRequest, model: string): GenerateSpec {
  if (request.top_logprobs && !request.logprobs) {
    throw unsupported("top_logprobs", "it needs logprobs: true");
  }
  checkStream(request);
  return {
    model,
    prompt: {
      kind: "chat",
      messages: request.messages.map(messageOf),
      tools: declaredTools(request),
    },
    n: request.n ?? 1,
    sampling: samplingOf(request, request.max_completion_tokens ?? request.max_tokens ?? null),
    logprobs: request.logprobs ? request.top_logprobs ?? 0 : null,
    echo: false,
    format: forcedCalls(request) ?? formatOf(request.response_format),
  };
}

const DEFAULT_TEXT_TOKENS = 16; // OpenAI's, for completions

/** One spec for each prompt. */
export function textSpecs(request: CompletionRequest, model: string): GenerateSpec[] {
  const n = request.n ?? 1;
  if (request.best_of != null && request.best_of !== n) {
    throw unsupported("best_of", "it must equal n: leave it out");
  }
  if (request.suffix) throw unsupported("suffix", "text cannot be filled in before a suffix");
  checkStream(request);
  return promptsOf(request.prompt).map((prompt) => ({
    model,
    prompt,
    n,
    sampling: samplingOf(request, request.max_tokens ?? DEFAULT_TEXT_TOKENS),
    logprobs: request.logprobs ?? null,
    echo: request.echo ?? false,
    format: { type: "text" },
  }));
}

/** Choices that a request asks for, over all its prompts. */
export function choicesOf(request: ChatRequest | CompletionRequest): number {
  const prompts = "prompt" in request ? promptsOf(request.prompt).length : 1;
  return prompts * (request.n ?? 1);
}

/** Throws where one prompt's choices are more than the engine takes even when it has nothing to do. */
export function checkChoices({ n }: { n?: number | null }, places: Places): void {
  const most = places.max_running + places.max_waiting;
  if ((n ?? 1) <= most) return;
  throw new BullionError(
    "too_many_choices",
    `Cannot generate n = ${n} choices as ${places.max_running} may run here and ` +
      `${places.max_waiting} wait: ask for at most ${most}`,
    { param: "n" },
  );
}

function checkStream({ stream, stream_options }: ChatRequest | CompletionRequest): void {
  if (stream_options && !stream) throw unsupported("stream_options", "it needs stream: true");
}

function promptsOf(prompt: CompletionRequest["prompt"]): Prompt[] {
  const text = (text: string): Prompt => ({ kind: "text", text });
  const ids = (ids: number[]): Prompt => ({ kind: "ids", ids });
  if (typeof prompt === "string") return [text(prompt)];
  if (prompt.every((part) => typeof part === "number")) return [ids(prompt)];
  return prompt.map((part) => typeof part === "string" ? text(part) : ids(part as number[]));
}

function messageOf(message: ChatMessage, at: number, all: ChatMessage[]): Message {
  const calls = message.role === "assistant" ? message.tool_calls ?? [] : [];
  return {
    role: message.role === "developer" ? "system" : message.role,
    content: contentOf(message.content),
    name: message.role === "tool" ? calledBy(message.tool_call_id, all) : message.name ?? null,
    tool_calls: calls.length > 0 ? calls.map((call, number) => callOf(call, at, number)) : null,
    tool_call_id: message.role === "tool" ? message.tool_call_id : null,
  };
}

/** The function whose answer a tool's message is: some templates write its name. */
function calledBy(id: string, messages: ChatMessage[]): string | null {
  const calls = messages.flatMap((m) => m.role === "assistant" ? m.tool_calls ?? [] : []);
  return calls.findLast((call) => call.id === id)?.function.name ?? null;
}

/** Templates write arguments as the object that they are. */
function callOf(call: ToolCall, message: number, number: number): Record<string, unknown> {
  const { name, arguments: text } = call.function;
  return { ...call, function: { name, arguments: parsed() } };

  function parsed(): unknown {
    const value = objectOf(text || "{}");
    const fault = value === null ? "is no JSON object" : faultOf(value);
    if (fault === null) return value;
    throw new BullionError(
      "invalid_tool_call",
      `Cannot read the arguments of ${name}: ${text.slice(0, 80)} ${fault}`,
      { param: `messages[${message}].tool_calls[${number}].function.arguments` },
    );
  }
}

/** The object that JSON text is; null: it is none. */
function objectOf(text: string): object | null {
  try {
    const value = JSON.parse(text);
    return typeof value === "object" && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}

function contentOf(content: ChatMessage["content"]): string {
  if (content == null) return "";
  if (typeof content === "string") return content;
  return content.map((part) => part.type === "text" ? part.text : part.refusal).join("");
}

/** Logits divided by less may leave fp32, in which the engine draws: a draw would mean nothing. */
const LEAST_TEMPERATURE = 1e-5;

/** Less than the likeliest token of any model has: it alone is left. */
const LEAST_TOP_P = 1e-6;

function samplingOf(request: Shared, maxTokens: number | null): Sampling {
  const { stop } = request;
  const temperature = request.temperature ?? 1;
  return {
    max_tokens: maxTokens,
    temperature: temperature < LEAST_TEMPERATURE ? 0 : temperature,
    top_p: Math.max(request.top_p ?? 1, LEAST_TOP_P),
    top_k: Math.max(0, request.top_k ?? 0), // -1 means off to some clients
    min_p: request.min_p ?? 0,
    repetition_penalty: request.repetition_penalty ?? 1,
    presence_penalty: request.presence_penalty ?? 0,
    frequency_penalty: request.frequency_penalty ?? 0,
    logit_bias: request.logit_bias ?? {},
    seed: request.seed ?? null,
    stop: typeof stop === "string" ? [stop] : (stop ?? []).filter((text) => text !== ""),
    ignore_eos: request.ignore_eos ?? false,
  };
}

function formatOf(format: ChatRequest["response_format"]): GenerateSpec["format"] {
  if (format == null || format.type === "text") return { type: "text" };
  if (format.type === "json_object") return { type: "json_object" };
  const schema = format.json_schema.schema ?? {};
  const fault = schemaFaultOf(schema);
  if (fault === null) return { type: "json_schema", schema };
  throw new BullionError(
    "invalid_json_schema",
    `Cannot follow response_format.json_schema: its schema ${fault}`,
    { param: "response_format.json_schema.schema" },
  );
}

function unsupported(param: string, why: string): BullionError {
  return new BullionError("unsupported_parameter", `Cannot use ${param}: ${why}`, { param });
}
