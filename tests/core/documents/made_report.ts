// A document as `readDocument` gives it, made of a few blocks by tests of what reads documents.
import type { Block, DocumentText } from "../../../contract/document.ts";

export type Made = string | { heading: string; level?: number } | { rows: string[][] };

/** Pages of blocks: a string is a paragraph, `rows` a table of plain cells. */
export function document(...pages: Made[][]): DocumentText {
  return {
    name: "report.pdf",
    pages: pages.map((blocks, at) => {
      let text = "";
      const made = blocks.map((block): Block => {
        if (text !== "") text += "\n";
        const start = text.length;
        const whole = typeof block === "string"
          ? block
          : "heading" in block
          ? block.heading
          : block.rows.map((row) => row.join(" | ")).join("\n");
        text += whole;
        const span = { text: whole, start, end: text.length };
        if (typeof block === "string") return { kind: "paragraph", ...span };
        if ("heading" in block) return { kind: "heading", level: block.level ?? 2, ...span };
        let cursor = start;
        const rows = block.rows.map((row) => {
          const cells = row.map((cell, column) => {
            const placed = { text: cell, column, columns: 1, rows: 1, start: cursor };
            cursor += cell.length + (column < row.length - 1 ? 3 : 1);
            return placed;
          });
          return cells;
        });
        const columns = Math.max(...rows.map((row) => row.length));
        const edges = Array.from(
          { length: columns + 1 },
          (_, column) => 60 + (480 / columns) * column,
        );
        return { kind: "table", edges, rows, ...span };
      });
      return { number: at + 1, text, blocks: made, furniture: [] };
    }),
  };
}

/** The first page that every made report needs: whose it is and of which year. */
export const FRONT: Made[] = ["公司简称：海川科技 2023年年度报告"];

/** A report of the year 2023 whose second page holds `blocks`. */
export const report = (...blocks: Made[]): DocumentText => document(FRONT, blocks);
