/** `/v1/files`: OpenAI's uploads. */
import { createRoute, z } from "@hono/zod-openapi";
import { BullionError } from "../contract/errors.ts";
import { FileDeleted, FileObject, UploadPurpose } from "../contract/file.ts";
import { pageOf, PageQuery } from "../contract/page.ts";
import type { Files } from "../core/service.ts";
import type { App } from "./router.ts";
import { answers, raw } from "./responses.ts";

const tags = ["Files"];
const params = z.object({ id: z.string() });

const create = createRoute({
  method: "post",
  path: "/v1/files",
  tags,
  summary: "Upload a file",
  request: {
    body: {
      required: true,
      content: {
        "multipart/form-data": {
          schema: z.object({
            file: z.any().openapi({ type: "string", format: "binary" }),
            purpose: UploadPurpose,
          }),
        },
      },
    },
  },
  responses: answers(FileObject, "The stored file"),
});

const list = createRoute({
  method: "get",
  path: "/v1/files",
  tags,
  summary: "List files",
  request: { query: PageQuery.extend({ purpose: z.string().optional() }) },
  responses: answers(pageOf(FileObject), "A page of files"),
});

const get = createRoute({
  method: "get",
  path: "/v1/files/{id}",
  tags,
  summary: "One file",
  request: { params },
  responses: answers(FileObject, "The file"),
});

const content = createRoute({
  method: "get",
  path: "/v1/files/{id}/content",
  tags,
  summary: "A file's bytes",
  request: { params },
  responses: raw("application/octet-stream", "The bytes as uploaded"),
});

const remove = createRoute({
  method: "delete",
  path: "/v1/files/{id}",
  tags,
  summary: "Delete a file",
  request: { params },
  responses: answers(FileDeleted, "That it is gone"),
});

export function addFiles(app: App, files: Files): void {
  app.openapi(create, async (c) => {
    const { file, purpose } = c.req.valid("form");
    if (!(file instanceof File)) {
      throw new BullionError(
        "invalid_request",
        "Cannot store the upload as `file` is not a file: send multipart/form-data, " +
          "with curl -F purpose=fine-tune -F file=@train.jsonl",
        { param: "file" },
      );
    }
    return c.json(await files.create(file.stream(), file.name, purpose), 200);
  });
  app.openapi(list, (c) => c.json(files.list(c.req.valid("query")), 200));
  app.openapi(get, (c) => c.json(files.get(c.req.valid("param").id), 200));
  app.openapi(content, async (c) => {
    const { id } = c.req.valid("param");
    const bytes = await files.content(id);
    return c.body(bytes, 200, { "Content-Type": "application/octet-stream" });
  });
  app.openapi(remove, async (c) => c.json(await files.delete(c.req.valid("param").id), 200));
}
