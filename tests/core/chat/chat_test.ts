// Answers in OpenAI's shapes, from a request to the model's place being free again.
import { deepStrictEqual, equal, ok, rejects } from "node:assert/strict";
import { ChatCompletion, ChatCompletionChunk, Completion } from "../../../contract/chat.ts";
import { ChatRequest, CompletionRequest } from "../../../contract/chat.ts";
import { BullionError } from "../../../contract/errors.ts";
import { chatLogprobs, completion } from "../../../core/chat/answers.ts";
import { Bench, never } from "../jobs/room.ts";

function chat(fields: Record<string, unknown> = {}): ChatRequest {
  return ChatRequest.parse({
    model: "base",
    messages: [{ role: "user", content: "问" }],
    ...fields,
  });
}

function text(fields: Record<string, unknown> = {}): CompletionRequest {
  return CompletionRequest.parse({ model: "base", prompt: "问", ...fields });
}

Deno.test("a whole answer has its text, its reason to end and its usage", async () => {
  await using bench = await Bench.open();
  const answer = await bench.service.chat.complete(chat(), never);
  ChatCompletion.parse(answer);
  equal(answer.choices[0]!.message.content, "净利润");
  equal(answer.choices[0]!.finish_reason, "stop");
  deepStrictEqual(answer.usage, {
    prompt_tokens: 3,
    completion_tokens: 2,
    total_tokens: 5,
    prompt_tokens_details: { cached_tokens: 1 },
  });
});

Deno.test("a stream opens each choice with its role, ends it once, and shares one id", async () => {
  await using bench = await Bench.open();
  const chunks = await Array.fromAsync(await bench.service.chat.stream(chat({ n: 2 }), never));
  chunks.forEach((chunk) => ChatCompletionChunk.parse(chunk));
  equal(new Set(chunks.map(({ id }) => id)).size, 1);
  for (const index of [0, 1]) {
    const own = chunks.flatMap(({ choices }) => choices).filter((c) => c.index === index);
    equal(own[0]!.delta.role, "assistant");
    equal(own.map(({ delta }) => delta.content ?? "").join(""), "净利润");
    deepStrictEqual(own.map((c) => c.finish_reason), [null, null, "stop"]);
  }
});

Deno.test("usage comes in a last chunk without choices, and only when it was asked for", async () => {
  await using bench = await Bench.open();
  const asked = chat({ stream: true, stream_options: { include_usage: true } });
  const chunks = await Array.fromAsync(await bench.service.chat.stream(asked, never));
  deepStrictEqual(chunks.at(-1)!.choices, []);
  equal(chunks.at(-1)!.usage?.total_tokens, 5);
  ok(chunks.slice(0, -1).every(({ usage }) => usage === null));
  const silent = await Array.fromAsync(await bench.service.chat.stream(chat(), never));
  ok(silent.every((chunk) => !("usage" in chunk)));
});

Deno.test("an error before the first token is thrown before there is a stream", async () => {
  await using bench = await Bench.open();
  bench.engine.before = () => {
    throw new BullionError("context_length_exceeded", "too long");
  };
  await rejects(bench.service.chat.stream(chat(), never), { code: "context_length_exceeded" });
});

Deno.test("a model that the engine dropped to make room is loaded again, unseen by the client", async () => {
  await using bench = await Bench.open();
  let asked = 0;
  bench.engine.before = () => {
    if (asked++ === 0) throw new BullionError("model_not_loaded", "gone");
  };
  const answer = await bench.service.chat.complete(chat(), never);
  equal(answer.choices[0]!.message.content, "净利润");
  equal(bench.engine.calls.length, 2);
});

Deno.test("a reader that leaves a stream cancels it", async () => {
  await using bench = await Bench.open();
  bench.engine.words = Array(1000).fill("a");
  const stream = await bench.service.chat.stream(chat(), never);
  for await (const _ of stream) break;
  await new Promise((resolve) => setTimeout(resolve, 5));
  equal(bench.engine.cancelled.length, 1);
});

