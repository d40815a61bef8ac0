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
  const plain = { role: "assistant", content: text, refusal: null } as const;
  const { content, calls } = reading ? readCalls(text, reading) : { content: text, calls: [] };
  if (calls.length === 0) return { message: plain, finish_reason };
  const type = "function" as const;
  const tool_calls = calls.map((call) => ({ id: newId("call"), type, function: call }));
  return {
    message: { ...plain, content, tool_calls },
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
      logprobs: textLogprobs(tokens, text, 0),
      finish_reason,
    })),
    usage: usageOf(usage),
  };
}

/** `offset`: characters of this choice that were sent before. */
export function textChunk(header: Header, delta: Delta, offset: number): Completion {
  return {
    ...header,
    object: "text_completion",
    choices: [{
      index: delta.index,
      text: delta.text,
      logprobs: textLogprobs(delta.tokens, delta.text, offset),
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
  const entry = ({ text, logprob, bytes }: { text: string; logprob: number; bytes: number[] }) => ({
    token: text,
    logprob,
    bytes,
  });
  return {
    content: tokens.map((token) => ({
      ...entry({ ...token, logprob: token.logprob ?? 0 }),
      top_logprobs: token.top.map(entry),
    })),
    refusal: null,
  };
}

/** The most UTF-16 units of a text that tokens without a text of their own stand for. */
const PARTS = 4;

/** Length in code points, which is how OpenAI's clients, most of them Python, index a text. */
export function characters(text: string): number {
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}

/**
 * The arrays of `/v1/completions`. Of rivals with one text the likelier one counts. An offset is where
 * the token begins in the whole text, of which `offset` characters came before `text`; a control token,
 * or a part of a character, is nowhere in it and gets the place where the next one begins.
 */
function textLogprobs(
  tokens: TokenLogprob[] | null,
  whole: string,
  offset: number,
): TextLogprobs {
  if (tokens === null) return null;
  const logprobs: NonNullable<TextLogprobs> = {
    tokens: [],
    token_logprobs: [],
    top_logprobs: [],
    text_offset: [],
  };
  let at = 0; // in UTF-16 units, as JavaScript searches
  let place = offset; // the same place, in characters
  const goTo = (next: number) => {
    place += characters(whole.slice(at, next));
    at = next;
  };
  for (const { text, logprob, top } of tokens) {
    const found = text === "" ? -1 : whole.indexOf(text, at);
    const isThere = found >= 0 && found - at <= PARTS;
    if (isThere) goTo(found);
    logprobs.tokens.push(text);
    logprobs.token_logprobs.push(logprob);
    logprobs.top_logprobs.push(logprob === null ? null : rivals(top));
    logprobs.text_offset.push(place);
    if (isThere) goTo(at + text.length);
  }
  return logprobs;
}

function rivals(top: TokenLogprob["top"]): Record<string, number> {
  const best: Record<string, number> = {};
  for (const { text, logprob } of top) best[text] = Math.max(best[text] ?? -Infinity, logprob);
  return best;
}
