// A job's way through the queue: one at a time, stopped when asked, published when done.
import { deepStrictEqual, equal, ok, rejects } from "node:assert/strict";
import { join } from "node:path";
import { streamOf } from "../folder.ts";
import { Bench, never, rest, trainYaml } from "./room.ts";

Deno.test("a training goes from its YAML to a model under its published name", async () => {
  await using bench = await Bench.open();
  const { id } = await bench.train();
  const work = await bench.trainer.next();
  work.step(1);
  work.checkpoint(5);
  work.finish();
  const job = await bench.until(id, "succeeded");
  equal(job.fine_tuned_model, `ft:base::${id}`);
  equal(bench.service.models.get("saves/one").kind, "adapter");
  ok(Deno.statSync(join(bench.data, "saves/one/checkpoint-5")).isDirectory);
  deepStrictEqual(
    bench.service.jobs.checkpoints(id, {}).data.map((c) => c.fine_tuned_model_checkpoint),
    [`ft:base::${id}:ckpt-step-5`],
  );
});

Deno.test("the first events say what the model's name means and which keys change nothing", async () => {
  await using bench = await Bench.open();
  const { id } = await bench.train({ overwrite_cache: true });
  const messages = await bench.messages(id);
  ok(messages.some((m) => /^base resolved to .* because/.test(m)));
  ok(messages.some((m) => m.startsWith("overwrite_cache: ")));
});

Deno.test("jobs run one at a time, in the order they came", async () => {
  await using bench = await Bench.open();
  const jobs = [];
  for (const output_dir of ["a", "b", "c"]) jobs.push(await bench.train({ output_dir }));
  for (const [number, { id }] of jobs.entries()) {
    const work = await bench.trainer.next();
    equal(work.work.id, id);
    equal(bench.trainer.started.length, number + 1);
    work.finish();
    await bench.until(id, "succeeded");
  }
});

Deno.test("a training in OpenAI's form takes the uploaded file and its suffix", async () => {
  await using bench = await Bench.open();
  const line = JSON.stringify({
    messages: [{ role: "user", content: "q" }, { role: "assistant", content: "a" }],
  });
  const file = await bench.service.files.create(streamOf(line + "\n"), "t.jsonl", "fine-tune");
  const { id } = await bench.service.jobs.createTrain({
    kind: "openai",
    body: { model: "base", training_file: file.id, suffix: "annual", seed: 7 },
  });
  const { work } = await bench.trainer.next();
  ok(work.type === "train");
  equal(work.spec.seed, 7);
  const record = JSON.parse(Deno.readTextFileSync(work.spec.data.train[0]!));
  equal(record.turns[1].content, "a");
  bench.trainer.started[0]!.finish();
  equal((await bench.until(id, "succeeded")).fine_tuned_model, `ft:base:annual:${id}`);
});

Deno.test("a broken line fails the job in validation and is named", async () => {
  await using bench = await Bench.open();
  const good = JSON.stringify({
    messages: [{ role: "user", content: "q" }, { role: "assistant", content: "a" }],
  });
  const lines = [...Array(16).fill(good), '{"messages": [', good].join("\n");
  const file = await bench.service.files.create(streamOf(lines), "t.jsonl", "fine-tune");
  const { id } = await bench.service.jobs.createTrain({
    kind: "openai",
    body: { model: "base", training_file: file.id },
  });
  const job = await bench.until(id, "failed");
  equal(job.error?.code, "invalid_dataset");
  ok(/line 17/.test(job.error!.message));
  equal(bench.trainer.started.length, 0);
});

