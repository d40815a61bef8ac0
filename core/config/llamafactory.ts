/**
 * Reads LLaMA-Factory's YAML: every key known and typed, contradictions found, all faults at once.
 *
 * What a key means is in keys/, which keys contradict each other in contradictions.ts, what a trainer
 * is told in specs.ts. Nothing here touches a file or knows which models and data sets exist.
 */
import { contradictions } from "./contradictions.ts";
import { Faults } from "./faults.ts";
import type { Key, Scope } from "./keys/key.ts";
import { isAllowed, isKey, KEYS, keysAllowed } from "./keys/table.ts";
import type { KeyName, Values } from "./keys/table.ts";
import { instead, nearest } from "./nearest.ts";
import { readYamlMapping } from "./yaml.ts";

export type { Scope } from "./keys/key.ts";
export type { Values } from "./keys/table.ts";

/** A key that was accepted and does less here than its name says. */
export interface Note {
  key: string;
  reason: string;
}

export interface Recipe {
  scope: Scope;
  /** What was written, typed; nothing filled in. This is what a job shows as its own. */
  written: Partial<Values>;
  /** Every key, defaults filled in. */
  keys: Values;
  notes: Note[];
}

export interface WrittenKey {
  key: string;
  line: number | null;
  value: unknown;
  source: string | null;
}

const SCOPE_NAMES: Record<Scope, string> = {
  train: "training",
  predict: "prediction",
  export: "export",
  chat: "chat",
};

const yamlOf = (scope: Scope): string => `the ${SCOPE_NAMES[scope]}'s YAML`;

const withArticle = (scope: Scope): string =>
  `${scope === "export" ? "an" : "a"} ${SCOPE_NAMES[scope]}`;

/** Throws `invalid_recipe` with every fault, each with its line and key. */
export function readRecipe(yamlText: string, scope: Scope): Recipe {
  const faults = new Faults();
  const entries = readYamlMapping(yamlText, faults);
  if (entries === null) faults.raise("invalid_recipe", yamlOf(scope));
  return recipeFrom(entries ?? [], scope, faults);
}

/** The same from keys that never were YAML: an OpenAI request, flags. */
export function recipeFromKeys(keys: Record<string, unknown>, scope: Scope): Recipe {
  const entries = Object.entries(keys).map(([key, value]) => ({
    key,
    line: null,
    value,
    source: null,
  }));
  return recipeFrom(entries, scope, new Faults());
}

/** Is this YAML a prediction (LLaMA-Factory's `train` runs both)? Never throws. */
export function scopeOfTraining(yamlText: string): "train" | "predict" {
  const entries = readYamlMapping(yamlText, new Faults()) ?? [];
  const truth = (name: "do_train" | "do_predict") => {
    const entry = entries.find(({ key }) => key === name);
    return entry !== undefined && KEYS[name].type.read(entry.value, entry.source) === true;
  };
  return truth("do_predict") && !truth("do_train") ? "predict" : "train";
}

function recipeFrom(entries: WrittenKey[], scope: Scope, faults: Faults): Recipe {
  const written: Record<string, unknown> = {};
  const lines = new Map<string, number | null>();
  const notes: Note[] = [];
  addUnknown(entries.filter(({ key }) => !isKey(key)), scope, faults);
  for (const entry of entries) {
    if (!isKey(entry.key)) continue;
    if (!isAllowed(entry.key, scope)) {
      const message = `is a key of training and has no place in the YAML of ${withArticle(scope)}`;
      faults.add(entry.key, entry.line, `${message}; take it out`);
    } else {
      lines.set(entry.key, entry.line);
      readKey(entry.key, entry, scope, { written, notes, faults });
    }
  }
  const keys = Object.fromEntries(
    Object.entries(KEYS).map(([name, { default: fallback }]) => [name, written[name] ?? fallback]),
  ) as Values;
  const readable = written as Partial<Values>;
  for (const { key, message } of contradictions(scope, keys, readable)) {
    // A key that could not be read has its fault already; what it contradicts is not known.
    if (!faults.list.some((fault) => fault.key === key)) {
      faults.add(key, lines.get(key) ?? null, message);
    }
  }
  if ((scope === "train" || scope === "predict") && !keys.template) {
    const reason = "is missing: the chat template of the base's tokenizer is used";
    notes.push({ key: "template", reason });
  }
  faults.raise("invalid_recipe", yamlOf(scope));
  return { scope, written: readable, keys, notes };
}

const MOST_UNKNOWN = 10; // unknown keys that are named

function addUnknown(entries: WrittenKey[], scope: Scope, faults: Faults): void {
  for (const { key, line } of entries.slice(0, MOST_UNKNOWN)) {
    faults.add(key, line, `there is no such key; ${instead(key, keysAllowed(scope))}`);
  }
  const [next, ...more] = entries.slice(MOST_UNKNOWN);
  if (!next) return;
  const others = more.length === 0 ? "" : `, nor are there ${more.length} of those that follow`;
  faults.add(next.key, next.line, `there is no such key${others}`);
}

interface Reading {
  written: Record<string, unknown>;
  notes: Note[];
  faults: Faults;
}

function readKey(name: KeyName, entry: WrittenKey, scope: Scope, reading: Reading): void {
  const key: Key<unknown> = KEYS[name];
  const value = entry.value === null ? key.default : key.type.read(entry.value, entry.source);
  if (value === undefined) {
    const got = entry.source ?? JSON.stringify(entry.value);
    const known = key.type.words && nearest(String(entry.value), key.type.words);
    const hint = known ? `; the nearest one is ${known}` : "";
    reading.faults.add(name, entry.line, `${key.type.expects} is needed, got ${got}${hint}`);
    return;
  }
  if (entry.value !== null) reading.written[name] = value;
  const note = (reason: string) => reading.notes.push({ key: name, reason });
  const { effect } = key;
  if (effect.kind === "refused") {
    if (JSON.stringify(value) !== JSON.stringify(key.default)) {
      const got = effect.secret ? "this" : entry.source ?? JSON.stringify(entry.value);
      reading.faults.add(name, entry.line, `${got} is not possible here: ${effect.reason}`);
    }
  } else if (entry.value === null) {
    return;
  } else if (effect.kind === "no_effect") {
    note(effect.reason);
  } else if (!effect.scopes.includes(scope)) {
    note(`has no meaning for ${withArticle(scope)}`);
  } else {
    const reason = effect.note?.(value) ?? null;
    if (reason !== null) note(reason);
  }
}
