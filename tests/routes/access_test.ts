/** Who is let in, and how much they may send. */
import assert from "node:assert/strict";
import { BullionError } from "../../contract/errors.ts";
import type { Origin } from "../../core/rooms.ts";
import { originHeaders } from "../../routes/access.ts";
import { appOver, errorOf, post } from "./fake_service.ts";

const page = { object: "list" as const, data: [], first_id: null, last_id: null, has_more: false };
const locked = () =>
  appOver({ models: { list: () => page } }, { apiKeys: ["first-key", "second-key"] });
const bearer = (key: string) => ({ headers: { Authorization: `Bearer ${key}` } });

Deno.test("without configured keys everybody is let in", async () => {
  const response = await appOver({ models: { list: () => page } }).request("/v1/models");
  assert.equal(response.status, 200);
});

Deno.test("each configured key is let in", async () => {
  for (const key of ["first-key", "second-key"]) {
    assert.equal((await locked().request("/v1/models", bearer(key))).status, 200);
  }
});

Deno.test("a command that can read the data folder's key needs no other", async () => {
  assert.equal((await locked().request("/v1/models", bearer("folder-key"))).status, 200);
});

Deno.test("no key and a wrong key get 401 and hear which of both it was", async () => {
  const none = await locked().request("/v1/models");
  assert.equal(none.status, 401);
  const { type, code, message } = await errorOf(none);
  assert.deepEqual([type, code], ["authentication_error", "invalid_api_key"]);
  assert.match(String(message), /No API key/);
  for (const key of ["first-ke", "first-keyy", "first-kez", ""]) {
    assert.equal((await locked().request("/v1/models", bearer(key))).status, 401, key);
  }
});

Deno.test("a path that does not exist tells nothing without a key", async () => {
  assert.equal((await locked().request("/v1/nothing")).status, 401);
});

Deno.test("health and the interface's description are open without a key", async () => {
  for (const path of ["/healthz", "/docs", "/openapi.json"]) {
    assert.equal((await locked().request(path)).status, 200, path);
  }
});

Deno.test("a JSON body over its limit gets 413 with the limit and the setting's name", async () => {
  const messages = [{ role: "user", content: "x".repeat(11_000) }];
  const response = await appOver({}).request(
    "/v1/chat/completions",
    post({ model: "m", messages }),
  );
  assert.equal(response.status, 413);
  const { code, message } = await errorOf(response);
  assert.equal(code, "request_too_large");
  assert.match(String(message), /10000 bytes.*limits\.max_body_bytes/);
});

Deno.test("the limit counts what arrives, also where no length was announced", async () => {
  const chunks = Array.from({ length: 12 }, () => new Uint8Array(1_000).fill(32));
  const init = { ...post("{}"), body: ReadableStream.from(chunks) };
  const response = await appOver({}).request("/v1/chat/completions", init);
  assert.equal(response.status, 413);
});

const stored = { id: "ds-1", object: "dataset" as const, created_at: 1, report: {} };

Deno.test("an upload has a limit of its own, known before the body is read", async () => {
  const put = (name: string) => Promise.resolve({ ...stored, name, bytes: 1, records: 1 });
  const app = appOver({ datasets: { put } }, { uploadBytes: 50_000 });
  const sending = (bytes: number) => post("x".repeat(bytes), { "Content-Length": String(bytes) });
  assert.equal((await app.request("/v1/datasets?name=a", sending(50_000))).status, 200);
  const large = await app.request("/v1/datasets?name=a", sending(50_001));
  assert.equal(large.status, 413);
  assert.match(String((await errorOf(large)).message), /50000 bytes.*limits\.max_upload_bytes/);
});

Deno.test("an upload without a stated length goes on as it comes", async () => {
  const arrived: number[] = [];
  const put = async (name: string, content: ReadableStream<Uint8Array>) => {
    for await (const { length } of content) arrived.push(length);
    return { ...stored, name, bytes: 1, records: 1 };
  };
  const body = ReadableStream.from([new Uint8Array(7_000), new Uint8Array(6_000)]);
  await appOver({ datasets: { put } }).request("/v1/datasets?name=a", { ...post(""), body });
  assert.deepEqual(arrived, [7_000, 6_000]);
});

Deno.test("who knows the data folder's key may name the directory of a job, others may not", async () => {
  const origins: Origin[] = [];
  const refusal = new BullionError("invalid_recipe", "enough");
  const see = ({ origin }: { origin: Origin }) => {
    origins.push(origin);
    return Promise.reject(refusal);
  };
  const app = appOver({
    jobs: { createTrain: (request) => see(request as { origin: Origin }), createExport: see },
  });
  const cwd = Deno.makeTempDirSync({ prefix: "目录 " });
  const yaml = { "Content-Type": "application/yaml" };
  for (const path of ["/v1/fine_tuning/jobs", "/v1/exports"]) {
    await app.request(path, post("a: b", { ...yaml, ...originHeaders("folder-key", cwd) }));
    await app.request(path, post("a: b", yaml));
    const wrong = originHeaders("folder-kez", cwd);
    const refused = await app.request(path, post("a: b", { ...yaml, ...wrong }));
    assert.equal(refused.status, 403);
    assert.equal((await errorOf(refused)).code, "wrong_folder_key");
    const unseen = originHeaders("folder-key", `${cwd}/gone`);
    const nowhere = await app.request(path, post("a: b", { ...yaml, ...unseen }));
    assert.equal(nowhere.status, 400);
    assert.equal((await errorOf(nowhere)).code, "directory_not_found");
  }
  const here = { kind: "command_line", cwd };
  assert.deepEqual(origins, [here, { kind: "rest" }, here, { kind: "rest" }]);
  Deno.removeSync(cwd);
});

Deno.test("pages of the named origins may ask from a browser, before and with a key; others may not", async () => {
  const app = appOver(
    { models: { list: () => page } },
    { apiKeys: ["key"], corsOrigins: ["https://desk.example"] },
  );
  const allowed = (response: Response) => response.headers.get("access-control-allow-origin");
  const Origin = "https://desk.example";
  const asking = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type",
  };
  const before = (Origin: string) =>
    app.request("/v1/chat/completions", { method: "OPTIONS", headers: { Origin, ...asking } });
  const preflight = await before(Origin);
  assert.deepEqual([preflight.status, allowed(preflight)], [204, Origin]);
  assert.match(preflight.headers.get("access-control-allow-headers")!, /authorization/);
  assert.equal(allowed(await before("https://else.example")), null);
  const headers = { Origin, Authorization: "Bearer key" };
  const models = await app.request("/v1/models", { headers });
  assert.deepEqual([models.status, allowed(models)], [200, Origin]);
  const refused = await app.request("/v1/models", { headers: { Origin } });
  assert.deepEqual(
    [refused.status, allowed(refused)],
    [401, Origin],
    "so that the page can tell why",
  );
});

Deno.test("without named origins no page may ask", async () => {
  const headers = { Origin: "https://desk.example" };
  const response = await appOver({ models: { list: () => page } }).request("/v1/models", {
    headers,
  });
  assert.equal(response.headers.get("access-control-allow-origin"), null);
});
