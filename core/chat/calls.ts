/**
 * Calls of functions in what a model writes, read while it writes. Pure.
 *
 * A call is a JSON object with a known function's name and an object of arguments, where the model's
 * family puts calls: in Llama 3's at the beginning of an answer or behind `<|python_tag|>`, several
 * separated by `;` or in a list; in Hermes' and Qwen's between `<tool_call>` and `</tool_call>`. All else
 * is text. Text waits only while it may be the beginning of a call; arguments leave as they come.
 */
import type { ToolFormat } from "../../contract/tools.ts";
import { Closing, readHead } from "./call_json.ts";

/** How calls are read from an answer. */
export interface CallReading {
  format: ToolFormat;
  names: readonly string[]; // of the functions that may be called
  forced: boolean; // it is nothing but calls: what is no whole beginning of one is nothing
  most: number; // calls; what comes after them is dropped
}

export type Piece =
  | { kind: "text"; text: string }
  | { kind: "call"; index: number; name: string }
  | { kind: "arguments"; index: number; text: string };

const PYTHON_TAG = "<|python_tag|>";
const FORMS = {
  llama3: {
    bare: true, // an answer may begin with a call that no mark announces
    mark: PYTHON_TAG,
    inside: /^\s*(?:\[\s*)?/,
    after: /^[\s;,\]]*/,
    closing: "",
  },
  hermes: {
    bare: false,
    mark: "<tool_call>",
    inside: /^\s*/,
    after: /^\s*(?:<\/tool_call>)?/,
    closing: "</tool_call>",
  },
} as const;

type State = "text" | "arguments" | "tail" | "after" | "over";

/** One choice's reader: `push` its text as it comes, then `end`. */
export class CallReader {
  readonly #form: (typeof FORMS)[ToolFormat];
  readonly #reading: CallReading;
  #state: State = "text";
  #held = "";
  #calls = 0;
  #bare: boolean; // here and now a call may begin without a mark
  #closing = new Closing();

  constructor(reading: CallReading) {
    this.#reading = reading;
    this.#form = FORMS[reading.format];
    this.#bare = this.#form.bare;
  }

  get calls(): number {
    return this.#calls;
  }

  push(text: string): Piece[] {
    this.#held += text;
    const pieces: Piece[] = [];
    while (this.#step(pieces, false));
    return pieces;
  }

  /** The answer is over: what waited is text, unless a call was forced. */
  end(): Piece[] {
    const pieces: Piece[] = [];
    while (this.#step(pieces, true));
    return pieces;
  }

  /** One move; false when there is nothing to do until more text comes. */
  #step(pieces: Piece[], ended: boolean): boolean {
    if (this.#held === "") return false;
    switch (this.#state) {
      case "text":
        return this.#seek(pieces, ended);
      case "arguments":
      case "tail": {
        const end = this.#closing.in(this.#held);
        const part = this.#take(end < 0 ? this.#held.length : end);
        if (this.#state === "arguments") {
          pieces.push({ kind: "arguments", index: this.#calls - 1, text: part });
        }
        if (end >= 0) this.#enter(this.#state === "arguments" ? "tail" : "after");
        return end >= 0;
      }
      case "after":
        return this.#leave();
      case "over":
        this.#held = "";
        return false;
    }
  }

  /** Drops what stands behind a call and belongs to it. */
  #leave(): boolean {
    const rest = this.#held.trimStart();
    const { after, closing } = this.#form;
    if (rest !== closing && closing.startsWith(rest)) return false; // the mark may be on its way
    this.#take(after.exec(this.#held)![0].length);
    if (closing === "" && this.#held === "") return false; // separators may go on
    this.#bare = this.#form.bare;
    this.#enter(this.#calls < this.#reading.most ? "text" : "over");
    return true;
  }

  /** Lets text go up to where a call may begin; enters the call when it is one. */
  #seek(pieces: Piece[], ended: boolean): boolean {
    const { start, brace } = this.#opening();
    const head = brace === null
      ? { is: "open" } as const
      : readHead(this.#held.slice(brace), this.#reading.names);
    if (head.is === "text") {
      this.#say(pieces, this.#take(brace! + 1));
      return true;
    }
    if (head.is === "open") {
      const rest = this.#held.slice(start);
      const isNothing = this.#reading.forced || this.#calls > 0 && rest.trim() === "";
      this.#say(pieces, this.#take(ended && !isNothing ? this.#held.length : start));
      return false;
    }
    this.#say(pieces, this.#take(start));
    const index = this.#calls++;
    pieces.push({ kind: "call", index, name: head.name });
    if (head.is === "call") {
      this.#take(brace! - start + head.at);
      this.#enter("arguments");
      return true;
    }
    pieces.push({ kind: "arguments", index, text: head.args });
    this.#take(brace! - start + head.end);
    this.#enter("after");
    return true;
  }

  /**
   * Where a call may begin, with the blanks before it, and where its `{` is; null: not written yet.
   * Without any such place `start` is the end.
   */
  #opening(): { start: number; brace: number | null } {
    const held = this.#held;
    const { mark, inside } = this.#form;
    if (this.#bare) {
      const brace = inside.exec(held)![0].length;
      if (brace === held.length) return { start: 0, brace: null };
      if (held[brace] === "{") return { start: 0, brace };
      if (!mark.startsWith(held.slice(brace, brace + mark.length))) this.#bare = false;
    }
    for (let at = held.indexOf(mark); at >= 0; at = held.indexOf(mark, at + 1)) {
      const behind = at + mark.length;
      const brace = behind + inside.exec(held.slice(behind))![0].length;
      const start = blankBefore(held, at);
      if (brace === held.length) return { start, brace: null };
      if (held[brace] === "{") return { start, brace };
    }
    let begun = Math.min(mark.length - 1, held.length);
    while (!held.endsWith(mark.slice(0, begun))) begun -= 1;
    return { start: blankBefore(held, held.length - begun), brace: null };
  }

  #enter(state: State): void {
    this.#state = state;
    if (state === "arguments") this.#closing = new Closing();
    if (state === "tail") this.#closing = new Closing(1);
  }

  #take(count: number): string {
    const taken = this.#held.slice(0, count);
    this.#held = this.#held.slice(count);
    return taken;
  }

  /** Llama's mark is a control token, which is nobody's text. */
  #say(pieces: Piece[], text: string): void {
    const shown = text.replaceAll(PYTHON_TAG, "");
    if (text !== "") this.#bare = false;
    if (shown !== "") pieces.push({ kind: "text", text: shown });
  }
}

/** A whole answer's text, null where there is none beside calls or forced ones, and its calls. */
export function readCalls(
  text: string,
  reading: CallReading,
): { content: string | null; calls: { name: string; arguments: string }[] } {
  const reader = new CallReader(reading);
  const calls: { name: string; arguments: string }[] = [];
  let content = "";
  for (const piece of [...reader.push(text), ...reader.end()]) {
    if (piece.kind === "text") content += piece.text;
    else if (piece.kind === "call") calls.push({ name: piece.name, arguments: "" });
    else calls[piece.index]!.arguments += piece.text;
  }
  const isNone = content === "" && (calls.length > 0 || reading.forced);
  return { content: isNone ? null : content, calls };
}

function blankBefore(text: string, at: number): number {
  while (at > 0 && /\s/.test(text[at - 1]!)) at -= 1;
  return at;
}
