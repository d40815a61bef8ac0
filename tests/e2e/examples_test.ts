/**
 * Every script of examples/ stands alone: it runs against a service that has nothing but its base.
 *
 * One service for all, as each start takes seconds: a script that wants something made runs before
 * anything has made it, and its test looks that it is not there.
 */
import assert from "node:assert/strict";
import { type Ended, root, run } from "./project.ts";
import { RunningService } from "./service.ts";

const service = await RunningService.start();
const seen = new Set<string>();
const scripts = Array.from(Deno.readDirSync(`${root}/examples`), ({ name }) => name)
  .filter((name) => name.endsWith(".sh") && name !== "common.sh");

function runExample(url: string, name: string, ...args: string[]): Promise<Ended> {
  return run("sh", [`${root}/examples/${name}`, ...args], { env: { BULLION_URL: url } });
}

/** What a script prints; it must succeed. */
async function example(name: string, ...args: string[]): Promise<string> {
  seen.add(name);
  const { code, stdout, stderr } = await runExample(service.url, name, ...args);
  assert.equal(code, 0, `${name}: ${stdout}${stderr}`);
  return stdout;
}

/** Nothing of this kind has been made yet. */
async function assertNone(path: string): Promise<void> {
  assert.deepEqual((await service.get<{ data: unknown[] }>(path)).data, [], path);
}

/** Runs `use` against a service that refuses whatever it is asked; returns what was posted to it. */
async function refusing(message: string, use: (url: string) => Promise<void>): Promise<string[]> {
  const error = { message, type: "invalid_request_error", param: null, code: "refused" };
  const posted: string[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    if (request.method === "POST") posted.push(request.url);
    return Response.json({ error }, { status: 400 });
  });
  await use(`http://127.0.0.1:${server.addr.port}`).finally(() => server.shutdown());
  return posted;
}

for (const name of scripts) {
  Deno.test(`${name} shows why it is refused, and ends with that`, async () => {
    const posted = await refusing("Cannot do this today", async (url) => {
      const { code, stdout, stderr } = await runExample(url, name);
      assert.match(stdout + stderr, /"message":"Cannot do this today"/);
      assert.notEqual(code, 0);
    });
    assert.ok(posted.length <= 1, `it went on: ${posted}`);
  });
}

Deno.test("a file that is not there is named, not sent as nothing", async () => {
  for (const name of ["upload_dataset.sh", "report_to_pairs.sh", "train_yaml.sh", "merge.sh"]) {
    const { code, stderr } = await runExample(service.url, name, "missing.file");
    assert.deepEqual([code, stderr], [1, "There is no file missing.file\n"], name);
  }
});

Deno.test("a name may hold what a URL has signs for", async () => {
  const folder = await Deno.makeTempDir();
  const name = "年报 A&B#c+50%.pdf";
  await Deno.writeTextFile(`${folder}/${name}`, "x");
  const report = await refusing("No", async (url) => {
    await runExample(url, "report_to_pairs.sh", `${folder}/${name}`);
  });
  const data = await refusing("No", async (url) => {
    await runExample(url, "upload_dataset.sh", `${folder}/${name}`, "a b&c");
  });
  await Deno.remove(folder, { recursive: true });
  const named = [...report, ...data].map((url) => new URL(url).searchParams.get("name"));
  assert.deepEqual(named, [name, "a b&c"]);
});

Deno.test("watch.sh starts a job where there is none, and follows it to its end", async () => {
  await assertNone("/v1/fine_tuning/jobs");
  const text = await example("watch.sh");
  assert.match(text, /"message":"Job succeeded: ft:bullion-tiny:sample:ftjob-/);
  assert.ok(text.endsWith("event: end\ndata: [DONE]\n\n"));
});

Deno.test("merge.sh trains its adapter first where there is none", async () => {
  // It runs train_yaml.sh, which uploads its data set where there is none.
  await assertNone("/v1/datasets");
  assert.equal(JSON.parse(await example("merge.sh")).status, "succeeded");
  seen.add("train_yaml.sh");
});

Deno.test("upload_dataset.sh stores a data set that recipes can name", async () => {
  const stored = JSON.parse(await example("upload_dataset.sh"));
  assert.deepEqual([stored.name, stored.records > 0], ["finance_sample", true]);
});

Deno.test("report_to_pairs.sh makes pairs of the sample report", async () => {
  const written = JSON.parse(await example("report_to_pairs.sh"));
  assert.deepEqual([written.dataset, written.pairs >= 100], ["report_pairs", true]);
});

Deno.test("chat.sh asks the embedded base", async () => {
  const { choices } = JSON.parse(await example("chat.sh"));
  assert.equal(typeof choices[0].message.content, "string");
});

Deno.test("a question may hold what JSON has signs for", async () => {
  const { choices } = JSON.parse(await example("chat.sh", "bullion-tiny", 'a "b"\\\n\tc'));
  assert.equal(typeof choices[0].message.content, "string");
});

Deno.test("stream.sh streams, with usage, to [DONE]", async () => {
  const text = await example("stream.sh");
  assert.match(text, /"usage":\{"prompt_tokens":\d+.*\n\ndata: \[DONE\]\n\n$/);
});

Deno.test("cancel.sh starts a job where none is named, and cancels it", async () => {
  const job = JSON.parse(await example("cancel.sh"));
  assert.equal(job.status, "cancelled");
});

Deno.test("whole_path.sh goes from data to an answer of the merged model", async () => {
  const text = await example("whole_path.sh");
  const answer = JSON.parse(text.trim().split("\n").at(-1)!);
  assert.equal(answer.model, "output/sample");
});

Deno.test("watch.sh follows the newest job where there are some", async () => {
  const job = JSON.parse(await example("train_openai.sh"));
  assert.equal(job.object, "fine_tuning.job");
  const text = await example("watch.sh");
  assert.match(text, new RegExp(`"message":"Job succeeded: ft:bullion-tiny:sample:${job.id}`));
});

Deno.test("no script of the folder was left out", () => {
  assert.deepEqual(scripts.filter((name) => !seen.has(name)), []);
});
