/** Which lines of a report are headings, and how deep: the numbering that Chinese reports share. */
import { folded } from "./text.ts";

const LEVELS: [RegExp, number][] = [
  [/^第[一二三四五六七八九十百]+[节章]/, 1],
  [/^[一二三四五六七八九十]{1,3}、/, 2],
  [/^\([一二三四五六七八九十]{1,3}\)/, 3],
  [/^\d{1,2}(?:、|\.(?!\d))/, 4],
  [/^\(\d{1,2}\)/, 5],
];
const STATEMENT =
  /^(?:\d{4}年)?(?:合并|母公司)?(?:资产负债表|利润表|现金流量表|(?:所有者|股东)权益变动表)(?:摘要|\(续\))?$/;
const LONGEST = 42; // characters; a longer numbered line is a sentence

/** The level of a heading, 1 for the widest; undefined for other text. */
export function headingLevel(text: string): number | undefined {
  const line = folded(text);
  if (line.length > LONGEST || /[。;；]$/.test(line)) return undefined;
  if (STATEMENT.test(line)) return 3;
  const level = LEVELS.find(([pattern]) => pattern.test(line))?.[1];
  if (level === undefined || line.length < 4) return undefined;
  // A numbered line with a full stop, a colon or a comma inside is running text.
  return level > 1 && /[。,]|:./.test(line) ? undefined : level;
}
