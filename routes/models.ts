/** `/v1/models`: what can be chatted with. Ids may hold slashes, plain or encoded. */
import { createRoute, z } from "@hono/zod-openapi";
import { ModelDeleted, ModelObject } from "../contract/model.ts";
import { pageOf } from "../contract/page.ts";
import type { Models } from "../core/service.ts";
import type { App } from "./router.ts";
import { answers } from "./responses.ts";

const tags = ["Models"];
const params = z.object({ id: z.string() });

const list = createRoute({
  method: "get",
  path: "/v1/models",
  tags,
  summary: "List models",
  responses: answers(pageOf(ModelObject), "All models"),
});

const get = createRoute({
  method: "get",
  path: "/v1/models/{id}",
  tags,
  summary: "One model",
  request: { params },
  responses: answers(ModelObject, "The model"),
});

const remove = createRoute({
  method: "delete",
  path: "/v1/models/{id}",
  tags,
  summary: "Delete a model made here",
  request: { params },
  responses: answers(ModelDeleted, "That it is gone"),
});

export function addModels(app: App, models: Models): void {
  app.openapi(list, (c) => c.json(models.list(), 200));
  // The document names the path as OpenAI does; the router needs a pattern that takes slashes.
  app.openAPIRegistry.registerPath(get);
  app.openAPIRegistry.registerPath(remove);
  app.get("/v1/models/:id{.+}", (c) => c.json(models.get(c.req.param("id")), 200));
  app.delete(
    "/v1/models/:id{.+}",
    async (c) => c.json(await models.delete(c.req.param("id")), 200),
  );
}
