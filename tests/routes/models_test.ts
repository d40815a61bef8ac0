/** Models' ids may hold slashes and colons, plain or encoded. */
import assert from "node:assert/strict";
import type { ModelObject } from "../../contract/model.ts";
import { appOver } from "./fake_service.ts";

const shown = (id: string) => ({ id, object: "model" }) as ModelObject;

Deno.test("a model is found by an id with slashes, plain and as %2F", async () => {
  const asked: string[] = [];
  const get = (id: string) => {
    asked.push(id);
    return shown(id);
  };
  const app = appOver({ models: { get } });
  for (const id of ["output/my_model", "output%2Fmy_model", "ft:base:x:ftjob-1", "ft%3Abase"]) {
    assert.equal((await app.request(`/v1/models/${id}`)).status, 200, id);
  }
  assert.deepEqual(asked, ["output/my_model", "output/my_model", "ft:base:x:ftjob-1", "ft:base"]);
});

Deno.test("an id that is Chinese, or holds a percent sign, arrives as it is", async () => {
  const asked: string[] = [];
  const get = (id: string) => {
    asked.push(id);
    return shown(id);
  };
  const app = appOver({ models: { get } });
  await app.request(`/v1/models/${encodeURIComponent("输出/模型")}`);
  await app.request(`/v1/models/${encodeURIComponent("a%2Fb")}`);
  assert.deepEqual(asked, ["输出/模型", "a%2Fb"]);
});

Deno.test("a model with slashes in its id can be deleted", async () => {
  const gone: string[] = [];
  const remove = (id: string) => {
    gone.push(id);
    return Promise.resolve({ id, object: "model" as const, deleted: true as const });
  };
  const app = appOver({ models: { delete: remove } });
  const response = await app.request("/v1/models/output%2Fmy_model", { method: "DELETE" });
  assert.deepEqual(await response.json(), {
    id: "output/my_model",
    object: "model",
    deleted: true,
  });
  assert.deepEqual(gone, ["output/my_model"]);
});
