/** How a route declares its answers, so that /openapi.json says the same everywhere. */
import type { z } from "zod";
import { ErrorBody } from "./errors.ts";

/** A JSON answer of `schema`, and the error shape for everything else. */
export function answers<T extends z.ZodType>(schema: T, description: string) {
  return {
    200: { description, content: { "application/json": { schema } } },
    ...refusals,
  } as const;
}

/** An answer that is not JSON. */
export function raw(contentType: string, description: string) {
  return {
    200: {
      description,
      content: { [contentType]: { schema: { type: "string" as const, format: "binary" } } },
    },
    ...refusals,
  } as const;
}

const refusals = {
  default: {
    description: "What was wrong, which value, what to do",
    content: { "application/json": { schema: ErrorBody } },
  },
} as const;