for (
  const [what, lines, code] of [
    ["a data set that does not exist", { dataset: "nothing" }, "dataset_not_found"],
    ["a model that does not exist", { model_name_or_path: "nothing" }, "model_not_found"],
    ["an unknown key", { lora_ranks: 8 }, "invalid_recipe"],
    ["an output above the data folder", { output_dir: "../out" }, "path_outside_data_folder"],
    ["an absolute output", { output_dir: "/out" }, "path_outside_data_folder"],
    ["a data folder elsewhere", { dataset_dir: "/etc" }, "path_outside_data_folder"],
    [
      "a checkpoint that is not there",
      { resume_from_checkpoint: "x/checkpoint-1" },
      "checkpoint_not_found",
    ],
  ] as const
) {
  Deno.test(`${what} is refused before there is a job`, async () => {
    await using bench = await Bench.open();
    await rejects(bench.train(lines), { code });
    deepStrictEqual(bench.service.jobs.listTrain({}).data, []);
  });
}

Deno.test("a training file that does not exist is refused by name", async () => {
  await using bench = await Bench.open();
  const body = { model: "base", training_file: "file-x" };
  await rejects(bench.service.jobs.createTrain({ kind: "openai", body }), {
    code: "file_not_found",
    param: "training_file",
  });
});

Deno.test("a cancel ends the process between two steps", async () => {
  await using bench = await Bench.open();
  const { id } = await bench.train();
  const work = await bench.trainer.next();
  work.step(1);
  equal((await bench.service.jobs.cancel(id)).status, "cancelled");
  deepStrictEqual(work.stops, ["cancel"]);
});

Deno.test("a process that does not end when cancelled is killed within two seconds", async () => {
  await using bench = await Bench.open();
  const { id } = await bench.train();
  const work = await bench.trainer.next();
  work.obeys = false;
  const began = Date.now();
  equal((await bench.service.jobs.cancel(id)).status, "cancelled");
  ok(work.killed);
  ok(Date.now() - began < 2_000);
});

Deno.test("a job that is cancelled while its data is read holds up no other", async () => {
  await using bench = await Bench.open();
  const first = await bench.train({ output_dir: "a" });
  equal(first.status, "validating_files");
  equal((await bench.service.jobs.cancel(first.id)).status, "cancelled");
  const second = await bench.train({ output_dir: "b" });
  equal((await bench.trainer.next()).work.id, second.id);
});

Deno.test("a job that waits is cancelled at once and never started", async () => {
  await using bench = await Bench.open();
  const first = await bench.train({ output_dir: "a" });
  const work = await bench.trainer.next();
  const second = await bench.train({ output_dir: "b" });
  await bench.until(second.id, "queued");
  equal((await bench.service.jobs.cancel(second.id)).status, "cancelled");
  work.finish();
  await bench.until(first.id, "succeeded");
  equal(bench.trainer.started.length, 1);
});

Deno.test("a job that has ended can be neither cancelled nor paused nor resumed", async () => {
  await using bench = await Bench.open();
  const { id } = await bench.train();
  (await bench.trainer.next()).finish();
  await bench.until(id, "succeeded");
  for (const act of ["cancel", "pause", "resume"] as const) {
    await rejects(bench.service.jobs[act](id), { code: "job_ended" });
  }
});

Deno.test("only a job that runs or waits is paused, only a paused one is resumed", async () => {
  await using bench = await Bench.open();
  const { id } = await bench.train();
  await bench.trainer.next();
  await rejects(bench.service.jobs.resume(id), { code: "job_not_paused" });
  await bench.service.jobs.pause(id);
  await bench.until(id, "paused");
  await rejects(bench.service.jobs.pause(id), { code: "job_not_running" });
});

Deno.test("a job whose data is being read is paused before it runs, and runs when it is resumed", async () => {
  await using bench = await Bench.open();
  const { jobs } = bench.service;
  const { id, status } = await bench.train();
  equal(status, "validating_files");
  for (let times = 0; times < 2; times++) {
    equal((await jobs.pause(id)).status, "validating_files");
  }
  await rejects(jobs.resume(id), { code: "job_not_paused" });
  await bench.until(id, "paused");
  equal(bench.trainer.started.length, 0);
  const wishes = (await bench.messages(id)).filter((message) => message.startsWith("Pausing"));
  equal(wishes.length, 1);
  await jobs.resume(id);
  (await bench.trainer.next()).finish();
  await bench.until(id, "succeeded");
});

