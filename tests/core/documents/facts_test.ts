import { deepStrictEqual, equal, match, ok, throws } from "node:assert/strict";
import type { DocumentText } from "../../../contract/document.ts";
import { BullionError } from "../../../contract/errors.ts";
import { extractFacts, type FactOptions } from "../../../core/documents/facts.ts";
import { document, FRONT, report } from "./made_report.ts";

/** Facts as "period item value", in order. */
function found(of: DocumentText, options?: FactOptions): string[] {
  return extractFacts(of, options).facts.map(({ period, item, value }) =>
    [period, item, value].filter(Boolean).join(" ")
  );
}

const HEADER = ["项目", "2023年", "2022年", "本年比上年增减（%）"];

Deno.test("a row of item, this year, last year and change gives a figure and a change", () => {
  const made = report("单位：万元 币种：人民币", {
    rows: [HEADER, ["营业收入", "1,100.50", "1,000.00", "10.05"], [
      "净利润",
      "90.00",
      "100.00",
      "-10.00",
    ]],
  });
  deepStrictEqual(found(made), [
    "2023年 营业收入 1,100.50万元",
    "2023年 营业收入 增长10.05%",
    "2023年 净利润 90.00万元",
    "2023年 净利润 下降10.00%",
  ]);
});

Deno.test("columns are read by their headers, in whatever order they stand", () => {
  const made = report("单位：元", {
    rows: [["项目", "上年同期数", "变动比例（%）", "附注", "本期数"], [
      "营业收入",
      "200.00",
      "50.00",
      "七、61",
      "300.00",
    ]],
  });
  deepStrictEqual(found(made, { periods: "all" }), [
    "2022年 营业收入 200.00元",
    "2023年 营业收入 300.00元",
    "2023年 营业收入 增长50.00%",
  ]);
});

Deno.test("figures of the year before are left out unless they are asked for", () => {
  const made = report("单位：元", { rows: [HEADER.slice(0, 3), ["营业收入", "300.00", "200.00"]] });
  deepStrictEqual(found(made), ["2023年 营业收入 300.00元"]);
  deepStrictEqual(found(made, { periods: "all" }), [
    "2023年 营业收入 300.00元",
    "2022年 营业收入 200.00元",
  ]);
});

Deno.test("a balance at 期末余额 or 12月31日 is of the year's end", () => {
  const made = report(
    "单位：元",
    { rows: [["项目", "期末余额", "期初余额"], ["货币资金", "9.00", "8.00"]] },
    "单位：元",
    { rows: [["项目", "2023年12月31日", "2022年12月31日"], ["短期借款", "7.00", "6.00"]] },
  );
  deepStrictEqual(found(made), ["2023年末 货币资金 9.00元", "2023年末 短期借款 7.00元"]);
});

Deno.test("an amount whose table states no unit, or two, is dropped and reported", () => {
  const rows = [HEADER.slice(0, 3), ["营业收入", "300.00", "200.00"]];
  for (const lead of ["以下为主要数据", "单位：元 单位：万元"]) {
    const { facts, dropped } = extractFacts(report(...(lead.split(" ")), { rows }));
    deepStrictEqual(facts, []);
    deepStrictEqual(dropped.map(({ reason, item }) => [reason, item]), [["unclear", "营业收入"]]);
  }
});

Deno.test("a unit in a row's own name counts before the table's", () => {
  const made = report("单位：万元", {
    rows: [HEADER.slice(0, 3), ["基本每股收益（元/股）", "0.62", "0.88"], [
      "毛利率（%）",
      "22.27",
      "26.12",
    ]],
  });
  deepStrictEqual(found(made), ["2023年 基本每股收益 0.62元/股", "2023年 毛利率 22.27%"]);
});

Deno.test("figures that contradict each other are both dropped and reported with their pages", () => {
  const rows = (value: string) => ({ rows: [HEADER.slice(0, 3), ["营业收入", value, "200.00"]] });
  const made = document(FRONT, ["单位：元", rows("300.00")], [
    { heading: "二、其他" },
    "单位：元",
    rows("301.00"),
  ]);
  const { facts, dropped } = extractFacts(made);
  deepStrictEqual(facts, []);
  deepStrictEqual(dropped, [{
    reason: "contradiction",
    item: "营业收入",
    period: "2023年",
    values: ["300.00元", "301.00元"],
    pages: [2, 3],
  }]);
});

