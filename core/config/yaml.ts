/**
 * YAML with positions: every value knows the line it stands on.
 *
 * Read as YAML 1.1, because LLaMA-Factory's users write `yes` and `off` and mean booleans. What the
 * keys mean is not known here.
 */
import { isMap, isNode, isScalar, LineCounter, parseDocument } from "@std/yaml";
import type { Faults } from "./faults.ts";

/** A value of a mapping. `source` is the text of a plain scalar as typed: `1e-4`, `010`, `no`. */
export interface YamlEntry {
  key: string;
  line: number;
  value: unknown;
  source: string | null;
  /** The entries of a nested mapping; null when the value is none. */
  entries: YamlEntry[] | null;
}

/**
 * The top-level mapping of a document, empty for an empty one. Everything that is wrong goes to `faults`;
 * null means that nothing could be read, so that absent keys say nothing.
 */
export function readYamlMapping(text: string, faults: Faults): YamlEntry[] | null {
  const counter = new LineCounter();
  const document = parseDocument(text, {
    version: "1.1",
    lineCounter: counter,
    prettyErrors: false,
    logLevel: "error", // "silent" would hide a second document
  });
  for (const { code, pos, message } of [...document.errors, ...document.warnings]) {
    const line = counter.linePos(pos[0]).line;
    const key = code === "DUPLICATE_KEY" ? keyAtLine(text, line) : "(syntax)";
    faults.add(key, line, SPOKEN[code] ?? message.split("\n")[0]!);
  }
  if (document.errors.some(({ code }) => code !== "DUPLICATE_KEY")) return null;
  if (document.contents === null) return [];
  if (!isMap(document.contents)) {
    faults.add("(document)", 1, `a mapping of keys to values is needed, got ${text.slice(0, 40)}`);
    return null;
  }
  try {
    const plain = document.toJS() as Record<string, unknown>;
    JSON.stringify(plain); // throws where an alias leads to itself
    return entriesOf(document.contents, plain, { counter, faults });
  } catch (error) {
    faults.add("(aliases)", null, `cannot be followed: ${(error as Error).message.split("\n")[0]}`);
    return null;
  }
}

/** The parser's codes that users meet, in words that say what to do. */
const SPOKEN: Record<string, string> = {
  DUPLICATE_KEY: "stands here for the second time; keep one of them",
  MULTIPLE_DOCS: "a second document begins here (---); one is needed",
  TAB_AS_INDENT: "a tab indents this line; write spaces",
};

function entriesOf(
  map: { items: { key: unknown; value: unknown }[] },
  plain: Record<string, unknown>,
  reading: { counter: LineCounter; faults: Faults },
): YamlEntry[] {
  return map.items.flatMap((pair) => {
    const start = isNode(pair.key) ? pair.key.range?.[0] ?? 0 : 0;
    const { line } = reading.counter.linePos(start);
    if (!isScalar(pair.key) || pair.key.source === "<<") {
      reading.faults.add("(key)", line, "a key is a plain word; write merged keys out");
      return [];
    }
    const value = plain[String(pair.key.value)];
    const node = pair.value;
    const nested = isMap(node) && value !== null && typeof value === "object";
    return [{
      key: String(pair.key.source ?? pair.key.value),
      line,
      value,
      source: isScalar(node) && node.type === "PLAIN" ? node.source ?? null : null,
      entries: nested ? entriesOf(node, value as Record<string, unknown>, reading) : null,
    }];
  });
}

function keyAtLine(text: string, line: number): string {
  return text.split("\n")[line - 1]?.split(":")[0]?.trim() || "(syntax)";
}
