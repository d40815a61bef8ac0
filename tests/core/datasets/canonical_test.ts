// Every format of training data becomes canonical records; what is wrong is named with its line.
import { deepStrictEqual, equal, match, ok } from "node:assert/strict";
import { TrainingRecord } from "../../../contract/dataset.ts";
import { BullionError } from "../../../contract/errors.ts";
import { toCanonical, writeCanonical } from "../../../core/datasets/canonical.ts";
import { defaultDescription } from "../../../core/datasets/description.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const jsonl = (...records: unknown[]) =>
  bytes(records.map((r) => JSON.stringify(r) + "\n").join(""));

const GOOD = { instruction: "问", input: "", output: "答" };

async function refusal(input: Uint8Array<ArrayBuffer>): Promise<BullionError> {
  try {
    await toCanonical(input);
  } catch (error) {
    if (error instanceof BullionError) return error;
    throw error;
  }
  throw new Error("nothing was refused");
}

Deno.test("an alpaca record's question is the non-empty ones of instruction and input", async () => {
  const { records, report } = await toCanonical(jsonl(
    { instruction: "a", input: "b", output: "c" },
    { instruction: "", input: "b", output: "c" },
    { instruction: " a ", output: "c" },
  ));
  deepStrictEqual(records.map(({ turns }) => turns[0]!.content), ["a\nb", "b", " a "]);
  equal(report.format, "alpaca");
  equal(report.layout, "jsonl");
});

Deno.test("what is written is canonical: the contract reads every line back", async () => {
  const lines: string[] = [];
  const report = await writeCanonical(jsonl(GOOD, GOOD), (line) => lines.push(line));
  equal(report.records, 2);
  for (const line of lines) {
    ok(line.endsWith("}\n"));
    TrainingRecord.parse(JSON.parse(line));
  }
});

Deno.test("a text with a line break or a Unicode line separator stays one line", async () => {
  const lines: string[] = [];
  const output = "a\nb\u2028c\r\n😀";
  await writeCanonical(jsonl({ ...GOOD, output }), (line) => lines.push(line));
  equal(lines[0]!.indexOf("\n"), lines[0]!.length - 1);
  equal(JSON.parse(lines[0]!).turns[1].content, output);
});

Deno.test("a broken line 17 is named, with what is wrong in it", async () => {
  const lines = Array.from({ length: 20 }, () => JSON.stringify(GOOD));
  lines[16] = '{"instruction": "问", "output": }';
  const error = await refusal(bytes(lines.join("\n")));
  equal(error.code, "invalid_dataset");
  match(error.message, /line 17 is no JSON: a value is due, found \}/);
});

Deno.test("a broken record of a JSON list is named by its number and the line of the fault", async () => {
  const lines = Array.from({ length: 20 }, () => JSON.stringify(GOOD, null, 2));
  lines[16] = '{\n  "instruction": "问"\n  "output": "答"\n}';
  const error = await refusal(bytes(`[\n${lines.join(",\n")}\n]`));
  // 16 records of five lines and the opening bracket before it; the third line of it is at fault.
  match(error.message, /line 84 \(record 17\) is no JSON: a comma or \} is due/);
});

Deno.test("several broken records are reported together", async () => {
  const error = await refusal(
    bytes(`${JSON.stringify(GOOD)}\n{oops\n\n{"output": 5, "input": "x"}\n`),
  );
  match(error.message, /2 faults/);
  match(error.message, /line 2 is no JSON/);
  match(error.message, /line 4 output is a text, got 5/);
});

Deno.test("a list that does not end, or ends twice, is refused", async () => {
  const record = JSON.stringify(GOOD);
  match((await refusal(bytes(`[${record},\n${record}`))).message, /before the closing \]/);
  match((await refusal(bytes(`[${record},\n]`))).message, /line 2 .*comma .*closing \]/);
  match((await refusal(bytes(`[${record}]\n]`))).message, /after the closing \]/);
  match((await refusal(bytes(`[1, 2]`))).message, /record 1\) a record is an object/);
});

Deno.test("brackets, commas and quotes inside a text do not end its record", async () => {
  const output = 'a "quoted", {braced] \\ and \\"';
  const { records } = await toCanonical(bytes(JSON.stringify([{ ...GOOD, output }, GOOD])));
  deepStrictEqual(records.map(({ turns }) => turns[1]!.content), [output, "答"]);
});

Deno.test("one record laid out over several lines is told how to be written", async () => {
  match(
    (await refusal(bytes(JSON.stringify(GOOD, null, 2)))).message,
    /one JSON object over several/,
  );
});

Deno.test("an empty file and a list without records are empty", async () => {
  for (const text of ["", "\n \n", "\uFEFF", "[]", "[ ]\n"]) {
    equal((await refusal(bytes(text))).code, "empty_dataset", JSON.stringify(text));
  }
});

Deno.test("a UTF-8 mark at the beginning is taken away", async () => {
  const { records } = await toCanonical(bytes("\uFEFF" + JSON.stringify(GOOD)));
  equal(records.length, 1);
});

Deno.test("GBK is refused with its line, its byte and the way to convert it", async () => {
  const head = bytes('{"instruction": "a", "output": "b"}\n{"instruction": "');
  const gbk = new Uint8Array([...head, 0xd6, 0xd0, 0xce, 0xc4, ...bytes('", "output": "x"}\n')]);
  const error = await refusal(gbk);
  equal(error.code, "wrong_encoding");
  match(error.message, new RegExp(`line 2, byte ${head.length + 1} of the file \\(0xd6\\)`));
  match(error.message, /iconv -f GBK -t UTF-8/);
});

