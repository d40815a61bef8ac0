/**
 * Numbers with units as reports print them. A quantity is kept as text; its number is for comparing.
 */
import { folded } from "./text.ts";

export interface Quantity {
  digits: string; // as printed, with a minus sign where the report has brackets
  unit: string;
}

const MONEY: Record<string, number> = {
  元: 1,
  千元: 1e3,
  万元: 1e4,
  百万元: 1e6,
  亿元: 1e8,
};
const COUNTS = ["人", "户", "股", "万股", "项", "件", "台", "套", "吨", "家", "个", "名", "辆"];
export const UNITS = [
  ...Object.keys(MONEY),
  ...COUNTS,
  "%",
  "元/股",
  "倍",
  "个百分点",
].sort((a, b) => b.length - a.length);
const UNIT = UNITS.join("|").replaceAll("/", "\\/");

const NUMBER = String.raw`-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?`;
const CELL = new RegExp(`^(${NUMBER}|\\(${NUMBER}\\))(${UNIT})?$`);
const POINTS = new RegExp(`^(增加|减少|上升|下降|提高|降低|增长)(${NUMBER})(个百分点|%)$`);

/** A cell that holds a quantity and nothing else; the unit may be missing. */
export function parseCell(text: string): { digits: string; unit: string | undefined } | undefined {
  // Two numbers in one cell are not one number.
  const match = /\d\s+[\d(-]/.test(text) ? null : CELL.exec(folded(text));
  if (!match) return undefined;
  const [, number = "", unit] = match;
  return { digits: number.startsWith("(") ? "-" + number.slice(1, -1) : number, unit };
}

export function toNumber(digits: string): number {
  return Number(digits.replaceAll(",", ""));
}

const BRACKET = new RegExp(`\\((?:人民币|单位:|:)?(${UNIT})\\)`);
const TABLE_UNIT = new RegExp(`(?<!编制)单位[:为]?(?:人民币)?(${UNIT})(?![\\u4e00-\\u9fff])`);
const BEFORE_CURRENCY = new RegExp(`(?<!编制)单位[:为]?(${UNIT})(?=币种|$|[,;)])`);

/** The unit in brackets within a name: 毛利率（%）, 基本每股收益（元/股）. */
export function bracketUnit(name: string): string | undefined {
  return BRACKET.exec(folded(name))?.[1];
}

export function withoutUnit(name: string): string {
  return folded(name).replace(BRACKET, "");
}

/** The unit that a table's lead states; undefined without one or with two that differ. */
export function statedUnit(texts: readonly string[]): string | undefined {
  const found = texts.map((text) => {
    const line = folded(text);
    return (BEFORE_CURRENCY.exec(line) ?? TABLE_UNIT.exec(line))?.[1];
  });
  const units = new Set(found.filter((unit) => unit !== undefined));
  return units.size === 1 ? [...units][0] : undefined;
}

export function isMoney(unit: string): boolean {
  return unit in MONEY;
}

/** How much moved and in which direction, worded the same whoever wrote it; undefined if unclear. */
export function parseChange(text: string, percent: boolean): string | undefined {
  const words = POINTS.exec(folded(text));
  if (words) return worded(/增|升|提/.test(words[1]!), words[2]!, words[3]!);
  const cell = parseCell(text);
  if (!cell || (cell.unit ?? (percent ? "%" : "")) !== "%") return undefined;
  return worded(!cell.digits.startsWith("-"), cell.digits.replace("-", ""), "%");
}

function worded(up: boolean, digits: string, unit: string): string | undefined {
  if (digits.startsWith("-") || toNumber(digits) === 0) return undefined;
  if (unit === "%") return `${up ? "增长" : "下降"}${digits}%`;
  return `${up ? "增加" : "减少"}${digits}${unit}`;
}

/** Whether two printed values can be the same amount, each rounded to its last printed digit. */
export function agree(one: string, other: string): boolean {
  if (one === other) return true;
  const [a, b] = [amount(one), amount(other)];
  if (!a || !b || a.measure !== b.measure) return false;
  return Math.abs(a.value - b.value) <= Math.max(a.step, b.step) * 0.5000001;
}

function amount(value: string): { value: number; step: number; measure: string } | undefined {
  const match = new RegExp(`^(\\D*?)(${NUMBER})(\\D*)$`).exec(value);
  if (!match) return undefined;
  const [, before, digits = "", unit = ""] = match;
  const scale = MONEY[unit] ?? 1;
  const decimals = digits.split(".")[1]?.length ?? 0;
  return {
    value: toNumber(digits) * scale,
    step: scale * 10 ** -decimals,
    measure: before + (unit in MONEY ? "元" : unit),
  };
}

/** Decimal places of a printed number. */
export function decimalsOf(digits: string): number {
  return digits.split(".")[1]?.length ?? 0;
}

/** A number with its unit in running text; groups: digits, unit. */
export const QUANTITY_IN_TEXT = new RegExp(`(${NUMBER})(${UNIT})`, "g");
