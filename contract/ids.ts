/** Identifiers: a prefix that names the kind and 24 random characters. Nothing else makes ids. */

const PREFIXES = {
  file: "file-",
  dataset: "ds-",
  document: "doc-",
  train: "ftjob-",
  export: "export-",
  event: "ftevent-",
  checkpoint: "ftckpt_",
  chat: "chatcmpl-",
  completion: "cmpl-",
  call: "call_",
  request: "req-",
} as const;

export type IdKind = keyof typeof PREFIXES;

const ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz";

export function newId(kind: IdKind): string {
  const bytes = crypto.getRandomValues(new Uint8Array(24));
  return PREFIXES[kind] + Array.from(bytes, (byte) => ALPHABET[byte % 36]).join("");
}

export function isId(kind: IdKind, text: string): boolean {
  const prefix = PREFIXES[kind];
  return text.startsWith(prefix) && /^[0-9a-z]{24}$/.test(text.slice(prefix.length));
}