Deno.test("a file that was cut inside a character is refused at that character", async () => {
  const whole = bytes('{"instruction": "问", "output": "答');
  match((await refusal(whole.slice(0, -1))).message, /line 1, byte \d+ of the file \(0xe7\)/);
});

Deno.test("UTF-16 is refused by name", async () => {
  match((await refusal(new Uint8Array([0xff, 0xfe, 0x5b, 0]))).message, /UTF-16/);
});

Deno.test("columns that belong to no format are refused with their names", async () => {
  match(
    (await refusal(jsonl({ question: "a", answer: "b" }))).message,
    /line 1 has question, answer/,
  );
});

Deno.test("a column system counts only where it is mapped, and its loss is said", async () => {
  const source = jsonl({ ...GOOD, system: "s", history: [["a", "b"]] }, GOOD);
  const unmapped = await toCanonical(source);
  equal(unmapped.records[0]!.system, null);
  equal(unmapped.records[0]!.turns.length, 2);
  match(unmapped.report.notes.join(), /system of 1 records is not used.*history of 1 records/s);
  const description = defaultDescription("alpaca");
  description.columns = { ...description.columns, system: "system", history: "history" };
  const mapped = await toCanonical(source, { description });
  equal(mapped.records[0]!.system, "s");
  equal(mapped.records[0]!.turns.length, 4);
  deepStrictEqual(mapped.report.notes, []);
});

Deno.test("an alpaca record without answer is dropped with its number, an empty answer is not", async () => {
  const { records, report } = await toCanonical(
    jsonl(GOOD, { instruction: "a", output: null }, { ...GOOD, output: "" }),
  );
  deepStrictEqual(records.map(({ index }) => index), [0, 2]);
  deepStrictEqual(report.dropped, [{ index: 1, line: 2, reason: "has no answer in output" }]);
});

Deno.test("data of which nothing can be trained is refused", async () => {
  const message = { from: "human", value: "x" };
  const error = await refusal(jsonl({ conversations: [message] }, { conversations: [message] }));
  match(error.message, /none of its 2 records .*line 1 ends with user, without an answer/);
});

Deno.test("a sharegpt role that no tag names is dropped with its word", async () => {
  const { report } = await toCanonical(jsonl(
    { conversations: [{ from: "human", value: "x" }, { from: "gpt", value: "y" }] },
    { conversations: [{ from: "human", value: "x" }, { from: "assistant", value: "y" }] },
  ));
  match(report.dropped[0]!.reason, /from is assistant in message 2/);
});

Deno.test("the names in a first message decide between sharegpt and OpenAI, whatever its list is called", async () => {
  const turns = (role: string, content: string, words: string[]) =>
    words.map((word) => ({ [role]: word, [content]: "x" }));
  const variants: [string, Record<string, unknown>][] = [
    ["openai", { conversations: turns("role", "content", ["user", "assistant"]) }],
    ["openai", { messages: turns("role", "content", ["user", "assistant"]) }],
    ["sharegpt", { messages: turns("from", "value", ["human", "gpt"]) }],
    ["sharegpt", { conversations: turns("from", "value", ["human", "gpt"]) }],
  ];
  for (const [format, record] of variants) {
    const { records, report } = await toCanonical(jsonl(record));
    equal(report.format, format);
    equal(records.length, 1);
  }
});

Deno.test("strings of special tokens stay text and are counted", async () => {
  const { records, report } = await toCanonical(
    jsonl(GOOD, { instruction: "<|eot_id|> a <|begin_of_text|>", output: "b" }),
  );
  equal(records[1]!.turns[0]!.content, "<|eot_id|> a <|begin_of_text|>");
  deepStrictEqual(report.special_token_texts, { records: 1, occurrences: 2, first_lines: [2] });
  match(report.notes.join(), /stay text/);
});

Deno.test("half a character is refused, as it could not be written", async () => {
  match(
    (await refusal(bytes('{"instruction": "\\ud83d", "output": "x"}'))).message,
    /lone surrogate/,
  );
});

Deno.test("more records than allowed are refused", async () => {
  try {
    await toCanonical(jsonl(GOOD, GOOD, GOOD), { maxRecords: 2 });
    ok(false);
  } catch (error) {
    equal((error as BullionError).code, "dataset_too_large");
  }
});

Deno.test("reading can be aborted between records", async () => {
  const many = bytes(JSON.stringify(GOOD).concat("\n").repeat(5_000));
  const controller = new AbortController();
  controller.abort(new Error("the client left"));
  try {
    await toCanonical(many, { signal: controller.signal });
    ok(false);
  } catch (error) {
    match((error as Error).message, /the client left/);
  }
});

Deno.test("empty answers are trained, and said with their places", async () => {
  const answers = ["答", "", "答", " \n"];
  const alpaca = answers.map((output) => ({ instruction: "问", output }));
  const { records, report } = await toCanonical(jsonl(...alpaca));
  equal(records.length, 4);
  deepStrictEqual(report.notes, [
    "2 records have an empty answer (record 1 in line 2, record 3 in line 4); the model learns to " +
    "say nothing there: fill it in, or take the record out",
  ]);
  const openai = answers.slice(0, 2).map((content) => ({
    messages: [{ role: "user", content: "问" }, { role: "assistant", content }],
  }));
  const lines = await toCanonical(jsonl(...openai));
  match(lines.report.notes.join(), /^1 record has an empty answer \(record 1 in line 2\)/);
  const many = Array.from({ length: 12 }, () => ({ instruction: "问", output: "" }));
  match((await toCanonical(jsonl(...many))).report.notes.join(), /in line 10 and 2 more\)/);
});
