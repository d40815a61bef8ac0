// The device has one user where it must: chat gives way to a job on CUDA, and comes back after it.
import { deepStrictEqual, equal, rejects } from "node:assert/strict";
import { ChatRequest } from "../../../contract/chat.ts";
import { Bench, never } from "./room.ts";

const question = ChatRequest.parse({ model: "base", messages: [{ role: "user", content: "q" }] });

Deno.test("on CUDA a job stops the engine, chat is refused, and is served after the job", async () => {
  await using bench = await Bench.open();
  bench.engine.device = "cuda";
  const { id } = await bench.train();
  const work = await bench.trainer.next();
  deepStrictEqual(bench.engine.calls, ["stop"]);
  await rejects(bench.service.chat.complete(question, never), { code: "engine_unavailable" });
  equal((await bench.service.health()).chat_suspended, `job ${id} has the GPU to itself`);
  work.finish();
  await bench.until(id, "succeeded");
  await new Promise((resolve) => setTimeout(resolve));
  await bench.service.chat.complete(question, never);
});

Deno.test("on the CPU a job and chat run side by side", async () => {
  await using bench = await Bench.open();
  await bench.train();
  await bench.trainer.next();
  await bench.service.chat.complete(question, never);
  deepStrictEqual(bench.engine.calls.map((call) => call.split(" ")[0]), ["load"]);
});

Deno.test("a machine that turns out to have CUDA when the job starts is given to the job", async () => {
  await using bench = await Bench.open();
  bench.engine.device = null;
  bench.trainer.device = "cuda";
  await bench.train();
  await bench.trainer.next();
  await new Promise((resolve) => setTimeout(resolve, 5));
  await rejects(bench.service.chat.complete(question, never), { code: "engine_unavailable" });
});

Deno.test("an operator who shares the device has both", async () => {
  await using bench = await Bench.open("shared");
  bench.engine.device = "cuda";
  await bench.train();
  await bench.trainer.next();
  await bench.service.chat.complete(question, never);
});

Deno.test("a job that is cancelled while the engine drains is never started", async () => {
  await using bench = await Bench.open("exclusive");
  bench.engine.before = () => new Promise((resolve) => setTimeout(resolve, 60));
  const answer = bench.service.chat.complete(question, never);
  await new Promise((resolve) => setTimeout(resolve, 10));
  const { id } = await bench.train();
  await bench.until(id, "queued");
  equal((await bench.service.jobs.cancel(id)).status, "cancelled");
  await answer;
  await new Promise((resolve) => setTimeout(resolve, 5));
  equal(bench.trainer.started.length, 0);
});
