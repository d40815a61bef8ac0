/** What a schema takes, in words: "a number from 0 to 2", "a text or a list of texts". */
import type { z } from "zod";

export type Schema = z.core.$ZodType & { _zod: { def: z.core.$ZodTypeDef & Partial<Parts> } };

/** What the definitions of the kinds of schemas hold, each kind some of it. */
interface Parts {
  checks: { _zod: { def: Check } }[];
  format: string;
  shape: Record<string, unknown>;
  innerType: Schema;
  element: Schema;
  options: Schema[];
  values: unknown[];
  entries: Record<string, unknown>;
}

interface Check {
  check: string;
  format?: string;
  value?: number;
  inclusive?: boolean;
  minimum?: number;
  maximum?: number;
}

const LONGEST = 60; // characters of a value that are shown

/** `most`: the largest number where the schema names none; null: it is not said. */
export function expectationOf(schema: Schema, most: number | null = null): string {
  const { def } = schema._zod;
  switch (def.type) {
    case "string":
      return `a ${filled(schema)}text${lengths(schema, "characters")}`;
    case "number":
      return `${isInteger(schema) ? "an integer" : "a number"}${range(schema, most)}`;
    case "boolean":
      return "true or false";
    case "null":
      return "null";
    case "literal":
      return listed(def.values!.map(spoken));
    case "enum":
      return listed(Object.values(def.entries!).map(spoken));
    case "array":
      return `a ${filled(schema)}list of ${many(def.element!)}${lengths(schema, "entries")}`;
    case "object":
    case "record":
      return "an object";
    case "union":
      return listed(def.options!.map((option) => expectationOf(option)));
    case "optional":
    case "nullable":
    case "default":
      return expectationOf(def.innerType!);
    default:
      return "another value";
  }
}

/** A value as JSON has it, cut short. */
export function spoken(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
}

function many(schema: Schema): string {
  const { def } = schema._zod;
  switch (def.type) {
    case "string":
      return "texts";
    case "number":
      return isInteger(schema) ? "integers" : "numbers";
    case "array":
      return `lists of ${many(def.element!)}`;
    default:
      return "objects";
  }
}

function checksOf(schema: Schema): Check[] {
  return (schema._zod.def.checks ?? []).map(({ _zod }) => _zod.def);
}

export function isInteger(schema: Schema): boolean {
  const formats = [schema._zod.def.format, ...checksOf(schema).map(({ format }) => format)];
  return formats.some((format) => format?.includes("int"));
}

function range(schema: Schema, most: number | null): string {
  const checks = checksOf(schema);
  const low = checks.find(({ check }) => check === "greater_than");
  const high = checks.find(({ check }) => check === "less_than")?.value ?? most ?? undefined;
  if (low === undefined) return high === undefined ? "" : ` of at most ${high}`;
  if (!low.inclusive) return ` above ${low.value}${high === undefined ? "" : `, ${high} at most`}`;
  return high === undefined ? ` of at least ${low.value}` : ` from ${low.value} to ${high}`;
}

const minimum = (schema: Schema): number =>
  checksOf(schema).find(({ check }) => check === "min_length")?.minimum ?? 0;

const filled = (schema: Schema): string => minimum(schema) === 1 ? "non-empty " : "";

function lengths(schema: Schema, noun: "characters" | "entries"): string {
  const low = minimum(schema);
  const high = checksOf(schema).find(({ check }) => check === "max_length")?.maximum;
  if (low <= 1) return high === undefined ? "" : ` of at most ${high} ${noun}`;
  return high === undefined ? ` of at least ${low} ${noun}` : ` of ${low} to ${high} ${noun}`;
}

function listed(all: string[]): string {
  const parts = [...new Set(all)];
  return parts.length === 1 ? parts[0]! : `${parts.slice(0, -1).join(", ")} or ${parts.at(-1)}`;
}
