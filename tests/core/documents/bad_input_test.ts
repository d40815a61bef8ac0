import { equal, match, ok, rejects } from "node:assert/strict";
import { BullionError } from "../../../contract/errors.ts";
import { readDocument } from "../../../core/documents/read.ts";
import { encryptedPdf, writePdf } from "./written_pdf.ts";

const whole = writePdf([{ texts: [[72, 700, "公司年度报告"]] }]);

/** What `readDocument` refuses with; the message names the file and says what to do. */
async function refusal(bytes: Uint8Array): Promise<BullionError> {
  let error: unknown;
  await rejects(readDocument(bytes, "report.pdf"), (thrown) => {
    error = thrown;
    return true;
  });
  ok(error instanceof BullionError, String(error));
  match(error.message, /^Cannot read report\.pdf as .+: .+/);
  equal(error.param, "file");
  return error;
}

Deno.test("a PDF with a password is refused as encrypted", async () => {
  equal((await refusal(encryptedPdf())).code, "pdf_encrypted");
});

Deno.test("an empty file is refused as empty", async () => {
  equal((await refusal(new Uint8Array())).code, "pdf_empty");
});

Deno.test("a PDF that was cut off is refused as truncated, wherever it was cut", async () => {
  for (const share of [0.2, 0.5, 0.95]) {
    const cut = whole.slice(0, Math.floor(whole.length * share));
    const error = await refusal(cut);
    equal(error.code, "pdf_truncated");
    match(error.message, new RegExp(`${cut.length} bytes`));
  }
});

Deno.test("an end mark in the middle, of a file laid out for the web, hides no cut", async () => {
  const tail = new TextEncoder().encode("90 0 obj\n<< /Type /Page >>\nendobj\n");
  equal((await refusal(new Uint8Array([...whole, ...tail]))).code, "pdf_truncated");
});

Deno.test("padding behind the end mark is no damage", async () => {
  const padded = new Uint8Array(whole.length + 5000);
  padded.set(whole);
  equal((await readDocument(padded, "report.pdf")).pages[0]!.text, "公司年度报告");
});

Deno.test("a PDF with its objects overwritten is refused as damaged", async () => {
  const damaged = whole.slice();
  damaged.fill(0x20, 12, whole.length - 40);
  equal((await refusal(damaged)).code, "pdf_damaged");
});

Deno.test("a scan, pages without any text, is refused with the advice to recognise it", async () => {
  const error = await refusal(writePdf([{ boxes: [[50, 50, 400, 600]] }, {}]));
  equal(error.code, "pdf_no_text");
  match(error.message, /2 pages.*OCR/);
});

Deno.test("what is not a PDF is refused as such", async () => {
  equal((await refusal(new TextEncoder().encode("PK\x03\x04 a docx"))).code, "not_a_pdf");
});

Deno.test("reading leaves the caller's bytes as they are", async () => {
  const before = whole.slice();
  await readDocument(whole, "report.pdf");
  equal(whole.length, before.length);
  ok(whole.every((byte, at) => byte === before[at]));
});