Deno.test("one amount rounded to another unit is no contradiction, and the finer one stays", () => {
  const made = report(
    "报告期内，公司实现营业收入117,530.10万元。",
    "单位：元",
    { rows: [HEADER.slice(0, 3), ["营业收入", "1,175,301,034.32", "1,230,537,181.80"]] },
  );
  deepStrictEqual(found(made), ["2023年 营业收入 1,175,301,034.32元"]);
});

Deno.test("a change that does not follow from its figures, or from a negative base, is left out", () => {
  const made = report("单位：元", {
    rows: [HEADER, ["营业收入", "300.00", "200.00", "40.00"], [
      "财务费用",
      "12.00",
      "-34.00",
      "135.29",
    ]],
  });
  deepStrictEqual(found(made), ["2023年 营业收入 300.00元", "2023年 财务费用 12.00元"]);
});

Deno.test("a change without a percent sign is one if the figures bear it out", () => {
  const rows = [["项目", "本期数", "上期数", "同比增减"], [
    "营业收入",
    "300.00",
    "200.00",
    "50.00",
  ]];
  const difference = [rows[0]!, ["营业收入", "300.00", "200.00", "100.00"]];
  ok(found(report("单位：元", { rows })).includes("2023年 营业收入 增长50.00%"));
  deepStrictEqual(found(report("单位：元", { rows: difference })), ["2023年 营业收入 300.00元"]);
});

Deno.test("two numbers in one cell are not read as one", () => {
  deepStrictEqual(
    found(report("单位：元", { rows: [HEADER.slice(0, 3), ["营业收入", "12 34", "200.00"]] })),
    [],
  );
});

Deno.test("names that say nothing by themselves, such as 合计, give no fact", () => {
  const made = report("单位：元", {
    rows: [HEADER.slice(0, 3), ["合计", "1.00", "2.00"], ["其他", "1.00", "2.00"], [
      "流动资产：",
      "",
      "",
    ]],
  });
  deepStrictEqual(found(made), []);
});

Deno.test("a table goes on over a page, with its header repeated or not", () => {
  const head = HEADER.slice(0, 3);
  for (const repeated of [[head], []]) {
    const made = document(
      FRONT,
      ["单位：元", { rows: [head, ["货币资金", "1.00", "2.00"]] }],
      [{ rows: [...repeated, ["应收账款", "3.00", "4.00"]] }],
    );
    const facts = extractFacts(made).facts;
    deepStrictEqual(facts.map(({ item, evidence }) => [item, evidence.page]), [
      ["货币资金", 2],
      ["应收账款", 3],
    ]);
  }
});

Deno.test("the parent company's statements and the notes are not the group's figures", () => {
  const rows = [HEADER.slice(0, 3), ["货币资金", "1.00", "2.00"]];
  const made = report(
    { heading: "母公司资产负债表", level: 3 },
    "单位：元",
    { rows },
    { heading: "七、合并财务报表项目注释" },
    "单位：元",
    { rows },
  );
  deepStrictEqual(found(made), []);
});

Deno.test("a table of products makes items of product and column", () => {
  const made = report("单位：元", {
    rows: [
      ["分产品", "营业收入", "毛利率（%）", "营业收入比上年增减（%）", "毛利率比上年增减（%）"],
      ["冷冻设备", "371.91", "32.51", "-2.47", "减少3.96个百分点"],
    ],
  });
  deepStrictEqual(found(made), [
    "2023年 冷冻设备营业收入 371.91元",
    "2023年 冷冻设备毛利率 32.51%",
    "2023年 冷冻设备营业收入 下降2.47%",
    "2023年 冷冻设备毛利率 减少3.96个百分点",
  ]);
});

Deno.test("in a table of what revenue is made of, a product means its revenue", () => {
  const made = report("单位：元", {
    rows: [
      ["", "2023年金额", "2023年占营业收入比重", "2022年金额", "同比增减"],
      ["营业收入合计", "300.00", "100%", "200.00", "50.00%"],
      ["冷冻设备", "210.00", "70%", "200.00", "5.00%"],
    ],
  });
  deepStrictEqual(found(made), [
    "2023年 营业收入合计 300.00元",
    "2023年 营业收入合计 增长50.00%",
    "2023年 冷冻设备营业收入 210.00元",
    "2023年 冷冻设备营业收入 增长5.00%",
  ]);
});

Deno.test("two entries of the profile in one row are both read", () => {
  const row = ["股票上市交易所", "上海证券交易所", "股票代码", "688001"];
  deepStrictEqual(found(report({ rows: [row] })), [
    "股票上市交易所 上海证券交易所",
    "股票代码 688001",
  ]);
});

