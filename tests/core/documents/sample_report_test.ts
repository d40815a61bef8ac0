// The sample report and a second one that the command writes: other company, year, unit, layout.
import { deepStrictEqual, equal, match, ok } from "node:assert/strict";
import type { DocumentText, Fact } from "../../../contract/document.ts";
import { extractFacts } from "../../../core/documents/facts.ts";
import { readDocument } from "../../../core/documents/read.ts";

const root = new URL("../../../", import.meta.url).pathname;
const python = Deno.env.get("BULLION_TEST_PYTHON") ?? Deno.env.get("BULLION_PYTHON") ??
  `${root}.venv/bin/python`;

const committed = await Deno.readFile(`${root}examples/data/sample_report.pdf`);
const sample = await readDocument(committed, "sample_report.pdf");

async function written(...args: string[]): Promise<DocumentText> {
  const out = await Deno.makeTempFile({ suffix: ".pdf" });
  try {
    const { success, stderr } = await new Deno.Command(python, {
      args: ["-m", "bullion.sample_report", "--out", out, ...args],
      env: { PYTHONPATH: `${root}py` },
      stdout: "null",
    }).output();
    ok(success, new TextDecoder().decode(stderr));
    return await readDocument(await Deno.readFile(out), "written.pdf");
  } finally {
    await Deno.remove(out);
  }
}

/** Facts whose digits or words do not stand on the page and at the place that they cite. */
function ungrounded(facts: Fact[], { pages }: DocumentText): Fact[] {
  const words = (value: string) => /-?[\d,.]*\d/.exec(value)?.[0] ?? value;
  return facts.filter(({ kind, value, evidence }) => {
    const text = pages[evidence.page - 1]!.text;
    const cited = text.slice(evidence.start, evidence.end);
    return !cited.includes(kind === "attribute" ? value : words(value)) ||
      !evidence.text.replaceAll(" | ", "").includes(cited.trim());
  });
}

const told = (facts: Fact[]) => facts.map(({ period, item, value }) => `${period}${item}=${value}`);

Deno.test("the sample report embeds its font, has 8 pages or more and names its company", () => {
  ok(new TextDecoder("latin1").decode(committed).includes("/FontFile2"));
  ok(sample.pages.length >= 8);
  ok(committed.length < 400_000);
  const { facts } = extractFacts(sample);
  deepStrictEqual(new Set(facts.map((fact) => fact.company)), new Set(["华岳精工"]));
  const said = told(facts);
  for (const fact of ["中文名称=华岳精工股份有限公司", "股票代码=688717"]) ok(said.includes(fact));
  ok(facts.some(({ item, value }) => item === "注册地址" && value.startsWith("浙江省宁波市")));
});

Deno.test("the sample's header and page number are gone from every page", () => {
  const total = sample.pages.length;
  for (const { number, furniture, text } of sample.pages) {
    deepStrictEqual(furniture, ["华岳精工股份有限公司2024年年度报告", `${number} / ${total}`]);
    ok(!text.includes(`${number} / ${total}`));
  }
});

Deno.test("the sample has figures, changes and attributes, all grounded, none in doubt", () => {
  const { facts, dropped } = extractFacts(sample);
  const count = (kind: string) => facts.filter((fact) => fact.kind === kind).length;
  ok(count("figure") >= 60 && count("change") >= 15 && count("attribute") >= 12);
  deepStrictEqual(ungrounded(facts, sample), []);
  deepStrictEqual(dropped, []);
});

Deno.test("the balance sheet breaks over a page and both halves are read", () => {
  const { facts } = extractFacts(sample);
  const page = (item: string) =>
    facts.find((fact) => fact.item === item && fact.period === "2024年末")!.evidence.page;
  equal(page("股东权益合计"), page("货币资金") + 1);
});

Deno.test("the committed sample is what the command writes", async () => {
  deepStrictEqual(told(extractFacts(await written()).facts), told(extractFacts(sample).facts));
});

Deno.test("a second report, with another layout, gives as many grounded facts", async () => {
  const first = extractFacts(sample).facts;
  for (const [seed, company] of [["7", undefined], ["12", "东海仪表股份有限公司"]]) {
    const second = await written("--seed", seed!, ...company ? ["--company", company] : []);
    const { facts, dropped } = extractFacts(second);
    ok(facts.length >= first.length, `${facts.length} of ${first.length} with seed ${seed}`);
    deepStrictEqual(ungrounded(facts, second), []);
    deepStrictEqual(dropped, []);
    const figures = new Set(told(first.filter((fact) => fact.kind === "figure")));
    ok(told(facts).filter((fact) => figures.has(fact)).length === 0);
    if (company) equal(facts[0]!.company, "东海仪表");
    match(facts.find((fact) => fact.item === "营业收入")!.value, /^[\d,]+\.\d\d元$/);
  }
});
