/** Every refusal has OpenAI's shape and the status that its code stands for. */
import assert from "node:assert/strict";
import { BullionError } from "../../contract/errors.ts";
import { appOver, errorOf, post } from "./fake_service.ts";

const chat = { model: "m", messages: [{ role: "user", content: "hello" }] };

/** The app whose chat refuses with `code`. */
const refusing = (code: string, param: string | null = null) =>
  appOver({ chat: { complete: () => Promise.reject(new BullionError(code, "why", { param })) } });

Deno.test("a path that is not there gets 404 in OpenAI's shape", async () => {
  const response = await appOver({}).request("/v1/nothing");
  assert.equal(response.status, 404);
  assert.equal(response.headers.get("content-type"), "application/json");
  assert.deepEqual(await response.json(), {
    error: {
      message: "No such path: /v1/nothing. See /docs",
      type: "invalid_request_error",
      param: null,
      code: "path_not_found",
    },
  });
});

Deno.test("a method that a path does not take gets 405 and hears which ones it takes", async () => {
  const response = await appOver({}).request("/v1/chat/completions", { method: "DELETE" });
  assert.equal(response.status, 405);
  assert.equal(response.headers.get("allow"), "POST");
  assert.equal((await errorOf(response)).code, "method_not_allowed");
});

Deno.test("405 knows paths with ids, also ids that hold slashes", async () => {
  const app = appOver({});
  const file = await app.request("/v1/files/file-1", { method: "PUT" });
  assert.deepEqual([file.status, file.headers.get("allow")], [405, "DELETE, GET"]);
  const model = await app.request("/v1/models/output/m", { method: "PATCH" });
  assert.deepEqual([model.status, model.headers.get("allow")], [405, "DELETE, GET"]);
});

Deno.test("a body that is no JSON gets 400 invalid_json, on chat and on jobs", async () => {
  for (const path of ["/v1/chat/completions", "/v1/fine_tuning/jobs", "/v1/exports"]) {
    const response = await appOver({}).request(path, post('{"model": '));
    assert.equal(response.status, 400, path);
    assert.equal((await errorOf(response)).code, "invalid_json", path);
  }
});

Deno.test("a body that is no UTF-8 is refused like broken JSON, not mended unasked", async () => {
  const latin1 = (text: string) => Uint8Array.from(text, (sign) => sign.charCodeAt(0));
  const send = async (path: string, type: string, text: string) => {
    const headers = { "Content-Type": type };
    const init = { method: "POST", headers, body: latin1(text) };
    const response = await appOver({}).request(path, init);
    const { code, message } = await errorOf(response);
    return [response.status, code, message];
  };
  const words = (format: string) =>
    `Cannot read the request body as ${format}: check its syntax and encoding (UTF-8)`;
  const chatText = JSON.stringify({ ...chat, user: "caf\xe9" });
  for (const path of ["/v1/chat/completions", "/v1/fine_tuning/jobs"]) {
    const said = await send(path, "application/json", chatText);
    assert.deepEqual(said, [400, "invalid_json", words("JSON")], path);
  }
  const yaml = await send("/v1/fine_tuning/jobs", "application/yaml", "stage: caf\xe9");
  assert.deepEqual(yaml, [400, "invalid_request", words("YAML")]);
});

Deno.test("an unknown field is refused by its name, on chat and on jobs", async () => {
  const app = appOver({});
  const asked = await errorOf(
    await app.request("/v1/chat/completions", post({ ...chat, temprature: 1 })),
  );
  assert.deepEqual([asked.code, asked.param], ["unknown_parameter", "temprature"]);
  const job = { model: "m", training_file: "file-1", epochs: 3 };
  const made = await errorOf(await app.request("/v1/fine_tuning/jobs", post(job)));
  assert.deepEqual([made.code, made.param], ["unknown_parameter", "epochs"]);
});

Deno.test("a field of a wrong value is named with its whole path", async () => {
  const messages = [{ role: "user", content: "a" }, { role: "robot", content: "b" }];
  const response = await appOver({}).request("/v1/chat/completions", post({ ...chat, messages }));
  const { code, param, message } = await errorOf(response);
  assert.deepEqual([code, param], ["invalid_request", "messages[1].role"]);
  assert.match(String(message), /messages\[1\]\.role/);
});

Deno.test("every fault of a body is said at once", async () => {
  const bad = { ...chat, temperature: 9, top_p: 2 };
  const { message } = await errorOf(
    await appOver({}).request("/v1/chat/completions", post(bad)),
  );
  assert.match(String(message), /temperature: .*top_p: /s);
});

Deno.test("a body of another type gets 415 and hears which types are taken", async () => {
  const form = { "Content-Type": "application/x-www-form-urlencoded" };
  for (const path of ["/v1/fine_tuning/jobs", "/v1/exports", "/v1/chat/completions", "/tokenize"]) {
    const response = await appOver({}).request(path, post("a: b", form));
    assert.equal(response.status, 415, path);
    const { code, message } = await errorOf(response);
    assert.equal(code, "unsupported_media_type", path);
    assert.match(String(message), /application\/json/, path);
  }
});

