/**
 * The one file that names pdfjs-dist, loaded when the first PDF is read (it takes a while to load).
 *
 * pdfjs-dist tries to load a canvas for rendering, which nothing here does: its warnings that there
 * is none are not passed on.
 */
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import type * as Pdfjs from "pdfjs-dist/legacy/build/pdf.mjs";

export type { PDFDocumentProxy } from "pdfjs-dist/legacy/build/pdf.mjs";
export type Operators = Awaited<ReturnType<Pdfjs.PDFPageProxy["getOperatorList"]>>;

let loading: Promise<typeof Pdfjs> | undefined;

export function loadPdfjs(): Promise<typeof Pdfjs> {
  return loading ??= load();
}

async function load(): Promise<typeof Pdfjs> {
  const warn = console.warn;
  console.warn = (...args: unknown[]) => {
    if (!/^Warning: Cannot (?:load|polyfill|access)/.test(String(args[0]))) warn(...args);
  };
  try {
    return await import("pdfjs-dist/legacy/build/pdf.mjs");
  } finally {
    console.warn = warn;
  }
}

/**
 * The package's folder of CMaps or standard fonts, as pdfjs wants it: a plain path that ends in a
 * slash (it reads nothing from a file URL, without a word).
 */
export function assetFolder(name: "cmaps" | "standard_fonts"): string {
  const main = createRequire(import.meta.url).resolve("pdfjs-dist/package.json");
  return join(dirname(main), name) + "/";
}
