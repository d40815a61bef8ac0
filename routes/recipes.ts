/** A request body that is YAML or JSON, told apart by its content type. */
import type { Context } from "hono";
import { z } from "zod";
import { BullionError } from "../contract/errors.ts";
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
  if (!parsed.success) throw fromZod(parsed.error, "the body");
  return { kind: "json", body: parsed.data };
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
