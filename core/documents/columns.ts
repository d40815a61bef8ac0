/**
 * Tables without vertical rules: columns recovered from x-alignment.
 *
 * A table is a run of lines in which at least two rows carry numbers in columns; header lines and
 * wrapped labels are then placed into these. Or it is a list of words whose columns start at the same
 * places line by line, such as a name and an address under each other.
 */
import { headingLevel } from "./headings.ts";
import type { Line, Segment } from "./lines.ts";
import type { Table, TableCell } from "./tables.ts";
import { joinLines } from "./text.ts";

const NUMBER = /^[-(（]?\d[\d,]*(?:\.\d+)?[)）]?%?$/;

interface Column {
  x0: number;
  x1: number;
}

function isRow(line: Line): boolean {
  return line.segments.length > 1 && line.segments.some((segment) => NUMBER.test(segment.text));
}

function isHeading(line: Line): boolean {
  return line.segments.length === 1 && headingLevel(line.text) !== undefined;
}

/** The end of the lines from `start` on whose segments start at the same places. */
function wordsEnd(lines: readonly Line[], start: number): number {
  const starts = lines[start]!.segments.map((segment) => segment.x0);
  if (starts.length < 2) return start;
  const end = lines.findIndex(({ segments }, at) =>
    at > start && (segments.length !== starts.length ||
      segments.some((segment, column) => Math.abs(segment.x0 - starts[column]!) >= 2))
  );
  return end < 0 ? lines.length : end;
}

/** Takes the tables out of a run of lines; `lines` are what is left, in order. */
export function alignedTables(lines: readonly Line[]): { tables: Table[]; lines: Line[] } {
  const tables: Table[] = [];
  const left: Line[] = [];
  for (let i = 0; i < lines.length;) {
    const numbers = lines.slice(i, runEnd(lines, i));
    const words = lines.slice(i, wordsEnd(lines, i));
    const run = numbers.filter(isRow).length >= 2 ? numbers : words;
    const columns = columnsOf(run === numbers ? numbers.filter(isRow) : words);
    if (run.length < 2 || columns.length < 2) {
      left.push(lines[i++]!);
      continue;
    }
    i += run.length;
    while (isHeaderPiece(left.at(-1), run[0]!, columns)) run.unshift(left.pop()!);
    tables.push(toTable(run, columns));
  }
  return { tables, lines: left };
}

/** The upper line of a header that wraps in one column stands alone above the run. */
function isHeaderPiece(line: Line | undefined, first: Line, columns: readonly Column[]): boolean {
  const [segment, ...others] = line?.segments ?? [];
  if (!line || !segment || others.length > 0 || line.y - first.y > 1.2 * first.height) return false;
  return columns.slice(1).some(({ x0, x1 }) =>
    segment.x1 > x0 && segment.x0 < x1 && segment.x1 - segment.x0 < 3 * (x1 - x0)
  );
}

/** A run starts at a line of several segments and goes on while lines are such, or wrapped labels. */
function runEnd(lines: readonly Line[], start: number): number {
  if (lines[start]!.segments.length < 2) return start + 1;
  let end = start + 1;
  for (let at = end; at < lines.length; at++) {
    const [before, line] = [lines[at - 1]!, lines[at]!];
    if (before.y - line.y > 2.6 * line.height || isHeading(line)) break;
    if (line.segments.length > 1) end = at + 1;
    else if (at - end >= 2 || line.x1 - line.x0 > 22 * line.height) break;
  }
  return end;
}

function columnsOf(rows: readonly Line[]): Column[] {
  const columns: Column[] = [];
  const spans = rows.flatMap((row) => row.segments).sort((a, b) => a.x0 - b.x0);
  for (const { x0, x1 } of spans) {
    const last = columns.at(-1);
    if (last && x0 < last.x1 + 1) last.x1 = Math.max(last.x1, x1);
    else columns.push({ x0, x1 });
  }
  return columns;
}

function columnOf(segment: Segment, columns: readonly Column[]): number {
  const overlap = ({ x0, x1 }: Column) => Math.min(x1, segment.x1) - Math.max(x0, segment.x0);
  let best = 0;
  columns.forEach((column, at) => {
    if (overlap(column) > overlap(columns[best]!)) best = at;
  });
  return best;
}

/** A label that wraps goes with the row that stands closest to it. */
function toTable(run: readonly Line[], columns: readonly Column[]): Table {
  const rows: { y: number; height: number; texts: string[] }[] = [];
  const firstNumbers = run.findIndex(isRow);
  for (const [index, line] of run.entries()) {
    const texts = columns.map(() => "");
    for (const segment of line.segments) {
      const at = columnOf(segment, columns);
      texts[at] = joinLines(texts[at]!, segment.text);
    }
    const row = { y: line.y, height: line.height, texts };
    const above = rows.at(-1);
    const close = above && above.y - row.y < 0.9 * row.height;
    const inHeader = index < firstNumbers && above && above.y - row.y < 1.7 * row.height;
    if (above && (close || inHeader)) {
      above.texts = above.texts.map((text, at) => joinLines(text, texts[at]!));
      above.y = row.y;
    } else rows.push(row);
  }
  return {
    top: run[0]!.y + run[0]!.height,
    edges: [...columns.map((column) => column.x0), columns.at(-1)!.x1],
    rows: rows.map(({ texts }) =>
      texts.map((text, column): TableCell => ({ text, column, columns: 1, rows: 1 }))
    ),
  };
}
