/**
 * Splits a text into its source records, JSON array or JSONL, each with the line it begins on.
 *
 * A record that is broken does not hide the others: it is handed out as its error. What a record means
 * is not known here.
 */
import { jsonFault } from "./json_fault.ts";

export type SourceRecord =
  & {
    index: number; // from 0
    line: number; // from 1
  }
  & ({ value: Record<string, unknown> } | { broken: string; at: number }); // at: line of the error

export type Layout = "json" | "jsonl";

const SPACE = /[ \t\r\n]/;

/** A text that begins with `[` is one array; everything else has a record a line. */
export function layoutOf(text: string): Layout {
  return text.trimStart().startsWith("[") ? "json" : "jsonl";
}

export function* sourceRecords(text: string): Generator<SourceRecord> {
  yield* layoutOf(text) === "json" ? arrayElements(text) : lines(text);
}

function* lines(text: string): Generator<SourceRecord> {
  let line = 0;
  let index = 0;
  for (let start = 0; start < text.length;) {
    const newline = text.indexOf("\n", start);
    const end = newline < 0 ? text.length : newline;
    const piece = text.slice(start, end);
    start = end + 1;
    line++;
    if (piece.trim() !== "") yield parsed(piece, index++, line);
  }
}

/**
 * Cuts at the commas of the outermost array, so that one broken element is named and the next is
 * still found, as long as its quotes and brackets are closed.
 */
function* arrayElements(text: string): Generator<SourceRecord> {
  let position = text.indexOf("[") + 1;
  let line = 1 + newlines(text, 0, position);
  let index = 0;
  while (true) {
    while (position < text.length && SPACE.test(text[position]!)) {
      if (text[position] === "\n") line++;
      position++;
    }
    if (text[position] === "]" && index === 0) return yield* rest(text, position + 1, index, line);
    if (text[position] === "]") {
      const extra = "a comma stands before the closing ] of the list";
      return yield { index, line, broken: extra, at: line };
    }
    if (position >= text.length) {
      const missing = "the file ends before the closing ] of its list";
      return yield { index, line, broken: missing, at: line };
    }
    const end = elementEnd(text, position);
    const piece = text.slice(position, end);
    yield parsed(piece, index++, line);
    line += newlines(text, position, end);
    position = end;
    if (text[position] === "]") return yield* rest(text, position + 1, index, line);
    if (position < text.length) position++; // the comma
  }
}

/** Position of the comma or bracket that ends the element which begins at `start`. */
function elementEnd(text: string, start: number): number {
  let depth = 0;
  let inString = false;
  for (let i = start; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (inString) {
      if (code === 0x5c) i++; // backslash: the next character is data
      else if (code === 0x22) inString = false;
    } else if (code === 0x22) inString = true;
    else if (code === 0x7b || code === 0x5b) depth++;
    else if (code === 0x7d) depth--;
    else if (code === 0x5d) {
      if (depth <= 0) return i;
      depth--;
    } else if (code === 0x2c && depth <= 0) return i;
  }
  return text.length;
}

function* rest(text: string, position: number, index: number, line: number) {
  const trailing = text.slice(position).trim();
  if (trailing === "") return;
  yield {
    index,
    line,
    broken: `after the closing ] of the list stands ${trailing.slice(0, 20)}`,
    at: line + newlines(text, position, text.indexOf(trailing[0]!, position)),
  };
}

function parsed(piece: string, index: number, line: number): SourceRecord {
  let value: unknown;
  try {
    value = JSON.parse(piece);
  } catch (error) {
    const { offset, what } = jsonFault(piece) ?? { offset: 0, what: (error as Error).message };
    return { index, line, broken: `is no JSON: ${what}`, at: line + newlines(piece, 0, offset) };
  }
  if (value !== null && typeof value === "object" && !Array.isArray(value)) {
    return { index, line, value: value as Record<string, unknown> };
  }
  const got = piece.trim().slice(0, 40);
  return { index, line, broken: `a record is an object in { }, got ${got}`, at: line };
}

function newlines(text: string, start: number, end: number): number {
  let count = 0;
  for (let at = text.indexOf("\n", start); at >= 0 && at < end; at = text.indexOf("\n", at + 1)) {
    count++;
  }
  return count;
}
