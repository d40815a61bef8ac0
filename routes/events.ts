/**
 * The one writer of server-sent events: frames, heartbeats, the client's leaving.
 *
 * Hono swallows errors of a stream, so what goes wrong in one is written as its last event.
 */
import type { Context } from "hono";
import { streamSSE } from "hono/streaming";
import { asBullionError } from "../contract/errors.ts";
import { bodyOf } from "./errors.ts";

const HEARTBEAT_MS = 15_000;

export interface Frame {
  data: string;
  id?: string;
  event?: string;
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
  c.header("X-Accel-Buffering", "no");
  return streamSSE(c, async (stream) => {
    stream.onAbort(() => leaving.abort());
    const heartbeat = setInterval(() => stream.write(": keep-alive\n\n"), HEARTBEAT_MS);
    try {
      for await (const frame of frames) {
        if (stream.aborted) break;
        await stream.writeSSE(frame);
      }
    } catch (thrown) {
      if (!stream.aborted) {
        const data = JSON.stringify(bodyOf(asBullionError(thrown)));
        await stream.writeSSE(errorEvent ? { data, event: errorEvent } : { data });
      }
    } finally {
      clearInterval(heartbeat);
      leaving.abort();
    }
  });
}
