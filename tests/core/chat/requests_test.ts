/** What is well-formed and not possible is refused by the name of the field. */
import assert from "node:assert/strict";
import { ChatRequest, CompletionRequest } from "../../../contract/chat.ts";
import { BullionError } from "../../../contract/errors.ts";
import { GenerateSpec } from "../../../contract/worker.ts";
import { chatSpec, textSpecs } from "../../../core/chat/requests.ts";

const messages = [{ role: "user", content: "hi" }];
const chat = (more: object) => chatSpec(ChatRequest.parse({ model: "m", messages, ...more }), "m");
const text = (more: object) =>
  textSpecs(CompletionRequest.parse({ model: "m", prompt: "hi", ...more }), "m");

const REFUSED: [string, () => unknown, string][] = [
  ["top_logprobs", () => chat({ top_logprobs: 2 }), "it needs logprobs: true"],
  ["stream_options", () => chat({ stream_options: {} }), "it needs stream: true"],
  ["stream_options", () => text({ stream_options: {} }), "it needs stream: true"],
  ["best_of", () => text({ best_of: 3 }), "it must equal n: leave it out"],
  ["suffix", () => text({ suffix: "x" }), "text cannot be filled in before a suffix"],
];

for (const [param, ask, why] of REFUSED) {
  Deno.test(`${param} alone is refused: ${ask}`, () => {
    assert.throws(ask, (error) => {
      assert(error instanceof BullionError);
      assert.deepEqual([error.code, error.param], ["unsupported_parameter", param]);
      assert.equal(error.message, `Cannot use ${param}: ${why}`);
      return true;
    });
  });
}

Deno.test("together with what they need they are taken", () => {
  assert.equal(chat({ logprobs: true, top_logprobs: 2 }).logprobs, 2);
  assert.equal(chat({ top_logprobs: 0 }).logprobs, null);
  assert.equal(text({ stream: true, stream_options: { include_usage: true } }).length, 1);
});

Deno.test("a temperature too small to divide by is greedy", () => {
  assert.equal(chat({ temperature: 1e-39 }).sampling.temperature, 0);
  assert.equal(text({ temperature: 9e-6 })[0]!.sampling.temperature, 0);
  assert.equal(chat({ temperature: 1e-5 }).sampling.temperature, 1e-5);
});

Deno.test("a seed may have 64 bits, with a sign or without", () => {
  for (const seed of ["9223372036854775807", "-9223372036854775808", "18446744073709551615"]) {
    const spec = chat({ seed: JSON.parse(seed) });
    assert.equal(GenerateSpec.parse(spec).sampling.seed, Number(seed));
  }
});

Deno.test("top_p 0 is a share that the likeliest token of any vocabulary reaches alone", () => {
  const { top_p } = chat({ top_p: 0 }).sampling;
  assert.ok(top_p > 0 && top_p < 1 / 200_000);
  assert.equal(chat({ top_p: 0.3 }).sampling.top_p, 0.3);
});

Deno.test("of an assistant's message texts and refusals are read, in their order", () => {
  const content = [{ type: "text", text: "a" }, { type: "refusal", refusal: "b" }];
  const { prompt } = chat({ messages: [...messages, { role: "assistant", content }] });
  assert.ok(prompt.kind === "chat");
  assert.equal(prompt.messages[1]!.content, "ab");
  const user = { messages: [{ role: "user", content }] };
  assert.throws(() => chat(user), "nobody else refuses");
});

Deno.test("a schema that cannot be handed on as it was meant is refused with the reason", () => {
  const deep = JSON.parse('{"items":'.repeat(1000) + "{}" + "}".repeat(1000));
  for (
    const [schema, why] of [
      [deep, /nested too deeply/],
      [{ const: "\ud800" }, /half a character/],
      [{ type: "integer", minimum: 1e30 }, /the integer 1e\+30 in `minimum`/],
    ]
  ) {
    const response_format = { type: "json_schema", json_schema: { name: "a", schema } };
    assert.throws(() => chat({ response_format }), (error) => {
      assert(error instanceof BullionError);
      assert.equal(error.code, "invalid_json_schema");
      assert.equal(error.param, "response_format.json_schema.schema");
      assert.match(error.message, why);
      return true;
    });
  }
});

Deno.test("half a character is refused in all that the engine is told of a chat", () => {
  const call = { id: "a", type: "function", function: { name: "f", arguments: "{}" } };
  const half = "\ud800";
  for (
    const message of [
      { role: "user", content: "a", name: half },
      { role: "tool", content: "a", tool_call_id: half },
      { role: "assistant", tool_calls: [{ ...call, id: half }] },
      { role: "assistant", tool_calls: [{ ...call, function: { name: half, arguments: "{}" } }] },
      { role: "assistant", tool_calls: [{ ...call, function: { name: "f", arguments: half } }] },
    ]
  ) assert.throws(() => chat({ messages: [message] }), /half a character/);
  const tools = [{ type: "function", function: { name: "f", description: half } }];
  assert.throws(() => chat({ tools }), /half a character/);
});
