// Functions in a chat: what the engine is asked, and what its answer becomes.
import { deepStrictEqual, equal, match, rejects } from "node:assert/strict";
import { ChatCompletion, ChatCompletionChunk, ChatRequest } from "../../../contract/chat.ts";
import { Bench, never } from "../jobs/room.ts";

const parameters = { type: "object", properties: { of: { type: "string" } }, required: ["of"] };
const tools = [
  { type: "function", function: { name: "price", description: "A share's price", parameters } },
  { type: "function", function: { name: "today" } },
];
const price = { name: "price", parameters };
const today = {
  name: "today",
  parameters: { type: "object", properties: {}, additionalProperties: false },
};
const named = { type: "function", function: { name: "price" } };
const CALL = '{"name": "price", "parameters": {"of": "x"}}';

function chat(fields: Record<string, unknown> = {}): ChatRequest {
  const messages = [{ role: "user", content: "问" }];
  return ChatRequest.parse({ model: "base", messages, tools, ...fields });
}

async function speaking(words: string[]): Promise<Bench> {
  const bench = await Bench.open();
  bench.engine.toolFormat = "llama3";
  bench.engine.words = words;
  return bench;
}

Deno.test("a call that the model writes is a call with an id, and no content", async () => {
  await using bench = await speaking([CALL.slice(0, 20), CALL.slice(20), `; ${CALL}`]);
  const answer = await bench.service.chat.complete(chat(), never);
  ChatCompletion.parse(answer);
  const [{ message, finish_reason }] = answer.choices as [ChatCompletion["choices"][number]];
  equal(message.content, null);
  equal(finish_reason, "tool_calls");
  const called = { name: "price", arguments: '{"of": "x"}' };
  deepStrictEqual(message.tool_calls!.map((call) => [call.type, call.function]), [
    ["function", called],
    ["function", called],
  ]);
  const ids = message.tool_calls!.map(({ id }) => id);
  ids.forEach((id) => match(id, /^call_\w{24}$/));
  equal(new Set(ids).size, 2);
});

Deno.test("an answer without a call is as it would be without tools", async () => {
  await using bench = await speaking(["净", "利润"]);
  const plain = (answer: ChatCompletion) => answer.choices;
  const asked = await bench.service.chat.complete(chat(), never);
  const without = await bench.service.chat.complete(chat({ tools: null }), never);
  deepStrictEqual(plain(asked), plain(without));
});

Deno.test("a stream tells a call's id and name first, then its arguments, then why it ended", async () => {
  await using bench = await speaking([CALL.slice(0, 9), CALL.slice(9, 39), CALL.slice(39), ""]);
  const chunks = await Array.fromAsync(await bench.service.chat.stream(chat(), never));
  chunks.forEach((chunk) => ChatCompletionChunk.parse(chunk));
  const choices = chunks.map(({ choices: [choice] }) => choice!);
  const id = choices[1]!.delta.tool_calls![0]!.id!;
  match(id, /^call_\w{24}$/);
  const piece = (text: string) => ({ index: 0, function: { arguments: text } });
  const first = { index: 0, id, type: "function", function: { name: "price", arguments: "" } };
  deepStrictEqual(choices.map(({ delta, finish_reason }) => [delta, finish_reason]), [
    [{ role: "assistant", content: null }, null],
    [{ tool_calls: [first] }, null],
    [{ tool_calls: [piece('{"of": ')] }, null],
    [{ tool_calls: [piece('"x"}')] }, null],
    [{}, "tool_calls"],
  ]);
});

Deno.test("text before a call streams as text", async () => {
  await using bench = await speaking(["So", ": ", `<|python_tag|>${CALL}`]);
  const chunks = await Array.fromAsync(await bench.service.chat.stream(chat(), never));
  const deltas = chunks.map(({ choices: [choice] }) => choice!.delta);
  deepStrictEqual(deltas.slice(0, 3), [
    { role: "assistant", content: "" },
    { content: "So" },
    { content: ":" },
  ]);
  equal(deltas[3]!.tool_calls![0]!.function.name, "price");
});

