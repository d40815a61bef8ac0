// Whatever users and processes do, in whatever order: one process at a time, and every job ends.
import { equal, ok } from "node:assert/strict";
import { BullionError } from "../../../contract/errors.ts";
import { fold, hasEnded } from "../../../core/jobs/lifecycle.ts";
import type { FakeWork } from "../doors.ts";
import { Bench } from "./room.ts";

/** A repeatable stream of numbers below `limit`. */
function dice(seed: number): (limit: number) => number {
  return (limit) => {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
    return Math.floor(seed / 65_536) % limit;
  };
}

function isAlive({ said, killed }: FakeWork): boolean {
  return !killed && !said.some((type) => ["finished", "failed", "stopped"].includes(type));
}

async function refusedOrDone(act: Promise<unknown>): Promise<void> {
  await act.catch((error) => ok(error instanceof BullionError, String(error)));
}

for (let seed = 1; seed <= 6; seed++) {
  Deno.test(`jobs in disorder ${seed} come to order`, async () => {
    await using bench = await Bench.open();
    const roll = dice(seed);
    const ids: string[] = [];
    const pending: Promise<void>[] = [];
    for (let turn = 0; turn < 40; turn++) {
      const id = ids[roll(Math.max(1, ids.length))]!;
      const { jobs } = bench.service;
      const alive = bench.trainer.started.filter(isAlive);
      ok(alive.length <= 1, `${alive.length} processes at once`);
      const [work] = alive;
      const act = roll(9);
      if (act <= 1 || ids.length === 0) {
        ids.push((await bench.train({ output_dir: `out/${ids.length}` })).id);
      } else if (act === 2) pending.push(refusedOrDone(jobs.cancel(id)));
      else if (act === 3) pending.push(refusedOrDone(jobs.pause(id)));
      else if (act === 4) pending.push(refusedOrDone(jobs.resume(id)));
      else if (act === 5) work?.finish();
      else if (act === 6) work?.checkpoint(turn);
      else if (act === 7) work?.kill();
      else {
        await Promise.all(pending.splice(0));
        await bench.service.close();
        await bench.start();
      }
      for (let pauses = roll(3); pauses > 0; pauses--) {
        await new Promise((resolve) => setTimeout(resolve, roll(8)));
      }
    }
    await Promise.all(pending);
    const status = (id: string) => bench.service.jobs.getTrain(id).status;
    const end = Date.now() + 5_000;
    while (!ids.every((id) => hasEnded(status(id) as "queued")) && Date.now() < end) {
      for (const id of ids) {
        if (status(id) === "paused") await refusedOrDone(bench.service.jobs.resume(id));
      }
      bench.trainer.started.filter(isAlive).forEach((work) => work.finish());
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    for (const id of ids) {
      ok(hasEnded(status(id) as "queued"), `job is ${status(id)}`);
      const { data } = bench.service.jobs.events(id, { limit: 10_000, order: "asc" });
      const events = data.map(({ data: body, created_at }) => ({ body, created_at }));
      equal(fold(events).status, status(id));
      equal(data.filter(({ data: { type } }) => type === "created").length, 1);
    }
  });
}
