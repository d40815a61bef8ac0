/** The one table of the keys of LLaMA-Factory's YAML, put together from its groups. */
import { DATA_KEYS } from "./data.ts";
import { FINETUNING_KEYS } from "./finetuning.ts";
import { GENERATION_KEYS } from "./generation.ts";
import type { Key, KeyTable, Scope } from "./key.ts";
import { MODEL_KEYS } from "./model.ts";
import { OWN_KEYS } from "./own.ts";
import { TRAINER_KEYS } from "./trainer.ts";

export const KEYS = {
  ...MODEL_KEYS,
  ...DATA_KEYS,
  ...FINETUNING_KEYS,
  ...GENERATION_KEYS,
  ...TRAINER_KEYS,
  ...OWN_KEYS,
};

export type KeyName = keyof typeof KEYS;

/** Every key with its value, defaults filled in. */
export type Values = {
  [K in KeyName]: (typeof KEYS)[K] extends Key<infer T> ? T : never;
};

const TRAINING_ONLY: KeyTable = { ...TRAINER_KEYS, ...OWN_KEYS };

export function isKey(name: string): name is KeyName {
  return Object.hasOwn(KEYS, name);
}

/** May the key stand in a YAML of this scope at all? */
export function isAllowed(name: KeyName, scope: Scope): boolean {
  return scope === "train" || scope === "predict" || !Object.hasOwn(TRAINING_ONLY, name);
}

export function keysAllowed(scope: Scope): KeyName[] {
  return (Object.keys(KEYS) as KeyName[]).filter((name) => isAllowed(name, scope));
}
