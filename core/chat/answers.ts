/**
 * What the engine generates as OpenAI's answers: whole ones and chunks of a stream. Pure.
 */
import type { Delta } from "../../bridge/doors.ts";
import type {
  ChatCompletion,
  ChatCompletionChunk,
  ChatLogprobs,
  Completion,
  CompletionUsage,
  TextLogprobs,
  WireFinishReason,
} from "../../contract/chat.ts";
import type { TokenLogprob, Usage } from "../../contract/worker.ts";

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

export function chatCompletion(header: Header, choices: Choice[], usage: Usage): ChatCompletion {
  return {
    ...header,
    object: "chat.completion",
    choices: choices.map(({ index, text, tokens, finish_reason }) => ({
      index,
      message: { role: "assistant", content: text, refusal: null },
      logprobs: chatLogprobs(tokens),
      finish_reason,
    })),
    usage: usageOf(usage),
  };
}

type ChunkChoice = ChatCompletionChunk["choices"][number];

export function chatChunk(header: Header, choice: ChunkChoice): ChatCompletionChunk {
  return { ...header, object: "chat.completion.chunk", choices: [choice] };
}

/** The chunk that opens a choice. */
export function openingOf(index: number): ChunkChoice {
  return { index, delta: { role: "assistant", content: "" }, finish_reason: null };
}

export function chunkOf(delta: Delta): ChunkChoice {
  return {
    index: delta.index,
    delta: delta.text === "" ? {} : { content: delta.text },
    ...(delta.tokens ? { logprobs: chatLogprobs(delta.tokens) } : {}),
    finish_reason: finishReason(delta),
  };
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
function finishReason({ finish_reason }: Delta): WireFinishReason | null {
  return finish_reason === "cancelled" ? "stop" : finish_reason;
}

function chatLogprobs(tokens: TokenLogprob[] | null): ChatLogprobs {
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

/** The most characters of `text` that tokens without a text of their own stand for. */
const PARTS = 4;

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
  let at = 0;
  for (const { text, logprob, top } of tokens) {
    const found = text === "" ? -1 : whole.indexOf(text, at);
    const isThere = found >= 0 && found - at <= PARTS;
    if (isThere) at = found;
    logprobs.tokens.push(text);
    logprobs.token_logprobs.push(logprob);
    logprobs.top_logprobs.push(logprob === null ? null : rivals(top));
    logprobs.text_offset.push(offset + at);
    if (isThere) at += text.length;
  }
  return logprobs;
}

function rivals(top: TokenLogprob["top"]): Record<string, number> {
  const best: Record<string, number> = {};
  for (const { text, logprob } of top) best[text] = Math.max(best[text] ?? -Infinity, logprob);
  return best;
}
