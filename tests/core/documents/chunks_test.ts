import { deepStrictEqual, equal, ok } from "node:assert/strict";
import { chunkDocument } from "../../../core/documents/chunks.ts";
import { document } from "./made_report.ts";

const sentence = (n: number) => `这是第${String(n).padStart(2, "0")}句话。`; // 8 characters
const sentences = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, at) => sentence(from + at)).join("");

Deno.test("chunks hold whole sentences up to their size and repeat the last ones", () => {
  const chunks = chunkDocument(document([sentences(1, 9)]), { size: 32, overlap: 8 });
  deepStrictEqual(chunks.map((chunk) => chunk.text), [
    sentences(1, 4),
    sentences(4, 7),
    sentences(7, 9),
  ]);
});

Deno.test("a chunk never spans two headings and names the path above it", () => {
  const chunks = chunkDocument(document([
    { heading: "第三节 经营", level: 1 },
    { heading: "一、业务", level: 2 },
    "甲的说明。",
    { heading: "二、风险", level: 2 },
    "乙的说明。",
  ]));
  deepStrictEqual(chunks.map(({ heading_path, text }) => [heading_path, text]), [
    [["第三节 经营", "一、业务"], "甲的说明。"],
    [["第三节 经营", "二、风险"], "乙的说明。"],
  ]);
});

Deno.test("rows of a table are never cut; a chunk that goes on repeats unit and header", () => {
  const rows = Array.from({ length: 4 }, (_, at) => [`项目${at}`, `${at}00.00`]);
  const chunks = chunkDocument(
    document(["单位：元", { rows: [["科目", "本期数"], ...rows] }]),
    { size: 50, overlap: 20 },
  );
  const head = "单位：元\n科目 | 本期数\n";
  deepStrictEqual(chunks.map((chunk) => chunk.text), [
    head + "项目0 | 000.00\n项目1 | 100.00",
    head + "项目2 | 200.00\n项目3 | 300.00",
  ]);
});

Deno.test("empty cells at the end of a row leave no bars, and ticks alone are no chunk", () => {
  const chunks = chunkDocument(document([
    { heading: "一、债务重组" },
    "□适用√不适用",
    { heading: "二、损益" },
    { rows: [["债务重组损益", "", ""]] },
  ]));
  deepStrictEqual(chunks.map((chunk) => chunk.text), ["债务重组损益"]);
});

Deno.test("pages from and to are those that the chunk's text stands on", () => {
  const lead = "这一段文字写在上一页的最后一行并且没有写完所以它会在下一页";
  const chunks = chunkDocument(document([sentence(1)], [lead], ["继续。" + sentence(2)]), {
    size: lead.length + 4,
  });
  deepStrictEqual(chunks.map(({ page_from, page_to, text }) => [page_from, page_to, text]), [
    [1, 1, sentence(1)],
    [2, 3, lead + "继续。"],
    [3, 3, sentence(2)],
  ]);
});

Deno.test("a sentence longer than the size is a chunk by itself", () => {
  const long = "长".repeat(50) + "。";
  const chunks = chunkDocument(document([sentence(1) + long + sentence(2)]), {
    size: 20,
    overlap: 8,
  });
  ok(chunks.some((chunk) => chunk.text === long));
  equal(chunks[0]!.text, sentence(1));
  ok(chunks.at(-1)!.text.endsWith(sentence(2)));
});