Deno.test("log probabilities of a call are all there", async () => {
  const parts = [CALL.slice(0, 9), CALL.slice(9, 39), CALL.slice(39)];
  await using bench = await speaking(parts);
  const request = chat({ logprobs: true });
  const chunks = await Array.fromAsync(await bench.service.chat.stream(request, never));
  const told = chunks.flatMap(({ choices: [choice] }) => choice!.logprobs?.content ?? []);
  deepStrictEqual(told.map(({ token }) => token), parts);
});

Deno.test("a call that the length cut off ends with length", async () => {
  await using bench = await speaking([CALL.slice(0, 40)]);
  bench.engine.finish = "length";
  const { choices: [choice] } = await bench.service.chat.complete(chat(), never);
  equal(choice!.message.tool_calls!.length, 1);
  equal(choice!.finish_reason, "length");
});

for (
  const [format, cut] of [["hermes", "<tool_cal"], ["hermes", '<tool_call>\n{"na'], [
    "llama3",
    '{"name": "pri',
  ]] as const
) {
  Deno.test(`of a forced call that is cut off at ${cut} nothing is shown`, async () => {
    await using bench = await speaking([cut.slice(0, 3), cut.slice(3)]);
    Object.assign(bench.engine, { toolFormat: format, finish: "length" });
    const forced = chat({ tool_choice: "required" });
    const { choices: [choice] } = await bench.service.chat.complete(forced, never);
    deepStrictEqual([choice!.message.content, choice!.finish_reason], [null, "length"]);
    const chunks = await Array.fromAsync(await bench.service.chat.stream(forced, never));
    deepStrictEqual(chunks.map(({ choices: [choice] }) => [choice!.delta, choice!.finish_reason]), [
      [{ role: "assistant", content: null }, null],
      [{}, "length"],
    ]);
    const free = await bench.service.chat.complete(chat(), never);
    equal(free.choices[0]!.message.content, cut, "what nobody forced may be text");
  });
}

Deno.test("names that OpenAI does not take are refused where they stand", () => {
  for (const name of ["", "a b", "f.g", "利润", "x".repeat(65)]) {
    const { error } = ChatRequest.safeParse({
      ...chat(),
      tools: [{ type: "function", function: { name } }],
    });
    deepStrictEqual(error?.issues[0]?.path, ["tools", 0, "function", "name"], name);
  }
  const name = "Get_price-2".padEnd(64, "x");
  equal(chat({ tools: [{ type: "function", function: { name } }] }).tools!.length, 1);
});

for (
  const [what, fields] of Object.entries({
    "tool_choice none": { tool_choice: "none" },
    "an answer held to a schema": { response_format: { type: "json_object" } },
  })
) {
  Deno.test(`${what}: what looks like a call is text`, async () => {
    await using bench = await speaking([CALL]);
    const { choices: [choice] } = await bench.service.chat.complete(chat(fields), never);
    deepStrictEqual([choice!.message.content, choice!.finish_reason], [CALL, "stop"]);
  });
}

Deno.test("tool_choice none declares no tools, a model without a known form answers in text", async () => {
  await using bench = await speaking([CALL]);
  bench.engine.toolFormat = null;
  const { choices: [choice] } = await bench.service.chat.complete(chat(), never);
  equal(choice!.message.content, CALL);
  await bench.service.chat.complete(chat({ tool_choice: "none" }), never);
  const declared = bench.engine.specs.map(({ prompt }) => prompt.kind === "chat" && prompt.tools);
  const told = [
    { type: "function", function: { name: "price", description: "A share's price", parameters } },
    { type: "function", function: { description: "", ...today } },
  ];
  deepStrictEqual(declared, [told, null]);
});

Deno.test("without parallel calls the first one counts", async () => {
  await using bench = await speaking([`${CALL}; ${CALL}`]);
  const request = chat({ parallel_tool_calls: false });
  const { choices: [choice] } = await bench.service.chat.complete(request, never);
  equal(choice!.message.tool_calls!.length, 1);
});

for (
  const [what, fields, forced] of [
    ["required", { tool_choice: "required" }, { functions: [price, today], several: true }],
    ["required, one call", { tool_choice: "required", parallel_tool_calls: false }, {
      functions: [price, today],
      several: false,
    }],
    ["a function", { tool_choice: named, response_format: { type: "json_object" } }, {
      functions: [price],
      several: false,
    }],
  ] as const
) {
  Deno.test(`tool_choice ${what}: the engine is held to calls with the functions' schemas`, async () => {
    await using bench = await speaking([CALL]);
    const { choices } = await bench.service.chat.complete(chat(fields), never);
    deepStrictEqual(bench.engine.specs[0]!.format, { type: "tool_calls", ...forced });
    equal(choices[0]!.finish_reason, "tool_calls");
  });
}

