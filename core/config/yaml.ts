/**
 * YAML with positions: every value knows the line it stands on.
 *
 * Read as YAML 1.1, because LLaMA-Factory's users write `yes` and `off` and mean booleans. What the
 * keys mean is not known here.
 */
import { isMap, isScalar, LineCounter, parseDocument } from "@std/yaml";
import type { Node } from "@std/yaml";
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

/** The top-level mapping of a document. Syntax errors, doubled keys and non-mappings go to `faults`. */
export function readYamlMapping(text: string, faults: Faults): YamlEntry[] {
  const counter = new LineCounter();
  const document = parseDocument(text, {
    version: "1.1",
    lineCounter: counter,
    prettyErrors: false,
  });
  for (const error of document.errors) {
    const line = counter.linePos(error.pos[0]).line;
    const key = error.code === "DUPLICATE_KEY" ? keyAtLine(text, line) : "(syntax)";
    const message = error.code === "DUPLICATE_KEY"
      ? "stands here for the second time; keep one of them"
      : firstSentence(error.message);
    faults.add(key, line, message);
  }
  const broken = document.errors.some(({ code }) => code !== "DUPLICATE_KEY");
  if (broken || document.contents === null) return [];
  if (!isMap(document.contents)) {
    faults.add("(document)", 1, `a mapping of keys to values is needed, got ${text.slice(0, 40)}`);
    return [];
  }
  return entriesOf(document.contents, document.toJS() as Record<string, unknown>, counter);
}

function entriesOf(
  map: { items: { key: unknown; value: unknown }[] },
  plain: Record<string, unknown>,
  counter: LineCounter,
): YamlEntry[] {
  return map.items.flatMap((pair) => {
    if (!isScalar(pair.key)) return [];
    const key = String(pair.key.source ?? pair.key.value);
    if (key === "<<") return [];
    const value = plain[String(pair.key.value)];
    const node = pair.value as Node | null;
    return [{
      key,
      line: counter.linePos(pair.key.range![0]).line,
      value,
      source: isScalar(node) && node.type === "PLAIN" ? node.source ?? null : null,
      entries: isMap(node) && value !== null
        ? entriesOf(node, value as Record<string, unknown>, counter)
        : null,
    }];
  });
}

function keyAtLine(text: string, line: number): string {
  return text.split("\n")[line - 1]?.split(":")[0]?.trim() || "(syntax)";
}

function firstSentence(message: string): string {
  return message.split("\n")[0]!.replace(/ at line \d+.*$/, "");
}
