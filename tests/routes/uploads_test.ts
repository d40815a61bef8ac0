/** Bytes in and bytes out: OpenAI's multipart files, data sets and reports as plain bodies. */
import assert from "node:assert/strict";
import type { FileObject } from "../../contract/file.ts";
import { appOver, errorOf, post } from "./fake_service.ts";

const text = async (stream: ReadableStream<Uint8Array>) => await new Response(stream).text();

function form(fields: Record<string, string | Blob>): RequestInit {
  const body = new FormData();
  for (const [name, value] of Object.entries(fields)) body.append(name, value);
  return { method: "POST", body };
}

const jsonl = new File(['{"messages": []}\n'], "训练.jsonl");

Deno.test("a multipart upload arrives with its bytes, its name and its purpose", async () => {
  const create = async (content: ReadableStream<Uint8Array>, filename: string, purpose: string) => {
    assert.equal(await text(content), '{"messages": []}\n');
    assert.deepEqual([filename, purpose], ["训练.jsonl", "fine-tune"]);
    return { id: "file-1", object: "file", filename, purpose } as FileObject;
  };
  const response = await appOver({ files: { create } })
    .request("/v1/files", form({ purpose: "fine-tune", file: jsonl }));
  assert.equal(response.status, 200);
  assert.equal((await response.json()).id, "file-1");
});

Deno.test("an upload without a purpose, without a file or of no form is refused by name", async () => {
  const app = appOver({});
  const purposeless = await app.request("/v1/files", form({ file: jsonl }));
  assert.deepEqual([purposeless.status, (await errorOf(purposeless)).param], [400, "purpose"]);
  const fileless = await app.request("/v1/files", form({ purpose: "fine-tune" }));
  assert.deepEqual([fileless.status, (await errorOf(fileless)).param], [400, "file"]);
  const named = await app.request("/v1/files", form({ purpose: "fine-tune", file: "train.jsonl" }));
  assert.deepEqual([named.status, (await errorOf(named)).param], [400, "file"]);
  const formless = await app.request("/v1/files", post("{}"));
  assert.deepEqual([formless.status, (await errorOf(formless)).code], [
    415,
    "unsupported_media_type",
  ]);
});

Deno.test("a data set's body arrives byte for byte under whatever content type", async () => {
  for (const type of ["application/json", "application/x-www-form-urlencoded", "text/yaml"]) {
    const put = async (name: string, content: ReadableStream<Uint8Array>) => {
      assert.equal(await text(content), '[{"a=b&c": "%20+"}]');
      const shown = { object: "dataset" as const, created_at: 1, bytes: 1, records: 1, report: {} };
      return { id: "ds-1", name, ...shown };
    };
    const response = await appOver({ datasets: { put } })
      .request("/v1/datasets?name=a", post('[{"a=b&c": "%20+"}]', { "Content-Type": type }));
    assert.equal(response.status, 200, type);
  }
});

Deno.test("a data set without a name, or without a body, is refused", async () => {
  const app = appOver({});
  const nameless = await app.request("/v1/datasets", post("[]"));
  assert.deepEqual([nameless.status, (await errorOf(nameless)).param], [400, "name"]);
  const empty = await app.request("/v1/datasets?name=a", { method: "POST" });
  const { code, message } = await errorOf(empty);
  assert.deepEqual([empty.status, code], [400, "empty_body"]);
  assert.match(String(message), /curl --data-binary/);
});

Deno.test("content comes back as the bytes that were stored", async () => {
  const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
  const content = () => Promise.resolve(ReadableStream.from([bytes]));
  const response = await appOver({ files: { content } }).request("/v1/files/file-1/content");
  assert.equal(response.headers.get("content-type"), "application/octet-stream");
  assert.deepEqual(await response.bytes(), bytes);
});

Deno.test("a recipe in YAML reaches the jobs as it was written, under every name of its type", async () => {
  const types = ["application/yaml", "application/x-yaml", "text/yaml; charset=utf-8"];
  for (const type of types) {
    const taken: unknown[] = [];
    const createTrain = (request: unknown) => {
      taken.push(request);
      return Promise.resolve({} as never);
    };
    const yaml = "### a comment\nbf16: yes\n";
    await appOver({ jobs: { createTrain } })
      .request("/v1/fine_tuning/jobs", post(yaml, { "Content-Type": type }));
    assert.deepEqual(taken, [{ kind: "yaml", text: yaml, origin: { kind: "rest" } }], type);
  }
});
