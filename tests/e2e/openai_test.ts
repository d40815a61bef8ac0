/** The official OpenAI package for Node, unmodified, with only its base URL set. */
import assert from "node:assert/strict";
import { root } from "./project.ts";
import { RunningService, until } from "./service.ts";

// deno-lint-ignore no-explicit-any -- the client's declarations do not resolve from outside its folder
type Any = any;
const installed = new URL("../packages/node_modules/openai/index.mjs", import.meta.url);
const { default: OpenAI }: Any = await import(installed.href);

const service = await RunningService.start();
const client = new OpenAI({ baseURL: `${service.url}/v1`, apiKey: "none" });
const question = [{ role: "user" as const, content: "什么是净利润？" }];
let tuned = "";

const all = async (pages: AsyncIterable<Any>): Promise<Any[]> => await Array.fromAsync(pages);
const idsOf = async (pages: AsyncIterable<Any>) => (await all(pages)).map(({ id }) => id);

Deno.test("a file goes up and comes back", async () => {
  const bytes = await Deno.readFile(`${root}/examples/data/finance_sample.jsonl`);
  const file = await client.files.create({
    file: new File([bytes], "train.jsonl"),
    purpose: "fine-tune",
  });
  assert.deepEqual([file.filename, file.bytes], ["train.jsonl", bytes.length]);
  const listed = await idsOf(client.files.list());
  assert.ok(listed.includes(file.id));
  const content = await client.files.content(file.id);
  assert.deepEqual(new Uint8Array(await content.arrayBuffer()), bytes);
});

Deno.test("a job runs to a model, with events and checkpoints on the way", async () => {
  const [file] = await all(client.files.list({ purpose: "fine-tune" }));
  const created = await client.fineTuning.jobs.create({
    model: "bullion-tiny",
    training_file: file!.id,
    suffix: "sdk",
    method: { type: "supervised", supervised: { hyperparameters: { n_epochs: 1 } } },
  });
  assert.equal(created.object, "fine_tuning.job");
  let job = created;
  await until(
    async () => {
      job = await client.fineTuning.jobs.retrieve(created.id);
      return !["validating_files", "queued", "running"].includes(job.status);
    },
    120,
    () => `the job is ${job.status}: ${service.log()}`,
  );
  assert.equal(job.status, "succeeded", JSON.stringify(job.error));
  assert.match(job.fine_tuned_model!, /^ft:bullion-tiny:sdk:/);
  assert.ok(job.trained_tokens! > 0);
  tuned = job.fine_tuned_model!;
  assert.equal(job.hyperparameters.batch_size, 8, "auto is shown as what it came to be");
  const [results] = await all(client.files.list({ purpose: "fine-tune-results" }));
  assert.deepEqual(job.result_files, [results.id]);
  const csv = await (await client.files.content(results.id)).text();
  assert.match(csv, /^step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n1,\d/);

  const events = await all(client.fineTuning.jobs.listEvents(job.id, { limit: 5 }));
  assert.match(events[0]!.message, /succeeded/);
  assert.match(events.at(-1)!.message, /created/);
  const ids = events.map(({ id }) => id);
  assert.equal(new Set(ids).size, ids.length, "a page overlaps the one before");
  const checkpoints = await all(client.fineTuning.jobs.checkpoints.list(job.id));
  assert.ok(checkpoints.length >= 1);
  assert.equal(checkpoints[0]!.fine_tuning_job_id, job.id);
  const jobs = await idsOf(client.fineTuning.jobs.list());
  assert.deepEqual(jobs, [job.id]);
});

Deno.test("the tuned model answers, whole and streamed, with the same words", async () => {
  const asked = { model: tuned, messages: question, temperature: 0, max_tokens: 24 };
  const whole = await client.chat.completions.create(asked);
  const stream = await client.chat.completions.create({
    ...asked,
    stream: true,
    stream_options: { include_usage: true },
  });
  let text = "";
  let usage: unknown;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta.content ?? "";
    usage = chunk.usage ?? usage;
  }
  assert.equal(text, whole.choices[0]!.message.content);
  assert.deepEqual(usage, whole.usage);
});

