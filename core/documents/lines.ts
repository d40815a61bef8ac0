/** Text items of a page or a cell into lines, by position. */
import type { TextItem } from "./pdf.ts";
import { normalize } from "./text.ts";

/** Pieces of a line that stand closer than this many line heights belong together. */
const WIDE_GAP = 1.2;

/** A run of a line without a wide gap. */
export interface Segment {
  x0: number;
  x1: number;
  text: string;
}

export interface Line {
  y: number;
  x0: number;
  x1: number;
  height: number;
  segments: Segment[];
  text: string;
}

/** Top to bottom; text that is printed twice on the same spot (a way to make it bold) counts once. */
export function toLines(items: readonly TextItem[]): Line[] {
  const rows: TextItem[][] = [];
  for (const item of [...items].sort((a, b) => b.y - a.y || a.x - b.x)) {
    const row = rows.at(-1);
    const first = row?.[0];
    const near = first && Math.abs(first.y - item.y) <= 0.4 * Math.max(first.height, item.height);
    if (row && near) row.push(item);
    else rows.push([item]);
  }
  return rows.map(toLine).filter((line) => line.text !== "");
}

function toLine(items: TextItem[]): Line {
  items.sort((a, b) => a.x - b.x);
  const kept = items.filter((item, i) =>
    !items.slice(0, i).some((other) =>
      other.text === item.text && Math.abs(other.x - item.x) < 1 && Math.abs(other.y - item.y) < 1
    )
  );
  const height = Math.max(...kept.map((item) => item.height));
  const segments: Segment[] = [];
  for (const item of kept) {
    const last = segments.at(-1);
    const gap = last ? item.x - last.x1 : Infinity;
    if (last && gap < WIDE_GAP * height) {
      last.text += (gap > 0.2 * height ? " " : "") + item.text;
      last.x1 = Math.max(last.x1, item.x + item.width);
    } else segments.push({ x0: item.x, x1: item.x + item.width, text: item.text });
  }
  for (const segment of segments) segment.text = normalize(segment.text);
  return {
    y: kept[0]!.y,
    x0: segments[0]!.x0,
    x1: Math.max(...segments.map((segment) => segment.x1)),
    height,
    segments,
    text: segments.map((segment) => segment.text).filter(Boolean).join(" "),
  };
}