Deno.test("a packed body gets 415 and hears to be sent as it is; identity is as it is", async () => {
  const send = async (coding: string) => {
    const init = post({ ...chat, temperature: 9 }, { "Content-Encoding": coding });
    return await errorOf(await appOver({}).request("/v1/chat/completions", init));
  };
  const { code, param, message } = await send("gzip");
  assert.deepEqual([code, param], ["unsupported_content_encoding", "Content-Encoding"]);
  assert.match(String(message), /packed with gzip: send it as it is/);
  assert.equal((await send("identity")).param, "temperature");
});

Deno.test("a missing body gets 400, not a crash", async () => {
  const headers = { "Content-Type": "application/json" };
  const init = { method: "POST", headers };
  const response = await appOver({}).request("/v1/chat/completions", init);
  assert.equal(response.status, 400);
});

Deno.test("a query that is off names its parameter", async () => {
  const response = await appOver({}).request("/v1/files?limit=none");
  assert.deepEqual([response.status, (await errorOf(response)).param], [400, "limit"]);
});

Deno.test("what does not exist is 404, what is in another's hands 409", async () => {
  const wanted: [string, number][] = [
    ["model_not_found", 404],
    ["dataset_not_found", 404],
    ["checkpoint_not_found", 404],
    ["output_name_in_use", 409],
    ["job_ended", 409],
    ["model_in_use", 409],
    ["model_not_ready", 409],
    ["context_length_exceeded", 400],
    ["path_outside_data_folder", 400],
    ["disk_full", 507],
  ];
  for (const [code, status] of wanted) {
    const response = await refusing(code, "model").request("/v1/chat/completions", post(chat));
    assert.equal(response.status, status, code);
    const { code: sent, param } = await errorOf(response);
    assert.deepEqual([sent, param], [code, "model"]);
  }
});

Deno.test("a full queue gets 429, an engine that gave way 503, both say when to ask again", async () => {
  for (const [code, status] of [["queue_full", 429], ["engine_unavailable", 503]] as const) {
    const response = await refusing(code).request("/v1/chat/completions", post(chat));
    assert.equal(response.status, status);
    assert.match(response.headers.get("retry-after") ?? "", /^[1-9]\d*$/);
  }
  const busy = await refusing("queue_full").request("/v1/chat/completions", post(chat));
  assert.equal((await errorOf(busy)).type, "rate_limit_error");
});

Deno.test("whatever is unavailable for now says when to ask again", async () => {
  for (const code of ["python_died", "python_timeout", "model_not_loaded", "service_stopping"]) {
    const response = await refusing(code).request("/v1/chat/completions", post(chat));
    assert.equal(response.status, 503, code);
    assert.ok(response.headers.has("retry-after"), code);
  }
});

Deno.test("an unforeseen failure is a 500 without its trace, which goes to the log", async () => {
  const lines: string[] = [];
  const list = () => {
    throw new TypeError("x is undefined");
  };
  const app = appOver({ models: { list } }, { log: (line) => lines.push(line) });
  const response = await app.request("/v1/models");
  assert.equal(response.status, 500);
  const { code, type, message } = await errorOf(response);
  assert.deepEqual([code, type], ["internal_error", "server_error"]);
  assert.doesNotMatch(String(message), /errors_test\.ts/);
  assert.match(lines.join("\n"), /GET \/v1\/models[\s\S]*errors_test\.ts/);
});

Deno.test("a client that left before its answer is not an unforeseen failure", async () => {
  const lines: string[] = [];
  const leaving = new AbortController();
  const complete = (_: unknown, signal: AbortSignal) => {
    leaving.abort();
    signal.throwIfAborted();
    return Promise.reject(new Error("the signal did not come"));
  };
  const app = appOver({ chat: { complete } }, { log: (line) => lines.push(line) });
  const url = "http://service/v1/chat/completions";
  await app.request(new Request(url, { ...post(chat), signal: leaving.signal }));
  assert.deepEqual(lines, []);
});

Deno.test("half a character is refused where it stands, and never reaches the engine", async () => {
  const app = appOver({});
  const messages = [{ role: "user", content: "\ud800" }];
  for (
    const [path, body] of [
      ["/v1/chat/completions", { model: "m", messages }],
      ["/v1/completions", { model: "m", prompt: "a\udfff" }],
      ["/tokenize", { model: "m", prompt: "\ud800" }],
    ] as const
  ) {
    const response = await app.request(path, post(body));
    assert.equal(response.status, 400, path);
    assert.match(String((await errorOf(response)).message), /half a character/);
  }
});

Deno.test("every answer has an id that its client may have given", async () => {
  const app = appOver({});
  const id = async (headers: Record<string, string>) =>
    (await app.request("/v1/nothing", { headers })).headers.get("x-request-id");
  assert.equal(await id({ "X-Request-Id": "mine-1" }), "mine-1");
  const [one, other] = [await id({}), await id({})];
  assert.ok(one !== null && one.length > 10 && one !== other);
});
