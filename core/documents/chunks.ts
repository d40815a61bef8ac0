/**
 * A document as chunks for a question writer: runs of whole sentences or table rows under one
 * heading, of a size in characters. A chunk that goes on begins with what it needs to be understood:
 * the last sentences of the one before, or the unit and header of the table that it continues.
 */
import type { Chunk, DocumentText } from "../../contract/document.ts";
import { flowOf, type FlowParagraph, type FlowPart, type FlowTable } from "./flow.ts";
import { parseCell, statedUnit } from "./quantity.ts";

export interface ChunkOptions {
  size: number; // characters, except where one sentence or row alone is longer
  overlap: number; // characters at most of whole sentences repeated
}

export const CHUNK_DEFAULTS: ChunkOptions = { size: 1200, overlap: 120 };

/** A sentence or a row: what is never cut. */
interface Unit {
  text: string;
  from: number;
  to: number;
  row: boolean;
  closes: boolean; // the last of its paragraph or table
  header: Unit[]; // of a row within a table: what is repeated where a chunk begins with it
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
    if (open.some((unit) => saysSomething(unit.text))) {
      chunks.push({
        index: chunks.length,
        heading_path: path,
        page_from: Math.min(...open.map((unit) => unit.from)),
        page_to: Math.max(...open.map((unit) => unit.to)),
        text: textOf(open),
      });
    }
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
      if (open.length === 0) open.push(...unit.header);
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

/** Reports tick off what does not apply; a chunk of ticks alone is nothing to ask about. */
function saysSomething(text: string): boolean {
  return text.replace(/[√□\s|:：。、-]|不?适用|^(?:是|否|无)$|单位|币种|人民币|元/g, "").length > 3;
}

function unitsOf(part: FlowPart): Unit[] {
  return part.kind === "table" ? rowsOf(part) : sentencesOf(part);
}

function rowsOf(table: FlowTable): Unit[] {
  const texts = table.rows.map(({ cells }) => cells.map((cell) => cell.text).join(" | "));
  const unit = table.lead.find((text) => statedUnit([text]));
  const named = table.rows.findIndex(({ cells }) => cells.some(({ text }) => parseCell(text)));
  // A header stands above the first number, in at most three rows.
  const head = [...unit ? [unit] : [], ...named > 0 && named <= 3 ? texts.slice(0, named) : []];
  return table.rows.map(({ page }, at) => {
    const place = { from: page, to: page, row: true };
    const above = at > 0 && at >= named ? head : head.slice(0, unit ? 1 : 0);
    return {
      ...place,
      text: texts[at]!.replace(/(?: \| *)+$/, ""),
      closes: at === table.rows.length - 1,
      header: above.map((text) => ({ ...place, text, closes: false, header: [] })),
    };
  });
}

function sentencesOf(paragraph: FlowParagraph): Unit[] {
  const pageAt = (at: number) => paragraph.pieces.findLast((piece) => piece.at <= at)!.page;
  const sentences = [...paragraph.text.matchAll(/[^。！？；]+[。！？；”’）]*|[。！？；]+/g)];
  return sentences.map(({ 0: text, index }, at) => ({
    text,
    from: pageAt(index),
    to: pageAt(index + text.length - 1),
    row: false,
    closes: at === sentences.length - 1,
    header: [],
  }));
}
