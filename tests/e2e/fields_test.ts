/** Every field of a chat or completion request does what it says, through the service to the engine. */
import assert from "node:assert/strict";
import type { ChatCompletion, ChatCompletionChunk, Completion } from "../../contract/chat.ts";
import { RunningService } from "./service.ts";

const service = await RunningService.start();
const model = "bullion-tiny";
const question = [{ role: "user", content: "什么是净利润？" }];

const chat = (more: Record<string, unknown>) =>
  service.post<ChatCompletion>("/v1/chat/completions", {
    model,
    messages: question,
    temperature: 0,
    max_tokens: 24,
    ...more,
  });
const write = (more: Record<string, unknown>) =>
  service.post<Completion>("/v1/completions", { model, temperature: 0, max_tokens: 12, ...more });
const said = (answer: ChatCompletion, index = 0) => answer.choices[index]!.message.content!;
const tokens = (answer: Completion) => answer.choices[0]!.logprobs!.tokens;

const prompt = (await service.post<{ tokens: number[] }>("/tokenize", {
  prompt: "公司的净利润",
})).tokens;
const plain = said(await chat({}));

Deno.test("the answer ends before a stop string, wherever it falls, and says stop", async () => {
  for (let at = 1; at < 8; at++) {
    const stop = plain.slice(at, at + 3);
    const [choice] = (await chat({ stop: ["never said", stop] })).choices;
    assert.equal(choice!.message.content, plain.slice(0, plain.indexOf(stop)));
    assert.equal(choice!.finish_reason, "stop");
  }
});

Deno.test("a stream never shows the beginning of a stop string", async () => {
  const stop = plain.slice(4, 8);
  const body = { model, messages: question, temperature: 0, max_tokens: 24, stop, stream: true };
  const text = await (await service.send("/v1/chat/completions", body)).text();
  const chunks = text.split("\n\n").filter((frame) => frame.startsWith("data: {"))
    .map((frame) => JSON.parse(frame.slice(6)) as ChatCompletionChunk);
  const pieces = chunks.map(({ choices }) => choices[0]!.delta.content ?? "");
  assert.equal(pieces.join(""), plain.slice(0, plain.indexOf(stop)));
});

Deno.test("four stop strings are taken, a fifth is refused", async () => {
  await chat({ stop: ["一", "二", "三", "四"] });
  const body = { model, messages: question, stop: ["一", "二", "三", "四", "五"] };
  assert.equal((await service.refusal("/v1/chat/completions", body)).param, "stop");
});

Deno.test("max_tokens ends an answer with length, and usage counts it", async () => {
  const { choices, usage } = await write({ prompt, max_tokens: 5, ignore_eos: true });
  assert.equal(choices[0]!.finish_reason, "length");
  assert.equal(usage!.completion_tokens, 5);
  assert.equal(usage!.prompt_tokens, prompt.length);
});

Deno.test("a seed gives the same text whatever else is computed, another seed another", async () => {
  const drawn = { prompt, temperature: 1.5, max_tokens: 16, ignore_eos: true };
  const alone = await write({ ...drawn, seed: 7 });
  const company = Array.from({ length: 6 }, (_, i) => write({ ...drawn, seed: 100 + i }));
  const again = await write({ ...drawn, seed: 7 });
  const others = (await Promise.all(company)).map(({ choices }) => choices[0]!.text);
  assert.equal(again.choices[0]!.text, alone.choices[0]!.text);
  assert.equal(new Set([...others, alone.choices[0]!.text]).size, 7);
});

Deno.test("n gives so many choices; choice k is what its own seed gives", async () => {
  const drawn = { temperature: 1.5, max_tokens: 8 };
  const three = await chat({ ...drawn, n: 3, seed: 7 });
  assert.deepEqual(three.choices.map(({ index }) => index), [0, 1, 2]);
  assert.equal(said(three, 2), said(await chat({ ...drawn, seed: 9 })));
});

Deno.test("top_k 1, min_p 1 and a tiny top_p leave the likeliest token alone", async () => {
  for (const only of [{ top_k: 1 }, { min_p: 1 }, { top_p: 1e-6 }]) {
    assert.equal(said(await chat({ temperature: 2, ...only })), plain, JSON.stringify(only));
  }
});

Deno.test("logit_bias forces a token and forbids one", async () => {
  const forced = await write({ prompt, max_tokens: 3, logprobs: 0, logit_bias: { 300: 100 } });
  assert.equal(new Set(tokens(forced)).size, 1);
  const [first] = tokens(await write({ prompt, max_tokens: 1, logprobs: 0 }));
  const id = (await service.post<{ tokens: number[] }>("/tokenize", {
    prompt: first,
    add_special_tokens: false,
  })).tokens[0]!;
  const forbidden = await write({ prompt, max_tokens: 1, logprobs: 0, logit_bias: { [id]: -100 } });
  assert.notEqual(tokens(forbidden)[0], first);
});

