/** What a table's header says about each of its columns. */
import { columnPeriod, type ReportPeriod } from "./periods.ts";
import { bracketUnit, withoutUnit } from "./quantity.ts";
import { folded } from "./text.ts";

export type Role =
  | { kind: "label"; dimension: Dimension | undefined }
  | { kind: "period"; period: string; unit: string | undefined }
  | { kind: "change"; measure: string; percent: boolean }
  | { kind: "measure"; measure: string; unit: string | undefined }
  | { kind: "unit" }
  | { kind: "remark" };

/** What the rows of a table of measures are: it decides how a row and a column make an item. */
export type Dimension = "segment" | "shareholder" | "profession" | "education";

const DIMENSIONS: [RegExp, Dimension][] = [
  [/^(?:主营业务)?(?:分)?(?:行业|产品|地区|销售模式)(?:名称|类别)?$|^主要产品$/, "segment"],
  [/^股东名称(?:\(全称\))?$/, "shareholder"],
  [/^专业构成(?:类别)?$/, "profession"],
  [/^教育程度(?:类别)?$/, "education"],
];
const LABEL =
  /^(?:项目(?:名称)?|科目|主要会计数据|主要财务指标|会计数据|财务指标|指标(?:名称)?|报表项目|)$/;
const REMARK = /附注|序号|说明|原因|备注|性质|状态|类型|种类|注释/;
const CHANGE = /增减|变动|增长|同比/;
const COMPARED =
  /(?:本期|本年|本报告期|期末)?(?:末|期末)?(?:金额|数)?(?:比|较)?(?:上年度|上年|上期|去年|年初|同期|期末|年末)(?:同期|期末|末)?(?:数|金额)?(?:同期)?/g;
const FROM_YEAR_START = /(?:比|较)(?:年初|期初)/;

/** The role of the column under `header` (header cells joined top to bottom). */
export function roleOf(header: string, column: number, report: ReportPeriod): Role {
  const text = folded(header);
  if (column === 0) {
    const dimension = DIMENSIONS.find(([pattern]) => pattern.test(text))?.[1];
    if (dimension || LABEL.test(withoutUnit(text))) return { kind: "label", dimension };
    return { kind: "remark" };
  }
  if (text === "单位" || text === "计量单位") return { kind: "unit" };
  const period = columnPeriod(text, report);
  if (period) return { kind: "period", period, unit: bracketUnit(text) };
  if (REMARK.test(text) || text === "" || FROM_YEAR_START.test(text)) return { kind: "remark" };
  if (CHANGE.test(text)) {
    const percent = /%|百分/.test(text);
    const measure = withoutUnit(text).replace(/\(%\)|%/g, "").replace(COMPARED, "")
      .replace(/增减|变动|增长|同比|比例|幅度|率$|情况|比$|[()]/g, "");
    return { kind: "change", measure, percent };
  }
  return { kind: "measure", measure: withoutUnit(text), unit: bracketUnit(text) };
}

/** A change column that says nothing of a measure stands for the row's own item. */
export function isBare(measure: string): boolean {
  return measure === "" || /^(?:本期|本年|报告期|本|期|末|数|金额|额|与|的)+$/.test(measure);
}