Deno.test("a client that left before reading cancels as well", async () => {
  await using bench = await Bench.open();
  bench.engine.words = Array(1000).fill("a");
  const leaving = new AbortController();
  bench.engine.before = () => new Promise((resolve) => setTimeout(resolve, 1));
  const stream = await bench.service.chat.stream(chat(), leaving.signal);
  leaving.abort();
  ok((await Array.fromAsync(stream)).length <= 2);
  equal(bench.engine.cancelled.length, 1);
});

Deno.test("many prompts are many choices, in the order of the prompts", async () => {
  await using bench = await Bench.open();
  const prompt = Array.from({ length: 40 }, (_, i) => [i]);
  const answer = await bench.service.chat.completeText(text({ prompt, n: 2 }), never);
  Completion.parse(answer);
  deepStrictEqual(
    answer.choices.map(({ index }) => index),
    Array.from({ length: 80 }, (_, i) => i),
  );
  equal(bench.engine.specs.length, 40);
  equal(answer.usage?.prompt_tokens, 120);
});

Deno.test("echoed log probabilities are aligned, the first without one", async () => {
  await using bench = await Bench.open();
  const request = text({
    prompt: [[1, 2]],
    echo: true,
    logprobs: 1,
    max_tokens: 1,
    temperature: 0,
  });
  const { choices } = await bench.service.chat.completeText(request, never);
  deepStrictEqual(choices[0]!.logprobs, {
    tokens: ["净", "利润"],
    token_logprobs: [null, -0.5],
    top_logprobs: [null, { "利润": -0.5 }],
    text_offset: [0, 1],
  });
});

Deno.test("what a request leaves out is OpenAI's default", async () => {
  await using bench = await Bench.open();
  await bench.service.chat.complete(chat(), never);
  const { sampling, n, logprobs, echo, format } = bench.engine.specs[0]!;
  deepStrictEqual([n, logprobs, echo, format], [1, null, false, { type: "text" }]);
  deepStrictEqual(sampling, {
    max_tokens: null,
    temperature: 1,
    top_p: 1,
    top_k: 0,
    min_p: 0,
    repetition_penalty: 1,
    presence_penalty: 0,
    frequency_penalty: 0,
    logit_bias: {},
    seed: null,
    stop: [],
    ignore_eos: false,
  });
});

Deno.test("a developer's message is the system's, parts of text are joined", async () => {
  await using bench = await Bench.open();
  const messages = [
    { role: "developer", content: [{ type: "text", text: "a" }, { type: "text", text: "b" }] },
    { role: "user", content: "<|eot_id|>" },
  ];
  await bench.service.chat.complete(chat({ messages, stop: "。" }), never);
  const { prompt, sampling } = bench.engine.specs[0]!;
  ok(prompt.kind === "chat");
  deepStrictEqual(prompt.messages.map(({ role, content }) => [role, content]), [
    ["system", "ab"],
    ["user", "<|eot_id|>"],
  ]);
  deepStrictEqual(sampling.stop, ["。"]);
});

Deno.test("a model that does not exist is refused and nothing is loaded", async () => {
  await using bench = await Bench.open();
  const request = chat({ model: "nothing" });
  await rejects(bench.service.chat.complete(request, never), { code: "model_not_found" });
  deepStrictEqual(bench.engine.calls, []);
});