Deno.test("who follows a job when the service ends is told that the job has not ended", async () => {
  await using bench = await Bench.open();
  const { id } = await bench.train();
  await bench.trainer.next();
  const following = Array.fromAsync(bench.service.jobs.tail(id, 0, never));
  const refused = rejects(following, { code: "service_stopping" });
  await bench.service.close();
  await refused;
});

Deno.test("a paused job goes on from its checkpoint when it is resumed", async () => {
  await using bench = await Bench.open();
  const { id } = await bench.train();
  const first = await bench.trainer.next();
  first.obeys = false;
  first.checkpoint(4);
  await bench.service.jobs.pause(id);
  first.say({ type: "stopped", how: "pause" });
  await bench.until(id, "paused");
  await bench.service.jobs.resume(id);
  const { work } = await bench.trainer.next();
  ok(work.type === "train" && work.spec.resume_from?.endsWith("/checkpoint-4"));
});

Deno.test("a process that dies again and again fails its job with the cause, and the next job runs", async () => {
  await using bench = await Bench.open();
  const first = await bench.train({ output_dir: "a" });
  const second = await bench.train({ output_dir: "b" });
  for (let attempt = 1; attempt <= 2; attempt++) (await bench.trainer.next()).kill();
  equal((await bench.until(first.id, "failed")).error?.code, "python_died");
  (await bench.trainer.next()).finish();
  await bench.until(second.id, "succeeded");
});

Deno.test("an export merges the adapter that a published name means", async () => {
  await using bench = await Bench.open();
  const { id } = await bench.train();
  (await bench.trainer.next()).finish();
  await bench.until(id, "succeeded");
  const text = "model_name_or_path: base\nadapter_name_or_path: saves/one\ntemplate: llama3\n" +
    "export_dir: output/merged\n";
  const { id: exportId } = await bench.service.jobs.createExport({ text, origin: rest });
  const work = await bench.trainer.next();
  ok(work.work.type === "export");
  deepStrictEqual(work.work.spec.adapters, [bench.service.jobs.getTrain(id).path]);
  deepStrictEqual(work.work.spec.probes, ["问"]);
  work.finish();
  for await (const _ of bench.service.jobs.tail(exportId, 0, never));
  equal(bench.service.jobs.getExport(exportId).status, "succeeded");
  const merged = await bench.service.models.resolve("output/merged", rest);
  equal(merged.adapter, null);
  equal(merged.base.path, bench.service.jobs.getExport(exportId).path);
});

Deno.test("the same command typed again follows its own unfinished job", async () => {
  await using bench = await Bench.open();
  const origin = { kind: "command_line", cwd: bench.cwd } as const;
  const text = trainYaml({ overwrite_output_dir: true });
  const first = await bench.service.jobs.createTrain({ kind: "yaml", text, origin });
  const again = await bench.service.jobs.createTrain({ kind: "yaml", text, origin });
  equal(again.id, first.id);
  (await bench.trainer.next()).finish();
  await bench.until(first.id, "succeeded");
  ok(Deno.statSync(join(bench.cwd, "saves/one/adapter_config.json")).isFile);
});

Deno.test("a job says which answers of its data are empty", async () => {
  await using bench = await Bench.open();
  const records = [{ instruction: "问", output: "答" }, { instruction: "问", output: "" }];
  const { report } = await bench.service.datasets.put("holes", streamOf(JSON.stringify(records)));
  const said = "1 record has an empty answer (record 1 in line 1)";
  ok(String(report.notes).startsWith(said));
  const { id } = await bench.train({ dataset: "holes" });
  await bench.trainer.next();
  ok((await bench.messages(id)).some((text) => text.startsWith(`Data set holes: ${said}`)));
});
