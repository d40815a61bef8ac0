/**
 * Facts out of tables whose header says what each column is: items by period with their change, and
 * measures of products, regions, shareholders, staff. Rows that leave a doubt give nothing.
 */
import type { Cell, Evidence } from "../../contract/document.ts";
import type { Finding } from "./findings.ts";
import type { FlowTable } from "./flow.ts";
import { rowItem, worded } from "./items.ts";
import { type Band, bandsOf, type MatrixRow } from "./matrix.ts";
import type { ReportPeriod } from "./periods.ts";
import {
  bracketUnit,
  decimalsOf,
  isMoney,
  parseCell,
  parseChange,
  statedUnit,
  toNumber,
} from "./quantity.ts";
import { type Dimension, isBare, type Role } from "./roles.ts";
import { folded } from "./text.ts";

export function* tableFindings(table: FlowTable, report: ReportPeriod): Generator<Finding> {
  const unit = statedUnit([...table.lead, ...table.rows.slice(0, 2).map(rowText)]);
  for (const band of bandsOf(table, report)) {
    const label = band.roles[0];
    if (label?.kind !== "label") continue;
    for (const row of band.rows) {
      if (label.dimension) yield* measuresOf(row, band, label.dimension, unit, report);
      else yield* itemOf(row, band, unit, report);
    }
  }
}

function rowText(row: { cells: Cell[] }): string {
  return row.cells.map((cell) => cell.text).join("");
}

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

/** item – this period – period before – change. */
function* itemOf(row: MatrixRow, band: Band, stated: string | undefined, report: ReportPeriod) {
  const label = row.cells[0]?.text ?? "";
  const item = rowItem(label);
  if (!item || secondLabel(row, band)) return;
  const numbers = new Map<string, string>();
  for (const [column, role] of band.roles.entries()) {
    const cell = row.cells[column];
    if (role.kind !== "period" || !cell || numbers.has(role.period)) continue;
    const quantity = parseCell(cell.text);
    if (!quantity) continue;
    numbers.set(role.period, quantity.digits);
    const unit = unitOf(label, quantity.unit ?? role.unit, stated);
    yield {
      kind: "figure" as const,
      period: role.period,
      item,
      value: unit && quantity.digits + unit,
      evidence: evidenceOf(row, cell),
    };
  }
  const now = [report.span, report.end].find((period) => numbers.has(period));
  const before = now === report.end ? report.endBefore : report.spanBefore;
  for (const [column, role] of band.roles.entries()) {
    const cell = row.cells[column];
    if (role.kind !== "change" || !isBare(role.measure) || !cell || !now) continue;
    // Many headers leave the percent sign out; that the figures bear the number out is proof enough.
    const value = parseChange(cell.text, true);
    if (!value || !fits(value, numbers.get(now)!, numbers.get(before))) continue;
    yield {
      kind: "change" as const,
      period: now,
      item,
      value,
      evidence: evidenceOf(row, cell),
    };
  }
}

/** Whether a printed change follows from the two printed figures; a negative base proves nothing. */
function fits(change: string, now: string, before: string | undefined): boolean {
  if (before === undefined) return false;
  const [a, b] = [toNumber(now), toNumber(before)];
  if (!(a >= 0) || !(b > 0)) return false;
  const [, word = "", digits = "", unit = ""] = /^(\D+)([\d.,]+)(.*)$/.exec(change) ?? [];
  const sign = word === "增长" || word === "增加" ? 1 : -1;
  const moved = unit === "%" ? (a / b - 1) * 100 : a - b;
  // Both figures are rounded: their last digits may move the result.
  const rounded = 0.5 * (10 ** -decimalsOf(now) + 10 ** -decimalsOf(before));
  const slack = 10 ** -decimalsOf(digits) * 1.01 +
    (unit === "%" ? rounded / b * 100 * (1 + a / b) : rounded * 2);
  return Math.abs(sign * toNumber(digits) - moved) <= slack;
}

/** A second column of words makes a label of two parts, which no item name here can hold. */
function secondLabel(row: MatrixRow, band: Band): boolean {
  return row.cells.some((cell, column) => {
    const role = band.roles[column];
    return column > 0 && role?.kind === "measure" && cell !== undefined &&
      /[\u4e00-\u9fff]{2}/.test(cell.text) && parseChange(cell.text, false) === undefined;
  });
}

/** One row of a product, region, shareholder or group of staff; its columns are measures. */
function* measuresOf(
  row: MatrixRow,
  band: Band,
  dimension: Dimension,
  stated: string | undefined,
  report: ReportPeriod,
) {
  const label = rowItem(row.cells[0]?.text ?? "");
  if (!label || (dimension === "segment" && secondLabel(row, band))) return;
  const unitColumn = band.roles.findIndex((role) => role.kind === "unit");
  const rowUnit = unitColumn > 0 ? folded(row.cells[unitColumn]?.text ?? "") : undefined;
  for (const [column, role] of band.roles.entries()) {
    const cell = row.cells[column];
    if (!cell) continue;
    const named = nameOf(label, dimension, role, report);
    if (!named) continue;
    const { item, period } = named;
    const evidence = evidenceOf(row, cell);
    if (role.kind === "change") {
      const value = parseChange(cell.text, role.percent);
      if (value) yield { kind: "change" as const, period, item, value, evidence };
      continue;
    }
    const quantity = parseCell(cell.text);
    if (!quantity || role.kind !== "measure") continue;
    const physical = /产量|生产量|销量|销售量|库存量/.test(role.measure);
    const share = dimension === "shareholder" && /数/.test(role.measure) ? "股" : undefined;
    const unit = unitOf(
      role.measure,
      quantity.unit ?? role.unit ?? (physical ? rowUnit : undefined) ?? named.unit ?? share,
      physical ? undefined : stated,
    );
    yield {
      kind: "figure" as const,
      period,
      item,
      value: unit && quantity.digits + unit,
      evidence,
    };
  }
}

/** What a row and a column together name, or undefined when this reader does not know. */
function nameOf(
  label: string,
  dimension: Dimension,
  role: Role,
  report: ReportPeriod,
): { item: string; period: string; unit?: string } | undefined {
  if (role.kind !== "measure" && role.kind !== "change") return undefined;
  const measure = worded(role.measure);
  switch (dimension) {
    case "segment":
      if (!/^(?:营业收入|营业成本|毛利率|生产量|销售量|库存量|产量|销量)$/.test(measure)) {
        return undefined;
      }
      return { item: label + measure, period: measure === "库存量" ? report.end : report.span };
    case "shareholder":
      if (role.kind === "change") return undefined;
      if (/^(?:期末|报告期末)?持股(?:总)?(?:数量|数)$/.test(measure)) {
        return { item: `${label}持股数量`, period: report.end, unit: "股" };
      }
      if (/^(?:期末)?(?:持股)?比例$/.test(measure)) {
        return { item: `${label}持股比例`, period: report.end };
      }
      return undefined;
    case "profession":
      return /人数|数量/.test(measure)
        ? { item: `${label}人数`, period: report.end, unit: "人" }
        : undefined;
    case "education":
      return /人数|数量/.test(measure)
        ? { item: `${label}学历员工人数`, period: report.end, unit: "人" }
        : undefined;
  }
}
