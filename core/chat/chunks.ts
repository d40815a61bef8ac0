/**
 * A choice of a chat as the chunks of a stream, in the order in which its text comes.
 *
 * Each choice opens once with its role and ends once with its reason. Owns what of a choice was sent.
 */
import type { Delta } from "../../bridge/doors.ts";
import type { ChatCompletionChunk } from "../../contract/chat.ts";
import { newId } from "../../contract/ids.ts";
import type { ToolCallDelta } from "../../contract/tools.ts";
import { afterCalls, chatLogprobs, finishReason } from "./answers.ts";
import { CallReader, type CallReading, type Piece } from "./calls.ts";

export type ChunkChoice = ChatCompletionChunk["choices"][number];
type Words = ChunkChoice["delta"];

export class ChoiceStream {
  readonly #index: number;
  readonly #reader: CallReader | null;
  readonly #isForced: boolean;
  #isOpen = false;

  /** `reading`: how calls of functions are read from the text; null: they are text. */
  constructor(index: number, reading: CallReading | null) {
    this.#index = index;
    this.#isForced = reading?.forced ?? false;
    this.#reader = reading && new CallReader(reading);
  }

  /** The chunks that a delta makes; none while its text may be the beginning of a call. */
  chunks(delta: Delta): ChunkChoice[] {
    const reason = finishReason(delta);
    const logprobs = delta.tokens ? { logprobs: chatLogprobs(delta.tokens) } : {};
    const chunks: ChunkChoice[] = this.#words(delta).map((words) => this.#chunk(words));
    if (!this.#isOpen && (this.#reader === null || chunks.length > 0 || reason !== null)) {
      this.#isOpen = true;
      const isCall = this.#isForced || chunks[0]?.delta.tool_calls !== undefined;
      chunks.unshift(this.#chunk({ role: "assistant", content: isCall ? null : "" }));
    }
    // Log probabilities are those of the delta's tokens, whatever of their text leaves now.
    if (delta.tokens || reason !== null) {
      const last = chunks.at(-1);
      const takes = last !== undefined && last.delta.role === undefined &&
        last.delta.tool_calls === undefined;
      if (!takes) chunks.push(this.#chunk({}));
      Object.assign(chunks.at(-1)!, logprobs, { finish_reason: this.#ending(reason) });
    }
    return chunks;
  }

  #words(delta: Delta): Words[] {
    if (this.#reader === null) return delta.text === "" ? [] : [{ content: delta.text }];
    const pieces = this.#reader.push(delta.text);
    if (delta.finish_reason !== null) pieces.push(...this.#reader.end());
    return pieces.map((piece) =>
      piece.kind === "text" ? { content: piece.text } : { tool_calls: [callDelta(piece)] }
    );
  }

  #ending(reason: ChunkChoice["finish_reason"]): ChunkChoice["finish_reason"] {
    return this.#reader?.calls ? afterCalls(reason) : reason;
  }

  #chunk(delta: Words): ChunkChoice {
    return { index: this.#index, delta, finish_reason: null };
  }
}

function callDelta(piece: Exclude<Piece, { kind: "text" }>): ToolCallDelta {
  const { index } = piece;
  return piece.kind === "arguments" ? { index, function: { arguments: piece.text } } : {
    index,
    id: newId("call"),
    type: "function",
    function: { name: piece.name, arguments: "" },
  };
}
