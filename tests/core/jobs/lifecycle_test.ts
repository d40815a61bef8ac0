// The fold: a job's status depends on its events alone, and an ended job stays ended.
import { deepStrictEqual, equal, ok } from "node:assert/strict";
import type { JobEventBody } from "../../../contract/job.ts";
import { JobStatus } from "../../../contract/job.ts";
import { fold, hasEnded, mayFollow, NEW, next } from "../../../core/jobs/lifecycle.ts";

const error = { code: "c", message: "m", param: null };
const BODIES: JobEventBody[] = [
  { type: "queued", why: "" },
  { type: "started", attempt: 1, resume_from: null, resume_step: null },
  { type: "paused" },
  { type: "interrupted", why: "" },
  { type: "succeeded", model: "ft:x", result: {} },
  { type: "failed", error },
  { type: "cancelled" },
  { type: "stop_requested", how: "cancel" },
  { type: "stop_requested", how: "pause" },
  { type: "message", level: "info", code: "c", text: "t", data: {} },
  { type: "checkpoint", step: 1, epoch: 1, path: "p", metrics: {} },
];
const body = (type: JobEventBody["type"]) => BODIES.find((body) => body.type === type)!;
const at = (type: JobEventBody["type"], created_at = 1) => ({ body: body(type), created_at });

/** A repeatable stream of numbers below `limit`. */
function dice(seed: number): (limit: number) => number {
  return (limit) => {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
    return seed % limit;
  };
}

function randomEvents(seed: number) {
  const roll = dice(seed);
  return Array.from({ length: 30 }, (_, i) => ({
    body: BODIES[roll(BODIES.length)]!,
    created_at: i,
  }));
}

Deno.test("folding in two parts is folding at once", () => {
  for (let seed = 1; seed <= 200; seed++) {
    const events = randomEvents(seed);
    const cut = seed % events.length;
    let state = fold(events.slice(0, cut));
    for (const event of events.slice(cut)) state = next(state, event);
    deepStrictEqual(state, fold(events));
  }
});

Deno.test("nothing moves a job that has ended", () => {
  for (let seed = 1; seed <= 200; seed++) {
    let state = NEW;
    for (const event of randomEvents(seed)) {
      const before = state;
      state = next(state, event);
      if (hasEnded(before.status)) equal(state, before);
    }
  }
});

Deno.test("an event that may not follow changes nothing, one that may is a known status", () => {
  for (let seed = 1; seed <= 200; seed++) {
    let state = NEW;
    for (const event of randomEvents(seed)) {
      const after = next(state, event);
      if (!mayFollow(state, event.body.type)) equal(after, state);
      ok(JobStatus.options.includes(after.status));
      state = after;
    }
  }
});

Deno.test("the usual life ends as succeeded with its model and its time", () => {
  const state = fold([at("queued"), at("started"), at("checkpoint"), at("succeeded", 9)]);
  equal(state.status, "succeeded");
  equal(state.model, "ft:x");
  equal(state.finished_at, 9);
});

Deno.test("an interrupted job is queued and runs again", () => {
  const life = [at("queued"), at("started"), at("interrupted"), at("queued"), at("started")];
  equal(fold(life).status, "running");
});

Deno.test("a job that was never started cannot succeed", () => {
  equal(fold([at("queued"), at("succeeded")]).status, "queued");
});

Deno.test("a wish to cancel is not forgotten for a later wish to pause", () => {
  const wishes = BODIES.filter(({ type }) => type === "stop_requested");
  const state = fold([
    at("queued"),
    at("started"),
    ...wishes.map((body) => ({ body, created_at: 1 })),
  ]);
  equal(state.stopping, "cancel");
});

Deno.test("of all failures only the death of its process lets a job be queued again", () => {
  const failedAs = (code: string) => ({
    body: { type: "failed", error: { ...error, code } } as JobEventBody,
    created_at: 5,
  });
  const life = (code: string) => fold([at("queued"), at("started"), failedAs(code), at("queued")]);
  const { status, finished_at, error: left } = life("python_died");
  deepStrictEqual({ status, finished_at, left }, {
    status: "queued",
    finished_at: null,
    left: null,
  });
  equal(life("diverged").status, "failed");
});
