/** Names of reported items: cleaned of numbering, units and remarks, and refused when they say too
 * little by themselves (合计, 其他): such a name needs its table to be understood. */
import { withoutUnit } from "./quantity.ts";
import { folded } from "./text.ts";

const NUMBERING =
  /^(?:[一二三四五六七八九十]{1,3}、|\([一二三四五六七八九十]{1,3}\)|\d{1,2}[.、]|\(\d{1,2}\))/;
const PREFIX = /^(?:其中|加|减|其中包括):/;
const SIGN_REMARK = /\([^()]*号填列\)/g;
const COMPANY_PREFIX =
  /^(?:截[至止]报告期末|报告期内?|报告期末)?(?:本公司|公司)?(?:(?:本期|本年度?)(?!末))?的?(?=.{2})/;

const TOO_LITTLE = new RegExp(
  [
    "^(?:合计|小计|总计|其他|其它|项目|数量|金额|比例|名称|人数|单位|序号|无|是|否|不适用)$",
    "影响额|账面|原值|坏账|期初|本期增加|本期减少|其中|调整|差异|上年|上期|同期",
    "^(?:第[一二三四五]名|单位[一二三四五]|客户|供应商)",
  ].join("|"),
);
const LONGEST = 26;

/** The item that a row's label names, or undefined when it names none by itself. */
export function rowItem(label: string): string | undefined {
  let name = folded(label).replace(SIGN_REMARK, "");
  for (let before = ""; before !== name;) {
    before = name;
    name = name.replace(NUMBERING, "").replace(PREFIX, "");
  }
  name = withoutUnit(name).replace(COMPANY_PREFIX, "").replace(/[*#]+$/, "");
  return isItem(name) ? worded(name) : undefined;
}

export function isItem(name: string): boolean {
  return name.length >= 2 && name.length <= LONGEST && !TOO_LITTLE.test(name) &&
    /^[\u4e00-\u9fff]/.test(name) && /[\u4e00-\u9fff)]$/.test(name) &&
    !/\d{3}|[:;。、,|√□]/.test(name);
}

/** Brackets inside Chinese text are full width again. */
export function worded(name: string): string {
  return name.replace(/\(/g, "（").replace(/\)/g, "）");
}

/** One key for the wordings in which reports name one item. */
export function itemKey(item: string): string {
  return folded(item).replace(
    /归属于?(?:上市公司|母公司|本公司|公司)(?:普通股)?(?:股东|所有者)/,
    "归母",
  ).replace(/的/g, "");
}
