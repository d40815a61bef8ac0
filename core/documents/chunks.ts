/**
 * A document as chunks for a question writer: runs of whole sentences or table rows under one
 * heading, of a size in characters, the last sentences repeated at the head of the next chunk.
 */
import type { Chunk, DocumentText } from "../../contract/document.ts";
import { flowOf, type FlowPart } from "./flow.ts";

export interface ChunkOptions {
  size: number; // characters, except where one sentence or row alone is longer
  overlap: number; // characters at most of whole sentences repeated; rows are not repeated
}

export const CHUNK_DEFAULTS: ChunkOptions = { size: 1200, overlap: 120 };

/** A sentence or a row: what is never cut. */
interface Unit {
  text: string;
  from: number;
  to: number;
  row: boolean;
  closes: boolean; // the last of its paragraph or table
}

export function chunkDocument(
  document: DocumentText,
  options: Partial<ChunkOptions> = {},
): Chunk[] {
  const { size, overlap } = { ...CHUNK_DEFAULTS, ...options };
  const chunks: Chunk[] = [];
  let path: string[] = [];
  let open: Unit[] = [];
  let fresh = 0; // units of `open` that no chunk holds yet
  const close = () => {
    if (fresh === 0) return;
    chunks.push({
      index: chunks.length,
      heading_path: path,
      page_from: Math.min(...open.map((unit) => unit.from)),
      page_to: Math.max(...open.map((unit) => unit.to)),
      text: textOf(open),
    });
    open = tail(open, overlap);
    fresh = 0;
  };
  for (const part of flowOf(document)) {
    if (part.headings.join("\n") !== path.join("\n")) {
      close();
      [open, path] = [[], part.headings];
    }
    for (const unit of unitsOf(part)) {
      if (fresh > 0 && textOf([...open, unit]).length > size) close();
      if (textOf([...open, unit]).length > size) open = [];
      open.push(unit);
      fresh++;
    }
  }
  close();
  return chunks;
}

function textOf(units: readonly Unit[]): string {
  return units.map(({ text, row, closes }) => text + (row || closes ? "\n" : "")).join("")
    .trimEnd();
}

function tail(units: readonly Unit[], overlap: number): Unit[] {
  let start = units.length;
  let length = 0;
  while (start > 0 && !units[start - 1]!.row) {
    length += units[start - 1]!.text.length;
    if (length > overlap) break;
    start--;
  }
  return units.slice(start);
}

function unitsOf(part: FlowPart): Unit[] {
  if (part.kind === "table") {
    return part.rows.map(({ page, cells }, at) => ({
      text: cells.map((cell) => cell.text).join(" | "),
      from: page,
      to: page,
      row: true,
      closes: at === part.rows.length - 1,
    }));
  }
  const pageAt = (at: number) => part.pieces.findLast((piece) => piece.at <= at)!.page;
  const sentences = [...part.text.matchAll(/[^。！？；]+[。！？；”’）]*|[。！？；]+/g)];
  return sentences.map(({ 0: text, index }, at) => ({
    text,
    from: pageAt(index),
    to: pageAt(index + text.length - 1),
    row: false,
    closes: at === sentences.length - 1,
  }));
}
