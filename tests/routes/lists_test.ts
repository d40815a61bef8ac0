/** Lists over HTTP: what reaches the rooms of a query as OpenAI's clients write it. */
import assert from "node:assert/strict";
import type { JobQuery } from "../../contract/job.ts";
import { appOver, errorOf } from "./fake_service.ts";

const page = { object: "list" as const, data: [], first_id: null, last_id: null, has_more: false };

Deno.test("jobs are asked for by metadata as OpenAI's clients write it", async () => {
  const asked: JobQuery[] = [];
  const listTrain = (query: JobQuery) => (asked.push(query), page);
  const app = appOver({ jobs: { listTrain } });
  const key = encodeURIComponent("metadata[the team]");
  await app.request(`/v1/fine_tuning/jobs?limit=2&after=x&${key}=a%20b&metadata[n]=1`);
  await app.request("/v1/fine_tuning/jobs?metadata=null");
  await app.request("/v1/fine_tuning/jobs");
  assert.deepEqual(asked, [
    { limit: 2, after: "x", metadata: { "the team": "a b", n: "1" } },
    { metadata: null },
    {},
  ]);
});

Deno.test("results are written by jobs alone: an upload of that purpose is refused", async () => {
  const body = new FormData();
  body.set("purpose", "fine-tune-results");
  body.set("file", new File(["a"], "a.csv"));
  const response = await appOver({}).request("/v1/files", { method: "POST", body });
  assert.deepEqual([response.status, (await errorOf(response)).param], [400, "purpose"]);
});
