/**
 * The one writer of server-sent events: frames, heartbeats, the client's leaving.
 *
 * Written for thousands of small frames a second: one stream that is pulled by its reader, without the
 * writer's queue and the second stream of Hono's helper. What goes wrong is written as the last event.
 */
import type { Context } from "hono";
import { asBullionError } from "../contract/errors.ts";
import { bodyOf } from "./errors.ts";

const HEARTBEAT_MS = 15_000;
const HEAD = {
  "Content-Type": "text/event-stream",
  "Cache-Control": "no-cache",
  "X-Accel-Buffering": "no", // a proxy must not hold frames back
};
const encoder = new TextEncoder();

export interface Frame {
  data: string;
  id?: string;
  event?: string;
}

/** Aborts when the client leaves before there is a stream; `sendEvents` does so from then on. */
export function leavingOf(c: Context): AbortController {
  const leaving = new AbortController();
  const { signal } = c.req.raw;
  if (signal.aborted) leaving.abort();
  else signal.addEventListener("abort", () => leaving.abort(), { once: true });
  return leaving;
}

/**
 * Sends what `frames` yields until it ends or the client leaves, which aborts `leaving`. An error is
 * sent as a frame with OpenAI's error body, named `errorEvent` where the protocol has named events.
 */
export function sendEvents(
  c: Context,
  leaving: AbortController,
  frames: AsyncIterable<Frame>,
  errorEvent?: string,
): Response {
  const iterator = frames[Symbol.asyncIterator]();
  let heartbeat: ReturnType<typeof setInterval> | undefined;
  const leave = () => {
    clearInterval(heartbeat);
    leaving.abort();
  };
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      const beat = () => controller.enqueue(encoder.encode(": keep-alive\n\n"));
      heartbeat = setInterval(beat, HEARTBEAT_MS);
    },
    async pull(controller) {
      const frame = await nextOf(iterator, errorEvent);
      if (leaving.signal.aborted) return;
      if (frame !== null) controller.enqueue(encoder.encode(textOf(frame)));
      if (frame !== null && !("last" in frame)) return;
      leave();
      controller.close();
    },
    cancel() {
      leave();
      iterator.return?.().catch(() => {});
    },
  });
  return c.body(body, 200, HEAD);
}

/** The next frame, null at the end; an error as a frame that is the last. */
async function nextOf(
  frames: AsyncIterator<Frame>,
  errorEvent?: string,
): Promise<Frame | Frame & { last: true } | null> {
  try {
    const { done, value } = await frames.next();
    return done ? null : value;
  } catch (thrown) {
    const data = JSON.stringify(bodyOf(asBullionError(thrown)));
    return { data, event: errorEvent, last: true };
  }
}

function textOf({ event, data, id }: Frame): string {
  const named = event === undefined ? "" : `event: ${event}\n`;
  const lines = data.includes("\n") ? data.replaceAll("\n", "\ndata: ") : data;
  return `${named}data: ${lines}\n${id === undefined ? "" : `id: ${id}\n`}\n`;
}
