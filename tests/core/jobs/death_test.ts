// A trainer that dies by itself is started again, as long as that brings its job further.
import { deepStrictEqual, equal, match, ok, rejects } from "node:assert/strict";
import type { FakeWork } from "../doors.ts";
import { Bench, rest } from "./room.ts";

const resumedFrom = ({ work }: FakeWork): string | null =>
  work.type === "train" && work.spec.resume_from !== null
    ? work.spec.resume_from.split("/").at(-1)!
    : null;

/** Its trainer dies behind the checkpoint of step 4, and again before another one. */
async function diesTwice({ trainer }: Bench): Promise<void> {
  const first = await trainer.next();
  first.checkpoint(4);
  first.kill();
  (await trainer.next()).kill();
}

Deno.test("a job whose process dies goes on from its last checkpoint and says who died", async () => {
  await using bench = await Bench.open();
  const { id } = await bench.train();
  const first = await bench.trainer.next();
  first.checkpoint(4);
  first.kill();
  const second = await bench.trainer.next();
  equal(resumedFrom(second), "checkpoint-4");
  second.finish();
  await bench.until(id, "succeeded");
  const messages = await bench.messages(id);
  ok(
    messages.includes("Job interrupted: its trainer process died: The process was killed"),
    messages.join("\n"),
  );
  ok(messages.includes("Job queued: it goes on from the checkpoint of step 4"));
});

Deno.test("a job that dies as often as it likes is started again while checkpoints come", async () => {
  await using bench = await Bench.open();
  const { id } = await bench.train();
  for (const step of [1, 2, 3]) {
    const work = await bench.trainer.next();
    work.checkpoint(step);
    work.kill();
  }
  (await bench.trainer.next()).finish();
  await bench.until(id, "succeeded");
});

Deno.test("a job that dies again without a new checkpoint fails and says how to go on", async () => {
  await using bench = await Bench.open();
  const { id } = await bench.train();
  await diesTwice(bench);
  const { error } = await bench.until(id, "failed");
  equal(error!.code, "python_died");
  match(error!.message, /^The process was killed\. .*started again, and got no further/);
  match(error!.message, /SIGKILL.*memory ran out/);
  match(error!.message, new RegExp(`/v1/fine_tuning/jobs/${id}/resume\\): .*checkpoint of step 4`));
  equal(bench.trainer.started.length, 2);
});

Deno.test("that a process died before is not forgotten over a restart of the service", async () => {
  await using bench = await Bench.open();
  const { id } = await bench.train();
  (await bench.trainer.next()).kill();
  await bench.trainer.next();
  await bench.until(id, "running");
  await bench.crash();
  (await bench.trainer.next()).kill();
  equal((await bench.until(id, "failed")).error?.code, "python_died");
});

Deno.test("a job that failed by deaths is resumed from its checkpoint, also after a restart", async () => {
  await using bench = await Bench.open();
  const { id } = await bench.train();
  await diesTwice(bench);
  await bench.until(id, "failed");
  await bench.crash();
  const job = await bench.service.jobs.resume(id);
  deepStrictEqual([job.status, job.error, job.finished_at], ["queued", null, null]);
  await bench.trainer.next();
  await bench.until(id, "running");
  await bench.crash();
  const last = await bench.trainer.next();
  equal(resumedFrom(last), "checkpoint-4");
  last.finish();
  await bench.until(id, "succeeded");
  equal((await bench.service.models.resolve("saves/one", rest)).adapter, job.path);
});

Deno.test("a job whose output's name another job writes to is not resumed", async () => {
  await using bench = await Bench.open();
  const { id } = await bench.train();
  for (let attempt = 1; attempt <= 2; attempt++) (await bench.trainer.next()).kill();
  await bench.until(id, "failed");
  await bench.train();
  await rejects(bench.service.jobs.resume(id), {
    code: "output_name_in_use",
    param: "output_dir",
  });
});

Deno.test("a failure of another kind is neither started again nor resumed", async () => {
  await using bench = await Bench.open();
  const { id } = await bench.train();
  (await bench.trainer.next()).fail("diverged");
  await bench.until(id, "failed");
  equal(bench.trainer.started.length, 1);
  await rejects(bench.service.jobs.resume(id), { code: "job_ended" });
});

Deno.test("a checkpoint of the model alone is not gone on from, and stays", async () => {
  await using bench = await Bench.open();
  const { id } = await bench.train({ save_only_model: true });
  const first = await bench.trainer.next();
  first.checkpoint(4, false);
  first.kill();
  const second = await bench.trainer.next();
  equal(resumedFrom(second), null);
  const { path } = bench.service.jobs.getTrain(id);
  ok(Deno.statSync(`${path}/checkpoint-4`).isDirectory);
});

Deno.test("a process that dies when asked to pause leaves a paused job", async () => {
  await using bench = await Bench.open();
  const { id } = await bench.train();
  const work = await bench.trainer.next();
  work.obeys = false;
  await bench.until(id, "running");
  await bench.service.jobs.pause(id);
  work.kill();
  await bench.until(id, "paused");
  ok((await bench.messages(id)).some((text) => text.includes("died before it had paused")));
});

Deno.test("an export whose process dies is begun again once", async () => {
  await using bench = await Bench.open();
  const { id } = await bench.train();
  (await bench.trainer.next()).finish();
  await bench.until(id, "succeeded");
  const text = "model_name_or_path: base\nadapter_name_or_path: saves/one\ntemplate: llama3\n" +
    "export_dir: merged\n";
  const exported = await bench.service.jobs.createExport({ text, origin: rest });
  for (let attempt = 1; attempt <= 2; attempt++) (await bench.trainer.next()).kill();
  for await (const _ of bench.service.jobs.tail(exported.id, 0, new AbortController().signal));
  const { status, error } = bench.service.jobs.getExport(exported.id);
  equal(status, "failed");
  match(error!.message, /start the export again/);
});
