/**
 * Keys of transformers' trainer that LLaMA-Factory's users write. Allowed for train and predict alone:
 * in an export's or a chat's YAML they are errors.
 */
import { honoured, honouredWith, key, noEffect, refused, refusedSecret } from "./key.ts";
import { type ScheduleName, SCHEDULES } from "../schedules.ts";
import {
  anything,
  boolean,
  choice,
  either,
  float,
  integer,
  list,
  mapping,
  orNull,
  text,
} from "./value_types.ts";

const ONE_PROCESS = "one process on one device trains";
const NOT_UPLOADED = "nothing is sent to a hub";
const PREPARED = "the records are in memory before the first step";
const OWN_STEP = "Bullion brings its own fast training step";

const pace = choice("no", "steps", "epoch");

/** What a user can name as `optim`; others exist in transformers but not here. */
const optimizer = choice(
  "adamw_torch",
  "adamw_torch_fused",
  "adamw_8bit",
  "adamw_bnb_8bit",
  "adafactor",
  "sgd",
);

const scheduler = choice(...Object.keys(SCHEDULES) as ScheduleName[]);

/** Reports that leave the machine are not made; what they would hold lies in the output folder. */
function sentElsewhere(value: unknown): string | null {
  const others = (value as string[]).filter((name) =>
    !["none", "tensorboard", "all"].includes(name)
  );
  return others.length === 0
    ? null
    : `nothing is sent to ${
      others.join(", ")
    }; tensorboard writes files, trainer_log.jsonl is there anyway`;
}

