/** A report → its facts: every reader's findings in the order of the report, settled together. */
import type { DocumentText, DroppedFact, Fact } from "../../contract/document.ts";
import { attributeFindings } from "./attribute_facts.ts";
import { type Finding, settle } from "./findings.ts";
import { flowOf, type FlowPart } from "./flow.ts";
import { identityOf } from "./identity.ts";
import type { ReportPeriod } from "./periods.ts";
import { sentenceFindings } from "./sentence_facts.ts";
import { tableFindings } from "./table_facts.ts";

/**
 * Where the same names mean something else than the reporting group as a whole: the parent company
 * alone, subsidiaries, the notes' breakdowns, adjusted or planned figures.
 */
const ELSEWHERE =
  /母公司(?!和|及)|附注|注释|会计政策|会计估计|税项|合并范围|其他主体|金融工具|公允价值|关联|股份支付|或有事项|日后事项|补充资料|其他重要事项|子公司情况|参股公司|投资状况|非经常性损益|承诺|诉讼|募集|担保|委托理财|限售股份|社会责任|扶贫|审计报告|分部|发展战略|经营计划/;

export interface FactOptions {
  /**
   * "reported": only figures of the report's own period. A figure of the year before may be restated
   * and belongs to the report of that year; "all" takes it as well.
   */
  periods?: "reported" | "all";
  /** At most so many facts, the first ones of the report: company, key figures, products, expenses. */
  limit?: number;
}

/**
 * A fact that only repeats the company's name is left out: its question would hold its answer.
 *
 * @throws BullionError company_unknown or period_unknown.
 */
export function extractFacts(
  document: DocumentText,
  { periods = "reported", limit = Infinity }: FactOptions = {},
): { facts: Fact[]; dropped: DroppedFact[] } {
  const parts = flowOf(document);
  const { company, period } = identityOf(document, parts);
  const { facts, dropped } = settle(findings(parts, period), company);
  const asked = (of: string) => periods === "all" || of === "" || isReported(of, period);
  return {
    facts: facts.filter((fact) => asked(fact.period) && fact.value !== company).slice(0, limit),
    dropped: dropped.filter((fact) => asked(fact.period)),
  };
}

function isReported(of: string, period: ReportPeriod): boolean {
  return of.startsWith(period.span) || of.startsWith(period.end);
}

function* findings(parts: readonly FlowPart[], period: ReportPeriod): Generator<Finding> {
  for (const part of parts) {
    if (part.headings.some((heading) => ELSEWHERE.test(heading))) continue;
    if (part.kind === "paragraph") yield* sentenceFindings(part, period);
    else {
      yield* attributeFindings(part, period);
      yield* tableFindings(part, period);
    }
  }
}
