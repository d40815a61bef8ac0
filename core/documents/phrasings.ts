/** The list of phrasings (configs/phrasings.zh.yaml): how a kind of fact is asked and answered. */
import { parse } from "@std/yaml";
import { z } from "zod";
import { type Fact, FactKind } from "../../contract/document.ts";
import { BullionError } from "../../contract/errors.ts";

const Phrasing = z.strictObject({ answer: z.string(), questions: z.array(z.string()).min(1) });
const Phrasings = z.strictObject({
  trained: z.int().positive(),
  kinds: z.record(FactKind, Phrasing),
}).check(({ value, issues }) => {
  for (const [kind, { questions }] of Object.entries(value.kinds)) {
    if (questions.length <= value.trained) {
      issues.push({
        code: "custom",
        input: questions,
        path: ["kinds", kind, "questions"],
        message: `needs more than the ${value.trained} trained ones, to ask afterwards`,
      });
    }
  }
});
export type Phrasings = z.infer<typeof Phrasings>;

/** @throws BullionError phrasings_invalid, naming every fault. */
export function parsePhrasings(yaml: string, name: string): Phrasings {
  const refuse = (why: string, cause: unknown): never => {
    throw new BullionError("phrasings_invalid", `Cannot use phrasings ${name}: ${why}`, { cause });
  };
  let data: unknown;
  try {
    data = parse(yaml);
  } catch (cause) {
    return refuse(`it is not YAML (${cause instanceof Error ? cause.message : cause})`, cause);
  }
  const result = Phrasings.safeParse(data);
  if (!result.success) return refuse(z.prettifyError(result.error), result.error);
  return result.data;
}

/** @throws BullionError phrasings_missing, phrasings_invalid. */
export async function loadPhrasings(path: string): Promise<Phrasings> {
  const yaml = await Deno.readTextFile(path).catch((cause: unknown): never => {
    throw new BullionError(
      "phrasings_missing",
      `Cannot read phrasings ${path}: pass the path of a file such as configs/phrasings.zh.yaml`,
      { cause },
    );
  });
  return parsePhrasings(yaml, path);
}

/** A phrasing with a fact's words in its slots. */
export function fill(phrasing: string, fact: Fact): string {
  return phrasing.replace(
    /\{(company|period|item|value)\}/g,
    (_, slot: "company" | "period" | "item" | "value") => fact[slot],
  );
}
