// OpenAI's training lines as canonical records.
import { deepStrictEqual, equal, match } from "node:assert/strict";
import { BullionError } from "../../../contract/errors.ts";
import { toCanonical } from "../../../core/datasets/canonical.ts";

type Message = Record<string, unknown>;

const read = (...messages: Message[][]) => readLines(messages.map((list) => ({ messages: list })));

function readLines(lines: Message[]) {
  return toCanonical(
    new TextEncoder().encode(lines.map((line) => JSON.stringify(line)).join("\n")),
  );
}

async function fault(...messages: Message[]): Promise<string> {
  try {
    await read(messages);
  } catch (error) {
    if (error instanceof BullionError && error.code === "invalid_dataset") return error.message;
    throw error;
  }
  throw new Error("nothing was refused");
}

const user = (content: unknown) => ({ role: "user", content });
const assistant = (content: unknown) => ({ role: "assistant", content });

Deno.test("system and developer messages at the head are the system text", async () => {
  for (const role of ["system", "developer"]) {
    const { records, report } = await read([{ role, content: "s" }, user("q"), assistant("a")]);
    equal(report.format, "openai");
    equal(records[0]!.system, "s");
    deepStrictEqual(records[0]!.turns.map((turn) => turn.role), ["user", "assistant"]);
  }
});

Deno.test("content may be a list of text parts, and nothing else than text", async () => {
  const parts = [{ type: "text", text: "a" }, { type: "text", text: "b" }];
  const { records } = await read([user(parts), assistant("c")]);
  equal(records[0]!.turns[0]!.content, "ab");
  match(await fault(user([{ type: "image_url" }]), assistant("c")), /content is a text/);
});

Deno.test("a line without an assistant turn is refused with its line", async () => {
  match(await fault(user("q")), /line 1 has no assistant turn/);
  match(await fault(user("q"), assistant("a"), user("q")), /line 1 ends with "user"/);
});

Deno.test("tool calls and tool answers become function calls and observations", async () => {
  const call = (name: string, args: string) => ({
    id: name,
    type: "function",
    function: { name, arguments: args },
  });
  const { records } = await readLines([{
    tools: [{ type: "function", function: { name: "f", parameters: {} } }],
    messages: [
      user("q"),
      { role: "assistant", content: null, tool_calls: [call("f", '{"x": 1}'), call("g", "{}")] },
      { role: "tool", tool_call_id: "f", content: "one" },
      { role: "tool", tool_call_id: "g", content: "two" },
      assistant("a"),
    ],
  }]);
  const { turns, tools } = records[0]!;
  deepStrictEqual(turns.map((turn) => turn.role), [
    "user",
    "function_call",
    "observation",
    "assistant",
  ]);
  deepStrictEqual(JSON.parse(turns[1]!.content), [
    { name: "f", arguments: { x: 1 } },
    { name: "g", arguments: {} },
  ]);
  equal(turns[2]!.content, "one\ntwo");
  deepStrictEqual(JSON.parse(tools!), [{ name: "f", parameters: {} }]);
});

Deno.test("two questions in a row are dropped with their place", async () => {
  const { report } = await read(
    [user("q"), assistant("a")],
    [user("q"), user("r"), assistant("a")],
  );
  deepStrictEqual(report.dropped.map(({ index, line }) => [index, line]), [[1, 2]]);
  match(report.dropped[0]!.reason, /turn 2 is user where assistant/);
});

Deno.test("an unknown role is refused with the known ones", async () => {
  match(await fault({ role: "narrator", content: "x" }, assistant("a")), /got "narrator"/);
});

Deno.test("an assistant turn of weight 0 is refused, as every one would be trained", async () => {
  match(await fault(user("q"), { ...assistant("a"), weight: 0 }), /weight 0/);
});

Deno.test("arguments that are no JSON are refused with the name of the call", async () => {
  const tool_calls = [{ function: { name: "f", arguments: "{x" } }];
  match(await fault(user("q"), { role: "assistant", tool_calls }), /call of f are no JSON/);
});

Deno.test("tools that are no objects are refused", async () => {
  const line = { messages: [user("q"), assistant("a")], tools: [null] };
  try {
    await readLines([line]);
  } catch (error) {
    return match((error as BullionError).message, /tools is a list of tools/);
  }
  throw new Error("nothing was refused");
});
