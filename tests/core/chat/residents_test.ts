// Models in the engine: loaded once, never unloaded under a user, the longest unused one goes first.
import { deepStrictEqual, equal, fail, rejects } from "node:assert/strict";
import { BullionError } from "../../../contract/errors.ts";
import { Residents } from "../../../core/chat/residents.ts";
import { FakeEngine } from "../doors.ts";

const never = new AbortController().signal;

function model(name: string, adapter: string | null = null) {
  const base = { name, path: `/m/${name}`, hub: null, trust_remote_code: false };
  return { name, base, adapter, why: "", also: [] };
}

Deno.test("a model is loaded once, however many ask at the same moment and by which name", async () => {
  const engine = new FakeEngine();
  const residents = new Residents(engine, 2);
  const other = { ...model("a"), name: "another name of a" };
  await Promise.all([model("a"), model("a"), other].map((m) => residents.acquire(m, never)));
  deepStrictEqual(engine.calls, ["load /m/a"]);
});

Deno.test("the longest unused model gives way", async () => {
  const engine = new FakeEngine();
  const residents = new Residents(engine, 2);
  for (const name of ["a", "b", "a", "c"]) {
    (await residents.acquire(model(name), never))[Symbol.dispose]();
  }
  deepStrictEqual(engine.calls, ["load /m/a", "load /m/b", "unload /m/b", "load /m/c"]);
});

Deno.test("a model in use is not unloaded: who wants its place waits for it", async () => {
  const engine = new FakeEngine();
  const residents = new Residents(engine, 1);
  const first = await residents.acquire(model("a"), never);
  let came = false;
  const second = residents.acquire(model("b"), never).then((lease) => {
    came = true;
    return lease;
  });
  await new Promise((resolve) => setTimeout(resolve, 5));
  equal(came, false);
  first[Symbol.dispose]();
  await second;
  deepStrictEqual(engine.calls, ["load /m/a", "unload /m/a", "load /m/b"]);
});

Deno.test("adapters over one base take no other base's place", async () => {
  const engine = new FakeEngine();
  const residents = new Residents(engine, 1);
  for (const adapter of [null, "/x", "/y"]) await residents.acquire(model("a", adapter), never);
  deepStrictEqual(engine.calls, ["load /m/a", "load /x", "load /y"]);
});

Deno.test("a base gives way with all its adapters, and only when none of them is used", async () => {
  const engine = new FakeEngine();
  const residents = new Residents(engine, 1);
  (await residents.acquire(model("a"), never))[Symbol.dispose]();
  const used = await residents.acquire(model("a", "/x"), never);
  const waiting = residents.acquire(model("b"), never);
  await new Promise((resolve) => setTimeout(resolve, 5));
  equal(engine.calls.includes("unload /m/a"), false);
  used[Symbol.dispose]();
  await waiting;
  deepStrictEqual(engine.calls.slice(2), ["unload /m/a", "unload /x", "load /m/b"]);
});

Deno.test("a model that the engine dropped by itself needs no unloading", async () => {
  const engine = new FakeEngine();
  engine.unload = () => Promise.reject(new BullionError("model_not_loaded", "gone"));
  const residents = new Residents(engine, 1);
  (await residents.acquire(model("a"), never))[Symbol.dispose]();
  await residents.acquire(model("b"), never);
  deepStrictEqual(engine.calls, ["load /m/a", "load /m/b"]);
});

Deno.test("who waits for a place can leave", async () => {
  const residents = new Residents(new FakeEngine(), 1);
  await residents.acquire(model("a"), never);
  const leaving = new AbortController();
  const waiting = residents.acquire(model("b"), leaving.signal);
  leaving.abort();
  await rejects(waiting, { name: "AbortError" });
});

Deno.test("a load that failed is tried again by the next request", async () => {
  const engine = new FakeEngine();
  const load = engine.load;
  engine.load = () => Promise.reject(new Error("no room"));
  const residents = new Residents(engine, 1);
  await rejects(residents.acquire(model("a"), never), /no room/);
  engine.load = load;
  await residents.acquire(model("a"), never);
});

Deno.test("while a job has the device requests are refused, and afterwards served", async () => {
  const engine = new FakeEngine();
  const residents = new Residents(engine, 1);
  const inUse = await residents.acquire(model("a"), never);
  const suspended = residents.suspend("job x has the GPU to itself", 1_000);
  await rejects(residents.acquire(model("a"), never), {
    code: "engine_unavailable",
    message: /job x/,
  });
  deepStrictEqual(engine.calls, ["load /m/a"]); // an answer that is being written may end
  inUse[Symbol.dispose]();
  await suspended;
  residents.resume();
  await residents.acquire(model("a"), never);
  deepStrictEqual(engine.calls, ["load /m/a", "stop", "load /m/a"]);
});

Deno.test("an answer that takes too long does not keep a job waiting", async () => {
  const engine = new FakeEngine();
  const residents = new Residents(engine, 1);
  const late = await residents.acquire(model("a"), never);
  await residents.suspend("job x", 5);
  deepStrictEqual(engine.calls.at(-1), "stop");
  late[Symbol.dispose]();
});

