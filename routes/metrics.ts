/** `/metrics` in Prometheus' text format, and the count of every request that is answered. */
import { createRoute, z } from "@hono/zod-openapi";
import { matchedRoutes } from "hono/route";
import type { Context, Next } from "hono";
import type { Service } from "../core/service.ts";
import type { App } from "./router.ts";
import { answers } from "./responses.ts";

const TEXT = "text/plain; version=0.0.4; charset=utf-8";

const metrics = createRoute({
  method: "get",
  path: "/metrics",
  tags: ["Health"],
  summary: "Requests, queue, tokens, latencies and memory as Prometheus reads them",
  responses: {
    ...answers(z.string(), "Prometheus' text format"),
    200: {
      description: "Prometheus' text format",
      content: { "text/plain": { schema: z.string() } },
    },
  },
});

export function addMetrics(app: App, service: Service): void {
  app.openapi(metrics, async (c) => {
    const text = await service.metrics.text(await service.health());
    return c.body(text, 200, { "Content-Type": TEXT }) as never;
  });
}

/** Counts by the route's pattern, so that ids and unknown paths make no new series. */
export function counting(service: Service) {
  return async (c: Context, next: Next) => {
    const began = performance.now();
    await next();
    const route = matchedRoutes(c).findLast(({ method }) => method !== "ALL");
    const path = route?.path ?? "unmatched";
    const method = route?.method ?? "ANY";
    service.metrics.request(method, path, c.res.status, (performance.now() - began) / 1000);
  };
}
