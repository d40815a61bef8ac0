import { deepStrictEqual, equal, ok } from "node:assert/strict";
import type { Block, TableBlock } from "../../../contract/document.ts";
import { readDocument } from "../../../core/documents/read.ts";
import { ruled, writePdf, type WrittenPage } from "./written_pdf.ts";

const read = (...pages: WrittenPage[]) => readDocument(writePdf(pages), "report.pdf");

async function blocksOf(page: WrittenPage): Promise<Block[]> {
  return (await read(page)).pages[0]!.blocks;
}

function cells(block: Block | undefined): string[][] {
  ok(block?.kind === "table", `a table, not ${JSON.stringify(block)}`);
  return (block as TableBlock).rows.map((row) => row.map((cell) => cell.text));
}

Deno.test("Chinese in a font that is not embedded is read, by its CMap", async () => {
  const { pages } = await read({ texts: [[72, 700, "营业收入同比增长"]] });
  equal(pages[0]!.text, "营业收入同比增长");
});

Deno.test("full-width digits become half width and typesetting spaces go", async () => {
  const { pages } = await read({
    texts: [[72, 700, "２０２４年 营 业 收 入 １２，３４５．６７ 万元（１２．５％）"]],
  });
  equal(pages[0]!.text, "2024年营业收入12,345.67万元（12.5%）");
});

Deno.test("a number broken over two lines is one number again", async () => {
  const full = "公司实现营业收入人民币共计大约如下所列的金额合计为1,234,";
  const page = { texts: [[72, 700, full], [72, 684, "567.89元，同比增长。"]] } as WrittenPage;
  equal((await read(page)).pages[0]!.text, full + "567.89元，同比增长。");
});

Deno.test("an indented line starts a paragraph, a full line before it ends none", async () => {
  const line = "这一行写满了整个版面的宽度所以下一行是同一段落里的继续";
  const blocks = await blocksOf({
    texts: [[92, 700, line.slice(2)], [72, 684, line], [92, 668, line.slice(2)], [
      72,
      652,
      "结束。",
    ]],
  });
  deepStrictEqual(blocks.map((block) => block.text), [
    line.slice(2) + line,
    line.slice(2) + "结束。",
  ]);
});

function bodyPages(count: number, page: (number: number) => WrittenPage["texts"] & object) {
  return Array.from({ length: count }, (_, at): WrittenPage => ({
    texts: [...page(at + 1), [72, 500, `正文${"甲乙丙丁戊己庚辛"[at]}说明`]],
  }));
}

Deno.test("headers, footers and page numbers go, whatever they say; the body stays", async () => {
  const { pages } = await read(...bodyPages(4, (n) => [
    [72, 800, "某某公司年度报告全文"],
    [290, 40, `第${n}页`],
    [72, 760, `${"东南西北"[n - 1]}区的销售情况`],
  ]));
  deepStrictEqual(pages[1]!.furniture, ["某某公司年度报告全文", "第2页"]);
  deepStrictEqual(pages[1]!.blocks.map((block) => block.text), ["南区的销售情况", "正文乙说明"]);
});

Deno.test("headers that differ between odd and even pages go as well", async () => {
  const { pages } = await read(
    ...bodyPages(6, (n) => [[72, 800, n % 2 ? "年度报告" : "某某股份有限公司"]]),
  );
  ok(pages.every((page) => page.furniture.length === 1 && page.blocks.length === 1));
});

Deno.test("a header that only odd pages have goes from them", async () => {
  const { pages } = await read(...bodyPages(7, (n) => n % 2 ? [[72, 800, "年度报告"]] : []));
  deepStrictEqual(pages.map((page) => page.furniture.length), [1, 0, 1, 0, 1, 0, 1]);
});

Deno.test("a line that recurs at the top of a few pages only is text", async () => {
  const { pages } = await read(...bodyPages(6, (n) => n > 2 ? [] : [[72, 800, "续表"]]));
  deepStrictEqual(pages.map((page) => page.blocks.length), [2, 2, 1, 1, 1, 1]);
});

Deno.test("a title on one page alone is no header", async () => {
  const { pages } = await read({ texts: [[72, 800, "年度报告"]] }, { texts: [[72, 700, "正文"]] });
  equal(pages[0]!.text, "年度报告");
});

Deno.test("a ruled table is read by its cells, however their text is placed and wrapped", async () => {
  const blocks = await blocksOf({
    lines: ruled([60, 200, 300, 400], [700, 660, 620]),
    texts: [
      [80, 680, "项目"],
      [210, 680, "2024年"],
      [310, 686, "本年比上"],
      [310, 670, "年增减"],
      [70, 645, "归属于股东的"],
      [70, 630, "净利润"],
      [205, 638, "1,234.50"],
      [350, 638, "-4.49"],
    ],
  });
  deepStrictEqual(cells(blocks[0]), [
    ["项目", "2024年", "本年比上年增减"],
    ["归属于股东的净利润", "1,234.50", "-4.49"],
  ]);
});

Deno.test("a table that rules its columns only is told apart into rows by its numbers", async () => {
  const blocks = await blocksOf({
    lines: ruled([60, 200, 300], [700, 600]),
    texts: [
      [70, 680, "货币资金"],
      [210, 680, "1,234.50"],
      [70, 664, "交易性金融资产及"],
      [210, 664, "20.00"],
      [70, 650, "其他投资"],
      [70, 634, "存货"],
      [210, 634, "7.00"],
    ],
  });
  deepStrictEqual(cells(blocks[0]), [
    ["货币资金", "1,234.50"],
    ["交易性金融资产及其他投资", "20.00"],
    ["存货", "7.00"],
  ]);
});

