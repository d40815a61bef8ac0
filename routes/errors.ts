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
import { faultsOf, MOST_UNKNOWN } from "./faults.ts";

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
const STATUS: Record<string, number> = {
  directory_not_found: 400, // a value of the request, not what its path names
  invalid_api_key: 401,
  hub_access_denied: 403,
  wrong_folder_key: 403,
  method_not_allowed: 405,
  output_name_in_use: 409,
  export_dir_taken: 409,
  data_folder_in_use: 409,
  job_not_running: 409,
  job_not_paused: 409,
  job_ended: 409,
  job_status_conflict: 409,
  model_in_use: 409,
  model_not_ready: 409,
  request_too_large: 413,
  file_too_large: 413,
  dataset_too_large: 413,
  unsupported_media_type: 415,
  unsupported_content_encoding: 415,
  queue_full: 429,
  cancelled: 499, // nobody reads it: the client has gone
  internal_error: 500,
  python_exception: 500,
  malformed_answer: 500,
  malformed_message: 500,
  hub_unreachable: 502,
  python_missing: 503,
  python_module_missing: 503,
  python_died: 503,
  python_timeout: 503,
  model_not_loaded: 503,
  engine_unavailable: 503,
  missing_package: 503,
  service_stopping: 503,
  disk_full: 507,
  out_of_memory: 507,
  does_not_fit: 507,
};

/** Seconds after which it makes sense to ask again. */
const RETRY_AFTER: Record<string, number> = {
  queue_full: 1,
  model_not_loaded: 1,
  python_died: 5,
  python_timeout: 5,
  engine_unavailable: 10,
  service_stopping: 10,
};

export function statusOf({ code }: BullionError): ContentfulStatusCode {
  return (STATUS[code] ?? (code.endsWith("_not_found") ? 404 : 400)) as ContentfulStatusCode;
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
  const error = ofRequest(c, thrown);
  const status = statusOf(error);
  if (status === 500) {
    log(`${c.req.method} ${c.req.path}: ${error.message}\n${traceOf(thrown)}`);
  }
  const wait = RETRY_AFTER[error.code];
  if (wait !== undefined) c.header("Retry-After", String(wait));
  return c.json(bodyOf(error), status);
}

/** A failed zod check as one error: its faults named, `param` the first one's path. */
export function fromZod(error: z.core.$ZodError, where: string): BullionError {
  const faults = faultsOf(error.issues, where);
  const [first] = faults;
  const unnamed = new Set(faults.filter(({ isUnknown }) => isUnknown).slice(MOST_UNKNOWN));
  const sentences = faults
    .filter((fault) => !unnamed.has(fault))
    .map(({ path, sentence }) => `${path}: ${sentence}`);
  if (unnamed.size > 0) sentences.push(`and ${unnamed.size} more unknown keys`);
  const message = sentences.join("; ");
  const param = first === undefined || first.path === where ? null : first.path;
  const code = first?.isUnknown ? "unknown_parameter" : "invalid_request";
  return new BullionError(code, message, { param, cause: error });
}

function ofRequest(c: Context, thrown: unknown): BullionError {
  if (thrown instanceof HTTPException) return fromHono(c, thrown);
  if (hasLeft(c) || isBrokenOff(thrown)) {
    return new BullionError("cancelled", "The client left before the answer", { cause: thrown });
  }
  if (thrown instanceof RangeError && /call stack/.test(thrown.message)) {
    const message =
      "Cannot take the request in: it has too many faults to name, or is nested too " +
      "deeply. Send a small part of it to see what is wrong";
    return new BullionError("invalid_request", message, { cause: thrown });
  }
  return asBullionError(thrown);
}

function hasLeft(c: Context): boolean {
  return c.req.raw.signal.aborted;
}

/** node:http's word for a connection that ended within a request's body. */
function isBrokenOff(thrown: unknown): boolean {
  return thrown instanceof Error && thrown.message === "aborted" &&
    (thrown as Error & { code?: string }).code === "ECONNRESET";
}

/** What Hono and its validators refuse by themselves, in our words. */
function fromHono(c: Context, cause: HTTPException): BullionError {
  if (cause.status === 415) {
    const taken = c.req.path === "/v1/files"
      ? "multipart/form-data, as curl -F sends it"
      : "application/json, with curl -H 'Content-Type: application/json'";
    const type = c.req.header("content-type") ?? "(none given)";
    const message = `Cannot read a body of type ${type}: send ${taken}`;
    return new BullionError("unsupported_media_type", message, { cause });
  }
  const malformed = /JSON/i.test(cause.message);
  return malformed
    ? unreadable("JSON", cause)
    : new BullionError("invalid_request", cause.message, { cause });
}

/** A body that is no text of its format. */
export function unreadable(format: "JSON" | "YAML", cause: unknown): BullionError {
  return new BullionError(
    format === "JSON" ? "invalid_json" : "invalid_request",
    `Cannot read the request body as ${format}: check its syntax and encoding (UTF-8)`,
    { cause },
  );
}

function traceOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  const cause = thrown.cause === undefined ? "" : `\ncaused by ${traceOf(thrown.cause)}`;
  return `${thrown.stack ?? thrown.message}${cause}`;
}
