/**
 * What a trainer process is told to do: a train or an export, fully resolved.
 *
 * Every default has been filled in by core/config before one of these exists; paths are absolute.
 * The Python twin is py/bullion/contract/recipe.py; tests/golden/worker holds both to the same files.
 */
import { z } from "zod";

/**
 * A base model. `name` is what the user wrote, for messages and model cards; `path` is a folder of
 * this machine, or the id on `hub`, fetched by the Python process that needs it.
 */
export const BaseModel = z.strictObject({
  name: z.string(),
  path: z.string(),
  hub: z.enum(["huggingface", "modelscope"]).nullable(),
  trust_remote_code: z.boolean(),
});
export type BaseModel = z.infer<typeof BaseModel>;

export const DataSpec = z.strictObject({
  train: z.array(z.string()), // canonical JSONL files, in the order they are joined
  eval: z.array(z.string()),
  val_size: z.number().min(0), // below 1 a share, otherwise a count; split by seed
  cutoff_len: z.int().positive(), // tokens
  max_samples: z.int().positive().nullable(), // the first N of each file
  train_on_prompt: z.boolean(),
  mask_history: z.boolean(),
  default_system: z.string().nullable(),
  packing: z.boolean(),
  neat_packing: z.boolean(),
  reject_truncated: z.boolean(),
});

export const LoraSpec = z.strictObject({
  rank: z.int().positive(),
  alpha: z.number().positive(),
  dropout: z.number().min(0).max(1),
  target: z.array(z.string()).min(1), // ["all"] or module names
  additional_target: z.array(z.string()), // modules trained in full beside the adapter
  use_rslora: z.boolean(),
  use_dora: z.boolean(),
  plus_lr_ratio: z.number().positive().nullable(),
  pissa_init: z.boolean(),
});

export const QuantizationSpec = z.strictObject({
  bit: z.union([z.literal(4), z.literal(8)]),
  type: z.enum(["nf4", "fp4"]),
  double: z.boolean(),
});

export const OptimizerSpec = z.strictObject({
  name: z.string(), // adamw_torch, adamw_torch_fused, adamw_8bit, adafactor, sgd
  learning_rate: z.number().nonnegative(),
  weight_decay: z.number().min(0),
  beta1: z.number(),
  beta2: z.number(),
  epsilon: z.number(),
  max_grad_norm: z.number().min(0), // 0: no clipping
  neftune_noise_alpha: z.number().nonnegative().nullable(),
});

export const ScheduleSpec = z.strictObject({
  type: z.string(), // linear, cosine, constant, … as transformers names them
  warmup_ratio: z.number().min(0).max(1),
  warmup_steps: z.int().min(0), // above 0 it wins over the ratio
  kwargs: z.record(z.string(), z.unknown()),
});

export const LengthSpec = z.strictObject({
  epochs: z.number().positive(),
  max_steps: z.int(), // optimiser steps; below 1 the epochs decide
  batch_size: z.int().positive(),
  accumulation: z.int().positive(),
  eval_batch_size: z.int().positive(),
  shuffle: z.boolean(),
});

const Pace = z.enum(["no", "steps", "epoch"]);

export const LoggingSpec = z.strictObject({
  steps: z.int().positive(),
  plot_loss: z.boolean(),
  report_to: z.array(z.string()),
});

export const SavingSpec = z.strictObject({
  strategy: Pace,
  steps: z.int().positive(),
  total_limit: z.int().positive().nullable(),
  only_model: z.boolean(),
});

export const EvaluationSpec = z.strictObject({
  strategy: Pace,
  steps: z.int().positive(),
  load_best_model_at_end: z.boolean(),
  early_stopping_steps: z.int().positive().nullable(),
  compute_accuracy: z.boolean(),
});

export const PrecisionSpec = z.strictObject({
  dtype: z.enum(["bf16", "fp16", "fp32"]), // of the frozen base and the computation
  pure_bf16: z.boolean(), // adapter in bf16 as well
  compute_dtype: z.enum(["auto", "fp8"]),
});

export const MemorySpec = z.strictObject({
  limit_gb: z.number().positive().nullable(), // 10^9 bytes
  disable_gradient_checkpointing: z.boolean(),
});

/** tests/golden/templates.json holds both languages to this list; `default` is the tokenizer's own. */
export const TemplateName = z.enum([
  "llama3",
  "chatml",
  "qwen",
  "qwen3",
  "qwen3_nothink",
  "default",
]);
export type TemplateName = z.infer<typeof TemplateName>;

export const TrainSpec = z.strictObject({
  output_dir: z.string(),
  model: BaseModel,
  adapter: z.strictObject({ path: z.string(), create_new: z.boolean() }).nullable(),
  template: TemplateName,
  data: DataSpec,
  lora: LoraSpec,
  quantization: QuantizationSpec.nullable(),
  optimizer: OptimizerSpec,
  schedule: ScheduleSpec,
  length: LengthSpec,
  logging: LoggingSpec,
  saving: SavingSpec,
  evaluation: EvaluationSpec,
  precision: PrecisionSpec,
  memory: MemorySpec,
  seed: z.int().min(0),
  resume_from: z.string().nullable(), // a checkpoint folder
});
export type TrainSpec = z.infer<typeof TrainSpec>;

export const ExportSpec = z.strictObject({
  export_dir: z.string(),
  model: BaseModel,
  adapters: z.array(z.string()), // adapter folders, merged one after the other
  template: TemplateName,
  shard_bytes: z.int().positive(),
  dtype: z.enum(["auto", "bf16", "fp16", "fp32"]), // auto: the base's own
  device: z.enum(["cpu", "auto"]),
  legacy_format: z.boolean(),
  probes: z.array(z.string()), // prompts on which merged and base-plus-adapter are compared
});
export type ExportSpec = z.infer<typeof ExportSpec>;

/** What `template` shows: how records become tokens and labels. */
export const EncodeSpec = z.strictObject({
  model: BaseModel,
  template: TemplateName,
  data: DataSpec,
  seed: z.int().min(0),
  record: z.int().min(0).nullable(), // one record's index, or all
});
export type EncodeSpec = z.infer<typeof EncodeSpec>;