Deno.test("penalties turn away from what was said", async () => {
  // A token is favoured so much that it comes again and again; each time costs it two logits.
  const favoured = { prompt, max_tokens: 40, logprobs: 0, logit_bias: { 300: 30 } };
  const kinds = async (more: Record<string, unknown>) =>
    new Set(tokens(await write({ ...favoured, ignore_eos: true, ...more }))).size;
  assert.equal(await kinds({}), 1);
  assert.ok(await kinds({ frequency_penalty: 2 }) > 1, "frequency_penalty");
  const repeated = { prompt, max_tokens: 20, logprobs: 0, ignore_eos: true };
  const without = tokens(await write(repeated));
  for (const more of [{ presence_penalty: 2 }, { repetition_penalty: 3 }]) {
    const changed = tokens(await write({ ...repeated, ...more }));
    assert.ok(new Set(changed).size >= new Set(without).size, JSON.stringify(more));
    assert.notDeepEqual(changed, without, JSON.stringify(more));
  }
});

Deno.test("a batch of ids and a batch of texts are choices in their order", async () => {
  const batch = await write({ prompt: [prompt, prompt.slice(0, 2)], echo: true, max_tokens: 0 });
  const texts = ["公司的净利润", "营业收入"];
  const written = await write({ prompt: texts, echo: true, max_tokens: 0 });
  assert.deepEqual(batch.choices.map(({ index }) => index), [0, 1]);
  assert.ok(batch.choices[0]!.text.endsWith(texts[0]!));
  assert.deepEqual(written.choices.map(({ text }) => text), texts);
});

Deno.test("a text gets the begin-of-text token once, ids pass through as they are", async () => {
  const text = await write({ prompt: "公司的净利润", max_tokens: 1 });
  assert.equal(text.usage!.prompt_tokens, prompt.length);
  const ids = await write({ prompt: prompt.slice(1), max_tokens: 1 });
  assert.equal(ids.usage!.prompt_tokens, prompt.length - 1);
});

Deno.test("echoed log probabilities are those of the same tokens when they are generated", async () => {
  const made = await write({ prompt, max_tokens: 6, logprobs: 2, ignore_eos: true });
  const text = made.choices[0]!.logprobs!;
  const ids = [...prompt];
  for (const token of text.tokens) {
    const body = { prompt: token, add_special_tokens: false };
    ids.push(...(await service.post<{ tokens: number[] }>("/tokenize", body)).tokens);
  }
  const scored = await write({ prompt: [ids], max_tokens: 0, echo: true, logprobs: 2 });
  const echoed = scored.choices[0]!.logprobs!;
  assert.equal(echoed.tokens.length, ids.length);
  assert.equal(echoed.token_logprobs[0], null);
  const tail = echoed.token_logprobs.slice(prompt.length);
  tail.forEach((value, i) => assert.ok(Math.abs(value! - text.token_logprobs[i]!) < 1e-4));
});

Deno.test("a chat's top_logprobs hold the token itself, best first", async () => {
  const answer = await chat({ logprobs: true, top_logprobs: 4, max_tokens: 3 });
  for (const token of answer.choices[0]!.logprobs!.content!) {
    assert.equal(token.top_logprobs.length, 4);
    assert.equal(token.top_logprobs[0]!.logprob, token.logprob);
    assert.deepEqual(token.bytes, token.top_logprobs[0]!.bytes);
  }
});

Deno.test("json_object and json_schema are obeyed", async () => {
  const object = await chat({ response_format: { type: "json_object" }, max_tokens: 200 });
  if (object.choices[0]!.finish_reason === "stop") JSON.parse(said(object));
  else assert.match(said(object), /^\{/);
  const schema = {
    type: "object",
    properties: {
      year: { type: "integer", maximum: 9999, minimum: 1000 },
      up: { type: "boolean" },
    },
    required: ["year", "up"],
    additionalProperties: false,
  };
  const json_schema = { name: "figure", schema, strict: true };
  const answer = await chat({
    max_tokens: 96,
    response_format: { type: "json_schema", json_schema },
  });
  const value = JSON.parse(said(answer));
  assert.ok(Number.isInteger(value.year) && typeof value.up === "boolean", said(answer));
});

Deno.test("tools without a template that has them are refused, and so is a forced call", async () => {
  const tools = [{ type: "function", function: { name: "price", parameters: { type: "object" } } }];
  const body = { model, messages: question, tools };
  const refusal = await service.refusal("/v1/chat/completions", body);
  assert.deepEqual([refusal.status, refusal.code], [400, "tools_not_supported"]);
  const forced = await service.refusal("/v1/chat/completions", {
    ...body,
    tool_choice: "required",
  });
  assert.equal(forced.code, "tools_not_supported");
  assert.equal(said(await chat({ tools, tool_choice: "none" })), plain);
});

Deno.test("ids come back as the text they were made of; a control token is found by its name", async () => {
  const text = "研发投入占营业收入的 5.2 %";
  const body = { prompt: text, add_special_tokens: false };
  const { tokens } = await service.post<{ tokens: number[] }>("/tokenize", body);
  assert.equal((await service.post<{ prompt: string }>("/detokenize", { tokens })).prompt, text);
  const info = await service.get<{ bos_token: string; chat_template: string }>("/tokenizer_info");
  assert.match(info.chat_template, /start_header_id/);
  const named = { prompt: info.bos_token, add_special_tokens: false };
  assert.deepEqual(await service.post("/tokenize", named), { tokens: [prompt[0]] });
});