Deno.test("a number that wraps in its cell is not taken for two rows", async () => {
  const blocks = await blocksOf({
    lines: ruled([60, 200, 260], [700, 650]),
    texts: [[70, 680, "营业收入"], [70, 664, "合计数"], [205, 680, "1,234,"], [205, 664, "567.00"]],
  });
  deepStrictEqual(cells(blocks[0]), [["营业收入合计数", "1,234,567.00"]]);
});

Deno.test("borders drawn as filled slivers, cell by cell, make the same table", async () => {
  const boxes: WrittenPage["boxes"] & object = [];
  for (const y of [620, 660, 700]) for (const x of [60, 200]) boxes.push([x, y, 140, 0.5]);
  for (const x of [60, 200, 340]) for (const y of [620, 660]) boxes.push([x, y, 0.5, 40]);
  const texts: WrittenPage["texts"] = [
    [70, 675, "公司网址"],
    [210, 675, "www"],
    [70, 635, "电话"],
    [210, 635, "0574"],
  ];
  const table = (await blocksOf({ boxes, texts }))[0] as TableBlock;
  deepStrictEqual(cells(table), [["公司网址", "www"], ["电话", "0574"]]);
  deepStrictEqual(table.edges.map(Math.round), [60, 200, 340]);
});

Deno.test("a drawing of very many lines is no table, and its text stays text", async () => {
  const across = Array.from({ length: 180 }, (_, at) => 30 + at * 3);
  const blocks = await blocksOf({
    lines: ruled(across, across),
    texts: [[100, 300, "产能分布图"]],
  });
  deepStrictEqual(blocks.map(({ kind, text }) => [kind, text]), [["paragraph", "产能分布图"]]);
});

Deno.test("a merged cell reaches over the columns and rows whose borders are missing", async () => {
  const block = (await blocksOf({
    lines: [
      ...ruled([60, 160, 400], [700, 660, 620, 580]).filter(([x0, y0, x1]) =>
        !(y0 === 620 && x0 !== x1) && x0 !== 160
      ),
      [160, 620, 400, 620],
      [160, 580, 160, 660],
    ],
    texts: [[70, 675, "会计师情况"], [70, 615, "事务所"], [170, 635, "名称"], [170, 595, "地址"]],
  }))[0] as TableBlock;
  deepStrictEqual(
    block.rows.map((row) => row.map(({ text, columns, rows }) => [text, columns, rows])),
    [[["会计师情况", 2, 1]], [["事务所", 1, 2], ["名称", 1, 1]], [["地址", 1, 1]]],
  );
});

Deno.test("a table without rules is read by alignment, its wrapped header and label included", async () => {
  const blocks = await blocksOf({
    texts: [
      [60, 716, "主要数据", 9],
      [220, 716, "2024年", 9],
      [330, 716, "2023年", 9],
      [430, 723, "本年比上", 9],
      [430, 709, "年增减", 9],
      [60, 690, "营业收入", 9],
      [215, 690, "1,100.00", 9],
      [325, 690, "1,000.00", 9],
      [440, 690, "10.00", 9],
      [60, 674, "归属于上市公司股", 9],
      [220, 668, "210.00", 9],
      [330, 668, "200.00", 9],
      [445, 668, "5.00", 9],
      [60, 662, "东的净利润", 9],
      [60, 640, "净资产", 9],
      [220, 640, "900.00", 9],
      [330, 640, "880.00", 9],
      [445, 640, "2.27", 9],
    ],
  });
  deepStrictEqual(cells(blocks[0]), [
    ["主要数据", "2024年", "2023年", "本年比上年增减"],
    ["营业收入", "1,100.00", "1,000.00", "10.00"],
    ["归属于上市公司股东的净利润", "210.00", "200.00", "5.00"],
    ["净资产", "900.00", "880.00", "2.27"],
  ]);
});

Deno.test("words in columns that start at the same places are a table, prose with gaps is none", async () => {
  const list = await blocksOf({
    texts: [
      [60, 700, "公司网址"],
      [260, 700, "www.hc.cn"],
      [60, 684, "法定代表人"],
      [260, 684, "王远"],
    ],
  });
  deepStrictEqual(cells(list[0]), [["公司网址", "www.hc.cn"], ["法定代表人", "王远"]]);
  const prose = await blocksOf({
    texts: [[60, 700, "公司代码"], [260, 700, "公司简称"], [60, 684, "董事长"], [190, 684, "签字"]],
  });
  ok(prose.every((block) => block.kind === "paragraph"));
});

Deno.test("every block and cell stands in its page's text where it says", async () => {
  const { pages } = await read({
    lines: ruled([60, 200, 340], [660, 620]),
    texts: [[72, 740, "第一节 释义"], [72, 700, "说明"], [70, 635, "电话"], [210, 635, "0574"]],
  });
  const page = pages[0]!;
  deepStrictEqual(page.blocks.map((block) => block.kind), ["heading", "paragraph", "table"]);
  for (const block of page.blocks) {
    equal(page.text.slice(block.start, block.end), block.text);
    if (block.kind !== "table") continue;
    for (const { start, text } of block.rows.flat()) ok(page.text.startsWith(text, start));
  }
});
