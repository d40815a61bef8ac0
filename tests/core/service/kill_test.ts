// A service that is killed while its job works: the next one goes on with the same job.
import { deepStrictEqual, equal, ok } from "node:assert/strict";
import { Bench } from "../jobs/room.ts";

Deno.test("after SIGKILL the next service goes on from the checkpoint, and no event is lost", async () => {
  await using bench = await Bench.open();
  await bench.service.close();
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "-q", new URL("./killed.ts", import.meta.url).pathname, bench.home],
    stdout: "piped",
  }).spawn();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const id = (await reader.read()).value!.trim();
  child.kill("SIGKILL");
  await child.status;
  await reader.cancel();

  await bench.start();
  const work = await bench.trainer.next();
  equal(work.work.id, id);
  ok(work.work.type === "train" && work.work.spec.resume_from?.endsWith("checkpoint-4"));
  const { data } = bench.service.jobs.events(id, { limit: 1000, order: "asc" });
  deepStrictEqual(data.map(({ sequence }) => sequence), data.map((_, index) => index + 1));
  ok(data.some(({ message }) => message === "Job interrupted: the service ended without notice"));
  work.finish();
  await bench.until(id, "succeeded");
});
