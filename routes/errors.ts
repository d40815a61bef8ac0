/**
 * Domain errors as HTTP: the only place that knows which status a code has.
 *
 * The body is OpenAI's `{"error": {message, type, param, code}}` for every answer that is no success.
 */
import type { Context } from "hono";
import { HTTPException } from "hono/http-exception";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { z } from "zod";
import { asBullionError, BullionError } from "../contract/errors.ts";

export const ErrorBody = z.object({
  error: z.object({
    message: z.string(),
    type: z.string(),
    param: z.string().nullable(),
    code: z.string().nullable(),
  }),
}).meta({ id: "Error" });
export type ErrorBody = z.infer<typeof ErrorBody>;

/** Statuses of codes that are not 400. A code that ends in `_not_found` is 404. */
const STATUS: Record<string, ContentfulStatusCode> = {
  invalid_api_key: 401,
  method_not_allowed: 405,
  output_name_in_use: 409,
  data_folder_in_use: 409,
  job_not_running: 409,
  job_not_paused: 409,
  job_ended: 409,
  job_not_finished: 409,
  model_in_use: 409,
  dataset_in_use: 409,
  file_in_use: 409,
  request_too_large: 413,
  file_too_large: 413,
  unsupported_media_type: 415,
  queue_full: 429,
  internal_error: 500,
  python_exception: 500,
  malformed_answer: 500,
  malformed_message: 500,
  python_missing: 503,
  python_module_missing: 503,
  python_died: 503,
  python_timeout: 503,
  engine_unavailable: 503,
  closing: 503,
  hub_unreachable: 502,
  disk_full: 507,
  out_of_memory: 507,
};

/** Seconds after which it makes sense to ask again. */
const RETRY_AFTER: Record<string, number> = {
  queue_full: 1,
  engine_unavailable: 10,
  python_died: 5,
};

export function statusOf(error: BullionError): ContentfulStatusCode {
  return STATUS[error.code] ?? (error.code.endsWith("_not_found") ? 404 : 400);
}

function typeOf(status: number): string {
  if (status === 401) return "authentication_error";
  if (status === 429) return "rate_limit_error";
  return status >= 500 ? "server_error" : "invalid_request_error";
}

export function bodyOf(error: BullionError): ErrorBody {
  const { message, param, code } = error;
  return { error: { message, type: typeOf(statusOf(error)), param, code } };
}

/** Anything thrown in a handler as a response; what is our fault goes to the log with its cause. */
export function respond(c: Context, thrown: unknown, log: (line: string) => void): Response {
  const error = thrown instanceof HTTPException ? fromHono(thrown) : asBullionError(thrown);
  const status = statusOf(error);
  if (status === 500) {
    log(`${c.req.method} ${c.req.path}: ${error.message}\n${traceOf(thrown)}`);
  }
  const wait = RETRY_AFTER[error.code];
  if (wait !== undefined) c.header("Retry-After", String(wait));
  return c.json(bodyOf(error), status);
}

/** A failed zod check as one error: every fault named, `param` the first one's path. */
export function fromZod(error: z.core.$ZodError, where: string): BullionError {
  const faults = error.issues.map((issue) => {
    const path = issue.path.join(".");
    return `${path || where}: ${issue.message}`;
  });
  const first = error.issues[0];
  const unknown = first?.code === "unrecognized_keys" ? first.keys[0] : undefined;
  const param = [...(first?.path ?? []), ...(unknown ? [unknown] : [])].join(".");
  const code = unknown ? "unknown_parameter" : "invalid_request";
  return new BullionError(code, faults.join("; "), { param: param || null, cause: error });
}

function fromHono(error: HTTPException): BullionError {
  if (error.status === 413) {
    return new BullionError("request_too_large", error.message || "The request body is too large");
  }
  const malformed = /JSON/i.test(error.message);
  const message = malformed
    ? "Cannot read the request body as JSON: check its syntax and encoding (UTF-8)"
    : error.message;
  return new BullionError(malformed ? "invalid_json" : "invalid_request", message, {
    cause: error,
  });
}

function traceOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  const cause = thrown.cause === undefined ? "" : `\ncaused by ${traceOf(thrown.cause)}`;
  return `${thrown.stack ?? thrown.message}${cause}`;
}
