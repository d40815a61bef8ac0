/** A flowing table as a matrix: merged cells repeated, header bands found, one band of rows each. */
import type { Cell } from "../../contract/document.ts";
import type { FlowTable } from "./flow.ts";
import { columnPeriod, type ReportPeriod } from "./periods.ts";
import { parseCell, parseChange } from "./quantity.ts";
import { type Role, roleOf } from "./roles.ts";

export interface MatrixRow {
  page: number;
  cells: (Cell | undefined)[]; // by column; a merged cell stands in each column and row it covers
  text: string; // as it is cited
}

/** Rows under one header. `header` is empty for rows before any. */
export interface Band {
  header: string[];
  roles: Role[];
  rows: MatrixRow[];
}

export function matrixOf(table: FlowTable): MatrixRow[] {
  const below: ({ cell: Cell; left: number } | undefined)[] = [];
  return table.rows.map(({ page, cells }) => {
    const row: (Cell | undefined)[] = [];
    for (const cell of cells) {
      for (let c = cell.column; c < cell.column + cell.columns; c++) row[c] = cell;
    }
    for (let c = 0; c < table.edges.length - 1; c++) {
      const above = below[c];
      if (row[c] === undefined && above && above.left > 0) {
        row[c] = above.cell;
        above.left--;
      } else if (row[c]) below[c] = { cell: row[c]!, left: row[c]!.rows - 1 };
    }
    const text = cells.map((cell) => cell.text).filter((one) => one !== "").join(" | ");
    return { page, cells: row, text };
  });
}

function isValue(text: string): boolean {
  return parseCell(text) !== undefined || parseChange(text, false) !== undefined || text === "/" ||
    text === "-";
}

function distinct(row: MatrixRow): string[] {
  return [...new Set(row.cells)].map((cell) => cell?.text ?? "").filter((text) => text !== "");
}

/** Splits a table at its headers: a row without values in which a column has a telling name. */
export function bandsOf(table: FlowTable, report: ReportPeriod): Band[] {
  const bands: Band[] = [];
  let open: Band | undefined;
  const start = (header: string[]) => bands.push(open = { header, roles: [], rows: [] });
  for (const row of matrixOf(table)) {
    const texts = row.cells.map((cell) => cell?.text ?? "");
    const words = distinct(row);
    const title = words.length === 1 && row.cells.length > 1 && row.cells[0] === row.cells.at(-1);
    if (title) {
      open = undefined;
      continue;
    }
    const telling = texts.filter((text, column) =>
      column > 0 && text !== "" && !isValue(text) &&
      (columnPeriod(text, report) !== undefined ||
        /[%增减比]|收入|成本|毛利|产量|销量|数量|人数|金额/.test(text))
    ).length;
    const values = texts.filter((text, column) =>
      column > 0 && text !== "" && isValue(text)
    ).length;
    const isHeader = values === 0 && words.length > 1 && telling > 0 && !isLongText(words);
    if (!isHeader) {
      if (!open) start([]);
      open!.rows.push(row);
    } else if (open && open.header.length > 0 && open.rows.length === 0) {
      open.header = texts.map((text, column) => {
        const above = open!.header[column] ?? "";
        return above === text ? above : above + text;
      });
    } else start(texts);
  }
  for (const band of bands) {
    band.roles = band.header.map((header, column) => roleOf(header, column, report));
  }
  return bands;
}

function isLongText(words: string[]): boolean {
  return words.some((word) => word.length > 30);
}
