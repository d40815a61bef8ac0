/** Calls of functions through the official client: forced, streamed, answered, over a base that knows tools. */
import assert from "node:assert/strict";
import { root } from "./project.ts";
import { RunningService } from "./service.ts";

// deno-lint-ignore no-explicit-any -- the client's declarations do not resolve from outside its folder
type Any = any;
const installed = new URL("../packages/node_modules/openai/index.mjs", import.meta.url);
const { default: OpenAI }: Any = await import(installed.href);

const service = await RunningService.start();
const client = new OpenAI({ baseURL: `${service.url}/v1`, apiKey: "none", maxRetries: 0 });

// What the families' templates write, as far as the service looks at it and the model is told.
const LLAMA = "{% if tools %}{# parameters #}{% endif %}{% for m in messages %}" +
  "<|start_header_id|>{{ m.role }}<|end_header_id|>{{ m.content }}<|eot_id|>{% endfor %}";
const HERMES = "{% for t in tools or [] %}{{ t | tojson }}{% endfor %}{% for m in messages %}" +
  "{{ m.role }}{{ m.content }}{% for c in m.tool_calls or [] %}<tool_call>" +
  '{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}</tool_call>' +
  "{% endfor %}\n{% endfor %}";
for (const [name, template] of Object.entries({ llama: LLAMA, hermes: HERMES })) {
  const [from, to] = [`${root}/models/bullion-tiny`, `${service.folder}/${name}`];
  Deno.mkdirSync(to);
  for (const { name: file } of Deno.readDirSync(from)) {
    Deno.copyFileSync(`${from}/${file}`, `${to}/${file}`);
  }
  const config = JSON.parse(Deno.readTextFileSync(`${to}/tokenizer_config.json`));
  const text = JSON.stringify({ ...config, chat_template: template });
  Deno.writeTextFileSync(`${to}/tokenizer_config.json`, text);
}

const tools = [{
  type: "function",
  function: {
    name: "profit",
    parameters: {
      type: "object",
      properties: {
        year: { type: "integer", minimum: 2000, maximum: 2030 },
        unit: { enum: ["元", "亿元"] },
      },
      required: ["year", "unit"],
      additionalProperties: false,
    },
  },
}, { type: "function", function: { name: "today" } }];
const messages = [{ role: "user", content: "2023 年净利润是多少？" }];

function assertCall(called: { name: string; arguments: string }): void {
  const args = JSON.parse(called.arguments);
  if (called.name === "today") assert.deepEqual(args, {});
  else {
    assert.equal(called.name, "profit");
    assert.ok(args.year >= 2000 && args.year <= 2030 && ["元", "亿元"].includes(args.unit));
  }
}

for (const model of ["llama", "hermes"]) {
  Deno.test(`${model}: a required call is one of a known function, after its schema`, async () => {
    const tool_choice = "required";
    const { choices: [choice] } = await client.chat.completions.create({
      ...{ model, messages, tools, tool_choice, parallel_tool_calls: false, max_tokens: 200 },
    });
    assert.equal(choice.finish_reason, "tool_calls");
    assert.equal(choice.message.content, null);
    assert.equal(choice.message.tool_calls.length, 1);
    assertCall(choice.message.tool_calls[0].function);
  });

  Deno.test(`${model}: a named function's call streams, and is what the whole answer says`, async () => {
    const tool_choice = { type: "function", function: { name: "profit" } };
    const asked = { model, messages, tools, tool_choice, temperature: 0, max_tokens: 200 };
    const whole = await client.chat.completions.create(asked);
    const runner = client.chat.completions.stream(asked);
    const final = await runner.finalChatCompletion();
    const called = (answer: Any) =>
      answer.choices[0].message.tool_calls.map((call: Any) => [
        call.function.name,
        call.function.arguments,
      ]);
    assert.deepEqual(called(final), called(whole));
    assert.equal(called(whole)[0][0], "profit");
    assert.equal(final.choices[0].finish_reason, "tool_calls");
    assert.equal(final.choices[0].message.content, null);
    assertCall(whole.choices[0].message.tool_calls[0].function);
  });

  Deno.test(`${model}: a conversation goes on after the call was answered`, async () => {
    const call = { name: "profit", arguments: '{"year": 2023, "unit": "元"}' };
    const asked = [
      ...messages,
      { role: "assistant", tool_calls: [{ id: "call_1", type: "function", function: call }] },
      { role: "tool", tool_call_id: "call_1", content: "7" },
    ];
    const longer = await client.chat.completions.create(
      { model, tools, messages: asked, max_tokens: 4 },
    );
    const { usage } = await client.chat.completions.create(
      { model, tools, messages, max_tokens: 4 },
    );
    assert.ok(longer.usage.prompt_tokens > usage.prompt_tokens + 10);
  });
}

Deno.test("what cannot be done is refused in the client's own words", async () => {
  const ask = (more: Record<string, unknown>) => () =>
    client.chat.completions.create({ model: "llama", messages, tools, max_tokens: 4, ...more });
  const tool_choice = { type: "function", function: { name: "loss" } };
  const refused = (param: string, code: string) => (error: Any) =>
    error instanceof OpenAI.BadRequestError && error.param === param && error.code === code;
  await assert.rejects(ask({ tool_choice }), refused("tool_choice", "invalid_tool_choice"));
  await assert.rejects(
    ask({ model: "bullion-tiny", tool_choice: "required" }),
    refused("tools", "tools_not_supported"),
  );
});

Deno.test("the tokenizer's description tells how a model's calls are read", async () => {
  const format = async (model: string) =>
    (await service.get(`/tokenizer_info?model=${model}`)).tool_format;
  assert.deepEqual(
    await Promise.all(["llama", "hermes", "bullion-tiny"].map(format)),
    ["llama3", "hermes", null],
  );
});
