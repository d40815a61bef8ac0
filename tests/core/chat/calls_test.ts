// Calls in what a model writes: exact texts, and every way to cut them says the same.
import { deepStrictEqual } from "node:assert/strict";
import { CallReader, type CallReading, type Piece, readCalls } from "../../../core/chat/calls.ts";

const names = ["price", "利润", "price_history"];
const llama: CallReading = { format: "llama3", names, forced: false, most: Infinity };
const hermes: CallReading = { format: "hermes", names, forced: false, most: Infinity };

type Said = [text: string | null, ...calls: [name: string, args: string][]];
const cases: [name: string, reading: CallReading, text: string, said: Said][] = [
  ["an answer", llama, "净利润为 3 亿元。\n", ["净利润为 3 亿元。\n"]],
  ["blanks around an answer", hermes, "\n\n a \n\n", ["\n\n a \n\n"]],
  ["nothing", llama, "", [""]],
  ["a call", llama, '{"name": "price", "parameters": {"of": "x"}}', [null, [
    "price",
    '{"of": "x"}',
  ]]],
  ["a call after the mark", llama, '<|python_tag|>{"name": "price", "parameters": {}}', [null, [
    "price",
    "{}",
  ]]],
  ["a call after text and the mark", llama, 'So: <|python_tag|> {"name":"price","parameters":{}}', [
    "So:",
    ["price", "{}"],
  ]],
  [
    "calls separated by semicolons",
    llama,
    '{"name": "price", "parameters": {"a": 1}}; {"name": "利润", "parameters": {"b": "};{"}}\n',
    [null, ["price", '{"a": 1}'], ["利润", '{"b": "};{"}']],
  ],
  [
    "calls in a list",
    llama,
    '\n[ {"name": "price", "parameters": {"a": [1]}},\n {"name": "利润", "parameters": {}} ]',
    [null, ["price", '{"a": [1]}'], ["利润", "{}"]],
  ],
  [
    "arguments before the name",
    llama,
    '{"type": "function", "parameters": {"a": {"b": "\\"}"}}, "id": "x", "name": "price"}',
    [null, ["price", '{"a": {"b": "\\"}"}}']],
  ],
  ["keys behind the arguments", hermes, '<tool_call>{"name":"price","arguments":{},"id":"}"}', [
    null,
    ["price", "{}"],
  ]],
  ["a name written with escapes", llama, '{"name": "\\u5229\\u6da6", "parameters": {}}', [
    null,
    ["利润", "{}"],
  ]],
  ["text behind a call", llama, '{"name": "price", "parameters": {}}; that is it', [
    "that is it",
    ["price", "{}"],
  ]],
  ["an object that calls nobody", llama, '{"name": "cost", "parameters": {}}', [
    '{"name": "cost", "parameters": {}}',
  ]],
  ["an object that is no call", llama, '{"revenue": {"name": "price"}} ', [
    '{"revenue": {"name": "price"}} ',
  ]],
  ["a call's likeness in a text", llama, 'see {"name": "price", "parameters": {}}', [
    'see {"name": "price", "parameters": {}}',
  ]],
  ["a call in other braces", llama, '{{"name": "price", "parameters": {}}}', [
    '{{"name": "price", "parameters": {}}}',
  ]],
  ["a list of something else", llama, "[1] 年报", ["[1] 年报"]],
  ["a mark without a call", llama, "<|python_tag|>import math", ["import math"]],
  ["arguments that are no object", llama, '{"name": "price", "parameters": [1]}', [
    '{"name": "price", "parameters": [1]}',
  ]],
  ["a call that was cut off", llama, '{"name": "price", "parameters": {"of": "x', [null, [
    "price",
    '{"of": "x',
  ]]],
  ["a call cut off in its name", llama, '{"name": "pri', ['{"name": "pri']],
  [
    "Hermes' call",
    hermes,
    '<tool_call>\n{"name": "price", "arguments": {"of": "x"}}\n</tool_call>',
    [null, ["price", '{"of": "x"}']],
  ],
  [
    "calls after text and beside it",
    hermes,
    'One moment.\n<tool_call>\n{"name": "price", "arguments": {}}\n</tool_call>\n' +
    '<tool_call>\n{"name": "price_history", "arguments": {"n": 3}}\n</tool_call>\nDone.',
    ["One moment.\nDone.", ["price", "{}"], ["price_history", '{"n": 3}']],
  ],
  ["a closing mark that was cut off", hermes, '<tool_call>{"name":"price","arguments":{}}</tool_', [
    null,
    ["price", "{}"],
  ]],
  ["an unknown function between marks", hermes, 'x <tool_call>\n{"name": "cost"}\n</tool_call>', [
    'x <tool_call>\n{"name": "cost"}\n</tool_call>',
  ]],
  [
    "marks without an object, then a call",
    hermes,
    '<tool_call> <tool_call>{"name":"price","arguments":{}}',
    [
      "<tool_call>",
      ["price", "{}"],
    ],
  ],
  ["the beginning of a mark", hermes, "a < b <tool", ["a < b <tool"]],
  ["an object outside marks", hermes, '{"name": "price", "arguments": {}}', [
    '{"name": "price", "arguments": {}}',
  ]],
  [
    "one call at most",
    { ...llama, most: 1 },
    '{"name":"price","parameters":{}}; {"name":"利润","parameters":{}} x',
    [
      null,
      ["price", "{}"],
    ],
  ],
];

