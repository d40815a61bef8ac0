// What a trainer is told for what was written.
import { deepStrictEqual, equal } from "node:assert/strict";
import { EncodeSpec, ExportSpec, TrainSpec } from "../../../contract/recipe.ts";
import { readRecipe } from "../../../core/config/llamafactory.ts";
import {
  resumption,
  toChatSettings,
  toEncodeSpec,
  toExportSpec,
  toTrainSpec,
} from "../../../core/config/specs.ts";

const model = { name: "base", path: "/base", hub: null, trust_remote_code: false };

const keys = (more: string) =>
  readRecipe(
    `model_name_or_path: base\ntemplate: llama3\ndo_train: true\ndataset: d\n${more}`,
    "train",
  ).keys;

const spec = (more: string) =>
  TrainSpec.parse(toTrainSpec(keys(more), {
    model,
    output_dir: "/out",
    train: ["/d.jsonl"],
    eval: [],
    adapter: null,
    resume_from: null,
  }));

Deno.test("lora_alpha is twice the rank unless it is written", () => {
  equal(spec("lora_rank: 16\n").lora.alpha, 32);
  equal(spec("lora_rank: 16\nlora_alpha: 8\n").lora.alpha, 8);
});

Deno.test("the defaults are LLaMA-Factory's and transformers'", () => {
  const { optimizer, schedule, length, logging, saving, evaluation, precision, seed, data } = spec(
    "",
  );
  deepStrictEqual(optimizer, {
    name: "adamw_torch",
    learning_rate: 5e-5,
    weight_decay: 0,
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    max_grad_norm: 1,
    neftune_noise_alpha: null,
  });
  deepStrictEqual(schedule, { type: "linear", warmup_ratio: 0, warmup_steps: 0, kwargs: {} });
  deepStrictEqual(length, {
    epochs: 3,
    max_steps: -1,
    batch_size: 8,
    accumulation: 1,
    eval_batch_size: 8,
    shuffle: true,
  });
  deepStrictEqual(logging, { steps: 500, plot_loss: false, report_to: [] });
  deepStrictEqual(saving, { strategy: "steps", steps: 500, total_limit: null, only_model: false });
  equal(evaluation.strategy, "no");
  equal(precision.dtype, "fp32");
  equal(seed, 42);
  equal(data.cutoff_len, 2048);
});

Deno.test("an argument of a schedule is a number, though YAML takes 1e-5 for a text", () => {
  const { schedule } = spec(
    "lr_scheduler_type: cosine_with_min_lr\nlr_scheduler_kwargs: {min_lr: 1e-5}\n",
  );
  deepStrictEqual(schedule.kwargs, { min_lr: 1e-5 });
});

Deno.test("eval_steps is logging_steps unless it is written", () => {
  equal(spec("logging_steps: 20\n").evaluation.steps, 20);
  equal(spec("logging_steps: 20\neval_steps: 40\n").evaluation.steps, 40);
});

Deno.test("compute_dtype is auto unless fp8 is written", () => {
  equal(spec("").precision.compute_dtype, "auto");
  equal(spec("bf16: true\ncompute_dtype: fp8\n").precision.compute_dtype, "fp8");
});

Deno.test("evaluation_strategy is the old name of eval_strategy", () => {
  equal(spec("val_size: 0.1\nevaluation_strategy: epoch\n").evaluation.strategy, "epoch");
});

Deno.test("neat_packing implies packing", () => {
  const { packing, neat_packing } = spec("neat_packing: true\n").data;
  deepStrictEqual([packing, neat_packing], [true, true]);
});

Deno.test("warmup_steps below 1 is a share of the steps", () => {
  deepStrictEqual(
    [spec("warmup_steps: 0.1\n").schedule, spec("warmup_steps: 10\nwarmup_ratio: 0.2\n").schedule]
      .map(({ warmup_ratio, warmup_steps }) => [warmup_ratio, warmup_steps]),
    [[0.1, 0], [0.2, 10]],
  );
});

Deno.test("bf16, pure_bf16 and fp16 choose the precision, and nothing is fp32", () => {
  equal(spec("bf16: true\n").precision.dtype, "bf16");
  deepStrictEqual(spec("pure_bf16: true\n").precision, {
    dtype: "bf16",
    pure_bf16: true,
    compute_dtype: "auto",
  });
  equal(spec("fp16: true\n").precision.dtype, "fp16");
});

Deno.test("a quantised base is described, an unquantised one is not", () => {
  equal(spec("").quantization, null);
  deepStrictEqual(spec("quantization_bit: 4\ndouble_quantization: false\n").quantization, {
    bit: 4,
    type: "nf4",
    double: false,
  });
});

Deno.test("none reports nowhere, tensorboard beside others reports to tensorboard", () => {
  deepStrictEqual(spec("report_to: none\n").logging.report_to, []);
  deepStrictEqual(spec("report_to: [wandb, tensorboard]\n").logging.report_to, ["tensorboard"]);
});

Deno.test("export_size counts 10^9 bytes a shard", () => {
  const { keys } = readRecipe(
    "model_name_or_path: b\nadapter_name_or_path: a\nexport_dir: e\nexport_size: 5\n",
    "export",
  );
  const exported = ExportSpec.parse(
    toExportSpec(keys, { model, export_dir: "/e", adapters: ["/a"], probes: [] }),
  );
  equal(exported.shard_bytes, 5_000_000_000);
  equal(exported.dtype, "auto");
  equal(exported.device, "cpu");
});

Deno.test("a chat without do_sample is greedy", () => {
  const chat = (more: string) =>
    toChatSettings(readRecipe(`model_name_or_path: b\ntemplate: llama3\n${more}`, "chat").keys);
  equal(chat("do_sample: false\ntemperature: 0.5\n").sampling.temperature, 0);
  deepStrictEqual(chat("temperature: 0.1\ntop_p: 0.7\n").sampling, {
    temperature: 0.1,
    top_p: 0.7,
    top_k: 50,
    repetition_penalty: 1,
    max_tokens: 1024,
  });
});

Deno.test("what template shows is encoded by the same rules as what is trained", () => {
  const written = keys("cutoff_len: 64\nmask_history: true\n");
  const encode = EncodeSpec.parse(
    toEncodeSpec(written, { model, train: ["/d.jsonl"], eval: [], record: 3 }),
  );
  deepStrictEqual(encode.data, spec("cutoff_len: 64\nmask_history: true\n").data);
});

Deno.test("where a training starts follows resume_from_checkpoint and overwrite_output_dir", () => {
  const start = (more: string) => resumption(keys(more));
  deepStrictEqual(start(""), { kind: "last_if_any" });
  deepStrictEqual(start("overwrite_output_dir: true\nresume_from_checkpoint: null\n"), {
    kind: "fresh",
  });
  deepStrictEqual(start("resume_from_checkpoint: false\n"), { kind: "fresh" });
  deepStrictEqual(start("resume_from_checkpoint: true\n"), { kind: "last" });
  deepStrictEqual(start("overwrite_output_dir: true\nresume_from_checkpoint: o/checkpoint-5\n"), {
    kind: "checkpoint",
    path: "o/checkpoint-5",
  });
});
