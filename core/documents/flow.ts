/**
 * A document's pages as one run of text: paragraphs and tables that go on over a page are joined,
 * each under the headings it stands below. Every part still knows its page and place.
 */
import type { Block, Cell, DocumentText, Page, TableBlock } from "../../contract/document.ts";

/** A row of a table with the page it stands on. */
export interface FlowRow {
  page: number;
  cells: Cell[];
}

/** `lead` is what stands between the heading (or the table before) and this table: title, unit. */
export interface FlowTable {
  kind: "table";
  headings: string[];
  lead: string[];
  edges: number[];
  rows: FlowRow[];
}

/** A page's share of a paragraph: character `at` of the paragraph is character `start` of the page. */
export interface Piece {
  page: number;
  at: number;
  start: number;
  length: number;
}

export interface FlowParagraph {
  kind: "paragraph";
  headings: string[];
  text: string;
  pieces: Piece[];
}

export type FlowPart = FlowTable | FlowParagraph;

const ENDS = /[。！？；：:.!?;]$/;

export function flowOf(document: DocumentText): FlowPart[] {
  const parts: FlowPart[] = [];
  const path: { level: number; text: string }[] = [];
  let lead: string[] = [];
  for (const page of document.pages) {
    page.blocks.forEach((block, at) => {
      if (block.kind === "heading") {
        while (path.length > 0 && path.at(-1)!.level >= block.level) path.pop();
        path.push({ level: block.level, text: block.text });
        lead = [block.text];
        return;
      }
      const last = parts.at(-1);
      const headings = path.map((heading) => heading.text);
      if (block.kind === "table") {
        let rows = block.rows;
        if (at === 0 && last?.kind === "table") rows = rows.slice(extendTable(last, block, page));
        if (rows.length > 0) {
          const table = { kind: "table" as const, headings, lead, edges: block.edges };
          parts.push({ ...table, rows: rows.map((cells) => ({ page: page.number, cells })) });
        }
      } else if (at === 0 && last?.kind === "paragraph" && extendText(last, block, page)) {
        // its text now belongs to the paragraph of the page before
      } else {
        const piece = { page: page.number, at: 0, start: block.start, length: block.text.length };
        parts.push({ kind: "paragraph", headings, text: block.text, pieces: [piece] });
      }
      if (block.kind === "table") lead = [];
      else lead = [...lead, block.text];
    });
  }
  return parts;
}

/** Adds a page's first block to the last paragraph of the page before, if it continues that. */
function extendText(last: FlowParagraph, block: Block, page: Page): boolean {
  const before = last.pieces.at(-1)!.page === page.number - 1;
  if (!before || last.text.length <= 24 || ENDS.test(last.text)) return false;
  const piece = { page: page.number, at: last.text.length, start: block.start };
  last.pieces.push({ ...piece, length: block.text.length });
  last.text += block.text;
  return true;
}

const SAME_EDGE = 4; // points

/**
 * Adds to a table the rows with which it goes on on the next page, and returns how many these are: those
 * whose cells start and end at its borders, up to the first that does not.
 */
function extendTable(last: FlowTable, block: TableBlock, page: Page): number {
  const { edges } = last;
  const places = block.edges.map((x) => edges.findIndex((edge) => Math.abs(edge - x) <= SAME_EDGE));
  if (last.rows.at(-1)?.page !== page.number - 1) return 0;
  if (places[0] !== 0 || places.at(-1) !== edges.length - 1) return 0;
  for (const [count, row] of block.rows.entries()) {
    const cells: Cell[] = [];
    for (const cell of row) {
      const [from, to] = [places[cell.column]!, places[cell.column + cell.columns]!];
      if (from < 0 || to <= from) return count;
      cells.push({ ...cell, column: from, columns: to - from });
    }
    last.rows.push({ page: page.number, cells });
  }
  return block.rows.length;
}

/** Where a stretch of a paragraph stands; undefined when it is broken over two pages. */
export function placeOf(
  paragraph: FlowParagraph,
  at: number,
  length: number,
): { page: number; start: number; end: number } | undefined {
  const piece = paragraph.pieces.find((one) => at >= one.at && at + length <= one.at + one.length);
  if (!piece) return undefined;
  const start = piece.start + at - piece.at;
  return { page: piece.page, start, end: start + length };
}
