/** Requests that meet the death of the engine's process before anything came of them. */
import { deepStrictEqual, equal, rejects } from "node:assert/strict";
import type { Generated } from "../../bridge/doors.ts";
import { Engine } from "../../bridge/engine.ts";
import { BullionError } from "../../contract/errors.ts";
import type { GenerateSpec } from "../../contract/worker.ts";
import { OPENING, packages, settings } from "./python.ts";

const ENDED = new BullionError("ended", "The test has ended");

function spec(model: string): GenerateSpec {
  return {
    model,
    prompt: { kind: "text", text: "a" },
    n: 1,
    sampling: {} as GenerateSpec["sampling"],
    logprobs: null,
    echo: false,
    format: { type: "text" },
  };
}

/** An engine that runs; `pid` is that of its process. */
class Running implements AsyncDisposable {
  readonly settings = settings(packages.faulty);
  readonly engine = new Engine(this.settings, OPENING);

  static async start(): Promise<Running> {
    const running = new Running();
    const base = { name: "m", path: "/", hub: null, trust_remote_code: false };
    await running.engine.load({ name: "m", base, adapter: null });
    return running;
  }

  generate(model: string): Promise<Generated[]> {
    return Array.fromAsync(this.stream(model));
  }

  stream(model: string): AsyncGenerator<Generated> {
    return this.engine.generate(spec(model), new AbortController().signal);
  }

  async pid(): Promise<number> {
    return (await this.engine.status()).engine!.pid as number;
  }

  get starts(): number {
    return this.settings.lines.filter((line) => line.startsWith("opened in process")).length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.engine.stop(ENDED);
  }
}

Deno.test("requests right after a kill are served by the next process", async () => {
  await using running = await Running.start();
  const first = await running.pid();
  Deno.kill(first, "SIGKILL");
  const answers = await Promise.all([running.generate("m"), running.generate("m")]);
  for (const events of answers) deepStrictEqual(events.map(({ type }) => type), ["done"]);
  equal(await running.pid() === first, false);
  equal(running.starts, 2);
});

Deno.test("a request whose submission kills every process is submitted twice, no more", async () => {
  await using running = await Running.start();
  await rejects(running.generate("deadly"), { code: "python_died" });
  await running.generate("m");
  equal(running.starts, 3);
});

Deno.test("a request that meets the stop of the engine starts no other process", async () => {
  await using running = await Running.start();
  const refused = rejects(running.generate("m"), { code: ENDED.code });
  await running.engine.stop(ENDED);
  await refused;
  equal(running.starts, 1);
});

Deno.test("a stream under way when the engine is stopped ends with the reason of the stop", async () => {
  await using running = await Running.start();
  const stream = running.stream("endless");
  equal((await stream.next()).value!.type, "delta");
  const cut = rejects(stream.next(), { code: ENDED.code, message: ENDED.message });
  await running.engine.stop(ENDED);
  await cut;
});

Deno.test("the log says which models come and go, and who makes room for whom", async () => {
  await using running = await Running.start();
  const base = { name: "large", path: "/", hub: null, trust_remote_code: false };
  await running.engine.load({ name: "large", base, adapter: null });
  await running.engine.unload("large");
  deepStrictEqual(running.settings.lines.filter((line) => line.startsWith("engine: ")), [
    "engine: loaded m",
    "engine: Unloaded m (idle longest) to make room for large",
    "engine: loaded large",
    "engine: unloaded large",
  ]);
});