Deno.test("a checkpoint of a job that runs answers by its name, the job's own name does not yet", async () => {
  await using bench = await Bench.open();
  const { id } = await bench.train();
  const work = await bench.trainer.next();
  work.checkpoint(5);
  while (bench.service.jobs.checkpoints(id, {}).data.length === 0) {
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  const [checkpoint] = bench.service.jobs.checkpoints(id, {}).data;
  await bench.service.chat.complete(
    chat({ model: checkpoint!.fine_tuned_model_checkpoint }),
    never,
  );
  const { path } = bench.service.jobs.getTrain(id);
  deepStrictEqual(bench.engine.calls, [`load ${path}/checkpoint-5`]);
  for (
    const [model, code] of [[`ft:base::${id}`, "model_not_found"], ["saves/one", "model_not_ready"]]
  ) {
    await rejects(bench.service.chat.complete(chat({ model }), never), { code });
  }
});

Deno.test("a tokenizer request without a model means the one asked for last", async () => {
  await using bench = await Bench.open();
  Deno.mkdirSync(`${bench.cwd}/other`);
  Deno.writeTextFileSync(`${bench.cwd}/other/config.json`, "{}");
  const aliases = "base: {path: ./base}\nother: {path: ./other}\n";
  Deno.writeTextFileSync(`${bench.cwd}/models.yaml`, aliases);
  await bench.service.close();
  await bench.start();
  const request = { prompt: "x", add_special_tokens: true };
  await rejects(bench.service.chat.tokenize(request), { code: "model_required", param: "model" });
  await bench.service.chat.complete(chat(), never);
  deepStrictEqual(await bench.service.chat.tokenize(request), { tokens: [1, 2, 3] });
  deepStrictEqual(await bench.service.chat.detokenize({ tokens: [1] }), { prompt: "text" });
  ok(bench.engine.calls.every((call) => call.endsWith("/base")));
});

Deno.test("where there is one model only, under whatever names, a tokenizer request means it", async () => {
  await using bench = await Bench.open();
  Deno.writeTextFileSync(
    `${bench.cwd}/models.yaml`,
    "base: {path: ./base}\nsame: {path: ./base}\n",
  );
  await bench.service.close();
  await bench.start();
  const request = { prompt: "x", add_special_tokens: true };
  deepStrictEqual(await bench.service.chat.tokenize(request), { tokens: [1, 2, 3] });
});

Deno.test("ids that the model does not know have no text", async () => {
  await using bench = await Bench.open();
  await rejects(bench.service.chat.detokenize({ model: "base", tokens: [4095, 4096] }), {
    code: "unknown_token_id",
    param: "tokens[1]",
    message: "Cannot write token id 4096 as text: this model knows 0 to 4095",
  });
});

Deno.test("a tokenizer request without a model does not mean one that was deleted", async () => {
  await using bench = await Bench.open();
  const { id } = await bench.train();
  (await bench.trainer.next()).finish();
  await bench.until(id, "succeeded");
  await bench.service.chat.complete(chat({ model: "saves/one" }), never);
  await bench.service.models.delete("saves/one");
  const request = { prompt: "x", add_special_tokens: true };
  deepStrictEqual(await bench.service.chat.tokenize(request), { tokens: [1, 2, 3] });
  ok(bench.engine.calls.at(-1)!.endsWith("/base"));
});

Deno.test("tokens and waits are measured, of whole answers and of streams, each once", async () => {
  await using bench = await Bench.open();
  await bench.service.chat.complete(chat(), never);
  await Array.fromAsync(await bench.service.chat.stream(chat(), never));
  const text = await bench.service.metrics.text(await bench.service.health());
  const value = (series: string) =>
    Number(text.split("\n").find((line) => line.startsWith(`${series} `))?.split(" ")[1]);
  equal(value('bullion_tokens_total{kind="generated"}'), 4);
  equal(value('bullion_tokens_total{kind="prompt"}'), 6);
  equal(value('bullion_tokens_total{kind="cached"}'), 2);
  equal(value("bullion_time_to_first_token_seconds_count"), 2);
  equal(value("bullion_time_per_output_token_seconds_count"), 2);
});

const TOKEN = { id: 1, logprob: -2, top: [], offset: 0 };

/** A token of these bytes, as the engine tells it. */
function bytes(...bytes: number[]) {
  return { ...TOKEN, text: new TextDecoder().decode(Uint8Array.from(bytes)), bytes };
}

Deno.test("tokens that are no whole characters go by their bytes, so that none is taken for another", () => {
  const rivals = [bytes(0x93), bytes(0x94)].map((token) => ({ ...token, logprob: -1 }));
  const tokens = [{ ...bytes(0xe5, 0x87), top: rivals }, bytes(0xef, 0xbf, 0xbd), bytes(0x61)];
  const choice = { index: 0, text: "", tokens, finish_reason: "length" as const };
  const usage = { prompt_tokens: 1, completion_tokens: 3, cached_tokens: 0 };
  const { choices } = completion({ id: "cmpl-1", created: 0, model: "m" }, [choice], usage);
  deepStrictEqual(choices[0]!.logprobs!.tokens, ["bytes:\\xe5\\x87", "\ufffd", "a"]);
  deepStrictEqual(choices[0]!.logprobs!.top_logprobs, [
    { "bytes:\\x93": -1, "bytes:\\x94": -1, "bytes:\\xe5\\x87": -2 },
    { "\ufffd": -2 },
    { a: -2 },
  ]);
  const content = chatLogprobs(tokens)!.content!;
  deepStrictEqual(content.map(({ token }) => token), ["\\xe5\\x87", "\ufffd", "a"]);
  deepStrictEqual(content[0]!.bytes, [0xe5, 0x87]);
});

Deno.test("prompts of one request are handed over as their choices can run, never into the queue", async () => {
  await using bench = await Bench.open(); // 8 choices may run, 4 more wait
  for (const [n, most] of [[1, 8], [3, 8], [10, 10]] as const) {
    bench.engine.mostChoices = 0;
    const request = text({ prompt: Array(20).fill("a"), n });
    const { choices } = await bench.service.chat.completeText(request, never);
    deepStrictEqual(choices.map(({ index }) => index), [...Array(20 * n).keys()]);
    ok(bench.engine.mostChoices <= most, `${bench.engine.mostChoices} choices of n = ${n}`);
    ok(bench.engine.mostChoices >= Math.min(6, most), "prompts run beside each other");
  }
});

Deno.test("an n that could never run and wait is refused with the limit, before a model loads", async () => {
  await using bench = await Bench.open();
  const { chat: room } = bench.service;
  const refusal = { code: "too_many_choices", param: "n", message: /n = 13 .*at most 12/ };
  await rejects(room.completeText(text({ n: 13 }), never), refusal);
  await rejects(room.complete(chat({ n: 13 }), never), refusal);
  deepStrictEqual(bench.engine.calls, []);
  equal((await room.complete(chat({ n: 12 }), never)).choices.length, 12);
});

/** A gauge or the count of a histogram, as Prometheus would read it now. */
async function metric({ service }: Bench, name: string): Promise<number> {
  const text = await service.metrics.text(await service.health());
  return Number(new RegExp(`^${name} (.+)$`, "m").exec(text)?.[1]);
}

Deno.test("choices that wait for their model count as waiting, until it is there or will not be", async () => {
  await using bench = await Bench.open();
  const { chat: room } = bench.service;
  let load = Promise.withResolvers<void>();
  bench.engine.loading = () => load.promise;
  const waiting = () => metric(bench, "bullion_requests_waiting");

  const texts = room.completeText(text({ prompt: ["问", "答"], n: 2 }), never);
  const refused = rejects(room.complete(chat(), never), { code: "out_of_memory" });
  equal(await waiting(), 5);
  load.reject(new BullionError("out_of_memory", "no room"));
  await Promise.all([rejects(texts, { code: "out_of_memory" }), refused]);
  equal(await waiting(), 0);

  load = Promise.withResolvers();
  const answer = room.complete(chat({ n: 3 }), never);
  equal(await waiting(), 3);
  bench.engine.before = async () => equal(await waiting(), 0);
  load.resolve();
  await answer;
});

Deno.test("the time to a first token is counted from the request, its model's loading included", async () => {
  await using bench = await Bench.open();
  bench.engine.loading = () => new Promise((resolve) => setTimeout(resolve, 60));
  await bench.service.chat.complete(chat(), never);
  equal(await metric(bench, "bullion_time_to_first_token_seconds_count"), 1);
  ok(await metric(bench, "bullion_time_to_first_token_seconds_sum") >= 0.055);
});
