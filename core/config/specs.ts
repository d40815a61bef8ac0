/**
 * From the keys of a YAML to what Python is told: the meaning of every honoured key, in one place.
 *
 * Pure: which model, folders and files the names stand for comes in resolved. Defaults that depend on
 * other keys are filled here; all others stand in keys/.
 */
import type { BaseModel, EncodeSpec, ExportSpec, TrainSpec } from "../../contract/recipe.ts";
import type { Sampling } from "../../contract/worker.ts";
import type { Values } from "./keys/table.ts";
import { scheduleArguments } from "./schedules.ts";

export interface ResolvedTraining {
  model: BaseModel;
  output_dir: string; // absolute
  train: string[]; // canonical JSONL files
  eval: string[];
  adapter: string | null; // folder of the adapter to go on with
  resume_from: string | null; // checkpoint folder
}

export function toTrainSpec(keys: Values, resolved: ResolvedTraining): TrainSpec {
  return {
    output_dir: resolved.output_dir,
    model: resolved.model,
    adapter: resolved.adapter === null
      ? null
      : { path: resolved.adapter, create_new: keys.create_new_adapter },
    template: keys.template ?? DEFAULT_TEMPLATE,
    data: dataSpec(keys, resolved),
    lora: {
      rank: keys.lora_rank,
      alpha: keys.lora_alpha ?? 2 * keys.lora_rank,
      dropout: keys.lora_dropout,
      target: keys.lora_target,
      additional_target: keys.additional_target ?? [],
      use_rslora: keys.use_rslora,
      use_dora: keys.use_dora,
      plus_lr_ratio: keys.loraplus_lr_ratio,
      pissa_init: keys.pissa_init,
    },
    quantization: keys.quantization_bit === null ? null : {
      bit: keys.quantization_bit as 4 | 8,
      type: keys.quantization_type,
      double: keys.double_quantization,
    },
    optimizer: {
      name: keys.optim === "adamw_bnb_8bit" ? "adamw_8bit" : keys.optim,
      learning_rate: keys.learning_rate,
      weight_decay: keys.weight_decay,
      beta1: keys.adam_beta1,
      beta2: keys.adam_beta2,
      epsilon: keys.adam_epsilon,
      max_grad_norm: keys.max_grad_norm,
      neftune_noise_alpha: keys.neftune_noise_alpha,
    },
    schedule: {
      type: keys.lr_scheduler_type,
      ...warmup(keys),
      kwargs: scheduleArguments(keys.lr_scheduler_type, keys.lr_scheduler_kwargs),
    },
    length: {
      epochs: keys.num_train_epochs,
      max_steps: keys.max_steps,
      batch_size: keys.per_device_train_batch_size,
      accumulation: keys.gradient_accumulation_steps,
      eval_batch_size: keys.per_device_eval_batch_size,
      shuffle: !keys.disable_shuffling,
    },
    logging: {
      steps: keys.logging_steps,
      plot_loss: keys.plot_loss,
      report_to: reports(keys.report_to),
    },
    saving: {
      strategy: keys.save_strategy,
      steps: keys.save_steps,
      total_limit: keys.save_total_limit,
      only_model: keys.save_only_model,
    },
    evaluation: {
      strategy: keys.eval_strategy === "no" ? keys.evaluation_strategy : keys.eval_strategy,
      steps: keys.eval_steps ?? keys.logging_steps,
      load_best_model_at_end: keys.load_best_model_at_end,
      early_stopping_steps: keys.early_stopping_steps,
      compute_accuracy: keys.compute_accuracy,
    },
    precision: {
      dtype: keys.bf16 || keys.pure_bf16 ? "bf16" : keys.fp16 ? "fp16" : "fp32",
      pure_bf16: keys.pure_bf16,
      compute_dtype: keys.compute_dtype,
    },
    memory: {
      limit_gb: keys.memory_limit_gb,
      disable_gradient_checkpointing: keys.disable_gradient_checkpointing,
    },
    seed: keys.seed,
    resume_from: resolved.resume_from,
  };
}

export interface ResolvedEncoding {
  model: BaseModel;
  train: string[];
  eval: string[];
  record: number | null; // one record's index, or all
}

