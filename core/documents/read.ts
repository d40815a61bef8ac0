/** A report's bytes → its clean text by page: headings, paragraphs and tables in reading order. */
import type { Block, Cell, DocumentText, Page } from "../../contract/document.ts";
import { alignedTables } from "./columns.ts";
import { findFurniture } from "./furniture.ts";
import { findGrids } from "./grid.ts";
import { type Line, toLines } from "./lines.ts";
import { toPassages } from "./paragraphs.ts";
import { type RawPage, readPages } from "./pdf.ts";
import { fillGrid, isInside, type Table } from "./tables.ts";

/** @throws BullionError as `readPages` does: pdf_encrypted, pdf_empty, pdf_no_text and others. */
export async function readDocument(bytes: Uint8Array, name: string): Promise<DocumentText> {
  const layouts = (await readPages(bytes, name)).map(layOut);
  const furniture = findFurniture(layouts);
  return { name, pages: layouts.map((layout) => toPage(layout, furniture.get(layout.number)!)) };
}

interface Layout {
  number: number;
  height: number;
  tables: Table[];
  lines: Line[];
}

function layOut({ number, height, items, rules }: RawPage): Layout {
  const grids = findGrids(rules);
  const tables: Table[] = [];
  let outside = items;
  for (const grid of grids) {
    const inside = outside.filter((item) => isInside(item, grid));
    if (inside.length === 0) continue;
    outside = outside.filter((item) => !isInside(item, grid));
    tables.push(fillGrid(grid, inside));
  }
  return { number, height, tables, lines: toLines(outside) };
}

function toPage(layout: Layout, furniture: Set<Line>): Page {
  const body = layout.lines.filter((line) => !furniture.has(line));
  const left = Math.min(...body.map((line) => line.x0));
  const right = Math.max(...body.map((line) => line.x1));
  const parts: { top: number; write: (at: number) => Block }[] = layout.tables.map((table) => ({
    top: table.top,
    write: (at) => tableBlock(table, at),
  }));
  for (const stretch of betweenTables(body, layout.tables)) {
    const { tables, lines } = alignedTables(stretch);
    for (const table of tables) {
      parts.push({
        top: table.top,
        write: (at) => tableBlock(table, at),
      });
    }
    for (const run of betweenTables(lines, tables)) {
      for (const { kind, level, top, text } of toPassages(run, left, right)) {
        const write = (start: number): Block => {
          const span = { text, start, end: start + text.length };
          return kind === "heading" ? { kind, level, ...span } : { kind, ...span };
        };
        parts.push({ top, write });
      }
    }
  }
  const blocks: Block[] = [];
  let text = "";
  for (const part of parts.sort((a, b) => b.top - a.top)) {
    if (text !== "") text += "\n";
    const block = part.write(text.length);
    blocks.push(block);
    text += block.text;
  }
  return {
    number: layout.number,
    text,
    blocks,
    furniture: [...furniture].map((line) => line.text),
  };
}

/** Runs of lines with no table between them. */
function betweenTables(lines: readonly Line[], tables: readonly Table[]): Line[][] {
  const above = (line: Line) => tables.filter((table) => table.top > line.y).length;
  const runs = new Map<number, Line[]>();
  for (const line of lines) {
    const run = runs.get(above(line));
    if (run) run.push(line);
    else runs.set(above(line), [line]);
  }
  return [...runs.values()];
}

function tableBlock(table: Table, start: number): Block {
  let text = "";
  const rows = table.rows.map((row, index): Cell[] => {
    if (index > 0) text += "\n";
    return row.map((cell, at) => {
      if (at > 0) text += " | ";
      const placed = { ...cell, start: start + text.length };
      text += cell.text;
      return placed;
    });
  });
  return { kind: "table", text, edges: table.edges, rows, start, end: start + text.length };
}
