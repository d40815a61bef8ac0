/** How often Python is asked: about once a step, soon after it ended, and rarely when nothing comes. */
import { equal, ok } from "node:assert/strict";
import { Pace } from "../../bridge/client.ts";

const bounds = { busyMs: 1, idleMs: 5 };

/** A process that has events every `step` ms: drains a step, and how late events are read, in ms. */
function play(step: number, steps: number): { drains: number; late: number } {
  const pace = new Pace(bounds);
  let [now, read, drains, late] = [0, 0, 0, 0];
  while (read < steps) {
    const done = Math.floor(now / step);
    const found = done > read;
    if (found) late += now - done * step;
    read = done;
    drains += 1;
    now += pace.after(found) + 0.15; // a call itself
  }
  return { drains: drains / steps, late: late / steps };
}

for (const step of [3, 7, 12, 19]) {
  Deno.test(`with a step of ${step} ms a drain finds events nearly every other time, and soon`, () => {
    const { drains, late } = play(step, 500);
    ok(drains < 2.5, `${drains} drains a step`);
    ok(late < 1.5, `${late} ms late`);
  });
}

Deno.test("steps shorter than the shortest pause are read together", () => {
  ok(play(0.2, 5000).drains < 0.3);
});

Deno.test("when nothing comes it asks ever less often, and at once again for new work", () => {
  const pace = new Pace(bounds);
  pace.after(true);
  const pauses = Array.from({ length: 20 }, () => pace.after(false));
  equal(pauses.at(-1), bounds.idleMs);
  pace.begin();
  equal(pace.after(false), bounds.busyMs);
});
