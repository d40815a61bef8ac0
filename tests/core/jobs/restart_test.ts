// After a restart the same jobs are there, and what was under way goes on.
import { deepStrictEqual, equal, ok } from "node:assert/strict";
import { Bench, trainYaml } from "./room.ts";

Deno.test("a service that was killed shows the same jobs and events", async () => {
  await using bench = await Bench.open();
  const { id } = await bench.train();
  (await bench.trainer.next()).finish();
  await bench.until(id, "succeeded");
  const before = [bench.service.jobs.getTrain(id), bench.service.jobs.events(id, { limit: 100 })];
  await bench.crash();
  const after = [bench.service.jobs.getTrain(id), bench.service.jobs.events(id, { limit: 100 })];
  deepStrictEqual(after, before);
});

Deno.test("a job that was running goes on from its last checkpoint and says so", async () => {
  await using bench = await Bench.open();
  const { id } = await bench.train({ overwrite_output_dir: true });
  const first = await bench.trainer.next();
  [2, 4].forEach((step) => first.checkpoint(step));
  first.step(5);
  await bench.until(id, "running");
  while (bench.service.jobs.getTrain(id).progress === null) await new Promise((r) => setTimeout(r));
  await bench.crash();
  const { work } = await bench.trainer.next();
  ok(work.type === "train");
  ok(work.spec.resume_from?.endsWith(`${id}/output/checkpoint-4`));
  ok(Deno.statSync(work.spec.resume_from!).isDirectory);
  const messages = await bench.messages(id);
  ok(messages.includes("Job interrupted: the service ended without notice"));
  ok(messages.includes("Job queued: it goes on from the checkpoint of step 4"));
  bench.trainer.started[0]!.finish();
  await bench.until(id, "succeeded");
});

Deno.test("a job without a checkpoint begins from the start, in an empty folder, and says so", async () => {
  await using bench = await Bench.open();
  const { id } = await bench.train();
  const first = await bench.trainer.next();
  ok(first.work.type === "train");
  const leftover = `${first.work.spec.output_dir}/trainer_log.jsonl`;
  Deno.writeTextFileSync(leftover, "half a line");
  await bench.until(id, "running");
  await bench.crash();
  const { work } = await bench.trainer.next();
  ok(work.type === "train");
  equal(work.spec.resume_from, null);
  deepStrictEqual(Array.from(Deno.readDirSync(work.spec.output_dir)), []);
  const messages = await bench.messages(id);
  ok(messages.includes("Job queued: it has no checkpoint and begins from the start"));
  ok(messages.includes("Job started again from the beginning"));
});

Deno.test("jobs that waited keep their order", async () => {
  await using bench = await Bench.open();
  const ids = [];
  for (const output_dir of ["a", "b", "c"]) ids.push((await bench.train({ output_dir })).id);
  await bench.trainer.next();
  for (const id of ids.slice(1)) await bench.until(id, "queued");
  await bench.crash();
  for (const id of ids) {
    const work = await bench.trainer.next();
    equal(work.work.id, id);
    work.finish();
    await bench.until(id, "succeeded");
  }
});

Deno.test("a cancel that the crash overtook is carried out", async () => {
  await using bench = await Bench.open();
  const { id } = await bench.train();
  const work = await bench.trainer.next();
  work.obeys = false;
  await bench.until(id, "running");
  const cancelled = bench.service.jobs.cancel(id);
  await bench.crash();
  await cancelled;
  equal(bench.service.jobs.getTrain(id).status, "cancelled");
  equal(bench.trainer.started.length, 0);
});

Deno.test("a paused job stays paused", async () => {
  await using bench = await Bench.open();
  const { id } = await bench.train();
  await bench.trainer.next();
  await bench.service.jobs.pause(id);
  await bench.until(id, "paused");
  await bench.crash();
  equal(bench.service.jobs.getTrain(id).status, "paused");
  equal(bench.trainer.started.length, 0);
});

Deno.test("a job that is to be paused once its data is read is so after a restart", async () => {
  await using bench = await Bench.open();
  const { id } = await bench.train();
  await bench.service.jobs.pause(id);
  await bench.crash();
  await bench.until(id, "paused");
  equal(bench.trainer.started.length, 0);
});

Deno.test("a service that ends lets its job keep a checkpoint, and goes on with it", async () => {
  await using bench = await Bench.open();
  const { id } = await bench.train();
  const first = await bench.trainer.next();
  first.checkpoint(3);
  await bench.until(id, "running");
  await bench.service.close();
  deepStrictEqual(first.stops, ["pause"]);
  await bench.start();
  const { work } = await bench.trainer.next();
  ok(work.type === "train" && work.spec.resume_from?.endsWith("checkpoint-3"));
});

Deno.test("a command that was ended goes on when it is typed again", async () => {
  await using bench = await Bench.open();
  const origin = { kind: "command_line", cwd: bench.cwd } as const;
  const request = {
    kind: "yaml" as const,
    text: trainYaml({ overwrite_output_dir: true }),
    origin,
  };
  const { id } = await bench.service.jobs.createTrain(request);
  (await bench.trainer.next()).checkpoint(6);
  await bench.until(id, "running");
  await bench.service.close();
  await bench.start();
  equal((await bench.service.jobs.createTrain(request)).id, id);
  const { work } = await bench.trainer.next();
  ok(work.type === "train" && work.spec.resume_from?.endsWith("checkpoint-6"));
});