export function toEncodeSpec(keys: Values, resolved: ResolvedEncoding): EncodeSpec {
  return {
    model: resolved.model,
    template: keys.template ?? DEFAULT_TEMPLATE,
    data: dataSpec(keys, resolved),
    seed: keys.seed,
    record: resolved.record,
  };
}

export interface ResolvedExport {
  model: BaseModel;
  export_dir: string; // absolute
  adapters: string[]; // folders, in the order they are merged
  probes: string[]; // prompts on which the merge is verified
}

export function toExportSpec(keys: Values, resolved: ResolvedExport): ExportSpec {
  return {
    export_dir: resolved.export_dir,
    model: resolved.model,
    adapters: resolved.adapters,
    template: keys.template ?? DEFAULT_TEMPLATE,
    shard_bytes: Math.round(keys.export_size * 1e9),
    dtype: DTYPES[keys.infer_dtype],
    device: keys.export_device,
    legacy_format: keys.export_legacy_format,
    probes: resolved.probes,
  };
}

export interface ChatSettings {
  template: string;
  system: string | null;
  sampling: Pick<Sampling, "temperature" | "top_p" | "top_k" | "repetition_penalty"> & {
    max_tokens: number;
  };
  skip_special_tokens: boolean;
}

/** How `chat` and `predict` sample. `do_sample: false` is greedy, whatever the temperature. */
export function toChatSettings(keys: Values): ChatSettings {
  return {
    template: keys.template ?? DEFAULT_TEMPLATE,
    system: keys.default_system,
    sampling: {
      temperature: keys.do_sample ? keys.temperature : 0,
      top_p: keys.top_p,
      top_k: keys.top_k,
      repetition_penalty: keys.repetition_penalty,
      max_tokens: keys.max_new_tokens,
    },
    skip_special_tokens: keys.skip_special_tokens,
  };
}

/**
 * Where a training starts, by LLaMA-Factory's meaning of `resume_from_checkpoint` and
 * `overwrite_output_dir`:
 * - `fresh`: from the start, whatever the output folder holds;
 * - `last_if_any`: from the output folder's last checkpoint; a folder with weights and no checkpoint
 *   is refused, an absent or empty one is a fresh start;
 * - `last`: from the last checkpoint, and a fault without one;
 * - `checkpoint`: from the folder that is named.
 */
export type Resumption =
  | { kind: "fresh" }
  | { kind: "last_if_any" }
  | { kind: "last" }
  | { kind: "checkpoint"; path: string };

export function resumption(keys: Values): Resumption {
  const wish = keys.resume_from_checkpoint;
  if (typeof wish === "string") return { kind: "checkpoint", path: wish };
  if (wish === true) return { kind: "last" };
  return { kind: wish === false || keys.overwrite_output_dir ? "fresh" : "last_if_any" };
}

/** The chat template that the base's tokenizer brings. */
const DEFAULT_TEMPLATE = "default";

const DTYPES = { auto: "auto", float16: "fp16", bfloat16: "bf16", float32: "fp32" } as const;

function dataSpec(
  keys: Values,
  { train, eval: evaluation }: { train: string[]; eval: string[] },
): TrainSpec["data"] {
  return {
    train,
    eval: evaluation,
    val_size: keys.val_size,
    cutoff_len: keys.cutoff_len,
    max_samples: keys.max_samples,
    train_on_prompt: keys.train_on_prompt,
    mask_history: keys.mask_history,
    default_system: keys.default_system || null,
    packing: keys.packing === true || keys.neat_packing,
    neat_packing: keys.neat_packing,
    reject_truncated: keys.reject_truncated,
  };
}

/** `warmup_steps` below 1 is a ratio, as transformers 5 reads it. */
function warmup(keys: Values): { warmup_ratio: number; warmup_steps: number } {
  return keys.warmup_steps > 0 && keys.warmup_steps < 1
    ? { warmup_ratio: keys.warmup_steps, warmup_steps: 0 }
    : { warmup_ratio: keys.warmup_ratio, warmup_steps: Math.ceil(keys.warmup_steps) };
}

function reports(names: string[]): string[] {
  return names.includes("tensorboard") || names.includes("all") ? ["tensorboard"] : [];
}
