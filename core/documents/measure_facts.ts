/**
 * Facts out of tables of measures: each row is a product, region, shareholder or group of staff, each
 * column what is measured of it. Only measures that this reader knows by name make an item.
 */
import { evidenceOf, secondLabel, unitOf } from "./cells.ts";
import type { Finding } from "./findings.ts";
import { rowItem, worded } from "./items.ts";
import type { Band, MatrixRow } from "./matrix.ts";
import type { ReportPeriod } from "./periods.ts";
import { parseCell, parseChange } from "./quantity.ts";
import type { Dimension, Role } from "./roles.ts";
import { folded } from "./text.ts";

/** One row of a product, region, shareholder or group of staff; its columns are measures. */
export function* measuresOf(
  row: MatrixRow,
  band: Band,
  dimension: Dimension,
  stated: string | undefined,
  report: ReportPeriod,
): Generator<Finding> {
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
      if (value) yield { kind: "change", period, item, value, evidence };
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
      kind: "figure",
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
