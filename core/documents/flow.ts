/**
 * A document's pages as one run of text: paragraphs and tables that go on over a page are joined,
 * each under the headings it stands below. Every part still knows its page and place.
 */
import type { Block, Cell, DocumentText, Page } from "../../contract/document.ts";

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
  columns: number;
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
      if (at === 0 && last && goesOn(last, block, page)) {
        if (last.kind === "table" && block.kind === "table") last.rows.push(...rowsOf(block, page));
        else if (last.kind === "paragraph") extend(last, block, page);
      } else if (block.kind === "table") {
        const { columns } = block;
        parts.push({ kind: "table", headings, lead, columns, rows: rowsOf(block, page) });
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

/** Whether a page's first block continues the last part of the page before. */
function goesOn(last: FlowPart, block: Block, page: Page): boolean {
  if (last.kind === "table") {
    const before = last.rows.at(-1)?.page === page.number - 1;
    return block.kind === "table" && before && block.columns === last.columns;
  }
  const before = last.pieces.at(-1)!.page === page.number - 1;
  return block.kind === "paragraph" && before && last.text.length > 24 && !ENDS.test(last.text);
}

function rowsOf(block: Extract<Block, { kind: "table" }>, page: Page): FlowRow[] {
  return block.rows.map((cells) => ({ page: page.number, cells }));
}

function extend(paragraph: FlowParagraph, block: Block, page: Page): void {
  const at = paragraph.text.length;
  paragraph.text += block.text;
  paragraph.pieces.push({ page: page.number, at, start: block.start, length: block.text.length });
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
