/**
 * Facts out of tables whose header says what each column is: an item, its figure of this period and
 * the one before, and the change between them. Rows that leave a doubt give nothing.
 */
import type { Cell } from "../../contract/document.ts";
import { evidenceOf, secondLabel, unitOf } from "./cells.ts";
import type { Finding } from "./findings.ts";
import type { FlowTable } from "./flow.ts";
import { rowItem } from "./items.ts";
import { type Band, bandsOf, type MatrixRow } from "./matrix.ts";
import { measuresOf } from "./measure_facts.ts";
import type { ReportPeriod } from "./periods.ts";
import { decimalsOf, parseCell, parseChange, statedUnit, toNumber } from "./quantity.ts";
import { isBare } from "./roles.ts";
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

/** item – this period – period before – change. */
function* itemOf(
  row: MatrixRow,
  band: Band,
  stated: string | undefined,
  report: ReportPeriod,
): Generator<Finding> {
  const label = row.cells[0]?.text ?? "";
  const named = rowItem(label);
  if (!named || secondLabel(row, band)) return;
  const item = named + partOf(named, band);
  const numbers = new Map<string, string>();
  for (const [column, role] of band.roles.entries()) {
    const cell = row.cells[column];
    if (role.kind !== "period" || !cell || numbers.has(role.period)) continue;
    const quantity = parseCell(cell.text);
    if (!quantity) continue;
    numbers.set(role.period, quantity.digits);
    const unit = unitOf(label, quantity.unit ?? role.unit, stated);
    yield {
      kind: "figure",
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
      kind: "change",
      period: now,
      item,
      value,
      evidence: evidenceOf(row, cell),
    };
  }
}

/** In a table of what revenue or cost is made of, a product's name means its revenue or cost. */
function partOf(named: string, band: Band): string {
  const whole = band.header.map((header) =>
    /占(营业收入|营业成本)的?(?:比重|比例)/.exec(folded(header))
  );
  const [, measure] = whole.find((match) => match !== null) ?? [];
  return measure && !/收入|成本/.test(named) ? measure : "";
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
