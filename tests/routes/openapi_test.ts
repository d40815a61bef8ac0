/** /openapi.json says what the service does: each route, each answer, and nothing dangling. */
import assert from "node:assert/strict";
import { appOver } from "./fake_service.ts";

type Json = { [key: string]: Json } & Json[];
const app = appOver({});
const described = await (await app.request("/openapi.json")).json();

Deno.test("every route is described, and every description is a route", () => {
  const plain = (path: string) => path.replace(/:(\w+)(\{[^}]*\})?/g, "{$1}");
  const served = app.routes
    .filter(({ method, path }) => method !== "ALL" && !["/docs", "/openapi.json"].includes(path))
    .map(({ method, path }) => `${method} ${plain(path)}`);
  const named = Object.entries(described.paths).flatMap(([path, verbs]) =>
    Object.keys(verbs as object).map((verb) => `${verb.toUpperCase()} ${path}`)
  );
  assert.deepEqual(named.sort(), [...new Set(served)].sort());
});

Deno.test("the document is OpenAPI 3.1 with a title and a version", () => {
  assert.equal(described.openapi, "3.1.0");
  assert.ok(described.info.title && described.info.version);
});

Deno.test("every reference in it leads somewhere", () => {
  const references: string[] = [];
  const walk = (value: unknown): void => {
    if (typeof value !== "object" || value === null) return;
    for (const [key, inner] of Object.entries(value)) {
      if (key === "$ref") references.push(String(inner));
      else walk(inner);
    }
  };
  walk(described);
  assert.ok(references.length > 0);
  for (const reference of references) {
    const parts = reference.replace(/^#\//, "").split("/");
    const target = parts.reduce((at: Json | undefined, part) => at?.[part], described as Json);
    assert.ok(target, reference);
  }
});

Deno.test("every operation has a summary, and every parameter of its path is declared", () => {
  for (const [path, verbs] of Object.entries(described.paths as Json)) {
    for (const [verb, operation] of Object.entries(verbs)) {
      assert.ok(operation.summary, `${verb} ${path}`);
      const wanted = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
      const declared = ((operation.parameters ?? []) as unknown as { in: string; name: string }[])
        .filter((parameter) => parameter.in === "path").map(({ name }) => name);
      assert.deepEqual(declared, wanted, `${verb} ${path}`);
    }
  }
});

Deno.test("every operation says what an error looks like", () => {
  for (const [path, verbs] of Object.entries(described.paths as Json)) {
    if (path === "/readyz") continue; // its refusal is its own report
    for (const [verb, { responses }] of Object.entries(verbs)) {
      const schema = responses?.default?.content?.["application/json"]?.schema;
      assert.deepEqual(schema, { $ref: "#/components/schemas/Error" }, `${verb} ${path}`);
    }
  }
});

Deno.test("training takes JSON and YAML, and says so", () => {
  const { content } = described.paths["/v1/fine_tuning/jobs"].post.requestBody;
  assert.deepEqual(Object.keys(content), ["application/json", "application/yaml"]);
  assert.ok(content["application/json"].schema.properties.training_file);
});

Deno.test("/docs loads nothing from elsewhere", async () => {
  const page = await (await app.request("/docs")).text();
  assert.doesNotMatch(page, /(src|href)="(https?:)?\/\//);
});