Deno.test("a checkpoint answers by its own name", async () => {
  const [job] = await all(client.fineTuning.jobs.list());
  const [checkpoint] = await all(client.fineTuning.jobs.checkpoints.list(job!.id));
  const model = checkpoint!.fine_tuned_model_checkpoint;
  const answer = await client.chat.completions.create({ model, messages: question, max_tokens: 4 });
  assert.equal(answer.model, model);
});

Deno.test("models are listed, looked at and deleted by the names that they answer to", async () => {
  const listed = await idsOf(client.models.list());
  assert.ok(listed.includes(tuned) && listed.includes("bullion-tiny"));
  assert.equal((await client.models.retrieve(tuned)).id, tuned);
  assert.equal((await client.models.delete(tuned)).deleted, true);
  await assert.rejects(client.models.retrieve(tuned), OpenAI.NotFoundError);
});

Deno.test("the client's own exceptions come, with code and param", async () => {
  const chat = (more: Record<string, unknown>) =>
    client.chat.completions.create({ model: "bullion-tiny", messages: question, ...more });
  await assert.rejects(
    chat({ model: "no/such-model/here" }),
    (error: Any) =>
      error instanceof OpenAI.NotFoundError && error.code === "model_not_found" &&
      error.param === "model",
  );
  await assert.rejects(
    chat({ temperature: 9 }),
    (error: Any) => error instanceof OpenAI.BadRequestError && error.param === "temperature",
  );
  await assert.rejects(
    client.fineTuning.jobs.create({ model: "bullion-tiny", training_file: "file-none" }),
    OpenAI.NotFoundError,
  );
});

Deno.test("completions: a prompt's own tokens are scored with echo and logprobs", async () => {
  const { choices } = await client.completions.create({
    model: "bullion-tiny",
    prompt: "公司的营业收入",
    max_tokens: 1,
    temperature: 0,
    echo: true,
    logprobs: 1,
  });
  const { tokens, token_logprobs } = choices[0]!.logprobs!;
  assert.equal(tokens!.length, token_logprobs!.length);
  assert.equal(token_logprobs![0], null);
  assert.ok(token_logprobs!.slice(1).every((value: number) => value <= 0));
});

Deno.test("a client that leaves a stream frees its place", async () => {
  const stream = await client.chat.completions.create({
    model: "bullion-tiny",
    messages: question,
    stream: true,
    max_tokens: 400,
    ignore_eos: true,
  });
  for await (const _ of stream) break;
  type Ready = { engine: { engine: { running: number } | null } };
  const running = async () => (await service.get<Ready>("/readyz")).engine.engine?.running;
  await until(async () => await running() === 0, 5, "the engine goes on with nobody listening");
});

/** Sends a request whose body comes after its head, as most SDKs do, and does not read the answer. */
async function ask(body: Record<string, unknown>): Promise<Deno.TcpConn> {
  const { hostname, port } = new URL(service.url);
  const connection = await Deno.connect({ hostname, port: Number(port) });
  const bytes = new TextEncoder().encode(JSON.stringify(body));
  const head = `POST /v1/completions HTTP/1.1\r\nHost: ${hostname}\r\n` +
    `Content-Type: application/json\r\nContent-Length: ${bytes.length}\r\n\r\n`;
  await connection.write(new TextEncoder().encode(head));
  await new Promise((resolve) => setTimeout(resolve, 20));
  await connection.write(bytes);
  return connection;
}

for (const stream of [false, true]) {
  Deno.test(`clients that leave before the end free their places, the waiting too (stream ${stream})`, async () => {
    const counts = async () => {
      const text = await (await fetch(`${service.url}/metrics`)).text();
      return ["running", "waiting"].map((state) =>
        Number(new RegExp(`^bullion_requests_${state} (\\d+)$`, "m").exec(text)![1])
      );
    };
    const are = (wanted: [number, number], why: string) =>
      until(async () => String(await counts()) === String(wanted), 10, why);
    const body = {
      model: "bullion-tiny",
      prompt: "净",
      max_tokens: 1500,
      ignore_eos: true,
      stream,
    };
    const running = await ask({ ...body, n: 128 });
    await are([128, 0], "the first one does not run");
    const waiting = await ask({ ...body, n: 2 });
    await are([128, 2], "the second one does not wait");
    waiting.close();
    await are([128, 0], "who left is still waited for");
    running.close();
    await are([0, 0], "the engine goes on with nobody listening");
  });
}
