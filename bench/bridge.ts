/**
 * What the bridge costs: calls a second, and tokens a second through bridge and HTTP beside the same
 * engine driven without them, in one run.
 *
 *     deno task bench:bridge [--model FOLDER] [--streams N] [--tokens N] [--rounds N]
 *
 * The three ways take turns, so that a noisy machine is noisy for all of them; quote the ratios.
 */
import { parseArgs } from "node:util";
import { z } from "zod";
import { Engine } from "../bridge/engine.ts";
import { PythonProcess } from "../bridge/process.ts";
import { processSettings } from "../commands/configuration.ts";
import { listen } from "../commands/listening.ts";
import { PROJECT } from "../commands/project.ts";
import { preparePython } from "../commands/setup.ts";
import { BullionError } from "../contract/errors.ts";
import { loadServerConfig } from "../core/config/server.ts";

const { values } = parseArgs({
  options: {
    model: { type: "string", default: `${PROJECT}/models/bullion-tiny` },
    streams: { type: "string", default: "8" },
    tokens: { type: "string", default: "128" },
    rounds: { type: "string", default: "3" },
  },
});
const [streams, newTokens, rounds] = [values.streams, values.tokens, values.rounds].map(Number) as [
  number,
  number,
  number,
];
const python = await preparePython(Deno.env.get("BULLION_PYTHON") ?? null);
const settings = processSettings(python, () => {});
const opening = {
  role: "engine" as const,
  threads: 1,
  kv_memory_gb: null,
  max_running: 128,
  max_waiting: 512,
  prefill_tokens: 1024,
  cuda_graphs: true,
};
const prompts = Array.from(
  { length: streams },
  (_, i) => Array.from({ length: 48 + (i % 17) }, (_, j) => 300 + ((i * 7919 + j * 104729) % 4000)),
);
const sampling = {
  max_tokens: newTokens,
  temperature: 0,
  top_p: 1,
  top_k: 0,
  min_p: 0,
  repetition_penalty: 1,
  presence_penalty: 0,
  frequency_penalty: 0,
  logit_bias: {},
  seed: null,
  stop: [],
  ignore_eos: true,
};

await callCost();
await tokenCost();

/** Calls of the smallest method, one after the other and many at once; then a large answer. */
async function callCost(): Promise<void> {
  const process = await PythonProcess.start("bullion.worker", settings);
  await process.call("open", z.unknown(), { role: "trainer", threads: 1 });
  const drain = () => process.call("drain", z.unknown());
  await new Promise((resolve) => setTimeout(resolve, 5000)); // its imports are done
  for (let i = 0; i < 200; i++) await drain();
  const calls = 2000;
  const alone = await timed(async () => {
    for (let i = 0; i < calls; i++) await drain();
  });
  const together = await timed(() => Promise.all(Array.from({ length: calls }, drain)));
  show("calls one after the other", `${(calls / alone).toFixed(0)} a second`, perCall(alone));
  show("calls sent at once", `${(calls / together).toFixed(0)} a second`, perCall(together));
  process.kill();

  function perCall(seconds: number): string {
    return `${((seconds / calls) * 1000).toFixed(3)} ms a call`;
  }
}

/** The same requests three ways: engine alone, through the bridge, through bridge and HTTP. */
async function tokenCost(): Promise<void> {
  const work = await Deno.makeTempFile({ suffix: ".json" });
  const task = { model: values.model, opening, prompts, new_tokens: newTokens, rounds: 1 };
  await Deno.writeTextFile(work, JSON.stringify(task));
  const engine = new Engine(settings, opening);
  const base = { name: "model", path: values.model, hub: null, trust_remote_code: false };
  await engine.load({ name: "model", base, adapter: null });
  const data = await Deno.makeTempDir();
  const aliases = `${data}/models.yaml`;
  await Deno.writeTextFile(aliases, `model: {path: ${await Deno.realPath(values.model)}}\n`);
  const config = loadServerConfig({
    flags: { port: 0, data_dir: data, models_file: aliases, "engine.threads": 1 },
  });
  const { url, close } = await listen(config, python);
  const ways: [string, () => Promise<number>][] = [
    ["engine alone", () => alone(work)],
    ["through the bridge", () => throughBridge(engine)],
    ["through bridge and HTTP", () => throughHttp(url)],
  ];
  const rates = new Map<string, number[]>();
  await throughHttp(url); // the model is loaded, everything is warm
  await throughBridge(engine);
  for (let round = 0; round < rounds; round++) {
    for (const [name, run] of ways) rates.set(name, [...(rates.get(name) ?? []), await run()]);
  }
  const reference = median(rates.get("engine alone")!);
  for (const [name, list] of rates) {
    const rate = median(list);
    const share = `${((100 * rate) / reference).toFixed(1)} % of the engine alone`;
    show(`${streams} streams × ${newTokens}: ${name}`, `${rate.toFixed(0)} tokens/s`, share);
  }
  await close();
  await engine.stop(new BullionError("stopped", "The benchmark is over"));
  await Deno.remove(data, { recursive: true });
}

/** A process of its own each time; its second round is warm. */
async function alone(work: string): Promise<number> {
  const task = JSON.parse(await Deno.readTextFile(work));
  await Deno.writeTextFile(work, JSON.stringify({ ...task, rounds: 2 }));
  const { stdout, success } = await new Deno.Command(python, {
    args: [`${PROJECT}/bench/engine_alone.py`, work],
    stderr: "inherit",
  }).output();
  if (!success) throw new Error("bench/engine_alone.py failed");
  const last = new TextDecoder().decode(stdout).trim().split("\n").at(-1)!;
  const { tokens, seconds } = JSON.parse(last) as { tokens: number; seconds: number };
  return tokens / seconds;
}

async function throughBridge(engine: Engine): Promise<number> {
  let tokens = 0;
  const seconds = await timed(() =>
    Promise.all(prompts.map(async (ids) => {
      const prompt = { kind: "ids" as const, ids };
      const format = { type: "text" as const };
      const spec = { model: "model", prompt, n: 1, sampling, logprobs: null, echo: false, format };
      for await (const event of engine.generate(spec, new AbortController().signal)) {
        if (event.type === "delta") tokens += event.count;
      }
    }))
  );
  return tokens / seconds;
}

async function throughHttp(url: string): Promise<number> {
  let tokens = 0;
  const seconds = await timed(() =>
    Promise.all(prompts.map(async (prompt) => {
      const answer = await fetch(`${url}/v1/completions`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({
          model: "model",
          prompt,
          max_tokens: newTokens,
          temperature: 0,
          ignore_eos: true,
          stream: true,
          stream_options: { include_usage: true },
        }),
      });
      if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
      let text = "";
      for await (const piece of answer.body!.pipeThrough(new TextDecoderStream())) text += piece;
      tokens += Number(text.match(/"completion_tokens":(\d+)/)?.[1] ?? 0);
    }))
  );
  return tokens / seconds;
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return (performance.now() - started) / 1000;
}

function median(list: number[]): number {
  return [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)]!;
}

function show(what: string, value: string, more: string): void {
  console.log(what.padEnd(46), value.padStart(18), "  ", more);
}
