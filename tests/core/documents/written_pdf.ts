// PDFs that tests write by code: text at given places in a font that is named but not embedded (so that
// it can only be read with CMaps), ruling lines, filled boxes; and one that is encrypted.

export interface WrittenPage {
  texts?: [x: number, y: number, text: string, size?: number][];
  lines?: [x0: number, y0: number, x1: number, y1: number][];
  boxes?: [x: number, y: number, width: number, height: number][];
}

const FONT = "<< /Type /Font /Subtype /Type0 /BaseFont /STSong-Light /Encoding /UniGB-UCS2-H " +
  "/DescendantFonts [<< /Type /Font /Subtype /CIDFontType0 /BaseFont /STSong-Light /DW 1000 " +
  "/CIDSystemInfo << /Registry (Adobe) /Ordering (GB1) /Supplement 0 >> " +
  "/FontDescriptor << /Type /FontDescriptor /FontName /STSong-Light /Flags 6 /FontBBox [0 0 1000 1000] " +
  "/ItalicAngle 0 /Ascent 800 /Descent -200 /CapHeight 800 /StemV 80 >> >>] >>";

const hex = (text: string) =>
  [...text].map((char) => char.charCodeAt(0).toString(16).padStart(4, "0")).join("");

/** A4 pages, origin in the lower left corner, 10 points if no size is given. */
export function writePdf(pages: WrittenPage[]): Uint8Array<ArrayBuffer> {
  const kids = pages.map((_, at) => `${4 + at * 2} 0 R`).join(" ");
  const objects = [
    "<< /Type /Catalog /Pages 2 0 R >>",
    `<< /Type /Pages /Kids [${kids}] /Count ${pages.length} >>`,
    FONT,
  ];
  pages.forEach(({ texts = [], lines = [], boxes = [] }, at) => {
    const content = [
      ...texts.map(([x, y, text, size = 10]) =>
        `BT /F1 ${size} Tf 1 0 0 1 ${x} ${y} Tm <${hex(text)}> Tj ET`
      ),
      ...lines.map(([x0, y0, x1, y1]) => `${x0} ${y0} m ${x1} ${y1} l S`),
      ...boxes.map((box) => `${box.join(" ")} re f`),
    ].join("\n");
    objects.push(
      "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] " +
        `/Resources << /Font << /F1 3 0 R >> >> /Contents ${5 + at * 2} 0 R >>`,
      `<< /Length ${content.length} >>\nstream\n${content}\nendstream`,
    );
  });
  let file = "%PDF-1.4\n";
  const offsets = objects.map((object, at) => {
    const offset = file.length;
    file += `${at + 1} 0 obj\n${object}\nendobj\n`;
    return offset;
  });
  const entries = offsets.map((offset) => `${String(offset).padStart(10, "0")} 00000 n \n`);
  const start = file.length;
  file += `xref\n0 ${objects.length + 1}\n0000000000 65535 f \n${entries.join("")}` +
    `trailer\n<< /Size ${objects.length + 1} /Root 1 0 R >>\nstartxref\n${start}\n%%EOF\n`;
  return new TextEncoder().encode(file);
}

/** The lines of a ruled table: verticals at `xs`, horizontals at `ys`. */
export function ruled(xs: number[], ys: number[]): WrittenPage["lines"] & object {
  const [left, right] = [Math.min(...xs), Math.max(...xs)];
  const [bottom, top] = [Math.min(...ys), Math.max(...ys)];
  return [
    ...xs.map((x): [number, number, number, number] => [x, bottom, x, top]),
    ...ys.map((y): [number, number, number, number] => [left, y, right, y]),
  ];
}

/** One page, encrypted with the user password "secret" (written with reportlab). */
export function encryptedPdf(): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(ENCRYPTED), (char) => char.charCodeAt(0));
}

