/**
 * What is wrong with JSON that a client makes up: schemas, and the arguments of calls. Pure.
 *
 * It looks at what would fail or change on its way to the engine; whether a schema can be followed
 * the engine decides (py/bullion/engine/constrain.py). No recursion: the depth is the client's.
 */
import { HALF_A_CHARACTER } from "../../contract/text.ts";

/** Objects and lists inside each other. Python reads JSON by recursion, and so do chat templates. */
const DEEPEST = 100;

/** Why `value` cannot be handed on, as words behind its name; null: it can. */
export function faultOf(value: unknown): string | null {
  const left: [value: unknown, depth: number][] = [[value, 1]];
  for (let next = left.pop(); next !== undefined; next = left.pop()) {
    const [part, depth] = next;
    if (typeof part === "string" && !part.isWellFormed()) return HALF_A_CHARACTER;
    if (part === Infinity || part === -Infinity) {
      return "has a number beyond ±1.8e308, the largest there is";
    }
    if (part === null || typeof part !== "object") continue;
    if (depth > DEEPEST) {
      return `is nested too deeply: ${DEEPEST} objects and lists inside each other are taken, of which ` +
        "a schema's property is two";
    }
    for (const [key, inner] of Object.entries(part)) {
      if (!key.isWellFormed()) return HALF_A_CHARACTER;
      left.push([inner, depth + 1]);
    }
  }
  return null;
}

const LENGTHS = [
  "minLength",
  "maxLength",
  "minItems",
  "maxItems",
  "minProperties",
  "maxProperties",
];
const RANGE = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"];
const BOUNDS = [...LENGTHS, ...RANGE];
const VALUES = ["const", "enum"];
const NAMED = ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"];
const WITHOUT_EFFECT = ["default", "examples", "example"];

/**
 * The same for a schema that an answer must obey: it is also refused where it holds an answer to an
 * integer that no double tells from its neighbours. Such a bound has been rounded already.
 */
export function schemaFaultOf(schema: Record<string, unknown>): string | null {
  const fault = faultOf(schema);
  if (fault !== null) return fault;
  type Kind = "schema" | "named" | "value";
  const left: [part: unknown, kind: Kind, under: string][] = [[schema, "schema", ""]];
  for (let next = left.pop(); next !== undefined; next = left.pop()) {
    const [part, kind, under] = next;
    if (kind === "value" && isInexact(part)) {
      return `has the integer ${part} in \`${under}\`, which is beyond ±(2^53 − 1): numbers of JSON ` +
        "are doubles here, and it has been rounded; use smaller numbers, or a string";
    }
    if (part === null || typeof part !== "object") continue;
    // A number that need not be whole is the double that stands for it.
    const isNumber = "type" in part && part.type === "number";
    for (const [key, inner] of Object.entries(part)) {
      if (kind !== "schema") left.push([inner, kind === "named" ? "schema" : "value", under]);
      else if (BOUNDS.includes(key)) left.push([inner, "value", key]);
      else if (VALUES.includes(key)) left.push([isNumber ? null : inner, "value", key]);
      else if (NAMED.includes(key)) left.push([inner, "named", key]);
      else if (!WITHOUT_EFFECT.includes(key)) left.push([inner, "schema", key]);
    }
  }
  return null;
}

function isInexact(value: unknown): boolean {
  return Number.isInteger(value) && !Number.isSafeInteger(value);
}