Deno.test("who the company is comes out of its profile, its own name out of none", () => {
  const made = report({
    rows: [["公司的中文名称", "海川科技股份有限公司"], ["公司的中文简称", "海川科技"], [
      "公司的法定代表人",
      "王远",
    ]],
  });
  deepStrictEqual(found(made), ["中文名称 海川科技股份有限公司", "法定代表人 王远"]);
  equal(extractFacts(made).facts[0]!.company, "海川科技");
});

Deno.test("a title that two people hold is nobody's", () => {
  const people = [["王远", "董事长"], ["李宁", "总经理"], ["张平", "总经理"]];
  deepStrictEqual(found(report({ rows: [["姓名", "职务"], ...people] })), ["董事长 王远"]);
});

Deno.test("a sentence gives a figure and its change against the year before", () => {
  const made = report("报告期内，公司实现营业收入117,530.10万元，较去年同期减少4.49%；经营平稳。");
  deepStrictEqual(found(made), ["2023年 营业收入 117,530.10万元", "2023年 营业收入 下降4.49%"]);
});

Deno.test("sentences on plans, on others, or of no or several periods give nothing", () => {
  const sentences = [
    "2023年，公司计划营业收入200,000.00万元。",
    "报告期内，公司研发投入预计为300.00万元。",
    "报告期内，公司研发投入为300.00万元左右。",
    "报告期内，全国工业企业实现营业收入1,000.00亿元。",
    "公司实现营业收入300.00万元。",
    "2023年和2022年，公司营业收入为300.00万元。",
    "报告期内，公司营业收入约300.00万元。",
  ];
  deepStrictEqual(found(report(...sentences)), []);
});

Deno.test("the evidence of a fact is its row or sentence, and its value stands at its place", () => {
  const made = report("报告期内，公司研发投入为1,200.00万元。", "单位：元", {
    rows: [HEADER.slice(0, 3), ["营业收入", "300.00", "200.00"]],
  });
  const [sentence, row] = extractFacts(made).facts.map((fact) => fact.evidence);
  equal(sentence!.text, "报告期内，公司研发投入为1,200.00万元。");
  equal(row!.text, "营业收入 | 300.00 | 200.00");
  const text = made.pages[1]!.text;
  equal(text.slice(sentence!.start, sentence!.end), "1,200.00万元");
  equal(text.slice(row!.start, row!.end), "300.00");
});

Deno.test("a value whose digits are broken over two pages is left out", () => {
  const lead = "这一段文字写在上一页的最后一行并且没有写完所以它在下一页继续。";
  const made = document(FRONT, [lead + "报告期内，公司营业收入为1,2"], ["34.00万元，经营平稳。"]);
  deepStrictEqual(found(made), []);
});

Deno.test("a half-year report speaks of the half year and of its end", () => {
  const made = document(["公司简称：海川科技 2023年半年度报告"], [
    "单位：元",
    {
      rows: [
        ["主要会计数据", "本报告期（1-6月）", "上年同期", "本报告期比上年同期增减（%）"],
        ["营业收入", "300.00", "200.00", "50.00"],
        ["", "本报告期末", "上年度末", "本报告期末比上年度末增减（%）"],
        ["总资产", "900.00", "600.00", "50.00"],
      ],
    },
    { rows: [["项目", "2023年1-6月", "2022年1-6月"], ["每股收益（元/股）", "0.31", "0.20"]] },
  ]);
  deepStrictEqual(found(made), [
    "2023年上半年 营业收入 300.00元",
    "2023年上半年 营业收入 增长50.00%",
    "2023年6月末 总资产 900.00元",
    "2023年6月末 总资产 增长50.00%",
    "2023年上半年 每股收益 0.31元/股",
  ]);
});

Deno.test("a limit keeps the first facts of the report", () => {
  const made = report("单位：元", {
    rows: [HEADER.slice(0, 3), ["营业收入", "3.00", "2.00"], ["营业成本", "2.00", "1.00"]],
  });
  deepStrictEqual(found(made, { limit: 1 }), ["2023年 营业收入 3.00元"]);
});

Deno.test("a report that names no company or no year is refused by name", () => {
  const refused = (of: DocumentText, code: string) =>
    throws(() => extractFacts(of), (error) => {
      ok(error instanceof BullionError);
      match(error.message, /^Cannot write questions about report\.pdf as /);
      return error.code === code;
    });
  refused(document(["2023年年度报告"]), "company_unknown");
  refused(document(["公司简称：海川科技"]), "period_unknown");
});
