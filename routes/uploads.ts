/** A request body as it came, whatever its content type: what `curl --data-binary @file` sends. */
import type { Context } from "hono";
import { BullionError } from "../contract/errors.ts";

export function uploadOf(c: Context, example: string): ReadableStream<Uint8Array> {
  const body = c.req.raw.body;
  if (body === null) {
    throw new BullionError("empty_body", `Cannot store an empty body: ${example}`);
  }
  return body;
}

/** What OpenAPI says of such a body. It is never validated as JSON. */
export const anyBody = {
  content: {
    "application/octet-stream": { schema: { type: "string" as const, format: "binary" } },
  },
};
