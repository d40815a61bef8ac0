/** `/v1/documents`: reports, their chunks, and the question-answer pairs written from them. */
import { createRoute, z } from "@hono/zod-openapi";
import { Chunk } from "../contract/document.ts";
import { DocumentObject, PairsObject } from "../contract/file.ts";
import { pageOf, PageQuery } from "../contract/page.ts";
import type { Documents } from "../core/service.ts";
import type { App } from "./router.ts";
import { answers } from "./responses.ts";
import { anyBody, uploadOf } from "./uploads.ts";

const tags = ["Documents"];
const params = z.object({ id: z.string() });

const create = createRoute({
  method: "post",
  path: "/v1/documents",
  tags,
  summary: "Store and parse a PDF report, sent as the body",
  request: { query: z.object({ name: z.string().min(1).default("report.pdf") }), body: anyBody },
  responses: answers(DocumentObject, "The parsed document"),
});

const list = createRoute({
  method: "get",
  path: "/v1/documents",
  tags,
  summary: "List documents",
  request: { query: PageQuery },
  responses: answers(pageOf(DocumentObject), "A page of documents"),
});

const get = createRoute({
  method: "get",
  path: "/v1/documents/{id}",
  tags,
  summary: "One document",
  request: { params },
  responses: answers(DocumentObject, "The document"),
});

const chunks = createRoute({
  method: "get",
  path: "/v1/documents/{id}/chunks",
  tags,
  summary: "A document's chunks, with their pages",
  request: { params },
  responses: answers(z.object({ object: z.literal("list"), data: z.array(Chunk) }), "All chunks"),
});

const pairs = createRoute({
  method: "post",
  path: "/v1/documents/{id}/pairs",
  tags,
  summary: "Write question-answer pairs; they become a data set and a training file",
  request: { params, query: z.object({ dataset: z.string().min(1).optional() }) },
  responses: answers(PairsObject, "What was written"),
});

const remove = createRoute({
  method: "delete",
  path: "/v1/documents/{id}",
  tags,
  summary: "Delete a document",
  request: { params },
  responses: answers(
    z.object({ id: z.string(), object: z.literal("document"), deleted: z.literal(true) }),
    "That it is gone",
  ),
});

export function addDocuments(app: App, documents: Documents): void {
  app.openapi(create, async (c) => {
    const body = uploadOf(c, "curl --data-binary @report.pdf '…/v1/documents?name=report.pdf'");
    return c.json(await documents.create(body, c.req.valid("query").name), 200);
  });
  app.openapi(list, (c) => c.json(documents.list(c.req.valid("query")), 200));
  app.openapi(get, (c) => c.json(documents.get(c.req.valid("param").id), 200));
  app.openapi(chunks, async (c) => {
    const data = await documents.chunks(c.req.valid("param").id);
    return c.json({ object: "list" as const, data }, 200);
  });
  app.openapi(pairs, async (c) => {
    const { id } = c.req.valid("param");
    return c.json(await documents.writePairs(id, c.req.valid("query")), 200);
  });
  app.openapi(remove, async (c) => c.json(await documents.delete(c.req.valid("param").id), 200));
}
