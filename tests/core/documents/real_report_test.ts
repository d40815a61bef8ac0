// A real annual report (603339, 2019): every figure that is asked for stands on the page it cites,
// checked against pdfjs's own text of that page, which knows nothing of this reader's tables.
import { deepStrictEqual, ok } from "node:assert/strict";
import type { DocumentText, Pair } from "../../../contract/document.ts";
import { extractFacts } from "../../../core/documents/facts.ts";
import { extractiveWriter } from "../../../core/documents/extractive.ts";
import { assetFolder, loadPdfjs } from "../../../core/documents/pdfjs.ts";
import { loadPhrasings } from "../../../core/documents/phrasings.ts";
import { readDocument } from "../../../core/documents/read.ts";
import { readShared, sharedTest } from "../../shared_data.ts";

const REPORT = "data/annual_report_603339_2019.pdf";
const phrasings = new URL("../../../configs/phrasings.zh.yaml", import.meta.url).pathname;

let reading: Promise<DocumentText> | undefined;
const readReport = () => reading ??= readDocument(readShared(REPORT), "603339.pdf");

/** The text of each page as pdfjs gives it, without any white space; digits and percent half width. */
async function plainPages(bytes: Uint8Array): Promise<string[]> {
  const pdfjs = await loadPdfjs();
  const task = pdfjs.getDocument({
    data: bytes.slice(),
    cMapUrl: assetFolder("cmaps"),
    cMapPacked: true,
    standardFontDataUrl: assetFolder("standard_fonts"),
    verbosity: 0,
  });
  const pdf = await task.promise;
  const pages: string[] = [];
  for (let number = 1; number <= pdf.numPages; number++) {
    const { items } = await (await pdf.getPage(number)).getTextContent();
    const text = items.map((item) => "str" in item ? item.str : "").join("");
    pages.push(text.normalize("NFKC").replace(/\s/g, ""));
  }
  await task.destroy();
  return pages;
}

sharedTest(
  "603339: at least 100 pairs, each figure on the page that it cites",
  REPORT,
  async () => {
    const document = await readReport();
    const plain = await plainPages(readShared(REPORT));
    const pairs: Pair[] = await Array.fromAsync(
      extractiveWriter(await loadPhrasings(phrasings)).write(document),
    );
    const withFigure = pairs.filter(({ evidence: { page, start, end } }) =>
      /\d/.test(document.pages[page - 1]!.text.slice(start, end))
    );
    ok(withFigure.length >= 100, `${withFigure.length} pairs`);
    const absent = pairs.filter(({ answer, evidence }) => {
      const cited = document.pages[evidence.page - 1]!.text.slice(evidence.start, evidence.end);
      const number = /[\d,.]*\d/.exec(cited)?.[0];
      return number !== undefined &&
        !(answer.includes(number) && plain[evidence.page - 1]!.includes(number));
    });
    deepStrictEqual(absent, []);
  },
);

sharedTest("603339: key figures are read from their columns", REPORT, async () => {
  const { facts } = extractFacts(await readReport());
  const told = new Set(facts.map(({ period, item, value }) => `${period} ${item} ${value}`.trim()));
  const expected = [
    "中文名称 四方科技集团股份有限公司",
    "股票代码 603339",
    "2019年 营业收入 1,175,301,034.32元",
    "2019年 营业收入 下降4.49%",
    "2019年末 总资产 2,464,948,703.85元",
    "2019年 加权平均净资产收益率 7.64%",
    "2019年第三季度 营业收入 250,895,665.57元",
    "2019年 罐式集装箱毛利率 17.30%",
    "2019年 冷冻设备生产量 482台",
    "2019年末 货币资金 905,402,299.44元",
    "2019年末 在职员工的数量合计 1,406人",
    "2019年末 黄杰持股比例 39.96%",
  ];
  deepStrictEqual(expected.filter((fact) => !told.has(fact)), []);
});

sharedTest(
  "603339: the parent company's balances are not taken for the group's",
  REPORT,
  async () => {
    const { facts } = extractFacts(await readReport());
    const values = facts.map((fact) => fact.value);
    for (const parent of ["1,309,295,398.09元", "176,691,681.69元"]) ok(!values.includes(parent));
  },
);
