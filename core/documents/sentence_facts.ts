/**
 * Facts out of sentences: 实现营业收入117,530.10万元，同比减少4.49%. A sentence gives a fact only if it
 * names one period, speaks of the company itself and of what has been, not of what is planned.
 */
import type { Evidence } from "../../contract/document.ts";
import type { Finding } from "./findings.ts";
import { type FlowParagraph, placeOf } from "./flow.ts";
import { isItem, worded } from "./items.ts";
import { periodsIn, type ReportPeriod } from "./periods.ts";
import { QUANTITY_IN_TEXT } from "./quantity.ts";
import { folded } from "./text.ts";

const SENTENCE = /[^。！？；]+[。！？；]?/g;
const NOT_THE_COMPANY =
  /子公司|行业|全国|全球|国家|我国|市场规模|国内生产|客户[^销]|参股|联营|合营|每10股|每股/;
const NOT_YET =
  /计划|预计|拟|目标|力争|预算|将|不超过|不低于|约|超过|以上|以下|左右|近\d|可能|如果|假设|承诺/;
const LEAD_IN =
  /^(?:报告期内?|本报告期内?|截[至止]?(?:报告期末|20\d{2}年(?:末|底|12月31日))|报告期末|20\d{2}年(?:末|底|度)?|公司|本公司|其中|全年|期末|年末|并|同时|累计|共|合计|,|:)+/;
const VERBS = /^(?:(?:共|累计)?(?:实现|完成|取得|拥有|发生|投入|获得|持有|新增)了?)(?:的)?/;
const LINK = /(?:总计|合计|共计|累计|达到|达|为|是|共|:)?(?:人民币)?$/;
const NOUN =
  /(?:收入|成本|利润|净额|费用|总资产|净资产|总额|余额|毛利率|收益率|占有率|比例|比重|投入|数量|人数|总数|销售额|采购额|产量|销量|总股本|专利|员工|资产|负债)$/;
const SHARE = /^占(.{3,16}?)(?:的)?(?:比例|比重)?$/;
const COMPARED =
  /^[,(]?(?:较|比)?(?:上年|去年)?(?:同期|同比)?(?:(?:相比)?,?(?:分别)?)(增长|增加|上升|提高|下降|减少|降低)了?$/;

export function* sentenceFindings(
  paragraph: FlowParagraph,
  report: ReportPeriod,
): Generator<Finding> {
  for (const { 0: sentence, index } of paragraph.text.matchAll(SENTENCE)) {
    yield* inSentence(sentence, index, paragraph, report);
  }
}

function* inSentence(
  sentence: string,
  offset: number,
  paragraph: FlowParagraph,
  report: ReportPeriod,
): Generator<Finding> {
  let item: string | undefined;
  let period: string | undefined;
  let end = 0;
  for (const match of sentence.matchAll(QUANTITY_IN_TEXT)) {
    const [printed, digits = "", unit = ""] = match;
    const between = sentence.slice(end, match.index);
    const clause = folded(between.split(/[，,；;、（(]/).at(-1)!);
    const compared = COMPARED.exec(folded(between));
    const place = placeOf(paragraph, offset + match.index, printed.length);
    const after = sentence.slice(match.index + printed.length);
    end = match.index + printed.length;
    if (!place || /^[\d.~—-]|^(?:至|到|\/)/.test(after)) continue;
    if (NOT_THE_COMPANY.test(sentence.slice(0, end)) || NOT_YET.test(sentence.slice(0, end + 4))) {
      return;
    }
    const evidence: Evidence = { text: sentence.trim(), ...place };
    if (compared && item && period && (unit === "%" || unit === "个百分点")) {
      if (!/上年|去年|同期|同比/.test(between) || digits.startsWith("-")) continue;
      const up = /[增升提]/.test(compared[1]!);
      const word = unit === "%" ? (up ? "增长" : "下降") : (up ? "增加" : "减少");
      yield { kind: "change", period, item, value: word + digits + unit, evidence };
      continue;
    }
    const named = nameOf(clause, item);
    item = undefined;
    if (!named) continue;
    period = onlyPeriod(sentence.slice(0, match.index), report);
    if (!period) continue;
    item = named;
    yield { kind: "figure", period, item, value: digits + unit, evidence };
  }
}

/** The item that a clause names before its number; `before` is what the sentence just spoke of. */
function nameOf(clause: string, before: string | undefined): string | undefined {
  const bare = clause.replace(LINK, "").replace(LEAD_IN, "").replace(VERBS, "").replace(
    LEAD_IN,
    "",
  );
  const share = SHARE.exec(bare);
  if (share) return before ? `${before}占${worded(share[1]!)}的比例` : undefined;
  const name = worded(bare);
  return NOUN.test(name) && isItem(bare) && !/占|较|比(?!例|重)/.test(bare) ? name : undefined;
}

function onlyPeriod(text: string, report: ReportPeriod): string | undefined {
  const withoutComparison = text.replace(
    /(?:较|比)?(?:上年|去年)(?:同期)?|同比|(?:较|比)上期|同期/g,
    "",
  );
  const found = periodsIn(withoutComparison, report);
  const [period] = found;
  return found.size === 1 && /年(?:末|上半年)?$/.test(period!) ? period : undefined;
}
