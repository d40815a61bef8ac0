/**
 * The reference job through the service: data set, training, merge, chat, all over HTTP, phase by phase.
 *
 *     deno task bench:reference --weights FOLDER --reference FOLDER [--epochs N] [--data DIR] [--up SECONDS]
 *
 * `--weights` is what the hub id of the recipe stands for here: the true Llama-3-8B-Instruct, or random
 * weights in its shape (bench/random_weights.py). `--reference` holds the reference project's YAML and
 * data, `--up` how long the service has been up when the job comes (its spare interpreter takes a while
 * to read its libraries). Prints seconds, tokens a second and peak memory from the jobs' own events.
 */
import { parseArgs } from "node:util";
import { listen } from "../commands/listening.ts";
import { preparePython } from "../commands/setup.ts";
import type { ChatCompletionChunk } from "../contract/chat.ts";
import type { JobEventObject } from "../contract/job.ts";
import { loadServerConfig } from "../core/config/server.ts";

const { values } = parseArgs({
  options: {
    weights: { type: "string" },
    reference: { type: "string" },
    epochs: { type: "string" },
    data: { type: "string", default: ".bullion/bench" },
    up: { type: "string", default: "0" },
  },
});
const { weights, reference, epochs, data, up } = values;
if (!weights || !reference) throw new Error("--weights and --reference are needed; see the header");

const HUB_ID = "LLM-Research/Meta-Llama-3-8B-Instruct";
const rows: [string, string, string][] = [];
const began = performance.now();
const python = await preparePython(Deno.env.get("BULLION_PYTHON") ?? null);

await Deno.mkdir(data, { recursive: true });
const aliases = `${data}/models.yaml`;
await Deno.writeTextFile(aliases, `${HUB_ID}: {path: ${await Deno.realPath(weights)}}\n`);
const config = loadServerConfig({
  env: Deno.env.toObject(),
  flags: { port: 0, data_dir: data, models_file: aliases },
});
const listening = await listen(config, python);
const { url } = listening;
try {
  await post("/v1/datasets?name=datasets_finance", await read("datasets_finance.json"), null);
  let recipe = new TextDecoder().decode(await read("train_llama3_lora_sft.yaml"));
  if (epochs) recipe = recipe.replace(/num_train_epochs:.*/, `num_train_epochs: ${epochs}`);
  await new Promise((resolve) => setTimeout(resolve, Number(up) * 1000));
  const accepted = performance.now();
  await job("training", "/v1/fine_tuning/jobs", recipe);
  const merge = new TextDecoder().decode(await read("merge_llama3_lora_sft.yaml"));
  await job("export", "/v1/exports", merge);
  rows.push(["accepted request → merged model", seconds(performance.now() - accepted), ""]);
  await chat("output/llama3_lora_sft");
  rows.push(["everything", seconds(performance.now() - began), ""]);
} finally {
  for (const row of rows) {
    console.log(row[0].padEnd(44), row[1].padStart(10), " ", row[2]);
  }
  await listening.close();
}

async function read(name: string): Promise<Uint8Array<ArrayBuffer>> {
  return await Deno.readFile(`${reference}/${name}`);
}

async function post(path: string, body: BodyInit, type: string | null): Promise<Response> {
  const headers = type ? { "Content-Type": type } : undefined;
  const answer = await fetch(url + path, { method: "POST", body, headers });
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  return answer;
}

/** Runs one job and notes its phases. */
async function job(name: string, path: string, yaml: string): Promise<void> {
  const started = performance.now();
  const { id } = await (await post(path, yaml, "application/yaml")).json();
  const stream = await fetch(`${url}${path}/${id}/events?stream=true`);
  for await (const event of framesOf<JobEventObject>(stream.body!)) note(name, event);
  const ended = await (await fetch(`${url}${path}/${id}`)).json();
  rows.push([`${name}, as its user waits`, seconds(performance.now() - started), ended.status]);
  const result = JSON.stringify(ended.result ?? ended.error);
  console.log(`${name}: ${result}`);
  if (ended.status !== "succeeded") throw new Error(`${name} ${ended.status}: ${result}`);
}

function note(name: string, { data: body, message }: JobEventObject): void {
  const at = seconds(performance.now() - began);
  if (body.type === "progress") {
    const { step, total_steps, loss, tokens_per_second } = body;
    if (step % 50 === 0 || step === total_steps) {
      console.log(
        `${at} step ${step}/${total_steps} loss ${loss.toFixed(4)} ${
          Math.round(tokens_per_second)
        } tok/s`,
      );
    }
  } else if (body.type === "message" && body.code === "phase") {
    const { phase, seconds: took } = body.data as { phase: string; seconds?: number };
    rows.push([`${name}: ${phase}`, took === undefined ? "" : `${took.toFixed(1)} s`, message]);
    console.log(`${at} ${message}`);
  } else console.log(`${at} ${message}`);
}

async function chat(model: string): Promise<void> {
  for (const attempt of ["first answer, engine started", "second answer"]) {
    const started = performance.now();
    let first = 0;
    let count = 0;
    const request = {
      model,
      messages: [{ role: "user", content: "公司2023年营业收入是多少？" }],
      stream: true,
      temperature: 0,
      max_tokens: 128,
      ignore_eos: true,
      stream_options: { include_usage: true },
    };
    const answer = await post("/v1/chat/completions", JSON.stringify(request), "application/json");
    for await (const chunk of framesOf<ChatCompletionChunk>(answer.body!)) {
      first ||= performance.now() - started;
      count = chunk.usage?.completion_tokens ?? count;
    }
    const decode = (performance.now() - started - first) / 1000;
    const rate = `${((count - 1) / decode).toFixed(0)} tokens/s after the first of ${count}`;
    rows.push([`chat: ${attempt}, first token`, `${first.toFixed(0)} ms`, rate]);
  }
}

async function* framesOf<T>(body: ReadableStream<Uint8Array>): AsyncGenerator<T> {
  let rest = "";
  for await (const text of body.pipeThrough(new TextDecoderStream())) {
    const frames = (rest + text).split("\n\n");
    rest = frames.pop() ?? "";
    for (const frame of frames) {
      const line = frame.split("\n").find((line) => line.startsWith("data: "))?.slice(6);
      if (line === undefined || line === "[DONE]") continue;
      yield JSON.parse(line) as T;
    }
  }
}

function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(1)} s`;
}
