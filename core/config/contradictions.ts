/**
 * Keys of LLaMA-Factory's YAML that cannot stand together, and keys that others need.
 *
 * Most rules are LLaMA-Factory's own; each says what to do. A rule names one key, where its fault is
 * shown.
 */
import type { Scope } from "./keys/key.ts";
import type { KeyName, Values } from "./keys/table.ts";
import { scheduleFault } from "./schedules.ts";

export interface Contradiction {
  key: KeyName;
  message: string;
}

interface Rule {
  key: KeyName;
  message: string | ((keys: Values) => string);
  scopes: Scope[];
  broken(keys: Values, written: Partial<Values>): boolean;
}

const RUN: Scope[] = ["train", "predict"];
const ALL: Scope[] = ["train", "predict", "export", "chat"];

const empty = (list: string[] | null): boolean => list === null || list.length === 0;
const evaluates = (keys: Values): boolean => !empty(keys.eval_dataset) || keys.val_size > 0;
const evalPace = (keys: Values): string =>
  keys.eval_strategy === "no" ? keys.evaluation_strategy : keys.eval_strategy;

const faultOfSchedule = (keys: Values): string | null =>
  scheduleFault(keys.lr_scheduler_type, keys.lr_scheduler_kwargs);

const RULES: Rule[] = [
  {
    key: "model_name_or_path",
    message: "is missing; name a base model, a hub id or a folder",
    scopes: ALL,
    broken: (keys) => !keys.model_name_or_path,
  },
  {
    key: "do_train",
    message: "is not true, so nothing would be trained; write do_train: true",
    scopes: ["train"],
    broken: (keys) => !keys.do_train,
  },
  {
    key: "do_predict",
    message: "cannot stand beside do_train; predict in a run of its own, with its own YAML",
    scopes: RUN,
    broken: (keys) => keys.do_predict && keys.do_train,
  },
  {
    key: "do_predict",
    message: "is not true, so nothing would be predicted; write do_predict: true",
    scopes: ["predict"],
    broken: (keys) => !keys.do_predict && !keys.do_train,
  },
  {
    key: "export_dir",
    message: "is missing; name the folder for the merged model",
    scopes: ["export"],
    broken: (keys) => !keys.export_dir,
  },
  {
    key: "adapter_name_or_path",
    message: "is missing; without an adapter there is nothing to merge",
    scopes: ["export"],
    broken: (keys) => empty(keys.adapter_name_or_path),
  },
  {
    key: "dataset",
    message: "is missing; name at least one data set to train on",
    scopes: ["train"],
    broken: (keys) => keys.do_train && empty(keys.dataset),
  },
  {
    key: "lora_target",
    message: "is empty; write all, or names of layers such as q_proj,v_proj",
    scopes: ["train"],
    broken: (keys) => empty(keys.lora_target),
  },
  {
    key: "dataset_dir",
    message: "is a folder here; nothing is fetched from a hub, so download the data first",
    scopes: RUN,
    broken: (keys) => keys.dataset_dir === "ONLINE" || keys.dataset_dir.startsWith("REMOTE:"),
  },
  {
    key: "val_size",
    message: "splits the evaluation data off from dataset, which is missing",
    scopes: RUN,
    broken: (keys) => keys.val_size > 0 && empty(keys.dataset) && empty(keys.eval_dataset),
  },
  {
    key: "val_size",
    message: "cannot stand beside eval_dataset; keep one of them",
    scopes: RUN,
    broken: (keys) => keys.val_size > 0 && !empty(keys.eval_dataset),
  },
  {
    key: "val_size",
    message: "is a share below 1, or a whole number of records",
    scopes: RUN,
    broken: (keys) => keys.val_size > 1 && !Number.isInteger(keys.val_size),
  },
  {
    key: "mask_history",
    message: "trains the last answer alone and train_on_prompt all text; keep one of them",
    scopes: RUN,
    broken: (keys) => keys.mask_history && keys.train_on_prompt,
  },
  {
    key: "packing",
    message: "is false, but neat_packing packs; take one of them out",
    scopes: RUN,
    broken: (keys) => keys.packing === false && keys.neat_packing,
  },
  {
    key: "fp16",
    message: "cannot stand beside bf16; keep one of them",
    scopes: RUN,
    broken: (keys) => keys.fp16 && keys.bf16,
  },
  {
    key: "pure_bf16",
    message: "cannot stand beside fp16; keep one of them",
    scopes: RUN,
    broken: (keys) => keys.fp16 && keys.pure_bf16,
  },
  {
    key: "quantization_bit",
    message: "goes with finetuning_type: lora alone",
    scopes: ALL,
    broken: (keys) => keys.quantization_bit !== null && keys.finetuning_type !== "lora",
  },
  {
    key: "quantization_bit",
    message: "must be 4 or 8",
    scopes: RUN,
    broken: (keys) => keys.quantization_bit !== null && ![4, 8].includes(keys.quantization_bit),
  },
  {
    key: "quantization_bit",
    message: "cannot stand in an export: merge the adapter into the base as it is, take it out",
    scopes: ["export"],
    broken: (keys) => keys.quantization_bit !== null,
  },
  {
    key: "pissa_init",
    message: "needs the base's exact weights; take quantization_bit out",
    scopes: RUN,
    broken: (keys) => keys.pissa_init && keys.quantization_bit !== null,
  },
  {
    key: "pissa_init",
    message: "and use_dora are two starts of one adapter; keep one of them",
    scopes: RUN,
    broken: (keys) => keys.pissa_init && keys.use_dora,
  },
  {
    key: "create_new_adapter",
    message: "cannot merge an adapter into a quantised base; take quantization_bit out",
    scopes: RUN,
    broken: (keys) =>
      keys.create_new_adapter && keys.quantization_bit !== null &&
      !empty(keys.adapter_name_or_path),
  },
  {
    key: "adapter_name_or_path",
    message:
      "holds several adapters, and here one at most is possible; merge them by an export first",
    scopes: ["train", "predict", "chat"],
    broken: (keys) => (keys.adapter_name_or_path?.length ?? 0) > 1,
  },
  {
    key: "do_predict",
    message: "needs predict_with_generate: true",
    scopes: ["predict"],
    broken: (keys) => keys.do_predict && !keys.predict_with_generate,
  },
  {
    key: "predict_with_generate",
    message: "belongs to do_predict; take it out of a training",
    scopes: ["train"],
    broken: (keys) => keys.predict_with_generate && !keys.do_predict,
  },
  {
    key: "predict_with_generate",
    message: "cannot stand beside compute_accuracy; keep one of them",
    scopes: RUN,
    broken: (keys) => keys.predict_with_generate && keys.compute_accuracy,
  },
  {
    key: "do_predict",
    message: "needs eval_dataset or val_size",
    scopes: ["predict"],
    broken: (keys) => keys.do_predict && !evaluates(keys),
  },
  {
    key: "do_eval",
    message: "needs eval_dataset or val_size",
    scopes: ["train"],
    broken: (keys) => keys.do_eval && !evaluates(keys),
  },
  {
    key: "eval_strategy",
    message: "needs eval_dataset or val_size",
    scopes: ["train"],
    broken: (keys) => evalPace(keys) !== "no" && !evaluates(keys),
  },
  {
    key: "evaluation_strategy",
    message: "is the old name of eval_strategy and says something else; keep one of them",
    scopes: RUN,
    broken: (keys, written) =>
      written.evaluation_strategy !== undefined && written.eval_strategy !== undefined &&
      keys.evaluation_strategy !== keys.eval_strategy,
  },
  {
    key: "load_best_model_at_end",
    message: "needs evaluation at the pace of saving: set eval_strategy as save_strategy is",
    scopes: ["train"],
    broken: (keys) => keys.load_best_model_at_end && evalPace(keys) !== keys.save_strategy,
  },
  {
    key: "load_best_model_at_end",
    message: "needs save_steps to be a multiple of eval_steps, so that the best step is saved",
    scopes: ["train"],
    broken: (keys) =>
      keys.load_best_model_at_end && keys.save_strategy === "steps" &&
      evalPace(keys) === "steps" &&
      !isMultiple(keys.save_steps, keys.eval_steps ?? keys.logging_steps),
  },
  {
    key: "lr_scheduler_kwargs",
    message: (keys) => faultOfSchedule(keys)!,
    scopes: ["train"],
    broken: (keys) => faultOfSchedule(keys) !== null,
  },
  {
    key: "early_stopping_steps",
    message: "counts evaluations without a better loss, so it needs eval_strategy",
    scopes: ["train"],
    broken: (keys) => keys.early_stopping_steps !== null && evalPace(keys) === "no",
  },
];

/** Every broken rule, one a key. */
export function contradictions(
  scope: Scope,
  keys: Values,
  written: Partial<Values>,
): Contradiction[] {
  const found = new Map<KeyName, Contradiction>();
  for (const { key, message, scopes, broken } of RULES) {
    if (scopes.includes(scope) && !found.has(key) && broken(keys, written)) {
      found.set(key, { key, message: typeof message === "string" ? message : message(keys) });
    }
  }
  return [...found.values()];
}

function isMultiple(of: number, unit: number): boolean {
  const quotient = of / unit;
  return Math.abs(quotient - Math.round(quotient)) < 1e-9 && quotient > 0.5;
}
