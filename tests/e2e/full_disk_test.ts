/** A full disk while saving: said as such, nothing lost, and work goes on once there is room. */
import assert from "node:assert/strict";
import type { FineTuningJob } from "../../contract/job.ts";
import { run } from "./project.ts";
import { type Job, RunningService } from "./service.ts";
import { recipe, records } from "./training.ts";

/** A disk of its own needs the right to mount one. */
async function smallDisk(megabytes: number): Promise<string | null> {
  const place = await Deno.makeTempDir({ prefix: "bullion-disk-" });
  const options = ["-t", "tmpfs", "-o", `size=${megabytes}m`, "bullion-test", place];
  const mounted = await run("mount", options).catch(() => null);
  if (mounted?.code === 0) return place;
  await Deno.remove(place);
  return null;
}

const disk = Deno.build.os === "linux" ? await smallDisk(12) : null;
const service = disk ? await RunningService.start({}, `${disk}/data`) : null;
if (disk) {
  addEventListener("unload", () => {
    new Deno.Command("umount", { args: ["--lazy", disk], stderr: "null" }).outputSync();
    Deno.removeSync(disk);
  });
}

/** Takes all that is left of the disk but `spare` bytes. */
async function fill(spare: number): Promise<void> {
  using file = await Deno.open(`${disk}/filler`, { write: true, create: true });
  const block = new Uint8Array(4_096).fill(1);
  try {
    for (;;) await file.write(block);
  } catch { /* full */ }
  const { size } = await file.stat();
  await file.truncate(Math.max(0, size - spare));
}

const empty = () => Deno.remove(`${disk}/filler`);
const path = "/v1/fine_tuning/jobs";

Deno.test({
  name: "an upload onto a full disk is refused as such, and what was there stays",
  ignore: disk === null,
  async fn() {
    await service!.upload("quarters", records);
    await fill(0);
    const large = new Uint8Array(200_000).fill(32);
    const refusal = await service!.refusal("/v1/datasets?name=quarters", large);
    assert.deepEqual([refusal.status, refusal.code], [507, "disk_full"]);
    assert.match(refusal.message, /disk .*is full: free some space/);
    await empty();
    const content = await fetch(`${service!.url}/v1/datasets/quarters/content`);
    assert.equal(await content.text(), records);
  },
});

Deno.test({
  name: "a training whose disk runs full fails as such, and the next one runs",
  ignore: disk === null,
  async fn() {
    const stepping = (job: Job) => "progress" in job && job.progress !== null;
    const yaml = recipe({
      max_steps: 400,
      save_steps: 5,
      save_total_limit: 1,
      output_dir: "saves/a",
    });
    const { id } = await service!.post<FineTuningJob>(path, yaml);
    await service!.job(id, stepping);
    // Room for the events of its steps, none for another checkpoint.
    await fill(400_000);
    const job = await service!.job(id);
    assert.deepEqual([job.status, job.error?.code], ["failed", "disk_full"], job.error?.message);
    await empty();
    const next = await service!.post<FineTuningJob>(path, recipe({ max_steps: 1 }));
    assert.equal((await service!.job(next.id)).status, "succeeded");
  },
});
