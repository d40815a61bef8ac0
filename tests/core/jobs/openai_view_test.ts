// What OpenAI's clients see of a job: resolved hyperparameters, tokens, times and the file of results.
import { deepStrictEqual, equal, match, ok, rejects } from "node:assert/strict";
import type { FineTuningJob } from "../../../contract/job.ts";
import { metricsCsv } from "../../../core/jobs/result_file.ts";
import { streamOf } from "../folder.ts";
import { Bench } from "./room.ts";

const LINE = JSON.stringify({
  messages: [{ role: "user", content: "问" }, { role: "assistant", content: "答" }],
});

const progress = (step: number, loss: number) => ({
  type: "progress" as const,
  step,
  total_steps: 3,
  epoch: 1,
  loss,
  learning_rate: 1e-4,
  grad_norm: 1,
  tokens: 1,
  tokens_per_second: 1,
  seconds: 1,
  seconds_left: 1,
});

async function start(bench: Bench, hyperparameters = {}): Promise<FineTuningJob> {
  const file = await bench.service.files.create(streamOf(LINE), "train.jsonl", "fine-tune");
  return await bench.service.jobs.createTrain({
    kind: "openai",
    body: { model: "base", training_file: file.id, hyperparameters },
  });
}

Deno.test("auto is shown as what it came to be", async () => {
  await using bench = await Bench.open();
  const job = await start(bench);
  const recipe = { n_epochs: 10, batch_size: 8, learning_rate_multiplier: 1 };
  deepStrictEqual(job.hyperparameters, recipe);
  deepStrictEqual(job.method.supervised?.hyperparameters, recipe);
  const given = { n_epochs: 2, batch_size: 4, learning_rate_multiplier: 0.5 };
  deepStrictEqual((await start(bench, given)).hyperparameters, given);
});

Deno.test("a succeeded job names a file of its numbers, which can be fetched", async () => {
  await using bench = await Bench.open();
  const { id } = await start(bench);
  const work = await bench.trainer.next();
  work.step(1);
  work.say({ type: "evaluated", step: 1, epoch: 1, eval_loss: 0.25, metrics: {} });
  work.step(2);
  work.finish();
  const { result_files } = await bench.until(id, "succeeded");
  equal(result_files.length, 1);
  const file = bench.service.files.get(result_files[0]!);
  deepStrictEqual([file.purpose, file.filename], ["fine-tune-results", "step_metrics.csv"]);
  const text = await new Response(await bench.service.files.content(file.id)).text();
  equal(file.bytes, text.length);
  equal(
    text,
    "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n1,1,,0.25,\n2,0.5,,,\n",
  );
  await bench.crash();
  deepStrictEqual(bench.service.jobs.getTrain(id).result_files, result_files);
  await (await bench.service.files.content(file.id)).cancel();
});

Deno.test("a step that an interruption made run twice stands once in the file", () => {
  const eval_accuracy = { eval_accuracy: 0.5 };
  const csv = metricsCsv([
    progress(1, 3),
    progress(2, 2),
    progress(3, 1),
    progress(2, 2.5),
    { type: "evaluated", step: 2, epoch: 1, eval_loss: 4, metrics: eval_accuracy },
    progress(3, 1.5),
  ]);
  deepStrictEqual(csv.split("\n").slice(1), ["1,3,,,", "2,2.5,,4,0.5", "3,1.5,,,", ""]);
});

Deno.test("trained_tokens are all tokens that were computed, and null before the end", async () => {
  await using bench = await Bench.open();
  const { id } = await start(bench);
  const work = await bench.trainer.next();
  work.step(1);
  equal((await bench.until(id, "running")).trained_tokens, null);
  work.finish();
  equal((await bench.until(id, "succeeded")).trained_tokens, 1000);
});

