// docs/training.md lists every key, with the reason that the events and refusals give.
import { deepStrictEqual, ok } from "node:assert/strict";
import { KEYS } from "../../../core/config/keys/table.ts";

const PAGE = Deno.readTextFileSync(new URL("../../../docs/training.md", import.meta.url));

/** The rows that a table of these keys has: a reason, and the keys that share it. */
function rowsOf(kind: "no_effect" | "refused"): string[] {
  const keysOf = new Map<string, string[]>();
  for (const [name, { effect }] of Object.entries(KEYS)) {
    if (effect.kind !== kind) continue;
    keysOf.set(effect.reason, [...keysOf.get(effect.reason) ?? [], `\`${name}\``]);
  }
  return [...keysOf].map(([reason, keys]) => `| ${reason} | ${keys.join(", ")} |`);
}

function tableUnder(heading: string): string[] {
  const section = PAGE.split(`\n### ${heading}\n`)[1]?.split("\n#")[0] ?? "";
  return section.split("\n").filter((line) => line.startsWith("| ")).slice(1);
}

Deno.test("every key that is honoured is described", () => {
  for (const [name, { effect }] of Object.entries(KEYS)) {
    if (effect.kind === "honoured") ok(PAGE.includes(`\`${name}\``), name);
  }
});

Deno.test("every key that changes nothing is listed with its reason", () => {
  deepStrictEqual(tableUnder("Accepted, without effect"), rowsOf("no_effect"));
});

Deno.test("every key that is refused is listed with its reason", () => {
  deepStrictEqual(tableUnder("Refused, unless it has its default"), rowsOf("refused"));
});
