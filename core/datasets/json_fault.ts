/**
 * Where a text stops being JSON. `JSON.parse` says so for some mistakes only; this is asked after it has
 * refused, and says what was due at which place.
 */

export interface JsonFault {
  offset: number;
  what: string;
}

const SPACE = /[ \t\r\n]*/y;
const ESCAPE = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;
const OTHER_VALUE = /(?:-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?|true|false|null)(?![\w.])/y;

/** What may come next. `more` is after a value inside an object or a list. */
type Due = "value" | "value or ]" | "name" | "name or }" | "colon" | "more" | "nothing";

/** The first fault; null for a text that is JSON. */
export function jsonFault(text: string): JsonFault | null {
  const open: ("{" | "[")[] = [];
  let due = "value" as Due;
  let offset = 0;
  const takes = (pattern: RegExp): boolean => {
    pattern.lastIndex = offset;
    if (!pattern.test(text)) return false;
    offset = pattern.lastIndex;
    return true;
  };
  const fault = (expected: string): JsonFault => ({
    offset,
    what: `${expected} is due, found ${found(text, offset)}`,
  });
  const afterValue = (): Due => open.length === 0 ? "nothing" : "more";
  while (true) {
    takes(SPACE);
    const next = text[offset];
    if (due === "nothing") return next === undefined ? null : fault("the end of the record");
    const closes =
      (next === "]" && (due === "value or ]" || due === "more") && open.at(-1) === "[") ||
      (next === "}" && (due === "name or }" || due === "more") && open.at(-1) === "{");
    if (closes) {
      open.pop();
      offset++;
      due = afterValue();
    } else if (next === '"' && due !== "colon" && due !== "more") {
      const end = endOfString(text, offset);
      if (typeof end !== "number") return end;
      offset = end;
      due = due === "name" || due === "name or }" ? "colon" : afterValue();
    } else if (due === "name" || due === "name or }") {
      return fault("a name in double quotes");
    } else if (due === "colon") {
      if (next !== ":") return fault("a colon");
      offset++;
      due = "value";
    } else if (due === "more") {
      if (next !== ",") return fault(`a comma or ${open.at(-1) === "{" ? "}" : "]"}`);
      offset++;
      due = open.at(-1) === "{" ? "name" : "value";
    } else if (next === "{" || next === "[") {
      open.push(next);
      offset++;
      due = next === "{" ? "name or }" : "value or ]";
    } else if (takes(OTHER_VALUE)) {
      due = afterValue();
    } else {
      return fault("a value");
    }
  }
}

/** The place after the string that begins at `start`, or what is wrong in it. */
function endOfString(text: string, start: number): number | JsonFault {
  for (let i = start + 1; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 0x22) return i + 1;
    if (code < 0x20) {
      const name = code === 10 ? "a line break" : code === 9 ? "a tab" : "a control character";
      return { offset: i, what: `${name} stands in a text; write it as an escape such as \\n` };
    }
    if (code !== 0x5c) continue;
    ESCAPE.lastIndex = i;
    if (!ESCAPE.test(text)) return { offset: i, what: `${text.slice(i, i + 2)} is no escape` };
    i = ESCAPE.lastIndex - 1;
  }
  return { offset: start, what: "a text begins here and its closing quote is missing" };
}

function found(text: string, offset: number): string {
  const rest = text.slice(offset, offset + 12).split("\n")[0]!;
  return rest === "" ? "the end" : rest;
}
