/**
 * The one error that crosses rooms, and the shape in which errors cross to and from Python.
 *
 * A code is stable snake_case and part of the interface; the message says what was wrong, what the
 * value was and what to do. Which HTTP status a code has is decided in routes/errors.ts alone.
 */
import { z } from "zod";

/** What an error looks like on a wire: the bridge's and, inside `{"error": …}`, HTTP's. */
export const ErrorDetail = z.object({
  code: z.string(),
  message: z.string(),
  param: z.string().nullable().default(null),
});
export type ErrorDetail = z.infer<typeof ErrorDetail>;

/** A refusal or failure that a user is told about. `cause` keeps what is only for the log. */
export class BullionError extends Error {
  override readonly name = "BullionError";
  readonly code: string;
  readonly param: string | null;

  constructor(
    code: string,
    message: string,
    options: { param?: string | null; cause?: unknown } = {},
  ) {
    super(message, { cause: options.cause });
    this.code = code;
    this.param = options.param ?? null;
  }

  static from(detail: ErrorDetail, cause?: unknown): BullionError {
    return new BullionError(detail.code, detail.message, { param: detail.param, cause });
  }

  get detail(): ErrorDetail {
    return { code: this.code, message: this.message, param: this.param };
  }
}

/** Any thrown thing as a BullionError; what is not one becomes `internal_error` with its cause. */
export function asBullionError(thrown: unknown): BullionError {
  if (thrown instanceof BullionError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new BullionError("internal_error", `Unexpected failure: ${message}`, { cause: thrown });
}
