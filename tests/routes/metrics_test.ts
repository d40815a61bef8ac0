/** /metrics: text that Prometheus reads, whose number of series no client can drive up. */
import assert from "node:assert/strict";
import type { Health } from "../../core/service.ts";
import { appOver } from "./fake_service.ts";

const health: Health = {
  ready: true,
  store: "ok",
  engine: {
    state: "ready",
    restarts: 2,
    engine: {
      running: 5,
      waiting: 3,
      kv_pages_used: 70,
      kv_pages_total: 4096,
      memory_bytes: { used: 20e9, total: 141e9 },
      models: ["secret-model"],
    },
  },
  chat_suspended: null,
  jobs: { running: "ftjob-1", queued: 4 },
};
const rooms = { health: () => Promise.resolve(health) };

/** Series by name and labels. Throws at a line that Prometheus would refuse. */
function parse(text: string): Map<string, number> {
  const series = new Map<string, number>();
  for (const line of text.split("\n")) {
    if (line === "" || /^# (HELP|TYPE) [a-z_]+ .+$/.test(line)) continue;
    const found = /^([a-z_]+(?:\{(?:[a-z]+="(?:[^"\\]|\\.)*",?)+\})?) ([-+]?[\d.e+]+|NaN|\+Inf)$/
      .exec(line);
    assert.ok(found, `no sample: ${line}`);
    assert.ok(!series.has(found[1]!), `twice: ${line}`);
    series.set(found[1]!, Number(found[2]));
  }
  return series;
}

Deno.test("the engine's queue, pages and memory and the jobs are gauges", async () => {
  const response = await appOver(rooms).request("/metrics");
  assert.match(response.headers.get("content-type")!, /^text\/plain; version=0\.0\.4/);
  const series = parse(await response.text());
  const wanted: Record<string, number> = {
    bullion_engine_up: 1,
    bullion_engine_restarts: 2,
    bullion_requests_running: 5,
    bullion_requests_waiting: 3,
    'bullion_kv_pages{of="used"}': 70,
    'bullion_kv_pages{of="total"}': 4096,
    'bullion_gpu_memory_bytes{of="used"}': 20e9,
    'bullion_gpu_memory_bytes{of="total"}': 141e9,
    'bullion_jobs{of="running"}': 1,
    'bullion_jobs{of="queued"}': 4,
  };
  for (const [name, value] of Object.entries(wanted)) assert.equal(series.get(name), value, name);
});

Deno.test("while there is no engine its gauges are 0, and the answer comes all the same", async () => {
  const engine = { state: "stopped", restarts: 0, engine: null } as const;
  const stopped = { health: () => Promise.resolve({ ...health, engine }) };
  const series = parse(await (await appOver(stopped).request("/metrics")).text());
  assert.equal(series.get("bullion_engine_up"), 0);
  assert.equal(series.get("bullion_requests_running"), 0);
});

Deno.test("an engine that does not answer is not up", async () => {
  const engine = { state: "silent", restarts: 0, engine: null } as const;
  const hung = { health: () => Promise.resolve({ ...health, engine }) };
  const series = parse(await (await appOver(hung).request("/metrics")).text());
  assert.equal(series.get("bullion_engine_up"), 0);
});

Deno.test("requests count by pattern and status; ids and unknown paths make no series", async () => {
  const app = appOver({ ...rooms, models: { get: () => ({}) as never } });
  for (let i = 0; i < 5; i++) {
    await app.request(`/v1/models/made-up-${i}`);
    await app.request(`/no/such/${i}`);
    await app.request(`/no/such/${i}`, { method: `VERB${i}` });
  }
  const series = parse(await (await app.request("/metrics")).text());
  const counted = [...series].filter(([name]) => name.startsWith("bullion_http_requests_total"));
  assert.deepEqual(counted, [
    ['bullion_http_requests_total{method="GET",path="/v1/models/:id{.+}",status="200"}', 5],
    ['bullion_http_requests_total{method="ANY",path="unmatched",status="404"}', 10],
  ]);
});

Deno.test("what a handler refuses counts with the status the client got", async () => {
  const app = appOver(rooms, { apiKeys: ["key"] });
  await app.request("/v1/models");
  const headers = { Authorization: "Bearer key" };
  const series = parse(await (await app.request("/metrics", { headers })).text());
  assert.equal([...series].find(([name]) => name.includes('status="401"'))?.[1], 1);
});

Deno.test("/metrics needs the key like every other path, and tells no key and no model", async () => {
  const app = appOver(rooms, { apiKeys: ["top-secret"] });
  assert.equal((await app.request("/metrics")).status, 401);
  const headers = { Authorization: "Bearer top-secret" };
  assert.doesNotMatch(await (await app.request("/metrics", { headers })).text(), /secret/);
});
