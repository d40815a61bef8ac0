/**
 * JSON that a model is still writing: where a value ends, and whether an object is a call of a known
 * function. Reads no further than it must, so that a call can be told before it is whole. Pure.
 */

/** Follows one JSON object or list, opened `depth` times already, through text that comes in parts. */
export class Closing {
  #depth: number;
  #quoted = false;
  #escaped = false;

  constructor(depth = 0) {
    this.#depth = depth;
  }

  /** The index behind the character of `text` that closes it; -1: it is still open. */
  in(text: string, from = 0): number {
    for (let at = from; at < text.length; at++) {
      const character = text[at]!;
      if (this.#quoted) {
        if (this.#escaped) this.#escaped = false;
        else if (character === "\\") this.#escaped = true;
        else if (character === '"') this.#quoted = false;
      } else if (character === '"') this.#quoted = true;
      else if (character === "{" || character === "[") this.#depth += 1;
      else if (character === "}" || character === "]") {
        this.#depth -= 1;
        if (this.#depth === 0) return at + 1;
      }
    }
    return -1;
  }
}

export type Head =
  | { is: "text" } // no call, whatever follows
  | { is: "open" } // may still become one
  | { is: "call"; name: string; at: number } // its arguments begin there
  | { is: "whole"; name: string; args: string; end: number }; // they came before the name

const TEXT: Head = { is: "text" };
const OPEN: Head = { is: "open" };
const NAME = ["name", "function"];
const ARGUMENTS = ["arguments", "parameters"];
const KEYS = [...NAME, ...ARGUMENTS, "type", "id"];

/** What the object that begins `text` is, as far as it is written. */
export function readHead(text: string, names: readonly string[]): Head {
  let name: string | null = null;
  let args: string | null = null;
  let at = 1;
  for (;;) {
    const key = stringAt(text, at = skipBlank(text, at), KEYS);
    if (typeof key === "string") return key === "open" ? OPEN : TEXT;
    at = skipBlank(text, key.end);
    if (at === text.length) return OPEN;
    if (text[at] !== ":") return TEXT;
    at = skipBlank(text, at + 1);
    if (at === text.length) return OPEN;
    if (ARGUMENTS.includes(key.value)) {
      if (text[at] !== "{") return TEXT;
      if (name !== null) return { is: "call", name, at };
      const end = new Closing().in(text, at);
      if (end < 0) return OPEN;
      args = text.slice(at, at = end);
    } else {
      const value = stringAt(text, at, NAME.includes(key.value) ? names : null);
      if (typeof value === "string") return value === "open" ? OPEN : TEXT;
      if (NAME.includes(key.value)) name = value.value;
      at = value.end;
    }
    at = skipBlank(text, at);
    if (at === text.length) return OPEN;
    if (text[at] === "}" && name !== null && args !== null) {
      return { is: "whole", name, args, end: at + 1 };
    }
    if (text[at] !== ",") return TEXT;
    at += 1;
  }
}

/** The string that begins there, one of `known` unless that is null; `open`: it may still be one. */
function stringAt(
  text: string,
  at: number,
  known: readonly string[] | null,
): { value: string; end: number } | "open" | "text" {
  if (at === text.length) return "open";
  if (text[at] !== '"') return "text";
  const written = /^"(?:[^"\\]|\\.)*"/s.exec(text.slice(at))?.[0];
  if (written === undefined) {
    const begun = text.slice(at);
    const may = known === null || begun.includes("\\") || // written with escapes: wait for its end
      known.some((word) => JSON.stringify(word).startsWith(begun));
    return may ? "open" : "text";
  }
  const value = parsed(written);
  if (value === null || (known !== null && !known.includes(value))) return "text";
  return { value, end: at + written.length };
}

function parsed(written: string): string | null {
  try {
    return JSON.parse(written);
  } catch {
    return null;
  }
}

function skipBlank(text: string, at: number): number {
  while (at < text.length && /\s/.test(text[at]!)) at += 1;
  return at;
}
