/**
 * What the readers of tables and sentences find, and how findings become facts: those without a
 * clear value, and those that contradict each other, are dropped and reported.
 */
import type { DroppedFact, Evidence, Fact, FactKind } from "../../contract/document.ts";
import { itemKey } from "./items.ts";
import { agree } from "./quantity.ts";
import { folded } from "./text.ts";

/** `value` is undefined when no unit could be found for it. */
export interface Finding {
  kind: FactKind;
  period: string;
  item: string;
  value: string | undefined;
  evidence: Evidence;
}

/** In the order of the report; of findings that agree the first one stays. */
export function settle(
  findings: Iterable<Finding>,
  company: string,
): { facts: Fact[]; dropped: DroppedFact[] } {
  const groups = new Map<string, Finding[]>();
  for (const finding of findings) {
    const key = `${finding.kind}|${finding.period}|${itemKey(finding.item)}`;
    groups.set(key, [...(groups.get(key) ?? []), finding]);
  }
  const facts: Fact[] = [];
  const dropped: DroppedFact[] = [];
  for (const group of groups.values()) {
    const clear = group.filter((finding) => finding.value !== undefined);
    const { kind, period, item, value, evidence } = finest(clear) ?? group[0]!;
    if (value !== undefined && clear.every((other) => same(kind, value, other.value!))) {
      facts.push({ kind, company, period, item, value, evidence });
      continue;
    }
    dropped.push({
      reason: value === undefined ? "unclear" : "contradiction",
      item,
      period,
      values: [...new Set(clear.map((finding) => finding.value!))],
      pages: [...new Set(group.map((finding) => finding.evidence.page))],
    });
  }
  return { facts, dropped };
}

/** The finding with the most digits: 1,175,301,034.32元 says more than 117,530.10万元. */
function finest(findings: Finding[]): Finding | undefined {
  const digits = (finding: Finding) => finding.value!.replace(/\D/g, "").length;
  return findings.reduce<Finding | undefined>(
    (best, next) => best && digits(best) >= digits(next) ? best : next,
    undefined,
  );
}

function same(kind: FactKind, one: string, other: string): boolean {
  return kind === "attribute" ? folded(one) === folded(other) : agree(one, other);
}
