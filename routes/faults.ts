/**
 * Zod's faults in our words: what is wrong, which value it was, what is taken instead.
 *
 * `sentenceOf` is zod's error map, which alone sees values and schemas; `faultsOf` lays the issues that
 * came of it side by side, each with its path. Neither knows which route was asked.
 */
import type { z } from "zod";
import { instead, nearest } from "../core/config/nearest.ts";
import { expectationOf, isInteger, type Schema, spoken } from "./expectations.ts";

/** Unknown keys of one place that are named; looking for what was meant takes time for each. */
export const MOST_UNKNOWN = 5;

export interface Fault {
  path: string; // messages[2].content
  sentence: string;
  isUnknown: boolean; // the path ends in a key that there is not
}

type RawIssue = z.core.$ZodRawIssue;

/** One sentence for an issue; for unknown keys a line for each. */
export function sentenceOf(issue: RawIssue): string | undefined {
  const schema = (issue.schema ?? issue.inst) as Schema | undefined;
  switch (issue.code) {
    case "unrecognized_keys": {
      const known = Object.keys(schema?._zod.def.shape ?? {});
      return issue.keys.slice(0, MOST_UNKNOWN)
        .map((key) => `there is no such key; ${meant(key, known)}`).join("\n");
    }
    case "invalid_key":
      return `${issue.issues[0]?.message ?? "cannot be a key here"}, got ${spoken(issue.input)}`;
    case "invalid_value":
      return needed(issue.values, issue.input);
    case "invalid_union":
      if (issue.discriminator !== undefined) {
        const tagged = issue.input as Record<string, unknown>;
        return needed(issue.options as unknown[], tagged[issue.discriminator]);
      }
      return schema && needed(expectationOf(schema), issue.input);
    case "invalid_type":
    case "too_small":
    case "too_big":
      if (schema === undefined) return issue.input === undefined ? "is missing" : undefined;
      return isInteger(schema) && isRounded(issue.input)
        ? `${expectationOf(schema, Number.MAX_SAFE_INTEGER)} is needed, got about ${
          issue.input.toPrecision(4)
        }`
        : needed(expectationOf(schema), issue.input);
    default:
      return undefined;
  }
}

/** Keys of OpenAI's past, and of the sister interface, that stand beside no name like theirs. */
const TODAY = new Map([
  ["functions", "tools"],
  ["function_call", "tool_choice"],
  ["max_completion_tokens", "max_tokens"],
]);

function meant(key: string, known: string[]): string {
  const today = TODAY.get(key);
  return today !== undefined && known.includes(today)
    ? `the one for it is ${today}`
    : instead(key, known);
}

/** Whether JavaScript may have rounded the value, so that it need not be the one that was sent. */
function isRounded(value: unknown): value is number {
  return Number.isInteger(value) && !Number.isSafeInteger(value);
}

/** Every fault of a failed check, each once, in zod's order. `where` stands for an empty path. */
export function faultsOf(issues: readonly z.core.$ZodIssue[], where: string): Fault[] {
  const faults = issues.flatMap((issue) => faultsAt(issue, [], where));
  const once = new Map(faults.map((fault) => [`${fault.path}: ${fault.sentence}`, fault]));
  return [...once.values()];
}

function faultsAt(issue: z.core.$ZodIssue, before: PropertyKey[], where: string): Fault[] {
  const path = [...before, ...issue.path];
  if (issue.code === "unrecognized_keys") {
    const sentences = issue.message.split("\n");
    return issue.keys.map((key, i) => ({
      path: written([...path, key]),
      sentence: sentences[i] ?? "there is no such key",
      isUnknown: true,
    }));
  }
  if (issue.code === "invalid_union") {
    // Where one member alone is of the value's kind, its own faults say more than a list of members.
    const [member, ...more] = issue.errors.filter((faults) => !faults.some(isOfAnotherKind));
    if (member && more.length === 0) return member.flatMap((fault) => faultsAt(fault, path, where));
  }
  return [{ path: written(path) || where, sentence: issue.message, isUnknown: false }];
}

function isOfAnotherKind({ path, code }: z.core.$ZodIssue): boolean {
  return path.length === 0 &&
    (code === "invalid_type" || code === "invalid_value" || code === "invalid_union");
}

/** `wanted` is a description, or the words that are taken. */
function needed(wanted: string | readonly unknown[], value: unknown): string {
  const words = typeof wanted === "string" ? [] : wanted;
  const one = words.length > 1 ? "one of " : "";
  const what = typeof wanted === "string" ? wanted : one + words.map(spoken).join(", ");
  if (value === undefined) return `is missing; ${what} is needed`;
  if (Number.isNaN(value)) return `${what} is needed`; // a query's text that is no number
  if (words.length === 1) return `only ${what} is possible here, got ${spoken(value)}`;
  const near = typeof value === "string" ? nearest(value, words.map(String)) : null;
  const hint = near === null ? "" : `; the nearest one is ${spoken(near)}`;
  return `${what} is needed, got ${spoken(value)}${hint}`;
}

const LONGEST = 100; // characters of a key that are shown

function written(path: PropertyKey[]): string {
  return path.reduce<string>((text, part) => {
    if (typeof part === "number") return `${text}[${part}]`;
    const name = String(part);
    const shown = name.length > LONGEST ? `${name.slice(0, LONGEST)}…` : name;
    return text === "" ? shown : `${text}.${shown}`;
  }, "");
}
