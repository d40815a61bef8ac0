/**
 * Periods: what a report's own year is, and what 本期, 期末 or 2019年12月31日 mean in it.
 *
 * A period of a year reads 2019年, its end 2019年末, a part of it 2019年第一季度.
 */
import { folded } from "./text.ts";

/** `span` names the reported stretch of time, `end` its last day; the others a year before. */
export interface ReportPeriod {
  year: number;
  span: string;
  end: string;
  spanBefore: string;
  endBefore: string;
}

const TITLE = /(20\d{2})年(年度报告|度报告|半年度报告)/g;

/** The period that a report's own title names most often; undefined if no title is found. */
export function reportPeriod(texts: readonly string[]): ReportPeriod | undefined {
  const counts = new Map<string, number>();
  for (const text of texts) {
    for (const [, year, kind] of folded(text).matchAll(TITLE)) {
      const key = `${year}${kind === "半年度报告" ? "h" : "y"}`;
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
  }
  const key = [...counts].sort((a, b) => b[1] - a[1])[0]?.[0];
  if (!key) return undefined;
  const year = Number(key.slice(0, 4));
  const [span, end] = key.endsWith("h") ? ["年上半年", "年6月末"] : ["年", "年末"];
  const before = year - 1;
  return {
    year,
    span: year + span,
    end: year + end,
    spanBefore: before + span,
    endBefore: key.endsWith("h") ? `${before}年末` : before + end,
  };
}

const AMOUNT = "(?:金额|数|发生额|余额|数额|累计数)?";
const NAMED: [RegExp, keyof Omit<ReportPeriod, "year">][] = [
  [new RegExp(`^(?:本期|本年度?|本报告期|报告期|当期|本期发生)${AMOUNT}$`), "span"],
  [new RegExp(`^(?:上年同期|上期|上年度?|去年同期|上期发生|上年同期发生)${AMOUNT}$`), "spanBefore"],
  [new RegExp(`^(?:本期期末|本期末|期末|本年末|年末|本?报告期末)${AMOUNT}$`), "end"],
  [new RegExp(`^(?:上期期末|上期末|期初|年初|上年度?末|上年年末|本期期初)${AMOUNT}$`), "endBefore"],
];
const QUARTER = /^(?:(20\d{2})年)?(第[一二三四]季度)(?:\(.*\))?$/;
const YEAR = new RegExp(`^(20\\d{2})年(?:度|1[-—~至]12月)?${AMOUNT}$`);
const HALF = new RegExp(`^(20\\d{2})年(?:上半年|半年度|1[-—~至]6月)${AMOUNT}$`);
const YEAR_END = new RegExp(`^(20\\d{2})(?:年末|年12月31日|[-./]12[-./]31)${AMOUNT}$`);

/** The period that a column's header names; undefined when it names none. */
export function columnPeriod(header: string, report: ReportPeriod): string | undefined {
  const remark = /\((?:元|万元|千元|人民币元|经审计|已审计|未经审计|1[-—~至](?:6|12)月份?)\)/g;
  const text = folded(header).replace(remark, "");
  const named = NAMED.find(([pattern]) => pattern.test(text));
  if (named) return report[named[1]];
  const quarter = QUARTER.exec(text);
  if (quarter) return `${quarter[1] ?? report.year}年${quarter[2]}`;
  const end = YEAR_END.exec(text);
  if (end) return `${end[1]}年末`;
  const half = HALF.exec(text);
  if (half) return `${half[1]}年上半年`;
  const year = YEAR.exec(text);
  return year ? `${year[1]}年` : undefined;
}

const MARKS: [RegExp, (match: RegExpExecArray, report: ReportPeriod) => string][] = [
  [/(20\d{2})年(?:末|底|12月31日)/g, ([, year]) => `${year}年末`],
  [/(?:报告期末|本期末|本年末|期末|年末)/g, (_, report) => report.end],
  [/(?:报告期内|本报告期|报告期(?!末)|本期(?!末)|本年度?(?!末)|全年)/g, (_, report) => report.span],
  [
    /(20\d{2})年(?:度)?(?!末|底|\d|年?度?报告|第|上半|下半|前)/g,
    ([, year]) => `${year}年`,
  ],
  [/20\d{2}年(?:\d{1,2}月(?!31日)|1[01]?月|[2-9]月|第|上半|下半|前)/g, ([mark]) => mark],
  [/(?:上年|去年|上期|年初|期初|近[一二三两\d]年|同期)/g, ([mark]) => mark],
];

/** Every period that a stretch of a sentence speaks of; more than one leaves a value in doubt. */
export function periodsIn(text: string, report: ReportPeriod): Set<string> {
  const found = new Set<string>();
  let rest = folded(text);
  for (const [pattern, read] of MARKS) {
    rest = rest.replace(pattern, (...args: unknown[]) => {
      found.add(read(args as unknown as RegExpExecArray, report));
      return "#";
    });
  }
  return found;
}
