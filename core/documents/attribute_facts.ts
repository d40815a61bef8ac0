/**
 * What the company is or has, and single figures, out of tables of two columns (key, value); the
 * company's shares, contact and officers out of small tables with a header.
 */
import { evidenceOf, unitOf } from "./cells.ts";
import type { Finding } from "./findings.ts";
import type { FlowTable } from "./flow.ts";
import { rowItem } from "./items.ts";
import { matrixOf, type MatrixRow } from "./matrix.ts";
import type { ReportPeriod } from "./periods.ts";
import { bracketUnit, isMoney, parseCell, statedUnit } from "./quantity.ts";

import { folded } from "./text.ts";

/** The entries of 公司简介 that the disclosure rules name; the company's own prefix is left out. */
const ATTRIBUTE =
  /^(?:中文名称|中文简称|外文名称|外文名称缩写|英文名称|法定代表人|注册地址|注册地址的邮政编码|办公地址|办公地址的邮政编码|邮政编码|(?:国际互联网)?网址|电子信箱|统一社会信用代码|成立日期|上市日期|股票种类|股票上市(?:证券)?交易所|上市地点|股票简称|股票代码|变更前股票简称|(?:公司)?选定的信息披露媒体名称|年度报告备置地点|(?:签字)?会计师姓名|签字会计师姓名)$/;
/** Keys that say of whom only together with the merged cell beside them or their column's header. */
const PART_OF = /^(?:名称|姓名|办公地址|联系地址|电话|传真|电子信箱)$/;
const OWNERS: [RegExp, string][] = [
  [/会计师事务所/, "会计师事务所"],
  [/保荐/, "保荐机构"],
  [/董事会秘书/, "董事会秘书"],
  [/证券事务代表/, "证券事务代表"],
];
const TITLES =
  /^(?:董事长|副董事长|总经理|总裁|财务总监|财务负责人|董事会秘书|监事会主席|总工程师)$/;
const EMPTY = /^(?:无|不适用|否|是|[-—/√□\s]*|详见.*|同上)$/;
const COUNT_UNITS = new Set(["人", "户", "项", "件", "家", "个", "名", "股", "%"]);

export function* attributeFindings(table: FlowTable, report: ReportPeriod): Generator<Finding> {
  const rows = matrixOf(table);
  yield* officers(rows);
  yield* shares(rows);
  const stated = statedUnit(table.lead);
  let owners: (string | undefined)[] = [];
  for (const row of rows) {
    const cells = [...new Set(row.cells)].filter((cell) => cell !== undefined);
    const texts = cells.map((cell) => cell.text);
    const [first = ""] = texts;
    const named = row.cells.map((cell) => ownerOf(cell?.text ?? ""));
    if (first === "" && named.slice(1).some(Boolean)) {
      owners = named;
      continue;
    }
    if (cells.length === 3 && ownerOf(first)) yield* ofOwner(row, ownerOf(first)!, 1);
    else if (owners.length > 0 && PART_OF.test(folded(first))) {
      for (const [column, owner] of owners.entries()) {
        if (column > 0 && owner) yield* entry(row, ofWhom(owner, folded(first)), column);
      }
    } else if (cells.length === 2) yield* keyAndValue(row, stated, report);
    else if (cells.length % 2 === 0) yield* keysAndValues(row);
  }
}

function ownerOf(text: string): string | undefined {
  return text.length > 30 ? undefined : OWNERS.find(([pattern]) => pattern.test(folded(text)))?.[1];
}

/** The name of an office's holder is the office itself: 董事会秘书, not 董事会秘书姓名. */
function ofWhom(owner: string, key: string): string {
  return key === "姓名" ? owner : owner + key;
}

function* ofOwner(row: MatrixRow, owner: string, keyColumn: number): Generator<Finding> {
  const key = folded(row.cells[keyColumn]?.text ?? "");
  if (PART_OF.test(key)) yield* entry(row, ofWhom(owner, key), row.cells.length - 1);
  else if (ATTRIBUTE.test(key)) yield* entry(row, key, row.cells.length - 1);
}

