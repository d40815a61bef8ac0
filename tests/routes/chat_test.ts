/** What the official clients put into a chat beside the fields that do something is taken. */
import assert from "node:assert/strict";
import type { ChatCompletion, ChatRequest } from "../../contract/chat.ts";
import { appOver, post } from "./fake_service.ts";

/** As `zodFunction`, `pydantic_function_tool` and the tool runners send a function. */
const tool = {
  type: "function",
  function: {
    name: "price",
    description: "",
    parameters: { type: "object", properties: {}, additionalProperties: false, $schema: "x" },
    strict: true,
  },
};

/** An answer of `parse`, as it is when the client appends it to the messages. */
const answered = {
  role: "assistant",
  content: null,
  refusal: null,
  annotations: [],
  audio: null,
  function_call: null,
  parsed: null,
  tool_calls: [{
    id: "call_1",
    type: "function",
    index: 0,
    function: { name: "price", arguments: "{}", parsed_arguments: {} },
  }],
};

const BODIES: Record<string, Record<string, unknown>> = {
  "a parsed answer that is sent back": {
    messages: [
      { role: "user", content: "a" },
      answered,
      { role: "tool", content: "1", tool_call_id: "call_1" },
    ],
  },
  "functions of the helpers": {
    tools: [tool],
    tool_choice: { type: "function", function: { name: "price" } },
    parallel_tool_calls: false,
  },
  "a schema of the helpers": {
    response_format: {
      type: "json_schema",
      json_schema: { name: "figure", strict: true, schema: tool.function.parameters },
    },
  },
  "a schema with all that OpenAI describes": {
    response_format: {
      type: "json_schema",
      json_schema: { name: "figure", description: "a", strict: null, schema: {} },
    },
  },
};

for (const [title, more] of Object.entries(BODIES)) {
  Deno.test(`${title} is taken`, async () => {
    const asked: ChatRequest[] = [];
    const complete = (request: ChatRequest) => {
      asked.push(request);
      return Promise.resolve({} as ChatCompletion);
    };
    const body = { model: "m", messages: [{ role: "user", content: "a" }], ...more };
    const response = await appOver({ chat: { complete } })
      .request("/v1/chat/completions", post(body));
    assert.equal(response.status, 200, await response.text());
    assert.equal(asked.length, 1);
  });
}

Deno.test("every option of a stream is taken", async () => {
  const stream = async function* () {};
  const body = {
    model: "m",
    messages: [{ role: "user", content: "a" }],
    stream: true,
    stream_options: { include_usage: true, include_obfuscation: false },
  };
  const response = await appOver({ chat: { stream: () => Promise.resolve(stream()) } })
    .request("/v1/chat/completions", post(body));
  assert.deepEqual([response.status, await response.text()], [200, "data: [DONE]\n\n"]);
});