const ENCRYPTED = [
  "JVBERi0xLjMKJZOMi54gUmVwb3J0TGFiIEdlbmVyYXRlZCBQREYgZG9jdW1lbnQgKG9wZW5zb3VyY2UpCjEgMCBvYmoK",
  "PDwKL0YxIDIgMCBSCj4+CmVuZG9iagoyIDAgb2JqCjw8Ci9CYXNlRm9udCAvSGVsdmV0aWNhIC9FbmNvZGluZyAvV2lu",
  "QW5zaUVuY29kaW5nIC9OYW1lIC9GMSAvU3VidHlwZSAvVHlwZTEgL1R5cGUgL0ZvbnQKPj4KZW5kb2JqCjMgMCBvYmoK",
  "PDwKL0NvbnRlbnRzIDggMCBSIC9NZWRpYUJveCBbIDAgMCA1OTUuMjc1NiA4NDEuODg5OCBdIC9QYXJlbnQgNyAwIFIg",
  "L1Jlc291cmNlcyA8PAovRm9udCAxIDAgUiAvUHJvY1NldCBbIC9QREYgL1RleHQgL0ltYWdlQiAvSW1hZ2VDIC9JbWFn",
  "ZUkgXQo+PiAvUm90YXRlIDAgL1RyYW5zIDw8Cgo+PiAKICAvVHlwZSAvUGFnZQo+PgplbmRvYmoKNCAwIG9iago8PAov",
  "UGFnZU1vZGUgL1VzZU5vbmUgL1BhZ2VzIDcgMCBSIC9UeXBlIC9DYXRhbG9nCj4+CmVuZG9iago1IDAgb2JqCjw8Ci9B",
  "dXRob3IgKFwwMDMgXDIyNFwzNTVcMjMyXDI2M1wzMTBcMjc2XDM0MykgL0NyZWF0aW9uRGF0ZSAoJnRcMzExXDI2M1wz",
  "MjNcMzU2XDIyN1wzNzJcMjQwXDM2N1wzNDRGU1wyNTRmXDIwN1wwMzNcMjMyYVwzMzdcMzMyIkEpIC9DcmVhdG9yIChc",
  "MDAzIFwyMjRcMzU1XDIzMlwyNjNcMzEwXDI3NlwzNDMpIC9LZXl3b3JkcyAoKSAvTW9kRGF0ZSAoJnRcMzExXDI2M1wz",
  "MjNcMzU2XDIyN1wzNzJcMjQwXDM2N1wzNDRGU1wyNTRmXDIwN1wwMzNcMjMyYVwzMzdcMzMyIkEpIC9Qcm9kdWNlciAo",
  "MCtcMjEzXDM1NFwyMjFcMjUyXDM1M1wyNTJcMzYyXDM0NlwyMDQyJVwyNzRcMDMyXDMzNlJcMzMwMFwyMTJcMjIzMktc",
  "MzM1XDIxMlhNXDAwNFwyNTBcMjM1XDM0NExXXDM3NVwwMTdcMDAzKSAKICAvU3ViamVjdCAoXDAyNyBcMjEwXDM2M1wy",
  "MDZcMjc1XDMxNlwyNTVcMzcxXDI0M1wyNjApIC9UaXRsZSAoXDAyNyBcMjE3XDM1MlwyMjdcMjYyXDMwMlwyNTcpIC9U",
  "cmFwcGVkIC9GYWxzZQo+PgplbmRvYmoKNiAwIG9iago8PAovRmlsdGVyIC9TdGFuZGFyZCAvTyA8RTVBOEQyNjg3QkQ5",
  "RDBDRkY5NDZCN0FDNTVGNTEwODFEQ0YwRDExNjU1NEM0QkZDQjBBNUU0NDZGNjlFQTQ4QT4gL1AgLTggL1IgMiAvVSA8",
  "QTUwNzNFMTk0RjM5QzA0Qzk2QjRFRDM2NzFFQkVEQTQ4RTA5RkUxMjlDNDNDQkNEMzcxN0QzODg5Qjc5RjdCNj4gL1Yg",
  "MQo+PgplbmRvYmoKNyAwIG9iago8PAovQ291bnQgMSAvS2lkcyBbIDMgMCBSIF0gL1R5cGUgL1BhZ2VzCj4+CmVuZG9i",
  "ago4IDAgb2JqCjw8Ci9GaWx0ZXIgWyAvQVNDSUk4NURlY29kZSAvRmxhdGVEZWNvZGUgXSAvTGVuZ3RoIDEwNQo+Pgpz",
  "dHJlYW0KjIDXEGh8fgeT3X61LpclNzTcAQu5yeVSCAKkK0rbZ+ai0ck64LxNYs2jpMqzoQwANvea8RAJ0vUUMKAC4oUE",
  "BeBU9ZAeDsCh2EXxTKBf5lBDQMzKCapmwr5jQb9YXr6OqOBGM/y9MxoiZW5kc3RyZWFtCmVuZG9iagp4cmVmCjAgOQow",
  "MDAwMDAwMDAwIDY1NTM1IGYgCjAwMDAwMDAwNjEgMDAwMDAgbiAKMDAwMDAwMDA5MiAwMDAwMCBuIAowMDAwMDAwMTk5",
  "IDAwMDAwIG4gCjAwMDAwMDA0MDIgMDAwMDAgbiAKMDAwMDAwMDQ3MCAwMDAwMCBuIAowMDAwMDAwOTkwIDAwMDAwIG4g",
  "CjAwMDAwMDExODUgMDAwMDAgbiAKMDAwMDAwMTI0NCAwMDAwMCBuIAp0cmFpbGVyCjw8Ci9FbmNyeXB0IDYgMCBSCi9J",
  "RCAKWzwxYzE3ODE5OGZiZGZhNTFiMjU5OTVkODlkNDEwMjA0Mz48MWMxNzgxOThmYmRmYTUxYjI1OTk1ZDg5ZDQxMDIw",
  "NDM+XQolIFJlcG9ydExhYiBnZW5lcmF0ZWQgUERGIGRvY3VtZW50IC0tIGRpZ2VzdCAob3BlbnNvdXJjZSkKCi9JbmZv",
  "IDUgMCBSCi9Sb290IDQgMCBSCi9TaXplIDkKPj4Kc3RhcnR4cmVmCjE0MzkKJSVFT0YK",
].join("");
