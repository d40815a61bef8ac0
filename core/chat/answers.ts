/**
 * What the engine generates as OpenAI's answers: whole ones and chunks of a stream. Pure.
 */
import type { Delta } from "../../bridge/doors.ts";
import type {
  ChatCompletion,
  ChatLogprobs,
  Completion,
  CompletionUsage,
  TextLogprobs,
  WireFinishReason,
} from "../../contract/chat.ts";
import { newId } from "../../contract/ids.ts";
import type { TokenLogprob, Usage } from "../../contract/worker.ts";
import { type CallReading, readCalls } from "./calls.ts";

/** What every object of one answer carries. */
export interface Header {
  id: string;
  created: number;
  model: string; // as the client wrote it
}

/** One choice, put together from its deltas. */
export interface Choice {
  index: number;
  text: string;
  tokens: TokenLogprob[] | null;
  finish_reason: WireFinishReason;
}

/** Adds a delta to the choices so far. Mutates `choices`. */
export function collect(choices: Map<number, Choice>, delta: Delta): void {
  const { index } = delta;
  const choice = choices.get(index) ?? { index, text: "", tokens: null, finish_reason: "stop" };
  choice.text += delta.text;
  if (delta.tokens) choice.tokens = [...choice.tokens ?? [], ...delta.tokens];
  choice.finish_reason = finishReason(delta) ?? choice.finish_reason;
  choices.set(index, choice);
}

/** `reading`: how calls of functions are read from the texts; null: they are text. */
export function chatCompletion(
  header: Header,
  choices: Choice[],
  usage: Usage,
  reading: CallReading | null,
): ChatCompletion {
  return {
    ...header,
    object: "chat.completion",
    choices: choices.map((choice) => ({
      index: choice.index,
      logprobs: chatLogprobs(choice.tokens),
      ...messageOf(choice, reading),
    })),
    usage: usageOf(usage),
  };
}

function messageOf(
  { text, finish_reason }: Choice,
  reading: CallReading | null,
): Pick<ChatCompletion["choices"][number], "message" | "finish_reason"> {
  const { content, calls } = reading ? readCalls(text, reading) : { content: text, calls: [] };
  const plain = { role: "assistant", content, refusal: null } as const;
  if (calls.length === 0) return { message: plain, finish_reason };
  const type = "function" as const;
  const tool_calls = calls.map((call) => ({ id: newId("call"), type, function: call }));
  return {
    message: { ...plain, tool_calls },
    finish_reason: afterCalls(finish_reason),
  };
}

/** An answer that was cut off does not become whole by the calls in it. */
export function afterCalls<R extends WireFinishReason | null>(reason: R): R | "tool_calls" {
  return reason === "stop" ? "tool_calls" : reason;
}

export function completion(header: Header, choices: Choice[], usage: Usage): Completion {
  return {
    ...header,
    object: "text_completion",
    choices: choices.map(({ index, text, tokens, finish_reason }) => ({
      index,
      text,
      logprobs: textLogprobs(tokens),
      finish_reason,
    })),
    usage: usageOf(usage),
  };
}

export function textChunk(header: Header, delta: Delta): Completion {
  return {
    ...header,
    object: "text_completion",
    choices: [{
      index: delta.index,
      text: delta.text,
      logprobs: textLogprobs(delta.tokens),
      finish_reason: finishReason(delta),
    }],
  };
}

export function usageOf(usage: Usage): CompletionUsage {
  const { prompt_tokens, completion_tokens, cached_tokens } = usage;
  return {
    prompt_tokens,
    completion_tokens,
    total_tokens: prompt_tokens + completion_tokens,
    prompt_tokens_details: { cached_tokens },
  };
}

/** A cancelled answer has no reader who could ask why; to OpenAI's clients it stopped. */
export function finishReason({ finish_reason }: Delta): WireFinishReason | null {
  return finish_reason === "cancelled" ? "stop" : finish_reason;
}

export function chatLogprobs(tokens: TokenLogprob[] | null): ChatLogprobs {
  if (tokens === null) return null;
  const entry = (token: { text: string; logprob: number; bytes: number[] }) => ({
    token: nameOf(token),
    logprob: token.logprob,
    bytes: token.bytes,
  });
  return {
    content: tokens.map((token) => ({
      ...entry({ ...token, logprob: token.logprob ?? 0 }),
      top_logprobs: token.top.map(entry),
    })),
    refusal: null,
  };
}

/**
 * The arrays of `/v1/completions`. The chosen token is among its rivals, however unlikely it is: so
 * OpenAI's have one more than was asked for.
 */
function textLogprobs(tokens: TokenLogprob[] | null): TextLogprobs {
  if (tokens === null) return null;
  return {
    tokens: tokens.map((token) => nameOf(token, "bytes:")),
    token_logprobs: tokens.map(({ logprob }) => logprob),
    top_logprobs: tokens.map(({ logprob, top, ...token }) =>
      logprob === null ? null : rivals([...top, { ...token, logprob }])
    ),
    text_offset: tokens.map(({ offset }) => offset),
  };
}

const utf8 = new TextEncoder();

/**
 * A token's text. One that writes no whole characters goes by its bytes, as `\xe5\x87` behind a prefix:
 * all such have the same text.
 */
function nameOf({ text, bytes }: { text: string; bytes: number[] }, prefix = ""): string {
  const isWhole = !text.includes("\uFFFD") ||
    utf8.encode(text).every((byte, i) => byte === bytes[i]);
  if (isWhole) return text;
  return prefix + bytes.map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("");
}

/** Of rivals with one name the likelier one counts. */
function rivals(top: TokenLogprob["top"]): Record<string, number> {
  const best: Record<string, number> = {};
  for (const token of top) {
    const name = nameOf(token, "bytes:");
    best[name] = Math.max(best[name] ?? -Infinity, token.logprob);
  }
  return best;
}
