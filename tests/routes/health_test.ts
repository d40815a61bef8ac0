/** Liveness and readiness are two questions. */
import assert from "node:assert/strict";
import type { Health } from "../../core/service.ts";
import { appOver } from "./fake_service.ts";

const engine = { state: "ready", restarts: 0, engine: null } as const;
const good: Health = {
  ready: true,
  store: "ok",
  engine,
  chat_suspended: null,
  jobs: { running: null, queued: 0 },
};

Deno.test("/healthz answers without asking anything behind it", async () => {
  const response = await appOver({}).request("/healthz");
  assert.deepEqual([response.status, await response.json()], [200, { status: "ok" }]);
});

Deno.test("/readyz is 200 when work can be taken and 503 when not, with the reason in both", async () => {
  const ready = await appOver({ health: () => Promise.resolve(good) }).request("/readyz");
  assert.deepEqual([ready.status, await ready.json()], [200, good]);
  const bad: Health = { ...good, ready: false, engine: { ...engine, state: "failed" } };
  const failed = await appOver({ health: () => Promise.resolve(bad) }).request("/readyz");
  assert.deepEqual([failed.status, await failed.json()], [503, bad]);
});

Deno.test("/readyz tells who has no key whether it is ready, and nothing of models and jobs", async () => {
  const health = { ...good, jobs: { running: "ftjob-1", queued: 0 } };
  const locked = appOver({ health: () => Promise.resolve(health) }, { apiKeys: ["key"] });
  const strangers: Record<string, string>[] = [{}, { Authorization: "Bearer other" }];
  for (const headers of strangers) {
    const stranger = await locked.request("/readyz", { headers });
    assert.deepEqual([stranger.status, await stranger.json()], [200, { ready: true }]);
  }
  const known = await locked.request("/readyz", { headers: { Authorization: "Bearer key" } });
  assert.deepEqual(await known.json(), health);
});
