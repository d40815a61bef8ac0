// Every way in which Python can go wrong ends as one typed event, never as a hang.
import { deepStrictEqual, equal, match, ok } from "node:assert/strict";
import { Trainer } from "../../bridge/trainer.ts";
import type { WorkerEvent } from "../../contract/worker.ts";
import { packages, settings } from "./python.ts";

type Failed = Extract<WorkerEvent, { type: "failed" }>;

async function eventsOf(id: string, given = settings(packages.faulty)): Promise<WorkerEvent[]> {
  const work = new Trainer(given).start({ type: "probe", id });
  return await Array.fromAsync(work.events);
}

async function failureOf(id: string, given = settings(packages.faulty)): Promise<Failed["error"]> {
  const last = (await eventsOf(id, given)).at(-1);
  equal(last?.type, "failed");
  return (last as Failed).error;
}

Deno.test("work that is done ends with its result", async () => {
  const events = await eventsOf("fine");
  equal(events.length, 1);
  const [event] = events;
  ok(event?.type === "finished");
  deepStrictEqual(event.result.echo, { type: "probe", id: "fine" });
});

Deno.test("an interpreter that does not exist is python_missing and says what to do", async () => {
  const error = await failureOf("x", settings(packages.faulty, { python: "/nowhere/python" }));
  equal(error.code, "python_missing");
  match(error.message, /\/nowhere\/python does not run.*deno task setup/);
});

Deno.test("a package that cannot be imported is python_module_missing and names it", async () => {
  const given = settings(packages.none);
  const error = await failureOf("x", given);
  equal(error.code, "python_module_missing");
  match(error.message, /No module named 'bullion'/);
  match(given.lines.join("\n"), /Traceback/);
});

Deno.test("an exception in the facade is python_exception, its traceback is in the log", async () => {
  const given = settings(packages.faulty);
  const error = await failureOf("raises", given);
  equal(error.code, "python_exception");
  match(error.message, /RuntimeError: a fault in Python/);
  match(given.lines.join("\n"), /worker\.py.*\n.*raise RuntimeError/s);
});

Deno.test("a refusal of Python's keeps its code and param", async () => {
  const error = await failureOf("refuses");
  deepStrictEqual(error, { code: "model_not_found", message: "no such model", param: "model" });
});

Deno.test("a process that is killed is python_died with the signal and its last line", async () => {
  const error = await failureOf("dies");
  equal(error.code, "python_died");
  match(error.message, /SIGKILL.*about to die/);
});

Deno.test("what a process said long before its death is not told as the cause", async () => {
  const error = await failureOf("dies_silently");
  equal(error.message, "The Python process ended by SIGKILL (submit)");
});

Deno.test("a process that exits is python_died with its exit code", async () => {
  match((await failureOf("exits")).message, /exit code 3.*a last word/);
});

Deno.test("a process that dies between events ends the work that waits for it", async () => {
  const events = await eventsOf("dies_later");
  deepStrictEqual(events.map((event) => event.type), ["message", "failed"]);
});

Deno.test("an answer too late is python_timeout", async () => {
  const error = await failureOf("hangs", settings(packages.faulty, { callTimeoutMs: 1500 }));
  equal(error.code, "python_timeout");
  match(error.message, /submit within 1500 ms/);
});

Deno.test("an answer that is no JSON is malformed_answer", async () => {
  const error = await failureOf("babbles");
  equal(error.code, "malformed_answer");
  match(error.message, /this is no JSON/);
});

Deno.test("an event that no schema knows is malformed_answer", async () => {
  equal((await failureOf("strange_event")).code, "malformed_answer");
});

Deno.test("a killed trainer ends its events", async () => {
  const given = settings(packages.faulty);
  const work = new Trainer(given).start({
    type: "probe",
    id: "dies_later",
  });
  for await (const event of work.events) {
    if (event.type === "message") work.kill();
  }
});

Deno.test("the real package opens, loads torch and describes the machine", async () => {
  const work = new Trainer(settings(packages.real)).start({ type: "probe", id: "p" });
  const [event] = await Array.fromAsync(work.events);
  ok(event?.type === "finished");
  match(String((event.result.libraries as Record<string, string>).torch), /^2\./);
});

Deno.test("a spare interpreter takes the next work, and the one after has another", async () => {
  const given = settings(packages.faulty);
  const born = () => given.lines.filter((line) => line.startsWith("opened in process "));
  const trainer = new Trainer(given, { keepSpare: true });
  const pids: string[] = [];
  for (const id of ["pid", "pid"]) {
    while (born().length <= pids.length) await new Promise((resolve) => setTimeout(resolve, 20));
    const [event] = await Array.fromAsync(trainer.start({ type: "probe", id }).events);
    ok(event?.type === "finished");
    pids.push(`opened in process ${event.result.pid}`);
  }
  deepStrictEqual(pids, born().slice(0, 2));
  trainer.close();
});
