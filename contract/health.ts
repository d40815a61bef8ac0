/** How the engine is, in the words of `/readyz`. */
import { z } from "zod";

export const EngineState = z.enum([
  "stopped", // nobody has asked for it, or its end was asked for
  "starting",
  "ready",
  "silent", // its process does not answer; if it stays so it is ended and started again
  "failed", // it did not start, or died soon after; it is tried again by itself until it is up
]);
export type EngineState = z.infer<typeof EngineState>;
