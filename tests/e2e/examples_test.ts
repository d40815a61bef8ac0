/** Every script of examples/ runs as it stands against a started service. */
import assert from "node:assert/strict";
import { root, run } from "./project.ts";
import { RunningService } from "./service.ts";

const service = await RunningService.start();
const seen = new Set<string>();

/** What a script prints; it must succeed. */
async function example(name: string, ...args: string[]): Promise<string> {
  seen.add(name);
  const script = [`${root}/examples/${name}`, ...args];
  const env = { BULLION_URL: service.url };
  const { code, stdout, stderr } = await run("sh", script, { env });
  assert.equal(code, 0, `${name}: ${stdout}${stderr}`);
  return stdout;
}

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

Deno.test("stream.sh streams, with usage, to [DONE]", async () => {
  const text = await example("stream.sh");
  assert.match(text, /"usage":\{"prompt_tokens":\d+.*\n\ndata: \[DONE\]\n\n$/);
});

Deno.test("cancel.sh starts a job where none is named, and cancels it", async () => {
  const job = JSON.parse(await example("cancel.sh"));
  assert.equal(job.status, "cancelled");
});

Deno.test("whole_path.sh goes from data to an answer of the merged model", async () => {
  // It runs train_yaml.sh and merge.sh on its way.
  const text = await example("whole_path.sh");
  const answer = JSON.parse(text.trim().split("\n").at(-1)!);
  assert.equal(answer.model, "output/sample");
  ["train_yaml.sh", "merge.sh"].forEach((name) => seen.add(name));
});

Deno.test("train_openai.sh starts a job from a file, and watch.sh follows it to its end", async () => {
  const job = JSON.parse(await example("train_openai.sh"));
  assert.equal(job.object, "fine_tuning.job");
  const text = await example("watch.sh");
  assert.match(text, new RegExp(`"message":"Job succeeded: ft:bullion-tiny:sample:${job.id}`));
  assert.ok(text.endsWith("event: end\ndata: [DONE]\n\n"));
});

Deno.test("no script of the folder was left out", () => {
  const scripts = Array.from(Deno.readDirSync(`${root}/examples`), ({ name }) => name)
    .filter((name) => name.endsWith(".sh") && name !== "common.sh");
  assert.deepEqual(scripts.filter((name) => !seen.has(name)), []);
});
