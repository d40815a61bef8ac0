/** `/v1/datasets`: training data under a name that recipes can use. */
import { createRoute, z } from "@hono/zod-openapi";
import { DatasetObject } from "../contract/file.ts";
import { pageOf, PageQuery } from "../contract/page.ts";
import type { Datasets } from "../core/service.ts";
import type { App } from "./router.ts";
import { answers, raw } from "./responses.ts";
import { anyBody, uploadOf } from "./uploads.ts";

const tags = ["Datasets"];
const params = z.object({ name: z.string() });

const put = createRoute({
  method: "post",
  path: "/v1/datasets",
  tags,
  summary: "Store a data set: alpaca or sharegpt JSON, or OpenAI JSONL, as the body",
  request: { query: z.object({ name: z.string().min(1) }), body: anyBody },
  responses: answers(DatasetObject, "What was read from it"),
});

const list = createRoute({
  method: "get",
  path: "/v1/datasets",
  tags,
  summary: "List data sets",
  request: { query: PageQuery },
  responses: answers(pageOf(DatasetObject), "A page of data sets"),
});

const get = createRoute({
  method: "get",
  path: "/v1/datasets/{name}",
  tags,
  summary: "One data set",
  request: { params },
  responses: answers(DatasetObject, "The data set"),
});

const content = createRoute({
  method: "get",
  path: "/v1/datasets/{name}/content",
  tags,
  summary: "A data set's bytes",
  request: { params },
  responses: raw("application/octet-stream", "The bytes as uploaded"),
});

const remove = createRoute({
  method: "delete",
  path: "/v1/datasets/{name}",
  tags,
  summary: "Delete a data set",
  request: { params },
  responses: answers(
    z.object({ id: z.string(), object: z.literal("dataset"), deleted: z.literal(true) }),
    "That it is gone",
  ),
});

export function addDatasets(app: App, datasets: Datasets): void {
  app.openapi(put, async (c) => {
    const { name } = c.req.valid("query");
    const body = uploadOf(c, "curl --data-binary @data.json '…/v1/datasets?name=NAME'");
    return c.json(await datasets.put(name, body), 200);
  });
  app.openapi(list, (c) => c.json(datasets.list(c.req.valid("query")), 200));
  app.openapi(get, (c) => c.json(datasets.get(c.req.valid("param").name), 200));
  app.openapi(content, async (c) => {
    const bytes = await datasets.content(c.req.valid("param").name);
    return c.body(bytes, 200, { "Content-Type": "application/octet-stream" });
  });
  app.openapi(remove, async (c) => c.json(await datasets.delete(c.req.valid("param").name), 200));
}
