/** Whose report this is and for which period: read from the report itself, never assumed. */
import type { DocumentText } from "../../contract/document.ts";
import { BullionError } from "../../contract/errors.ts";
import type { FlowPart } from "./flow.ts";
import { type ReportPeriod, reportPeriod } from "./periods.ts";
import { folded } from "./text.ts";

export interface Identity {
  company: string; // the short name where the report gives one
  period: ReportPeriod;
}

const SHORT = /(?:公司|股票|证券)(?:的)?(?:中文)?简称:?([^\s|:,;。]{2,12})/;
const FULL = /(?:公司的?中文名称|公司名称):?([^\s|:,;。]{4,40}公司)/;
const COVER = /([\u4e00-\u9fff()]{2,30}股份有限公司)/;
const FRONT = 12; // pages in which a report says what it is

/** @throws BullionError company_unknown or period_unknown, when the report does not say it. */
export function identityOf(document: DocumentText, parts: readonly FlowPart[]): Identity {
  const rows = parts.slice(0, 200).flatMap((part) =>
    part.kind === "table"
      ? part.rows.map((row) => folded(row.cells.map((cell) => cell.text).join(":")))
      : part.text.split(" ").map(folded)
  );
  const find = (pattern: RegExp) => rows.map((row) => pattern.exec(row)?.[1]).find(Boolean);
  const company = find(/^公司的?中文简称:([^:]{2,12})$/) ?? find(SHORT) ?? find(FULL) ??
    find(COVER);
  const refuse = (code: string, what: string, need: string): never => {
    throw new BullionError(
      code,
      `Cannot write questions about ${document.name} as ${what}: ${need}`,
      { param: "file" },
    );
  };
  if (!company) {
    refuse(
      "company_unknown",
      "it does not name its company",
      "a cover or 公司简介 page must name it",
    );
  }
  const front = document.pages.slice(0, FRONT).flatMap((page) => [page.text, ...page.furniture]);
  const period = reportPeriod(front);
  if (!period) {
    refuse(
      "period_unknown",
      "it does not name its year",
      "a title such as 2024年年度报告 must stand in it",
    );
  }
  return { company: company!, period: period! };
}
