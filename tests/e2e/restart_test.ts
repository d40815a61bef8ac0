/** However the service ends, no Python process is left, and the next start shows the same jobs. */
import assert from "node:assert/strict";
import type { FineTuningJob } from "../../contract/job.ts";
import { type Job, RunningService, until } from "./service.ts";
import { recipe, records } from "./training.ts";

const service = await RunningService.start();
await service.upload("quarters", records);
const path = "/v1/fine_tuning/jobs";

/** Ends the service by `signal`; its Python processes must go with it. */
async function ends(signal: Deno.Signal): Promise<Deno.CommandStatus> {
  const before = service.pythons();
  assert.ok(before.length > 0, "no Python process ran");
  const status = await service.end(signal);
  const left = () => `after ${signal} ${service.pythons()} of ${before} live`;
  await until(() => service.pythons().length === 0, 5, left);
  return status;
}

let id = "";

Deno.test("SIGKILL in the middle of a training leaves no Python process", async () => {
  const yaml = recipe({ max_steps: 60, save_steps: 5, output_dir: "saves/restart" });
  id = (await service.post<FineTuningJob>(path, yaml)).id;
  const saved = async () =>
    (await service.events(id)).some(({ data }) => data.type === "checkpoint");
  await until(saved, 120, () => `no checkpoint: ${service.log()}`);
  await ends("SIGKILL");
});

Deno.test("the next start goes on from the last checkpoint, and says so; SIGTERM keeps it too", async () => {
  await service.again();
  const jobs = await service.get<{ data: FineTuningJob[] }>(path);
  assert.deepEqual(jobs.data.map((job) => job.id), [id]);
  const attempts = async () =>
    (await service.events(id)).filter(({ data }) => data.type === "started").length;
  await until(async () => await attempts() === 2, 30, () => `not started again: ${service.log()}`);
  const said = (await service.events(id)).map(({ message }) => message).join("\n");
  assert.match(said, /interrupted: the service ended without notice/);
  assert.match(said, /it goes on from the checkpoint of step \d+/);
  await until(() => service.pythons().length > 0, 20, "no trainer was started");
  const { code } = await ends("SIGTERM");
  assert.equal(code, 0);
});

Deno.test("SIGINT ends it as well; the third start brings the job to its end", async () => {
  await service.again();
  await service.job(id, (job: Job) => job.status === "running");
  await until(() => service.pythons().length > 0, 20, "no trainer was started");
  assert.equal((await ends("SIGINT")).code, 0);
  await service.again();
  const job = await service.job(id);
  assert.equal(job.status, "succeeded", JSON.stringify(job.error));
  const steps = (await service.events(id))
    .flatMap(({ data }) => data.type === "progress" ? [data.step] : []);
  assert.deepEqual([...new Set(steps)], Array.from({ length: 60 }, (_, i) => i + 1));
  assert.ok((await Deno.stat(`${service.folder}/saves/restart/adapter_model.safetensors`)).isFile);
});
