/** Cells of a table and the text in them, for ruled tables and for those aligned without rules. */
import type { Grid } from "./grid.ts";
import { toLines } from "./lines.ts";
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
  const rows: TableCell[][] = [];
  grid.cells.forEach(({ row, column, columns, rows: down }, at) => {
    const text = toLines(texts[at]!).map((line) => line.text).reduce(joinLines, "");
    (rows[row] ??= []).push({ text, column, columns, rows: down });
  });
  // Cells that span into a row without text of its own keep their span: it is only read as a hint.
  return {
    top: grid.top,
    edges: grid.edges,
    rows: rows.filter((row) => row?.some((cell) => cell.text !== "")),
  };
}
