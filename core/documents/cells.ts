/** What a cell of a table stands for: where its value is cited from, and the unit that it is in. */
import type { Cell, Evidence } from "../../contract/document.ts";
import type { Band, MatrixRow } from "./matrix.ts";
import { bracketUnit, isMoney, parseChange } from "./quantity.ts";
import { folded } from "./text.ts";

export function evidenceOf(row: MatrixRow, cell: Cell): Evidence {
  return { text: row.text, page: row.page, start: cell.start, end: cell.start + cell.text.length };
}

/** A ratio or a head count is never in the currency that a table states for its amounts. */
export function unitOf(label: string, own: string | undefined, stated: string | undefined) {
  if (own) return own;
  const name = folded(label);
  const bracket = bracketUnit(name);
  if (bracket) return bracket;
  if (/每股/.test(name)) return "元/股";
  if (/(?:率|比例|比重|占比)(?:\(.*\))?$/.test(name)) return undefined;
  if (/(?:人数|(?:人员|员工)的?(?:数量|总数)(?:合计)?)$/.test(name)) return "人";
  if (/(?:户数|股东总数)/.test(name)) return "户";
  if (/(?:数量|天数|次数)(?:\(.*\))?$/.test(name) && stated && isMoney(stated)) return undefined;
  return stated;
}

/** A second column of words makes a label of two parts, which no item name here can hold. */
export function secondLabel(row: MatrixRow, band: Band): boolean {
  return row.cells.some((cell, column) => {
    const role = band.roles[column];
    return column > 0 && role?.kind === "measure" && cell !== undefined &&
      /[\u4e00-\u9fff]{2}/.test(cell.text) && parseChange(cell.text, false) === undefined;
  });
}
