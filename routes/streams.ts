/** Chunks of an answer as the frames OpenAI's clients read: one JSON a frame, then `[DONE]`. */
import type { Frame } from "./events.ts";

export async function* chunkFrames(chunks: AsyncIterable<unknown>): AsyncGenerator<Frame> {
  for await (const chunk of chunks) yield { data: JSON.stringify(chunk) };
  yield { data: "[DONE]" };
}
