/** `/healthz`: this process answers. `/readyz`: it can take work. Neither waits for Python. */
import { createRoute, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import type { Service } from "../core/service.ts";
import type { App } from "./router.ts";
import { answers } from "./responses.ts";

const Ready = z.object({ ready: z.boolean() });
const Readiness = Ready.extend({
  store: z.string(),
  engine: z.object({
    state: z.string(),
    restarts: z.int(),
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