export const TRAINER_KEYS = {
  do_train: key(boolean, false, honoured("train")),
  do_eval: key(boolean, false, honoured("train")),
  do_predict: key(boolean, false, honoured("predict")),
  predict_with_generate: key(boolean, false, honoured("predict")),
  output_dir: key(orNull(text), null, honoured("train", "predict")),
  overwrite_output_dir: key(boolean, false, honoured("train", "predict")),
  resume_from_checkpoint: key(orNull(either(text, boolean)), null, honoured("train")),
  seed: key(integer({ min: 0 }), 42, honoured("train", "predict")),

  per_device_train_batch_size: key(integer({ min: 1 }), 8, honoured("train")),
  gradient_accumulation_steps: key(integer({ min: 1 }), 1, honoured("train")),
  per_device_eval_batch_size: key(integer({ min: 1 }), 8, honoured("train", "predict")),
  num_train_epochs: key(float({ above: 0 }), 3, honoured("train")),
  max_steps: key(integer(), -1, honoured("train")),

  learning_rate: key(float({ above: 0 }), 5e-5, honoured("train")),
  lr_scheduler_type: key(scheduler, "linear", honoured("train")),
  lr_scheduler_kwargs: key(orNull(mapping), null, honoured("train")),
  warmup_ratio: key(float({ min: 0, max: 1 }), 0, honoured("train")),
  warmup_steps: key(float({ min: 0 }), 0, honoured("train")), // below 1 a ratio, as in transformers 5
  optim: key(optimizer, "adamw_torch", honoured("train")),
  optim_args: key(orNull(text), null, refused("optimisers take no further arguments here")),
  weight_decay: key(float({ min: 0 }), 0, honoured("train")),
  adam_beta1: key(float({ min: 0, below: 1 }), 0.9, honoured("train")),
  adam_beta2: key(float({ min: 0, below: 1 }), 0.999, honoured("train")),
  adam_epsilon: key(float({ min: 0 }), 1e-8, honoured("train")),
  max_grad_norm: key(float({ min: 0 }), 1, honoured("train")),
  neftune_noise_alpha: key(orNull(float({ min: 0 })), null, honoured("train")),
  bf16: key(boolean, false, honoured("train", "predict")),
  fp16: key(boolean, false, honoured("train", "predict")),

  logging_steps: key(integer({ min: 1 }), 500, honoured("train")),
  report_to: key(list, ["none"], honouredWith(sentElsewhere, "train")),
  save_strategy: key(pace, "steps", honoured("train")),
  save_steps: key(integer({ min: 1 }), 500, honoured("train")),
  save_total_limit: key(orNull(integer({ min: 1 })), null, honoured("train")),
  save_only_model: key(boolean, false, honoured("train")),
  eval_strategy: key(pace, "no", honoured("train")),
  evaluation_strategy: key(pace, "no", honoured("train")), // the name before transformers 4.46
  eval_steps: key(orNull(integer({ min: 1 })), null, honoured("train")), // null: logging_steps
  load_best_model_at_end: key(boolean, false, honoured("train")),
  metric_for_best_model: key(orNull(choice("loss", "eval_loss")), null, honoured("train")),
  greater_is_better: key(boolean, false, refused("the best model is the one with the least loss")),

  ddp_timeout: key(integer(), 1800, noEffect(ONE_PROCESS)),
  ddp_find_unused_parameters: key(orNull(boolean), null, noEffect(ONE_PROCESS)),
  ddp_bucket_cap_mb: key(anything, null, noEffect(ONE_PROCESS)),
  ddp_broadcast_buffers: key(anything, null, noEffect(ONE_PROCESS)),
  ddp_backend: key(anything, null, noEffect(ONE_PROCESS)),
  local_rank: key(anything, -1, noEffect(ONE_PROCESS)),
  log_on_each_node: key(anything, true, noEffect(ONE_PROCESS)),
  save_on_each_node: key(anything, false, noEffect(ONE_PROCESS)),
  average_tokens_across_devices: key(anything, true, noEffect(ONE_PROCESS)),
  deepspeed: key(anything, null, refused("there is no DeepSpeed here; leave the key out")),
  fsdp: key(anything, null, refused("there is no FSDP here; leave the key out")),
  fsdp_config: key(anything, null, refused("there is no FSDP here; leave the key out")),
  accelerator_config: key(anything, null, noEffect(ONE_PROCESS)),
  parallelism_config: key(anything, null, noEffect(ONE_PROCESS)),
  ray_run_name: key(anything, null, noEffect(ONE_PROCESS)),
  ray_storage_path: key(anything, "./saves", noEffect(ONE_PROCESS)),
  ray_storage_filesystem: key(anything, null, noEffect(ONE_PROCESS)),
  ray_num_workers: key(anything, 1, noEffect(ONE_PROCESS)),
  resources_per_worker: key(anything, null, noEffect(ONE_PROCESS)),
  placement_strategy: key(anything, "PACK", noEffect(ONE_PROCESS)),
  ray_init_kwargs: key(anything, null, noEffect(ONE_PROCESS)),

  dataloader_num_workers: key(integer({ min: 0 }), 0, noEffect(PREPARED)),
  dataloader_pin_memory: key(anything, true, noEffect(PREPARED)),
  dataloader_persistent_workers: key(anything, false, noEffect(PREPARED)),
  dataloader_prefetch_factor: key(anything, null, noEffect(PREPARED)),
  dataloader_drop_last: key(
    boolean,
    false,
    refused("the last, smaller step of an epoch is trained as well"),
  ),
  remove_unused_columns: key(anything, true, noEffect("records carry no other columns here")),
  group_by_length: key(
    boolean,
    false,
    refused("the order of the records is exact; packing makes their lengths harmless"),
  ),
  data_seed: key(orNull(integer({ min: 0 })), null, refused("write seed, which orders the data")),
  ignore_data_skip: key(boolean, false, refused("a resumed job goes on at its exact record")),

  label_smoothing_factor: key(float(), 0, refused("the loss is plain cross-entropy")),
  gradient_checkpointing: key(
    orNull(boolean),
    null,
    noEffect("the memory plan decides; disable_gradient_checkpointing switches it off"),
  ),
  gradient_checkpointing_kwargs: key(anything, null, noEffect("the memory plan decides")),
  torch_compile: key(boolean, false, noEffect(OWN_STEP)),
  torch_compile_backend: key(anything, null, noEffect(OWN_STEP)),
  torch_compile_mode: key(anything, null, noEffect(OWN_STEP)),
  use_liger_kernel: key(boolean, false, noEffect(OWN_STEP)),
  auto_find_batch_size: key(
    boolean,
    false,
    noEffect("the memory plan splits a step that does not fit, with the same gradients"),
  ),
  torch_empty_cache_steps: key(anything, null, noEffect("the memory plan decides")),
  tf32: key(orNull(boolean), null, noEffect("fp32 products are computed in full precision")),
  bf16_full_eval: key(anything, false, noEffect("evaluation uses the precision of training")),
  fp16_full_eval: key(anything, false, noEffect("evaluation uses the precision of training")),
  full_determinism: key(boolean, false, noEffect("on the CPU a run is always repeatable")),
  use_cpu: key(boolean, false, refused("the trainer takes the device that the machine has")),
  no_cuda: key(boolean, false, refused("the trainer takes the device that the machine has")),
  eval_accumulation_steps: key(anything, null, noEffect("evaluation keeps no logits")),
  eval_delay: key(float(), 0, refused("evaluation begins with the first step of its pace")),
  eval_on_start: key(boolean, false, refused("evaluation begins with the first step of its pace")),
  prediction_loss_only: key(anything, false, noEffect("evaluation keeps no logits")),
  include_num_input_tokens_seen: key(anything, false, noEffect("tokens are always counted")),
  include_tokens_per_second: key(anything, false, noEffect("tokens a second are always counted")),
  logging_strategy: key(pace, "steps", refused("progress is logged by steps: set logging_steps")),
  logging_first_step: key(boolean, false, refused("progress is logged every logging_steps")),
  logging_dir: key(anything, null, noEffect("TensorBoard files lie in output_dir")),
  logging_nan_inf_filter: key(
    anything,
    true,
    noEffect("a loss that is not a number ends the job as diverged"),
  ),
  log_level: key(anything, "passive", noEffect("the server's log_level counts")),
  log_level_replica: key(anything, "warning", noEffect("the server's log_level counts")),
  disable_tqdm: key(anything, null, noEffect("progress leaves as events")),
  run_name: key(anything, null, noEffect("the job's id is its name")),
  project: key(anything, null, noEffect("nothing is sent elsewhere")),
  save_safetensors: key(boolean, true, refused("weights are saved as safetensors only")),
  restore_callback_states_from_checkpoint: key(
    anything,
    false,
    noEffect("a checkpoint restores everything there is"),
  ),
  label_names: key(anything, null, noEffect("there is one kind of label")),
  skip_memory_metrics: key(anything, true, noEffect("peak memory is always measured")),
  debug: key(anything, "", noEffect("the log says what went wrong")),
  push_to_hub: key(boolean, false, refused(NOT_UPLOADED)),
  hub_model_id: key(anything, null, noEffect(NOT_UPLOADED)),
  hub_token: key(orNull(text), null, refusedSecret("secrets do not belong in a job")),
  hub_strategy: key(anything, "every_save", noEffect(NOT_UPLOADED)),
  hub_private_repo: key(anything, null, noEffect(NOT_UPLOADED)),
  sortish_sampler: key(boolean, false, refused("the order of the records is exact")),
  generation_max_length: key(anything, null, noEffect("max_new_tokens counts")),
  generation_num_beams: key(orNull(integer()), null, refused("there is no beam search")),
  generation_config: key(anything, null, noEffect("the keys of this YAML count")),

  adafactor: key(boolean, false, refused("write optim: adafactor")),
  per_gpu_train_batch_size: key(anything, null, refused("write per_device_train_batch_size")),
  per_gpu_eval_batch_size: key(anything, null, refused("write per_device_eval_batch_size")),
  use_mps_device: key(boolean, false, refused("the trainer takes the device that the machine has")),
  optim_target_modules: key(anything, null, refused("the optimiser acts on the whole adapter")),
  past_index: key(integer(), -1, refused("no state is carried from step to step")),
  fsdp_min_num_params: key(anything, 0, noEffect(ONE_PROCESS)),
  fsdp_transformer_layer_cls_to_wrap: key(anything, null, noEffect(ONE_PROCESS)),
  mp_parameters: key(anything, "", noEffect(ONE_PROCESS)),
  ray_scope: key(anything, "last", noEffect(ONE_PROCESS)),
  tpu_num_cores: key(anything, null, noEffect("there is no TPU here")),
  tpu_metrics_debug: key(anything, false, noEffect("there is no TPU here")),
  half_precision_backend: key(
    anything,
    "auto",
    noEffect("there is one way to compute in half precision"),
  ),
  fp16_backend: key(anything, "auto", noEffect("there is one way to compute in half precision")),
  fp16_opt_level: key(anything, "O1", noEffect("there is one way to compute in half precision")),
  torchdynamo: key(anything, null, noEffect(OWN_STEP)),
  liger_kernel_config: key(anything, null, noEffect(OWN_STEP)),
  jit_mode_eval: key(anything, false, noEffect(OWN_STEP)),
  length_column_name: key(anything, "length", noEffect("records are not grouped by length")),
  include_for_metrics: key(anything, null, noEffect("evaluation keeps no inputs")),
  include_inputs_for_metrics: key(anything, false, noEffect("evaluation keeps no inputs")),
  batch_eval_metrics: key(anything, false, noEffect("evaluation keeps no logits")),
  eval_do_concat_batches: key(anything, true, noEffect("evaluation keeps no logits")),
  eval_use_gather_object: key(anything, false, noEffect(ONE_PROCESS)),
  use_legacy_prediction_loop: key(anything, false, noEffect("there is one way to evaluate")),
  hub_always_push: key(anything, false, noEffect(NOT_UPLOADED)),
  hub_revision: key(anything, null, noEffect(NOT_UPLOADED)),
  push_to_hub_model_id: key(anything, null, noEffect(NOT_UPLOADED)),
  push_to_hub_organization: key(anything, null, noEffect(NOT_UPLOADED)),
  push_to_hub_token: key(orNull(text), null, refusedSecret("secrets do not belong in a job")),
  trackio_space_id: key(anything, null, noEffect("nothing is sent elsewhere")),
};