Deno.test("a conversation with calls and their answers reaches the engine as objects", async () => {
  await using bench = await speaking(["7"]);
  const call = {
    id: "call_1",
    type: "function",
    function: { name: "price", arguments: '{"of":1}' },
  };
  const messages = [
    { role: "user", content: "问" },
    { role: "assistant", content: null, tool_calls: [call] },
    { role: "tool", tool_call_id: "call_1", content: "7" },
  ];
  await bench.service.chat.complete(chat({ messages }), never);
  const { prompt } = bench.engine.specs[0]!;
  const none = { name: null, tool_calls: null, tool_call_id: null };
  const read = { ...call, function: { name: "price", arguments: { of: 1 } } };
  deepStrictEqual(prompt.kind === "chat" && prompt.messages, [
    { role: "user", content: "问", ...none },
    { role: "assistant", content: "", ...none, tool_calls: [read] },
    { role: "tool", content: "7", name: "price", tool_calls: null, tool_call_id: "call_1" },
  ]);
});

function deep(depth: number): string {
  return '{"a":'.repeat(depth) + "1" + "}".repeat(depth);
}
const saying = (args: string) => ({ ...broken, function: { name: "price", arguments: args } });
const declaring = (schema: string) => [
  tools[1],
  { type: "function", function: { name: "f", parameters: { properties: JSON.parse(schema) } } },
];
const rounded = declaring('{"a": {"maximum": 1e30}}');
const broken = { id: "call_1", type: "function", function: { name: "price", arguments: "{of" } };
for (
  const [what, fields, code, param] of [
    [
      "a choice of an unknown function",
      {
        tool_choice: { type: "function", function: { name: "cost" } },
      },
      "invalid_tool_choice",
      "tool_choice",
    ],
    [
      "a forced call without tools",
      { tools: [], tool_choice: "required" },
      "invalid_tool_choice",
      "tool_choice",
    ],
    [
      "parameters that are no object",
      {
        tools: [{ type: "function", function: { name: "f", parameters: { type: "string" } } }],
      },
      "invalid_function_parameters",
      "tools[0].function.parameters",
    ],
    [
      "past arguments that are no JSON",
      {
        messages: [{ role: "assistant", tool_calls: [broken] }],
      },
      "invalid_tool_call",
      "messages[0].tool_calls[0].function.arguments",
    ],
    [
      "past arguments that are nested too deeply",
      { messages: [{ role: "assistant", tool_calls: [saying(deep(1000))] }] },
      "invalid_tool_call",
      "messages[0].tool_calls[0].function.arguments",
    ],
    [
      "half a character in past arguments",
      { messages: [{ role: "assistant", tool_calls: [saying('{"a":"\\ud800"}')] }] },
      "invalid_tool_call",
      "messages[0].tool_calls[0].function.arguments",
    ],
    [
      "parameters that are nested too deeply",
      { tools: declaring(deep(1000)) },
      "invalid_function_parameters",
      "tools[1].function.parameters",
    ],
    [
      "half a character in parameters",
      { tools: declaring('{"a": {"description": "\\ud800"}}') },
      "invalid_function_parameters",
      "tools[1].function.parameters",
    ],
    [
      "an integer that was rounded, of a forced function",
      { tools: rounded, tool_choice: { type: "function", function: { name: "f" } } },
      "invalid_function_parameters",
      "tools[1].function.parameters",
    ],
    [
      "a second function of the same name",
      { tools: [...tools, tools[0]] },
      "duplicate_function_name",
      "tools[2].function.name",
    ],
  ] as const
) {
  Deno.test(`${what} is refused by name`, async () => {
    await using bench = await speaking([CALL]);
    await rejects(bench.service.chat.complete(chat(fields), never), { code, param });
    deepStrictEqual(bench.engine.specs, []);
  });
}

Deno.test("what the model is only told may name any integer", async () => {
  await using bench = await speaking([CALL]);
  await bench.service.chat.complete(chat({ tools: rounded }), never);
  equal(bench.engine.specs.length, 1);
});
