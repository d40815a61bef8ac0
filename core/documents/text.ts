/**
 * Clean text: full-width digits and letters to half width, spaces that only typesetting put there
 * removed, and the rule by which broken lines are joined. It changes no word and no number.
 */

const HAN = "\\u3400-\\u9fff";
const WIDE = `${HAN}\\u3001-\\u303f\\uff00-\\uff5f\\u2018\\u2019\\u201c\\u201d`;

/** Radicals and compatibility ideographs, which some fonts map to instead of the character itself. */
const LOOKALIKES = /[\u2e80-\u2fdf\uf900-\ufaff]/g;
const FULL_WIDTH = /[\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\uff05\uff0e\uff0f\uff0d\uff0b]/g;
const SPACE_BESIDE_WIDE = new RegExp(`(?<=[${WIDE}]) +| +(?=[${WIDE}])`, "g");
const SPACE_IN_QUANTITY = /(?<=\d) +(?=%)/g;
const COMMA_IN_NUMBER = /(?<=\d)，(?=\d{3}(?!\d))/g;

/** One stretch of text as it should have been typed. */
export function normalize(text: string): string {
  return text
    .replace(LOOKALIKES, (char) => char.normalize("NFKC"))
    .replace(FULL_WIDTH, (char) => String.fromCharCode(char.charCodeAt(0) - 0xfee0))
    .replace(/[\u2212\u2013](?=\d)/g, "-")
    .replace(/[\s\u00a0\u3000]+/g, " ")
    .replace(SPACE_BESIDE_WIDE, "")
    .replace(SPACE_IN_QUANTITY, "")
    .replace(COMMA_IN_NUMBER, ",")
    .trim();
}

/** Two lines of one paragraph or cell: a space only where two Latin words meet. */
export function joinLines(before: string, after: string): string {
  const gap = /[A-Za-z,;:)]$/.test(before) && /^[A-Za-z(]/.test(after) ? " " : "";
  return normalize(before + gap + after);
}

/** For comparing names of items: no spaces, one kind of bracket, colon and comma. */
export function folded(text: string): string {
  return normalize(text).replace(/\s/g, "")
    .replace(/（/g, "(").replace(/）/g, ")").replace(/：/g, ":").replace(/，/g, ",");
}