function* entry(row: MatrixRow, item: string, column: number): Generator<Finding> {
  const cell = row.cells[column];
  if (!cell || EMPTY.test(cell.text) || cell.text.length > 60) return;
  yield { kind: "attribute", period: "", item, value: cell.text, evidence: evidenceOf(row, cell) };
}

/** 股票简称 | 海川科技 | 股票代码 | 688001: several entries in one row, none of them a figure. */
function* keysAndValues(row: MatrixRow): Generator<Finding> {
  const columns = row.cells.map((_, at) => at).filter((at) => row.cells[at] !== row.cells[at - 1]);
  const keys = columns.filter((_, at) => at % 2 === 0).map((at) => nameOf(row.cells[at]?.text));
  if (!keys.every((key) => ATTRIBUTE.test(key))) return;
  for (const [at, key] of keys.entries()) {
    const next = columns[at * 2 + 1]!;
    if (!ATTRIBUTE.test(nameOf(row.cells[next]?.text))) yield* entry(row, key, next);
  }
}

/** A key without the company that it is said of. */
function nameOf(label = ""): string {
  return folded(label).replace(/^(?:公司聘请的|本公司|公司)的?/, "");
}

function* keyAndValue(
  row: MatrixRow,
  stated: string | undefined,
  report: ReportPeriod,
): Generator<Finding> {
  const label = row.cells[0]?.text ?? "";
  const cell = row.cells.at(-1);
  const key = nameOf(label);
  if (ATTRIBUTE.test(key)) {
    yield* entry(row, key, row.cells.length - 1);
    return;
  }
  const quantity = cell && parseCell(cell.text);
  const item = rowItem(label);
  if (!quantity || !item || /披露日前/.test(label)) return;
  const unit = unitOf(label, quantity.unit, stated);
  // A key without a bracket, a count or a stated unit may be anything: a year, a number of a file.
  if (!unit || !(isMoney(unit) || COUNT_UNITS.has(unit) || bracketUnit(label))) return;
  const atEnd = /期末|年末/.test(label) || unit === "人" || unit === "户";
  const value = quantity.digits + unit;
  const period = atEnd ? report.end : report.span;
  yield { kind: "figure", period, item, value, evidence: evidenceOf(row, cell) };
}

/** 股票种类 | 股票上市交易所 | 股票简称 | 股票代码, with one row of values. */
function* shares(rows: readonly MatrixRow[]): Generator<Finding> {
  for (const [at, header] of rows.entries()) {
    const keys = header.cells.map((cell) => folded(cell?.text ?? "").replace(/^公司/, ""));
    if (keys.filter((key) => /^股票|^上市/.test(key) && ATTRIBUTE.test(key)).length < 2) continue;
    const row = rows[at + 1];
    if (!row || /^[A-Z]股$/.test(rows[at + 2]?.cells[0]?.text ?? "")) continue;
    for (const [column, key] of keys.entries()) {
      if (ATTRIBUTE.test(key)) yield* entry(row, key, column);
    }
  }
}

/** 姓名 | 职务 …: a title that one person holds. */
function* officers(rows: readonly MatrixRow[]): Generator<Finding> {
  const at = rows.findIndex((row) => folded(row.cells[0]?.text ?? "") === "姓名");
  const column = rows[at]?.cells.findIndex((cell) => /^职务/.test(folded(cell?.text ?? ""))) ?? -1;
  if (column < 1) return;
  const holders = new Map<string, MatrixRow[]>();
  for (const row of rows.slice(at + 1)) {
    const duties = row.cells[column]?.text ?? "";
    if (row.cells.some((cell) => /离任|辞职/.test(cell?.text ?? ""))) continue;
    for (const title of duties.split(/[、,，\s]/)) {
      if (TITLES.test(title)) holders.set(title, [...(holders.get(title) ?? []), row]);
    }
  }
  for (const [title, [row, ...others]] of holders) {
    if (row && others.length === 0) yield* entry(row, title, 0);
  }
}
