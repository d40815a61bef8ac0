import { deepStrictEqual, equal, match, ok, rejects, throws } from "node:assert/strict";
import type { Pair } from "../../../contract/document.ts";
import { BullionError } from "../../../contract/errors.ts";
import { extractiveWriter, heldOutQuestions } from "../../../core/documents/extractive.ts";
import { toAlpaca, toOpenAI } from "../../../core/documents/pairs.ts";
import { loadPhrasings, parsePhrasings } from "../../../core/documents/phrasings.ts";
import { report } from "./made_report.ts";

const path = new URL("../../../configs/phrasings.zh.yaml", import.meta.url).pathname;
const phrasings = await loadPhrasings(path);
const made = report(
  { rows: [["公司的法定代表人", "王远"], ["公司网址", "www.hc.cn"]] },
  "单位：万元",
  {
    rows: [["项目", "2023年", "2022年", "同比增减（%）"], [
      "营业收入",
      "110.00",
      "100.00",
      "10.00",
    ]],
  },
);
const pairs = await Array.fromAsync(extractiveWriter(phrasings).write(made));
const evidence = { text: "行", page: 1, start: 0, end: 1 };

Deno.test("each fact is asked in every trained phrasing and answered in one", () => {
  equal(pairs.length, 4 * phrasings.trained);
  deepStrictEqual(pairs.slice(6, 9).map(({ question, answer }) => [question, answer]), [
    ["海川科技2023年营业收入是多少？", "海川科技2023年营业收入为110.00万元。"],
    ["请问2023年海川科技的营业收入为多少？", "海川科技2023年营业收入为110.00万元。"],
    ["2023年，海川科技营业收入达到多少？", "海川科技2023年营业收入为110.00万元。"],
  ]);
  equal(pairs[9]!.answer, "海川科技2023年营业收入同比增长10.00%。");
  ok(pairs.every(({ question, answer }) => !/[{}]/.test(question + answer)));
});

Deno.test("every pair carries the row and page that ground it", () => {
  deepStrictEqual(pairs[6]!.evidence.text, "营业收入 | 110.00 | 100.00 | 10.00");
  equal(pairs[6]!.evidence.page, 2);
});

Deno.test("questions that are held out are asked of the same facts and are in no pair", () => {
  const heldOut = heldOutQuestions(made, phrasings);
  const trained = new Set(pairs.map((pair) => pair.question));
  deepStrictEqual(heldOut.map(({ fact }) => fact.item), [
    "法定代表人",
    "网址",
    "营业收入",
    "营业收入",
  ]);
  for (const { questions, answer } of heldOut) {
    ok(questions.length >= 1 && questions.every((question) => !trained.has(question)));
    ok(pairs.some((pair) => pair.answer === answer));
  }
});

Deno.test("writing stops when its signal says so", async () => {
  const stop = new AbortController();
  const seen: Pair[] = [];
  await rejects(async () => {
    for await (const pair of extractiveWriter(phrasings).write(made, { signal: stop.signal })) {
      seen.push(pair);
      stop.abort();
    }
  });
  equal(seen.length, phrasings.trained);
});

Deno.test("a report without facts is refused, not written as an empty data set", async () => {
  await rejects(
    Array.fromAsync(extractiveWriter(phrasings).write(report("没有数字。"))),
    (error) => error instanceof BullionError && error.code === "no_facts",
  );
});

const twice: Pair[] = [
  { question: "问一？", answer: "答一。", evidence },
  { question: "问二？", answer: '答"二"。', evidence },
  { question: "问一？", answer: "答一。", evidence: { ...evidence, page: 2 } },
];

Deno.test("alpaca JSON holds each pair once, in order", () => {
  equal(
    toAlpaca(twice),
    `[
  {
    "instruction": "问一？",
    "input": "",
    "output": "答一。"
  },
  {
    "instruction": "问二？",
    "input": "",
    "output": "答\\"二\\"。"
  }
]
`,
  );
});

Deno.test("OpenAI JSONL holds each pair once, one a line", () => {
  equal(
    toOpenAI(twice),
    '{"messages":[{"role":"user","content":"问一？"},{"role":"assistant","content":"答一。"}]}\n' +
      '{"messages":[{"role":"user","content":"问二？"},{"role":"assistant","content":"答\\"二\\"。"}]}\n',
  );
});

Deno.test("phrasings that are broken are refused with what is wrong", async () => {
  const refused = (yaml: string, why: RegExp) =>
    throws(() => parsePhrasings(yaml, "p.yaml"), (error) => {
      ok(error instanceof BullionError && error.code === "phrasings_invalid");
      match(error.message, why);
      return true;
    });
  const good = await Deno.readTextFile(path);
  refused("trained: [", /not YAML/);
  refused(good.replace("trained: 3", "trained: 6"), /more than the 6 trained/);
  refused(good.replace("  change:", "  changes:"), /changes|change/);
  await rejects(loadPhrasings("absent.yaml"), /Cannot read phrasings absent\.yaml/);
});
