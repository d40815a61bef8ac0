/** Lines outside tables into headings and paragraphs. */
import { headingLevel } from "./headings.ts";
import type { Line } from "./lines.ts";
import { joinLines } from "./text.ts";

/** A heading (with its level) or a paragraph; `top` is the baseline of its first line. */
export interface Passage {
  kind: "heading" | "paragraph";
  level: number;
  top: number;
  text: string;
}

const FULL = 2.2; // a line that ends this many characters before the edge ends its paragraph
const INDENT = 0.9; // characters by which a first line stands in

/** `right` is the right edge of the page's text, in points. */
export function toPassages(lines: readonly Line[], left: number, right: number): Passage[] {
  const passages: Passage[] = [];
  let before: Line | undefined;
  for (const line of lines) {
    const level = headingLevel(line.text);
    const last = passages.at(-1);
    if (last && before && level === undefined && goesOn(before, line, last, left, right)) {
      last.text = joinLines(last.text, line.text);
    } else {
      const kind = level === undefined ? "paragraph" : "heading";
      passages.push({ kind, level: level ?? 0, top: line.y, text: line.text });
    }
    before = line;
  }
  return passages;
}

function goesOn(before: Line, line: Line, last: Passage, left: number, right: number): boolean {
  const height = Math.max(before.height, line.height);
  const pitch = before.y - line.y;
  if (pitch > 2.1 * height || Math.abs(before.height - line.height) > 0.2 * height) return false;
  const full = before.x1 >= right - FULL * height;
  // What is numbered may hang: its second line stands in below its first.
  const numbered = /^[(（]?[一二三四五六七八九十\d]{1,3}[)）、.]/.test(last.text);
  const indented = line.x0 > left + INDENT * height;
  return full && (numbered || last.kind === "heading" || !indented);
}
