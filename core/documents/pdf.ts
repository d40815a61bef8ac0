/**
 * Opens a PDF with pdfjs-dist: bytes of a PDF → positioned text and ruling lines by page.
 *
 * Nothing of a file is executed and nothing is fetched: scripting and eval are off, CMaps and
 * standard fonts are read from the installed package (without them a report whose fonts are not
 * embedded gives no Chinese at all). It knows nothing of reports.
 */
import { BullionError } from "../../contract/errors.ts";
import { assetFolder, loadPdfjs, type PDFDocumentProxy } from "./pdfjs.ts";
import { type OperatorCodes, type Rule, rulesOf } from "./rules.ts";

/** A run of text: left edge and baseline in points from the page's lower left corner. */
export interface TextItem {
  text: string;
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface RawPage {
  number: number;
  width: number;
  height: number;
  items: TextItem[];
  rules: Rule[];
}

/** A PDF may be preceded by other bytes; readers accept its mark within the first 1,024. */
function hasPdfMark(bytes: Uint8Array): boolean {
  return new TextDecoder("latin1").decode(bytes.subarray(0, 1024)).includes("%PDF-");
}

/** Whether the last object is followed by an end mark; padding may follow that. */
function isWhole(bytes: Uint8Array): boolean {
  const text = new TextDecoder("latin1").decode(bytes);
  const end = text.lastIndexOf("%%EOF");
  // A file with updates, or one laid out for the web, has end marks in its middle as well.
  return end >= 0 && !/\d+ \d+ obj\b/.test(text.slice(end));
}

/**
 * Positioned text of every page. `bytes` is left as it is.
 *
 * @throws BullionError pdf_empty, not_a_pdf, pdf_encrypted, pdf_truncated, pdf_damaged, pdf_no_text.
 */
export async function readPages(bytes: Uint8Array, name: string): Promise<RawPage[]> {
  const refuse = (code: string, what: string, advice: string, cause?: unknown): never => {
    throw new BullionError(code, `Cannot read ${name} as ${what}: ${advice}`, {
      param: "file",
      cause,
    });
  };
  if (bytes.length === 0) refuse("pdf_empty", "it is empty (0 bytes)", "upload the file again");
  if (!hasPdfMark(bytes)) {
    refuse("not_a_pdf", "it is not a PDF (no %PDF- at its start)", "upload the report as PDF");
  }
  const truncated = !isWhole(bytes);
  const broken = (cause: unknown): never =>
    truncated
      ? refuse(
        "pdf_truncated",
        `it is cut off (${bytes.length} bytes, no %%EOF at its end)`,
        "download or upload the whole file again",
        cause,
      )
      : refuse(
        "pdf_damaged",
        `its structure is damaged (${cause instanceof Error ? cause.message : cause})`,
        "export or download the PDF again",
        cause,
      );
  if (truncated) broken(undefined);

  const pdfjs = await loadPdfjs();
  const task = pdfjs.getDocument({
    data: bytes.slice(),
    cMapUrl: assetFolder("cmaps"),
    cMapPacked: true,
    standardFontDataUrl: assetFolder("standard_fonts"),
    isEvalSupported: false,
    enableXfa: false,
    disableFontFace: true,
    useSystemFonts: false,
    useWorkerFetch: false,
    verbosity: pdfjs.VerbosityLevel.ERRORS,
  });
  try {
    const pdf = await task.promise.catch((cause: unknown) =>
      cause instanceof Error && cause.name === "PasswordException"
        ? refuse(
          "pdf_encrypted",
          "it is encrypted with a password",
          "remove the password (print or save it as a new PDF) and upload that",
          cause,
        )
        : broken(cause)
    );
    const pages: RawPage[] = [];
    for (let number = 1; number <= pdf.numPages; number++) {
      pages.push(await readPage(pdf, number, pdfjs.OPS).catch(broken));
    }
    if (!pages.some((page) => page.items.length > 0)) {
      refuse(
        "pdf_no_text",
        `none of its ${pages.length} pages has text (a scan)`,
        "run text recognition (OCR) over it first",
      );
    }
    return pages;
  } finally {
    await task.destroy();
  }
}

async function readPage(
  pdf: PDFDocumentProxy,
  number: number,
  codes: OperatorCodes,
): Promise<RawPage> {
  const page = await pdf.getPage(number);
  const viewport = page.getViewport({ scale: 1 });
  // Viewport coordinates run downwards and undo the page's rotation; flip them once, here.
  const place = (x: number, y: number): [number, number] => {
    const [px, py] = viewport.convertToViewportPoint(x, y) as [number, number];
    return [px, viewport.height - py];
  };
  const content = await page.getTextContent({ includeMarkedContent: false });
  const items: TextItem[] = [];
  for (const item of content.items) {
    if (!("str" in item) || item.str.trim() === "") continue;
    const [, , c = 0, d = 0, e = 0, f = 0] = item.transform as number[];
    const [x, y] = place(e, f);
    items.push({ text: item.str, x, y, width: item.width, height: Math.hypot(c, d) });
  }
  const rules = rulesOf(await page.getOperatorList(), codes, place);
  page.cleanup();
  return { number, width: viewport.width, height: viewport.height, items, rules };
}
