/** `/healthz`: this process answers. `/readyz`: it can take work, for which Python has two seconds to answer. */
import { createRoute, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { EngineState } from "../contract/health.ts";
import type { Service } from "../core/service.ts";
import type { App } from "./router.ts";
import { answers } from "./responses.ts";

const STATES =
  "silent: its process does not answer within 2 s, and is ended and started again if it " +
  "stays so; failed: it did not start or died soon after, and is tried again by itself with a growing " +
  "pause. Both are not ready; a stopped engine starts with the next request";

const Ready = z.object({ ready: z.boolean() });
const Readiness = Ready.extend({
  store: z.string(),
  engine: z.object({
    state: EngineState.describe(STATES),
    restarts: z.int().describe("Starts after a death nobody asked for, or a failed start"),
    engine: z.record(z.string(), z.unknown()).nullable(),
  }),
  chat_suspended: z.string().nullable(),
  jobs: z.object({ running: z.string().nullable(), queued: z.int() }),
});

const Report = z.union([Readiness, Ready]);

const healthz = createRoute({
  method: "get",
  path: "/healthz",
  tags: ["Health"],
  summary: "Whether the process answers",
  responses: answers(z.object({ status: z.literal("ok") }), "It does"),
});

const readyz = createRoute({
  method: "get",
  path: "/readyz",
  tags: ["Health"],
  summary:
    "Whether work can be taken; with a key, where keys are set, the state of engine and jobs too",
  responses: {
    200: { description: "Ready", content: { "application/json": { schema: Report } } },
    503: { description: "Not ready", content: { "application/json": { schema: Report } } },
  },
});

/** `mayKnow`: who may see more than whether work can be taken; models' paths and jobs' ids are in it. */
export function addHealth(app: App, service: Service, mayKnow: (c: Context) => boolean): void {
  app.openapi(healthz, (c) => c.json({ status: "ok" as const }, 200));
  app.openapi(readyz, async (c) => {
    const health = await service.health();
    const said = mayKnow(c) ? health : { ready: health.ready };
    return c.json(said, health.ready ? 200 : 503);
  });
}
