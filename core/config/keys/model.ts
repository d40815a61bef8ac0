/** Keys about the base model, its adapter, quantisation, and the export. Allowed in every scope. */
import { honoured, honouredWith, key, noEffect, refused, refusedSecret } from "./key.ts";
import { anything, boolean, choice, float, integer, list, orNull, text } from "./value_types.ts";

const EVERYWHERE = ["train", "predict", "export", "chat"] as const;

export const MODEL_KEYS = {
  model_name_or_path: key(orNull(text), null, honoured(...EVERYWHERE)),
  adapter_name_or_path: key(orNull(list), null, honoured(...EVERYWHERE)),
  trust_remote_code: key(
    boolean,
    false,
    honouredWith(
      (value) =>
        value !== true
          ? null
          : "is accepted; code from a model's repository runs only if the server's trust_remote_code allows it",
      ...EVERYWHERE,
    ),
  ),
  infer_dtype: key(
    choice("auto", "float16", "bfloat16", "float32"),
    "auto",
    honoured("export"),
  ),
  disable_gradient_checkpointing: key(boolean, false, honoured("train")),
  infer_backend: key(
    choice("huggingface", "vllm", "sglang", "ktransformers"),
    "huggingface",
    noEffect("Bullion's own engine serves every model"),
  ),
  flash_attn: key(
    choice("auto", "disabled", "sdpa", "fa2", "fa3"),
    "auto",
    noEffect("the fastest exact attention of the device is chosen by itself"),
  ),

  quantization_bit: key(
    orNull(integer({ min: 1 })),
    null,
    honoured("train"),
  ),
  quantization_type: key(choice("nf4", "fp4"), "nf4", honoured("train")),
  double_quantization: key(boolean, true, honoured("train")),
  quantization_method: key(
    choice("bnb", "bitsandbytes", "hqq", "eetq", "gptq", "awq"),
    "bnb",
    refused("only bitsandbytes (bnb) quantises here"),
  ),
  quantization_device_map: key(
    orNull(choice("auto")),
    null,
    noEffect("a quantised base always lies on one device"),
  ),

  export_dir: key(orNull(text), null, honoured("export")),
  export_size: key(float({ above: 0 }), 5, honoured("export")),
  export_device: key(choice("cpu", "auto"), "cpu", honoured("export")),
  export_legacy_format: key(boolean, false, honoured("export")),
  export_quantization_bit: key(
    orNull(integer()),
    null,
    refused("an export is not quantised after the merge; quantise the merged folder elsewhere"),
  ),
  export_quantization_dataset: key(
    anything,
    null,
    noEffect("an export is not quantised here"),
  ),
  export_quantization_nsamples: key(anything, 128, noEffect("an export is not quantised here")),
  export_quantization_maxlen: key(anything, 1024, noEffect("an export is not quantised here")),
  export_hub_model_id: key(
    orNull(text),
    null,
    refused("nothing is sent to a hub; upload the folder of export_dir yourself"),
  ),

  cache_dir: key(
    orNull(text),
    null,
    noEffect("the hub's library decides where it caches (HF_HOME, MODELSCOPE_CACHE)"),
  ),
  model_revision: key(text, "main", refused("a model is fetched at its main revision")),
  adapter_folder: key(
    orNull(text),
    null,
    refused("name the whole folder in adapter_name_or_path"),
  ),
  hf_hub_token: key(
    orNull(text),
    null,
    refusedSecret("secrets do not belong in a job; set HF_TOKEN in the server's environment"),
  ),
  ms_hub_token: key(
    orNull(text),
    null,
    refusedSecret(
      "secrets do not belong in a job; set MODELSCOPE_API_TOKEN in the server's environment",
    ),
  ),
  om_hub_token: key(orNull(text), null, refused("there is no openMind hub here")),
  use_fast_tokenizer: key(boolean, true, refused("only fast tokenizers are read")),
  resize_vocab: key(boolean, false, refused("the vocabulary stays as the base has it")),
  split_special_tokens: key(
    boolean,
    false,
    noEffect("texts never become control tokens here, so they are always split"),
  ),
  add_tokens: key(orNull(list), null, refused("the vocabulary stays as the base has it")),
  add_special_tokens: key(orNull(list), null, refused("the vocabulary stays as the base has it")),
  new_special_tokens_config: key(
    orNull(text),
    null,
    refused("the vocabulary stays as the base has it"),
  ),
  init_special_tokens: key(
    anything,
    "noise_init",
    noEffect("the vocabulary stays as the base has it"),
  ),
  low_cpu_mem_usage: key(
    boolean,
    true,
    noEffect("weights are always loaded without a second copy"),
  ),
  rope_scaling: key(
    orNull(choice("linear", "dynamic", "yarn", "llama3")),
    null,
    refused("the context is not stretched; the base's own rope scaling is kept"),
  ),
  shift_attn: key(boolean, false, refused("attention stays exact")),
  mixture_of_depths: key(orNull(text), null, refused("the base's layers stay as they are")),
  use_unsloth: key(boolean, false, noEffect("Bullion brings its own fast training step")),
  use_unsloth_gc: key(boolean, false, noEffect("the memory plan decides what is recomputed")),
  enable_liger_kernel: key(boolean, false, noEffect("Bullion brings its own fast training step")),
  use_v1_kernels: key(anything, false, noEffect("Bullion brings its own fast training step")),
  moe_aux_loss_coef: key(
    orNull(float()),
    null,
    refused("mixtures of experts are not trained here"),
  ),
  use_reentrant_gc: key(boolean, true, noEffect("the memory plan decides what is recomputed")),
  upcast_layernorm: key(boolean, false, noEffect("norms are always computed in fp32")),
  upcast_lmhead_output: key(boolean, false, noEffect("the loss is always computed in fp32")),
  train_from_scratch: key(boolean, false, refused("only adapters are trained here")),
  offload_folder: key(text, "offload", noEffect("weights are not offloaded to disk")),
  use_kv_cache: key(boolean, true, noEffect("generation always keeps its keys and values")),
  print_param_status: key(boolean, false, noEffect("the first event counts the parameters")),
  fp8: key(boolean, false, refused("the base is computed in bf16, fp16 or fp32")),
  fp8_backend: key(text, "auto", noEffect("there is one way to compute in fp8 here")),
  fp8_enable_fsdp_float8_all_gather: key(boolean, false, noEffect("there is no FSDP here")),

  image_max_pixels: key(anything, 589824, noEffect("only text is trained")),
  image_min_pixels: key(anything, 1024, noEffect("only text is trained")),
  image_do_pan_and_scan: key(anything, false, noEffect("only text is trained")),
  crop_to_patches: key(anything, false, noEffect("only text is trained")),
  video_max_pixels: key(anything, 65536, noEffect("only text is trained")),
  video_min_pixels: key(anything, 256, noEffect("only text is trained")),
  video_fps: key(anything, 2, noEffect("only text is trained")),
  video_maxlen: key(anything, 128, noEffect("only text is trained")),
  use_audio_in_video: key(anything, false, noEffect("only text is trained")),
  audio_sampling_rate: key(anything, 16000, noEffect("only text is trained")),

  vllm_maxlen: key(anything, 4096, noEffect("Bullion's own engine serves every model")),
  vllm_gpu_util: key(anything, 0.7, noEffect("Bullion's own engine serves every model")),
  vllm_enforce_eager: key(anything, false, noEffect("Bullion's own engine serves every model")),
  vllm_max_lora_rank: key(anything, 32, noEffect("Bullion's own engine serves every model")),
  vllm_config: key(anything, null, noEffect("Bullion's own engine serves every model")),
  sglang_maxlen: key(anything, 4096, noEffect("Bullion's own engine serves every model")),
  sglang_mem_fraction: key(anything, 0.7, noEffect("Bullion's own engine serves every model")),
  sglang_tp_size: key(anything, -1, noEffect("Bullion's own engine serves every model")),
  sglang_config: key(anything, null, noEffect("Bullion's own engine serves every model")),
  sglang_lora_backend: key(anything, "triton", noEffect("Bullion's own engine serves every model")),
  use_kt: key(boolean, false, refused("there is no KTransformers backend here")),
  kt_optimize_rule: key(anything, null, noEffect("there is no KTransformers backend here")),
  cpu_infer: key(anything, 32, noEffect("there is no KTransformers backend here")),
  chunk_size: key(anything, 8192, noEffect("there is no KTransformers backend here")),
  mode: key(anything, "normal", noEffect("there is no KTransformers backend here")),
  kt_maxlen: key(anything, 4096, noEffect("there is no KTransformers backend here")),
  kt_use_cuda_graph: key(anything, true, noEffect("there is no KTransformers backend here")),
  kt_mode: key(anything, "normal", noEffect("there is no KTransformers backend here")),
  kt_force_think: key(anything, false, noEffect("there is no KTransformers backend here")),
};
