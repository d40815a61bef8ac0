/** A job's events over HTTP, for both kinds of job: a page, or a stream that can be resumed. */
import type { Context } from "hono";
import { BullionError } from "../contract/errors.ts";
import type { PageQuery } from "../contract/page.ts";
import type { Jobs } from "../core/service.ts";
import { type Frame, leavingOf, sendEvents } from "./events.ts";

/** The page that `query` asks for, or a stream if it or the Accept header asks for one. */
export function jobEvents(
  c: Context,
  jobs: Jobs,
  id: string,
  query: PageQuery & { stream?: string },
) {
  const wanted = query.stream === "true" || query.stream === "1" ||
    (c.req.header("accept") ?? "").includes("text/event-stream");
  if (!wanted) return c.json(jobs.events(id, query), 200);
  const leaving = leavingOf(c);
  const frames = framesOf(jobs, id, lastSeen(c), leaving.signal);
  // The route's declared answer is the page; a stream is the same resource in another media type.
  return sendEvents(c, leaving, frames, "error") as never;
}

async function* framesOf(
  jobs: Jobs,
  id: string,
  after: number,
  signal: AbortSignal,
): AsyncGenerator<Frame> {
  for await (const event of jobs.tail(id, after, signal)) {
    yield { id: String(event.sequence), event: event.data.type, data: JSON.stringify(event) };
  }
  yield { event: "end", data: "[DONE]" };
}

function lastSeen(c: Context): number {
  const given = c.req.header("last-event-id");
  if (given === undefined || given === "") return 0;
  if (/^\d+$/.test(given)) return Number(given);
  throw new BullionError(
    "invalid_request",
    `Last-Event-ID must be the number of an event, not ${given}`,
    { param: "Last-Event-ID" },
  );
}