for (const [name, reading, text, [content, ...calls]] of cases) {
  Deno.test(`${reading.format}: ${name}`, () => {
    const expected = { content, calls: calls.map(([name, args]) => ({ name, arguments: args })) };
    deepStrictEqual(readCalls(text, reading), expected);
  });

  Deno.test(`${reading.format}: ${name}, wherever it is cut`, () => {
    const whole = joined([text], reading);
    const letters = [...text];
    deepStrictEqual(joined(letters, reading), whole, "letter by letter");
    for (let first = 0; first <= letters.length; first++) {
      for (let second = first; second <= letters.length; second++) {
        const cuts = [[0, first], [first, second], [second]];
        const parts = cuts.map(([from, to]) => letters.slice(from, to).join(""));
        deepStrictEqual(joined(parts, reading), whole, JSON.stringify(parts));
      }
    }
  });
}

Deno.test("text leaves at once where no call can begin", () => {
  const spoken = (reading: CallReading, parts: string[]) => {
    const reader = new CallReader(reading);
    return parts.map((part) =>
      reader.push(part).map((p) => "text" in p ? p.text : p.name).join("")
    );
  };
  deepStrictEqual(spoken(llama, ["The", " price", " {", "<|pyt", "hon", "?"]), [
    "The",
    " price",
    " {",
    "",
    "",
    "<|python?",
  ]);
  deepStrictEqual(spoken(hermes, ["a ", "<", " b", "\n<tool_", "x"]), [
    "a",
    "",
    " < b",
    "",
    "\n<tool_x",
  ]);
  deepStrictEqual(spoken(llama, ['{"na', 'me": "c', 'ost"']), ["", '{"name": "c', 'ost"']);
});

Deno.test("a call is told before its arguments are written, and they leave as they come", () => {
  const reader = new CallReader(hermes);
  const parts = [
    '<tool_call>{"name": "price',
    '", "arguments": ',
    '{"a":',
    ' "}"',
    "}",
    "}</tool_call>",
  ];
  deepStrictEqual(parts.map((part) => reader.push(part)), [
    [],
    [],
    [{ kind: "call", index: 0, name: "price" }, { kind: "arguments", index: 0, text: '{"a":' }],
    [{ kind: "arguments", index: 0, text: ' "}"' }],
    [{ kind: "arguments", index: 0, text: "}" }],
    [],
  ]);
});

/** Neighbouring pieces of a kind as one, as a client puts them together. */
function joined(parts: string[], reading: CallReading): Piece[] {
  const reader = new CallReader(reading);
  const all: Piece[] = [];
  for (const piece of [...parts.flatMap((part) => reader.push(part)), ...reader.end()]) {
    const last = all.at(-1);
    if (piece.kind !== "call" && last?.kind === piece.kind) last.text += piece.text;
    else all.push({ ...piece });
  }
  return all;
}
