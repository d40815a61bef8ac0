/** `/v1/fine_tuning/jobs`: OpenAI's jobs, also started by LLaMA-Factory's YAML. */
import { createRoute, z } from "@hono/zod-openapi";
import {
  CheckpointObject,
  CreateFineTuningJob,
  FineTuningJob,
  JobEventObject,
  type JobQuery,
} from "../contract/job.ts";
import { pageOf, PageQuery } from "../contract/page.ts";
import type { Jobs } from "../core/service.ts";
import { originOf } from "./access.ts";
import type { App } from "./router.ts";
import { jobEvents } from "./job_events.ts";
import { recipeBody, recipeOf } from "./recipes.ts";
import { answers } from "./responses.ts";

const tags = ["Fine-tuning"];
const params = z.object({ id: z.string() });
const base = "/v1/fine_tuning/jobs";

const create = createRoute({
  method: "post",
  path: base,
  tags,
  summary: "Start a fine-tuning job, from OpenAI's JSON or LLaMA-Factory's YAML",
  request: { body: recipeBody(CreateFineTuningJob) },
  responses: answers(FineTuningJob, "The job"),
});

const list = createRoute({
  method: "get",
  path: base,
  tags,
  summary: "List jobs, newest first",
  request: { query: PageQuery },
  responses: answers(pageOf(FineTuningJob), "A page of jobs"),
});

const get = createRoute({
  method: "get",
  path: `${base}/{id}`,
  tags,
  summary: "One job",
  request: { params },
  responses: answers(FineTuningJob, "The job"),
});

const events = createRoute({
  method: "get",
  path: `${base}/{id}/events`,
  tags,
  summary: "A job's events: a page, or with stream=true a live stream that Last-Event-ID resumes",
  request: { params, query: PageQuery.extend({ stream: z.string().optional() }) },
  responses: answers(pageOf(JobEventObject), "A page of events"),
});

const checkpoints = createRoute({
  method: "get",
  path: `${base}/{id}/checkpoints`,
  tags,
  summary: "A job's checkpoints",
  request: { params, query: PageQuery },
  responses: answers(pageOf(CheckpointObject), "A page of checkpoints"),
});

const act = (verb: "cancel" | "pause" | "resume", summary: string) =>
  createRoute({
    method: "post",
    path: `${base}/{id}/${verb}`,
    tags,
    summary,
    request: { params },
    responses: answers(FineTuningJob, "The job"),
  });

export function addFineTuning(app: App, jobs: Jobs, folderKey: string): void {
  app.openapi(create, async (c) => {
    const recipe = await recipeOf(c, CreateFineTuningJob);
    const job = await jobs.createTrain(
      recipe.kind === "yaml"
        ? { kind: "yaml", text: recipe.text, origin: originOf(c, folderKey) }
        : { kind: "openai", body: recipe.body },
    );
    return c.json(job, 200);
  });
  app.openapi(list, (c) => {
    const metadata = metadataOf(new URL(c.req.url).searchParams);
    return c.json(jobs.listTrain({ ...c.req.valid("query"), ...metadata }), 200);
  });
  app.openapi(get, (c) => c.json(jobs.getTrain(c.req.valid("param").id), 200));
  app.openapi(events, (c) => {
    const { id } = c.req.valid("param");
    jobs.getTrain(id);
    return jobEvents(c, jobs, id, c.req.valid("query"));
  });
  app.openapi(checkpoints, (c) => {
    const { id } = c.req.valid("param");
    return c.json(jobs.checkpoints(id, c.req.valid("query")), 200);
  });
  app.openapi(act("cancel", "Cancel a job"), async (c) => {
    const { id } = c.req.valid("param");
    jobs.getTrain(id);
    return c.json(await jobs.cancel(id) as FineTuningJob, 200);
  });
  app.openapi(
    act("pause", "Pause a job at a checkpoint"),
    async (c) => c.json(await jobs.pause(c.req.valid("param").id), 200),
  );
  app.openapi(
    act("resume", "Go on with a job that is paused, or failed as its process died (python_died)"),
    async (c) => c.json(await jobs.resume(c.req.valid("param").id), 200),
  );
}

/** OpenAI's filter: `metadata[key]=value`, several times perhaps, or `metadata=null`. */
function metadataOf(query: URLSearchParams): Pick<JobQuery, "metadata"> {
  const pairs = [...query].flatMap(([name, value]) => {
    const key = /^metadata\[(.*)\]$/.exec(name)?.[1];
    return key === undefined ? [] : [[key, value] as const];
  });
  if (pairs.length > 0) return { metadata: Object.fromEntries(pairs) };
  return query.get("metadata") === "null" ? { metadata: null } : {};
}
