/** Python rings when it has events; without a ring it is asked only whether it still answers. */
import { deepStrictEqual, ok } from "node:assert/strict";
import { Trainer } from "../../bridge/trainer.ts";
import { packages, settings } from "./python.ts";

const NEVER = 3_600_000;

/** Types of the events of that work; fails when they take ten seconds. */
async function eventsOf(id: string, more: Parameters<typeof settings>[1]): Promise<string[]> {
  const work = new Trainer(settings(packages.faulty, more)).start({ type: "probe", id });
  const late = setTimeout(() => work.kill(), 10_000);
  const events = await Array.fromAsync(work.events);
  clearTimeout(late);
  return events.map((event) => event.type === "failed" ? event.error.code : event.type);
}

Deno.test("events that come long after the work was submitted are read when Python rings", async () => {
  deepStrictEqual(await eventsOf("later", { heartbeatMs: NEVER }), ["finished"]);
});

Deno.test("a process that stops answering at its work is found out without a ring", async () => {
  const more = { heartbeatMs: 200, callTimeoutMs: 1_000 };
  deepStrictEqual(await eventsOf("freezes", more), ["python_timeout"]);
});

Deno.test("without events nobody asks", async () => {
  const given = settings(packages.faulty, { heartbeatMs: NEVER });
  const work = new Trainer(given).start({ type: "probe", id: "later" });
  await Array.fromAsync(work.events);
  // For the event that says that the process is ready, and for the end of the work 0.3 s later.
  ok(given.lines.filter((line) => line === "drained").length <= 2);
});
