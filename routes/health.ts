/** `/healthz`: this process answers. `/readyz`: it can take work. Neither waits for Python. */
import { createRoute, z } from "@hono/zod-openapi";
import type { Service } from "../core/service.ts";
import type { App } from "./router.ts";
import { answers } from "./responses.ts";

const Readiness = z.object({
  ready: z.boolean(),
  store: z.string(),
  engine: z.object({
    state: z.string(),
    restarts: z.int(),
    engine: z.record(z.string(), z.unknown()).nullable(),
  }),
  chat_suspended: z.string().nullable(),
  jobs: z.object({ running: z.string().nullable(), queued: z.int() }),
});

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
  summary: "Whether work can be taken, and the state of engine and jobs",
  responses: {
    200: { description: "Ready", content: { "application/json": { schema: Readiness } } },
    503: { description: "Not ready", content: { "application/json": { schema: Readiness } } },
  },
});

export function addHealth(app: App, service: Service): void {
  app.openapi(healthz, (c) => c.json({ status: "ok" as const }, 200));
  app.openapi(readyz, async (c) => {
    const health = await service.health();
    return health.ready ? c.json(health, 200) : c.json(health, 503);
  });
}
