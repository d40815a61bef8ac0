/** Jobs while they run: followed, cancelled, paused, killed from outside; and their disk running full. */
import assert from "node:assert/strict";
import type { FineTuningJob, JobEventObject } from "../../contract/job.ts";
import { type Job, RunningService, until } from "./service.ts";
import { recipe, records } from "./training.ts";

const service = await RunningService.start();
await service.upload("quarters", records);
const path = "/v1/fine_tuning/jobs";

const create = (more: Record<string, unknown>) => service.post<FineTuningJob>(path, recipe(more));
const stepping = (job: Job) => "progress" in job && job.progress !== null;

/** Reads events of the stream until `enough`, then leaves it. */
async function listen(
  id: string,
  after: number,
  enough: (seen: JobEventObject[]) => boolean,
): Promise<JobEventObject[]> {
  const leaving = new AbortController();
  const response = await fetch(`${service.url}${path}/${id}/events?stream=true`, {
    headers: after > 0 ? { "Last-Event-ID": String(after) } : {},
    signal: leaving.signal,
  });
  const seen: JobEventObject[] = [];
  let rest = "";
  try {
    for await (const text of response.body!.pipeThrough(new TextDecoderStream())) {
      const frames = (rest + text).split("\n\n");
      rest = frames.pop()!;
      for (const frame of frames) {
        const data = /^data: (\{.*)$/m.exec(frame)?.[1];
        if (data === undefined) continue;
        seen.push(JSON.parse(data));
        assert.match(frame, new RegExp(`^id: ${seen.at(-1)!.sequence}$`, "m"));
        if (enough(seen)) return seen;
      }
    }
    return seen;
  } finally {
    leaving.abort();
  }
}

Deno.test("a stream that breaks off is resumed without a gap and without a repetition", async () => {
  const { id } = await create({ max_steps: 6 });
  const first = await listen(id, 0, (seen) => seen.at(-1)!.data.type === "progress");
  const rest = await listen(id, first.at(-1)!.sequence, () => false);
  const sequences = [...first, ...rest].map(({ sequence }) => sequence);
  assert.deepEqual(sequences, sequences.map((_, i) => i + 1));
  assert.equal(rest.at(-1)!.data.type, "succeeded");
  const steps = [...first, ...rest].flatMap(({ data }) =>
    data.type === "progress" ? [data.step] : []
  );
  assert.deepEqual(steps, [1, 2, 3, 4, 5, 6]);
});

Deno.test("a running job is cancelled within two seconds, and its memory given back", async () => {
  const { id } = await create({ max_steps: 100_000 });
  await service.job(id, stepping);
  const [trainer] = service.pythons();
  const asked = performance.now();
  const job = await service.post<FineTuningJob>(`${path}/${id}/cancel`, {});
  const seconds = (performance.now() - asked) / 1000;
  assert.equal(job.status, "cancelled");
  assert.ok(seconds < 2, `it took ${seconds.toFixed(1)} s`);
  await until(() => !service.pythons().includes(trainer!), 5, "the trainer's process lives on");
});

Deno.test("a paused job keeps a checkpoint and goes on from it", async () => {
  const { id } = await create({ max_steps: 40 });
  await service.job(id, stepping);
  await service.post(`${path}/${id}/pause`, {});
  const paused = await service.job(id, ({ status }) => status === "paused");
  const stopped = Number((paused.progress as { step: number }).step);
  await service.post(`${path}/${id}/resume`, {});
  const job = await service.job(id);
  assert.equal(job.status, "succeeded", JSON.stringify(job.error));
  const events = await service.events(id);
  const steps = events.flatMap(({ data }) => data.type === "progress" ? [data.step] : []);
  assert.deepEqual(steps, Array.from({ length: 40 }, (_, i) => i + 1));
  const message = events.findLast(({ data }) => data.type === "started")!.message;
  assert.match(message, new RegExp(`goes on from .*checkpoint-${stopped}$`));
});

const attempts = async (id: string) =>
  (await service.events(id)).filter(({ data }) => data.type === "started").length;

/** Kills every Python process there is as soon as the job's attempt of that number has `said`. */
async function killed(id: string, attempt: number, said: "progress" | "checkpoint") {
  const isSo = async () => {
    const events = await service.events(id);
    const at = events.findLastIndex(({ data }) => data.type === "started");
    const since = events.slice(at).some(({ data }) => data.type === said);
    return await attempts(id) === attempt && since;
  };
  await until(isSo, 120, () => `attempt ${attempt} never said ${said}: ${service.log()}`);
  service.pythons().forEach((pid) => Deno.kill(pid, "SIGKILL"));
}

Deno.test("a trainer that is killed is started again and its job goes on to its end", async () => {
  const { id } = await create({ max_steps: 60, save_steps: 5 });
  await killed(id, 1, "checkpoint");
  const job = await service.job(id);
  assert.equal(job.status, "succeeded", JSON.stringify(job.error));
  const events = await service.events(id);
  const said = events.map(({ message }) => message).join("\n");
  assert.match(said, /interrupted: its trainer process died: .*SIGKILL/);
  assert.match(said, /it goes on from the checkpoint of step \d+/);
  const steps = events.flatMap(({ data }) => data.type === "progress" ? [data.step] : []);
  assert.deepEqual([...new Set(steps)], Array.from({ length: 60 }, (_, i) => i + 1));
});

Deno.test("a trainer that is killed again and again fails its job, and the next job runs", async () => {
  const { id } = await create({ max_steps: 100_000 });
  await killed(id, 1, "progress");
  await killed(id, 2, "progress");
  const { status, error } = await service.job(id);
  assert.deepEqual([status, error!.code], ["failed", "python_died"]);
  assert.match(error!.message, /SIGKILL.*resume the job/);
  await service.post(`${path}/${id}/resume`, {});
  await until(async () => await attempts(id) === 3, 60, "the job was not resumed");
  await service.post(`${path}/${id}/cancel`, {});
  const next = await create({ max_steps: 1 });
  assert.equal((await service.job(next.id)).status, "succeeded");
});