Deno.test("estimated_finish is in Unix seconds while the job runs, and null otherwise", async () => {
  await using bench = await Bench.open();
  const { id, estimated_finish } = await start(bench);
  equal(estimated_finish, null);
  const work = await bench.trainer.next();
  work.step(4); // says that 6 seconds are left
  const before = Date.now() / 1000;
  let finish: number | null = null;
  while (finish === null) {
    await new Promise((resolve) => setTimeout(resolve, 2));
    finish = bench.service.jobs.getTrain(id).estimated_finish;
  }
  ok(Number.isInteger(finish) && Math.abs(finish - before - 6) <= 2, `${finish - before} s`);
  await new Promise((resolve) => setTimeout(resolve, 1_100));
  equal(bench.service.jobs.getTrain(id).estimated_finish, finish, "without news it stays");
  await bench.service.jobs.pause(id);
  equal((await bench.until(id, "paused")).estimated_finish, null);
});

Deno.test("a file of another purpose is refused, at the field that names it", async () => {
  await using bench = await Bench.open();
  const upload = (purpose: "fine-tune" | "assistants") =>
    bench.service.files.create(streamOf(LINE), "a.jsonl", purpose);
  const good = (await upload("fine-tune")).id;
  const bad = (await upload("assistants")).id;
  for (
    const [param, train, validation] of [["training_file", bad], ["validation_file", good, bad]]
  ) {
    const body = { model: "base", training_file: train!, validation_file: validation ?? null };
    await rejects(bench.service.jobs.createTrain({ kind: "openai", body }), {
      code: "invalid_file_purpose",
      param,
      message: `Cannot train with the file ${bad} as its purpose is "assistants": ` +
        'upload it again with the purpose "fine-tune"',
    });
  }
});

Deno.test("an upload of results is told by its purpose from one of training data", async () => {
  await using bench = await Bench.open();
  const { id } = await start(bench);
  (await bench.trainer.next()).finish();
  const { result_files } = await bench.until(id, "succeeded");
  const { data } = bench.service.files.list({ purpose: "fine-tune-results" });
  deepStrictEqual(data.map((file) => file.id), result_files);
  match(data[0]!.id, /^file-/);
});

Deno.test("a checkpoint's metrics have OpenAI's names, each only where it was computed", async () => {
  await using bench = await Bench.open();
  const { id } = await start(bench);
  const work = await bench.trainer.next();
  work.step(4);
  work.checkpoint(5);
  work.step(8);
  const path = `${bench.data}/checkpoint-9`;
  const metrics = { eval_loss: 0.5, eval_accuracy: 0.75 };
  work.say({ type: "checkpoint", step: 9, epoch: 0.9, path, metrics });
  work.finish();
  await bench.until(id, "succeeded");
  const { data } = bench.service.jobs.checkpoints(id, {});
  deepStrictEqual(data.map((checkpoint) => checkpoint.metrics), [
    {
      step: 9,
      epoch: 0.9,
      ...metrics,
      train_loss: 1 / 8,
      valid_loss: 0.5,
      full_valid_loss: 0.5,
      valid_mean_token_accuracy: 0.75,
      full_valid_mean_token_accuracy: 0.75,
    },
    { step: 5, epoch: 0.5, loss: 1, train_loss: 1 / 4 },
  ]);
});

Deno.test("a training line without an assistant turn fails its job with the line and the field", async () => {
  await using bench = await Bench.open();
  const asked = JSON.stringify({ messages: [{ role: "user", content: "问" }] });
  const good = await bench.service.files.create(streamOf(LINE), "good.jsonl", "fine-tune");
  const bad = await bench.service.files.create(
    streamOf(`${LINE}\n${asked}\n`),
    "bad.jsonl",
    "fine-tune",
  );
  for (
    const [param, files] of [
      ["training_file", { training_file: bad.id }],
      ["validation_file", { training_file: good.id, validation_file: bad.id }],
    ] as const
  ) {
    const body = { model: "base", ...files };
    const { id } = await bench.service.jobs.createTrain({ kind: "openai", body });
    const { error } = await bench.until(id, "failed");
    deepStrictEqual(error, {
      code: "invalid_dataset",
      message:
        "Cannot use the data set: line 2 has no assistant turn; nothing can be learned from " +
        `it (data set ${bad.id})`,
      param,
    });
  }
});
