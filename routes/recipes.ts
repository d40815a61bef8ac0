/** A request body that is YAML or JSON, told apart by its content type. */
import type { Context } from "hono";
import { z } from "zod";
import { BullionError } from "../contract/errors.ts";
import { isKey } from "../core/config/keys/table.ts";
import { fromZod } from "./errors.ts";

export type RecipeBody<T> = { kind: "yaml"; text: string } | { kind: "json"; body: T };

const YAML = /^(application|text)\/(x-)?yaml\b/;

/** Reads the body; JSON is checked by `schema`, YAML is left to core/config. */
export async function recipeOf<T>(c: Context, schema: z.ZodType<T>): Promise<RecipeBody<T>> {
  const type = c.req.header("content-type") ?? "";
  if (YAML.test(type)) return { kind: "yaml", text: await c.req.text() };
  if (!/^application\/json\b/.test(type)) {
    throw new BullionError(
      "unsupported_media_type",
      `Cannot read a body of type ${type || "(none given)"}: send application/json, or ` +
        "LLaMA-Factory's YAML with -H 'Content-Type: application/yaml' --data-binary @FILE.yaml",
    );
  }
  let value: unknown;
  try {
    value = JSON.parse(await c.req.text());
  } catch (cause) {
    throw new BullionError(
      "invalid_json",
      `Cannot read the request body as JSON: ${(cause as Error).message}`,
      { cause },
    );
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return { kind: "json", body: parsed.data };
  throw yamlAsJson(c, value, parsed.error) ?? fromZod(parsed.error, "the body");
}

/** A body that is not OpenAI's at all: the keys of a YAML, sent as JSON. */
function yamlAsJson(c: Context, body: unknown, { issues }: z.core.$ZodError): BullionError | null {
  const unknown = issues.flatMap((issue) =>
    issue.code === "unrecognized_keys" && issue.path.length === 0 ? issue.keys : []
  );
  const keys = unknown.filter(isKey);
  const has = (key: string) => Object.hasOwn(body as object, key);
  if (keys.length === 0 || has("model") || has("training_file")) return null;
  const shown = keys.slice(0, 3).join(", ") + (keys.length > 3 ? ", …" : "");
  return new BullionError(
    "unknown_parameter",
    `Cannot read this LLaMA-Factory configuration (${shown}) as JSON: send it to ${c.req.path} with ` +
      "Content-Type: application/yaml, which takes JSON's notation as well, or use OpenAI's fields " +
      "(model, training_file)",
    { param: keys[0]! },
  );
}

/** What OpenAPI says of such a body. */
export function recipeBody<T extends z.ZodType>(schema: T) {
  return {
    content: {
      // As a plain object it is documented and not validated, so that YAML is not read as JSON.
      "application/json": { schema: z.toJSONSchema(schema, { unrepresentable: "any" }) as object },
      "application/yaml": { schema: { type: "string" as const } },
    },
  };
}
