/** Bytes of an uploaded file as text: UTF-8, with or without a byte order mark, and nothing else. */
import { BullionError } from "../../contract/errors.ts";

/** Throws `wrong_encoding` with the line and byte of the first thing that is not UTF-8. */
export function decodeUtf8(bytes: Uint8Array): string {
  if ((bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff)) {
    throw wrongEncoding("the file begins with the mark of UTF-16", "UTF-16");
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes); // takes a UTF-8 mark away
  } catch {
    const offset = firstInvalid(bytes);
    const line = lineOf(bytes, offset);
    const hex = bytes[offset]!.toString(16).padStart(2, "0");
    const where = `line ${line}, byte ${offset + 1} of the file (0x${hex}) is not UTF-8`;
    throw wrongEncoding(where, isGbk(bytes) ? "GBK" : null);
  }
}

function wrongEncoding(what: string, encoding: string | null): BullionError {
  const hint = encoding === null
    ? "save the file as UTF-8"
    : `it looks like ${encoding}: convert it with iconv -f ${encoding} -t UTF-8 OLD > NEW`;
  return new BullionError("wrong_encoding", `Cannot read the data set: ${what}; ${hint}`, {
    param: "file",
  });
}

/** Where the first character begins that is not UTF-8: found by halving, then back to its first byte. */
function firstInvalid(bytes: Uint8Array): number {
  let valid = 0;
  let invalid = bytes.length + 1;
  while (invalid - valid > 1) {
    const middle = (valid + invalid) >> 1;
    if (isUtf8(bytes.subarray(0, middle), { cut: true })) valid = middle;
    else invalid = middle;
  }
  while (!isUtf8(bytes.subarray(0, valid), { cut: false })) valid--; // at most three times
  return Math.min(valid, bytes.length - 1);
}

/** `cut`: the last character may be incomplete. */
function isUtf8(bytes: Uint8Array, { cut }: { cut: boolean }): boolean {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes, { stream: cut });
    return true;
  } catch {
    return false;
  }
}

function lineOf(bytes: Uint8Array, offset: number): number {
  let line = 1;
  for (let i = 0; i < offset; i++) if (bytes[i] === 0x0a) line++;
  return line;
}

function isGbk(bytes: Uint8Array): boolean {
  try {
    const text = new TextDecoder("gbk", { fatal: true }).decode(bytes);
    return /[\u4e00-\u9fff]/.test(text);
  } catch {
    return false;
  }
}