Deno.test("a lease given back twice counts once", async () => {
  const engine = new FakeEngine();
  const residents = new Residents(engine, 1);
  const one = await residents.acquire(model("a"), never);
  const two = await residents.acquire(model("a"), never);
  one[Symbol.dispose]();
  one[Symbol.dispose]();
  const waiting = residents.acquire(model("b"), never);
  await new Promise((resolve) => setTimeout(resolve, 5));
  deepStrictEqual(engine.calls, ["load /m/a"]);
  two[Symbol.dispose]();
  await waiting;
});

Deno.test("a model that nobody used for the time given is unloaded, one in use is not", async () => {
  const engine = new FakeEngine();
  const residents = new Residents(engine, 2, 0.02);
  (await residents.acquire(model("a"), never))[Symbol.dispose]();
  await residents.acquire(model("b"), never);
  await new Promise((resolve) => setTimeout(resolve, 60));
  deepStrictEqual(engine.calls, ["load /m/a", "load /m/b", "unload /m/a"]);
});

Deno.test("a service that closes lets an answer end, and refuses who comes and who waits", async () => {
  const engine = new FakeEngine();
  const residents = new Residents(engine, 1);
  const inUse = await residents.acquire(model("a"), never);
  const refusal = { code: "service_stopping", message: /is stopping/ };
  const waiting = rejects(residents.acquire(model("b"), never), refusal);
  const closed = residents.close(60_000);
  await waiting;
  await rejects(residents.acquire(model("a"), never), refusal);
  deepStrictEqual(engine.calls, ["load /m/a"]);
  inUse[Symbol.dispose]();
  await closed;
  residents.resume(); // a job that ends later opens nothing again
  await rejects(residents.acquire(model("a"), never), refusal);
  deepStrictEqual(engine.calls, ["load /m/a", "stop"]);
});

Deno.test("answers that a stop cuts hear whether a job or the service's end is the cause", async () => {
  const engine = new FakeEngine();
  const residents = new Residents(engine, 1);
  await residents.acquire(model("a"), never);
  await residents.suspend("job x", 5);
  equal(engine.stopReason, "engine_unavailable");
  residents.resume();
  await residents.acquire(model("a"), never);
  await residents.close(5);
  equal(engine.stopReason, "service_stopping");
});

Deno.test("a model that is deleted serves who came before and refuses who comes after", async () => {
  const engine = new FakeEngine();
  const residents = new Residents(engine, 2);
  const before = await residents.acquire(model("a", "/jobs/1/adapter"), never);
  const released = residents.release("/jobs/1", () => "gone");
  const refusal = { code: "model_not_found", param: "model", message: /"a" .*being deleted/ };
  await rejects(residents.acquire(model("a", "/jobs/1/adapter"), never), refusal);
  await residents.acquire(model("a"), never); // its base stays
  await residents.acquire(model("a", "/jobs/10/adapter"), never);
  equal(engine.calls.includes("unload /jobs/1/adapter"), false);
  before[Symbol.dispose]();
  equal(await released, "gone");
  equal(engine.calls.at(-1), "unload /jobs/1/adapter");
  await rejects(residents.acquire(model("a", "/jobs/1/adapter"), never), refusal);
});

Deno.test("a model that could not be unloaded is not deleted, and serves on", async () => {
  const engine = new FakeEngine();
  const residents = new Residents(engine, 1);
  (await residents.acquire(model("a"), never))[Symbol.dispose]();
  engine.unload = () => Promise.reject(new BullionError("python_timeout", "late"));
  const kept = () => fail("it is not forgotten");
  await rejects(residents.release("/m/a", kept), { code: "python_timeout" });
  await residents.acquire(model("a"), never);
});

Deno.test("a model that could not be forgotten serves on", async () => {
  const residents = new Residents(new FakeEngine(), 1);
  const full = () => {
    throw new BullionError("disk_full", "no room");
  };
  await rejects(residents.release("/m/a", full), { code: "disk_full" });
  await residents.acquire(model("a"), never);
});

Deno.test("an adapter over a base that is deleted hears that it is the base that goes", async () => {
  const residents = new Residents(new FakeEngine(), 1);
  await residents.release("/m/a", () => {});
  const message = /"a" as the base that it lies over is being deleted/;
  await rejects(residents.acquire(model("a", "/jobs/1/adapter"), never), { message });
});

Deno.test("who leaves while a model is loaded waits no longer; who stays gets it", async () => {
  const engine = new FakeEngine();
  const load = Promise.withResolvers<void>();
  engine.loading = () => load.promise;
  const residents = new Residents(engine, 1);
  const leaving = new AbortController();
  const left = residents.acquire(model("a"), leaving.signal);
  const staying = residents.acquire(model("a"), never);
  leaving.abort();
  await rejects(left, { name: "AbortError" });
  load.resolve();
  (await staying)[Symbol.dispose]();
  deepStrictEqual(engine.calls, ["load /m/a"]);
});
