/** Cells of a table and the text in them, for ruled tables and for those aligned without rules. */
import type { Grid } from "./grid.ts";
import { type Line, toLines } from "./lines.ts";
import type { TextItem } from "./pdf.ts";
import { joinLines } from "./text.ts";

/** A table on a page: rows of cells, each cell in the row where it begins. */
export interface Table {
  top: number;
  edges: number[];
  rows: TableCell[][];
}

export interface TableCell {
  text: string;
  column: number;
  columns: number;
  rows: number;
}

function centre(item: TextItem): [number, number] {
  return [item.x + item.width / 2, item.y + item.height * 0.35];
}

export function isInside(item: TextItem, grid: Grid): boolean {
  const [x, y] = centre(item);
  return x >= grid.left && x <= grid.right && y >= grid.bottom && y <= grid.top;
}

/** `items` are those that lie inside the grid. Rows without any text are left out. */
export function fillGrid(grid: Grid, items: readonly TextItem[]): Table {
  const texts = grid.cells.map((): TextItem[] => []);
  for (const item of items) {
    const [x, y] = centre(item);
    const at = grid.cells.findIndex((cell) =>
      x >= cell.left && x <= cell.right && y >= cell.bottom && y <= cell.top
    );
    texts[at]?.push(item);
  }
  const rows: FilledCell[][] = [];
  grid.cells.forEach(({ row, column, columns, rows: down }, at) => {
    (rows[row] ??= []).push({ lines: toLines(texts[at]!), column, columns, rows: down });
  });
  return {
    top: grid.top,
    edges: grid.edges,
    rows: rows.flatMap(unruledRows).filter((row) => row.some((cell) => cell.text !== "")),
  };
}

interface FilledCell extends Omit<TableCell, "text"> {
  lines: Line[];
}

function joined(lines: readonly Line[]): string {
  return lines.map((line) => line.text).reduce(joinLines, "");
}

const WHOLE_NUMBER = /^(?:-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?%?|[-/])$/;

/**
 * Some tables rule their columns only: then one row of the grid holds many rows of text. They are told
 * apart where a column holds several whole numbers and beside each of them the first column has a line.
 */
function unruledRows(row: FilledCell[]): TableCell[][] {
  const whole = [row.map(({ lines, ...cell }): TableCell => ({ ...cell, text: joined(lines) }))];
  const [label, ...others] = row;
  const numbers = others.filter(({ lines }) =>
    lines.length > 1 && lines.every((line) => WHOLE_NUMBER.test(line.text))
  );
  if (!label || numbers.length === 0 || row.some((cell) => cell.rows > 1)) return whole;
  const near = (y: number, line: Line) => Math.abs(line.y - y) < 0.5 * line.height;
  const levels = label.lines.map((line) => line.y).filter((y) =>
    numbers.some(({ lines }) => lines.some((line) => near(y, line)))
  );
  const beside = numbers.every(({ lines }) =>
    lines.every((line) => levels.some((y) => near(y, line)))
  );
  if (levels.length < 2 || !beside) return whole;
  // A label that wraps has its second line below the number: a row reaches down to the next level.
  return levels.map((_, at) =>
    row.map(({ lines, ...cell }): TableCell => ({
      ...cell,
      text: joined(lines.filter((line) => {
        const above = at === 0 ? Infinity : levels[at]! + 0.5 * line.height;
        const below = at + 1 < levels.length ? levels[at + 1]! + 0.5 * line.height : -Infinity;
        return line.y < above && line.y >= below;
      })),
    }))
  );
}
