/** `/v1/exports`: merges of adapters into full models, started by LLaMA-Factory's YAML. */
import { createRoute, z } from "@hono/zod-openapi";
import { ExportJob, JobEventObject } from "../contract/job.ts";
import { pageOf, PageQuery } from "../contract/page.ts";
import type { Jobs } from "../core/service.ts";
import { originOf } from "./access.ts";
import type { App } from "./router.ts";
import { jobEvents } from "./job_events.ts";
import { recipeBody, recipeOf } from "./recipes.ts";
import { answers } from "./responses.ts";

const tags = ["Exports"];
const params = z.object({ id: z.string() });

/** The same keys as JSON; core/config knows them. */
const ExportBody = z.record(z.string(), z.unknown());

const create = createRoute({
  method: "post",
  path: "/v1/exports",
  tags,
  summary: "Merge and export a model, from LLaMA-Factory's YAML or the same keys as JSON",
  request: { body: recipeBody(ExportBody) },
  responses: answers(ExportJob, "The export"),
});

const list = createRoute({
  method: "get",
  path: "/v1/exports",
  tags,
  summary: "List exports, newest first",
  request: { query: PageQuery },
  responses: answers(pageOf(ExportJob), "A page of exports"),
});

const get = createRoute({
  method: "get",
  path: "/v1/exports/{id}",
  tags,
  summary: "One export",
  request: { params },
  responses: answers(ExportJob, "The export"),
});

const events = createRoute({
  method: "get",
  path: "/v1/exports/{id}/events",
  tags,
  summary: "An export's events: a page, or with stream=true a live stream",
  request: { params, query: PageQuery.extend({ stream: z.string().optional() }) },
  responses: answers(pageOf(JobEventObject), "A page of events"),
});

const cancel = createRoute({
  method: "post",
  path: "/v1/exports/{id}/cancel",
  tags,
  summary: "Cancel an export",
  request: { params },
  responses: answers(ExportJob, "The export"),
});

export function addExports(app: App, jobs: Jobs, folderKey: string): void {
  app.openapi(create, async (c) => {
    const recipe = await recipeOf(c, ExportBody);
    // JSON is YAML: the one reader of keys takes both.
    const text = recipe.kind === "yaml" ? recipe.text : JSON.stringify(recipe.body);
    return c.json(await jobs.createExport({ text, origin: originOf(c, folderKey) }), 200);
  });
  app.openapi(list, (c) => c.json(jobs.listExports(c.req.valid("query")), 200));
  app.openapi(get, (c) => c.json(jobs.getExport(c.req.valid("param").id), 200));
  app.openapi(events, (c) => {
    const { id } = c.req.valid("param");
    jobs.getExport(id);
    return jobEvents(c, jobs, id, c.req.valid("query"));
  });
  app.openapi(cancel, async (c) => {
    const { id } = c.req.valid("param");
    jobs.getExport(id);
    return c.json(await jobs.cancel(id) as ExportJob, 200);
  });
}
