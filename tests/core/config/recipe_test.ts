// LLaMA-Factory's YAML: what is read, what is refused, and what is said about the rest.
import { deepStrictEqual, doesNotMatch, equal, match, ok, throws } from "node:assert/strict";
import { BullionError } from "../../../contract/errors.ts";
import { readRecipe, recipeFromKeys, scopeOfTraining } from "../../../core/config/llamafactory.ts";
import type { Recipe, Scope } from "../../../core/config/llamafactory.ts";
import { KEYS } from "../../../core/config/keys/table.ts";
import { SCHEDULES } from "../../../core/config/schedules.ts";
import schedules from "../../golden/schedules.json" with { type: "json" };

const TRAIN = "model_name_or_path: base\ntemplate: llama3\ndo_train: true\ndataset: d\n";
const PREDICT =
  "model_name_or_path: base\ntemplate: llama3\ndo_predict: true\npredict_with_generate: true\n" +
  "eval_dataset: d\noutput_dir: o\n";
const EXPORT =
  "model_name_or_path: base\nadapter_name_or_path: a\nexport_dir: o\ntemplate: llama3\n";
const CHAT = "model_name_or_path: base\ntemplate: llama3\n";
const SMALLEST: Record<Scope, string> = {
  train: TRAIN,
  predict: PREDICT,
  export: EXPORT,
  chat: CHAT,
};

const train = (more: string): Recipe => readRecipe(TRAIN + more, "train");

function fault(scope: Scope, more: string): string {
  try {
    readRecipe(SMALLEST[scope] + more, scope);
  } catch (error) {
    if (error instanceof BullionError && error.code === "invalid_recipe") return error.message;
    throw error;
  }
  throw new Error(`nothing was refused in ${more}`);
}

for (const scope of Object.keys(SMALLEST) as Scope[]) {
  Deno.test(`the smallest ${scope} YAML is enough`, () => {
    deepStrictEqual(readRecipe(SMALLEST[scope], scope).notes, []);
  });
}

Deno.test("a number may be written as 1e-4, 1.0e-4, 0.0001 or in quotes", () => {
  for (const rate of ["1e-4", "1.0e-4", "0.0001", "'1e-4'", "1E-4"]) {
    equal(train(`learning_rate: ${rate}\n`).keys.learning_rate, 1e-4);
  }
});

Deno.test("a boolean may be written as YAML 1.1 has it", () => {
  for (const yes of ["true", "yes", "on", "True", "'true'"]) {
    equal(train(`bf16: ${yes}\n`).keys.bf16, true);
  }
  for (const no of ["false", "no", "off"]) equal(train(`plot_loss: ${no}\n`).keys.plot_loss, false);
});

Deno.test("eval_strategy: no means no, though YAML 1.1 reads it as false", () => {
  equal(train("eval_strategy: no\n").keys.eval_strategy, "no");
});

Deno.test("a list may be written as a list or with commas", () => {
  for (const target of ["q_proj,v_proj", "[q_proj, v_proj]", "\n- q_proj\n- v_proj"]) {
    deepStrictEqual(train(`lora_target: ${target}\n`).keys.lora_target, ["q_proj", "v_proj"]);
  }
});

Deno.test("a text that looks like a number or a date stays as it was typed", () => {
  equal(train("output_dir: 2020-01-01\n").keys.output_dir, "2020-01-01");
  equal(train("output_dir: 010\n").keys.output_dir, "010");
});

Deno.test("a number that YAML 1.1 would misread is taken as typed or refused", () => {
  equal(train("lora_rank: 010\n").keys.lora_rank, 10);
  match(fault("train", "save_steps: 1:30\n"), /line 5, save_steps: .*got 1:30/);
});

Deno.test("null leaves a key at its default", () => {
  const { keys, written } = train("resume_from_checkpoint: null\nlearning_rate:\n");
  equal(keys.learning_rate, 5e-5);
  deepStrictEqual(Object.keys(written).includes("learning_rate"), false);
});

Deno.test("an unknown key is refused with its line and the nearest known one", () => {
  match(fault("train", "lora_rnak: 8\n"), /line 5, lora_rnak: .*nearest one is lora_rank/);
});

Deno.test("a key that stands twice is refused with its line", () => {
  match(fault("train", "bf16: true\nbf16: false\n"), /line 6, bf16: .*second time/);
});

Deno.test("all faults are reported together, in the order of their lines", () => {
  const message = fault("train", "stage: dpo\nlora_rank: 0\nbf16: true\nfp16: true\nxyz: 1\n");
  const lines = [...message.matchAll(/^- line (\d+)/gm)].map(([, line]) => Number(line));
  deepStrictEqual(lines, [5, 6, 8, 9]);
});

Deno.test("the error's param is the first faulty key", () => {
  try {
    train("lora_rank: 0\nlora_dropout: 2\n");
    ok(false);
  } catch (error) {
    equal((error as BullionError).param, "lora_rank");
  }
});

for (const scope of ["export", "chat"] as const) {
  Deno.test(`a key of training in a ${scope} YAML is an error`, () => {
    match(fault(scope, "learning_rate: 1e-4\n"), /learning_rate: is a key of training/);
    match(fault(scope, "output_dir: o\n"), /output_dir: is a key of training/);
  });
}

Deno.test("a method's key in an export YAML is accepted and named", () => {
  const { notes } = readRecipe(EXPORT + "finetuning_type: lora\nlora_rank: 8\n", "export");
  deepStrictEqual(notes.map(({ key }) => key), ["lora_rank"]);
});

const CONTRADICTIONS: [string, Scope, string, string][] = [
  ["val_size beside eval_dataset", "train", "val_size: 0.1\neval_dataset: e\n", "val_size"],
  [
    "mask_history beside train_on_prompt",
    "train",
    "mask_history: 1\ntrain_on_prompt: 1\n",
    "mask_history",
  ],
  ["bf16 beside fp16", "train", "bf16: true\nfp16: true\n", "fp16"],
  [
    "a quantised base without LoRA",
    "train",
    "quantization_bit: 4\nfinetuning_type: full\n",
    "quantization_bit",
  ],
  ["a quantised base of 5 bits", "train", "quantization_bit: 5\n", "quantization_bit"],
  [
    "an adapter in an export that quantises",
    "export",
    "export_quantization_bit: 4\n",
    "export_quantization_bit",
  ],
  ["a quantised base in an export", "export", "quantization_bit: 4\n", "quantization_bit"],
  ["neat_packing where packing is off", "train", "neat_packing: true\npacking: false\n", "packing"],
  ["evaluation without data for it", "train", "eval_strategy: epoch\n", "eval_strategy"],
  [
    "the best model without evaluation",
    "train",
    "load_best_model_at_end: true\n",
    "load_best_model_at_end",
  ],
  [
    "the best model where its step is not saved",
    "train",
    "val_size: 0.1\neval_strategy: steps\neval_steps: 30\nsave_steps: 100\nload_best_model_at_end: true\n",
    "load_best_model_at_end",
  ],
  ["a data set of a hub", "train", "dataset_dir: ONLINE\n", "dataset_dir"],
  ["half a record of evaluation data", "train", "val_size: 1.5\n", "val_size"],
  [
    "evaluation data split off from nothing",
    "predict",
    "eval_dataset:\nval_size: 0.1\n",
    "val_size",
  ],
  ["pure_bf16 beside fp16", "train", "pure_bf16: true\nfp16: true\n", "pure_bf16"],
  ["a PiSSA start beside DoRA", "train", "pissa_init: true\nuse_dora: true\n", "pissa_init"],
  [
    "a new adapter over an old one in a quantised base",
    "train",
    "create_new_adapter: true\nadapter_name_or_path: a\nquantization_bit: 4\n",
    "create_new_adapter",
  ],
  ["generation in a training", "train", "predict_with_generate: true\n", "predict_with_generate"],
  ["accuracy beside generation", "predict", "compute_accuracy: true\n", "predict_with_generate"],
  ["do_eval without data", "train", "do_eval: true\n", "do_eval"],
  [
    "two names of eval_strategy that differ",
    "train",
    "val_size: 0.1\neval_strategy: steps\nevaluation_strategy: epoch\n",
    "evaluation_strategy",
  ],
  [
    "stopping early without evaluation",
    "train",
    "early_stopping_steps: 3\n",
    "early_stopping_steps",
  ],
  [
    "a PiSSA start in a quantised base",
    "train",
    "pissa_init: true\nquantization_bit: 4\n",
    "pissa_init",
  ],
  ["two adapters to go on with", "train", "adapter_name_or_path: a,b\n", "adapter_name_or_path"],
  [
    "training and prediction in one run",
    "train",
    "do_predict: true\npredict_with_generate: true\n",
    "do_predict",
  ],
];

for (const [what, scope, more, key] of CONTRADICTIONS) {
  Deno.test(`${what} is refused at the key ${key}`, () => {
    match(fault(scope, more), new RegExp(`line \\d+, ${key}: `));
  });
}

const NEEDED: [Scope, string][] = [
  ["train", "model_name_or_path"],
  ["train", "dataset"],
  ["export", "adapter_name_or_path"],
  ["export", "export_dir"],
  ["chat", "model_name_or_path"],
];

for (const [scope, key] of NEEDED) {
  Deno.test(`a ${scope} YAML without ${key} is refused at that key`, () => {
    const without = SMALLEST[scope].replace(new RegExp(`^${key}: .*\\n`, "m"), "");
    try {
      readRecipe(without, scope);
      ok(false);
    } catch (error) {
      equal((error as BullionError).param, key);
      match((error as BullionError).message, /is missing/);
    }
  });
}

Deno.test("a prediction needs predict_with_generate and data", () => {
  const without = (line: string) => {
    try {
      readRecipe(PREDICT.replace(line, ""), "predict");
    } catch (error) {
      return (error as BullionError).message;
    }
    return "";
  };
  match(without("predict_with_generate: true\n"), /do_predict: needs predict_with_generate/);
  match(without("eval_dataset: d\n"), /do_predict: needs eval_dataset or val_size/);
  match(without("do_predict: true\n"), /do_predict: is not true/);
});

Deno.test("a training that would train nothing is refused", () => {
  try {
    readRecipe(TRAIN.replace("do_train: true\n", ""), "train");
    ok(false);
  } catch (error) {
    match((error as BullionError).message, /do_train: .*write do_train: true/);
  }
});

Deno.test("a secret is refused without being repeated", () => {
  for (const key of ["hf_hub_token", "ms_hub_token", "hub_token", "swanlab_api_key"]) {
    const message = fault("train", `${key}: hf_abc123\n`);
    match(message, new RegExp(`line 5, ${key}: this is not possible here`));
    doesNotMatch(message, /hf_abc123/);
  }
});

Deno.test("an effect-less key is named with its reason, once, and only if it was written", () => {
  const { notes } = train("ddp_timeout: 180000000\n");
  equal(notes.length, 1);
  match(notes[0]!.reason, /one process/);
});

Deno.test("a feature that is not here may be switched off, and not on", () => {
  deepStrictEqual(train("use_galore: false\nstage: sft\n").notes, []);
  match(fault("train", "use_galore: true\n"), /use_galore: true is not possible here: /);
});

Deno.test("a report to somewhere else is not made, and that is said", () => {
  match(train("report_to: wandb\n").notes[0]!.reason, /wandb/);
  deepStrictEqual(train("report_to: none\n").notes, []);
  deepStrictEqual(train("report_to: tensorboard\n").notes, []);
});

Deno.test("trust_remote_code is accepted and named", () => {
  deepStrictEqual(train("trust_remote_code: true\n").notes.map(({ key }) => key), [
    "trust_remote_code",
  ]);
});

Deno.test("of many unknown keys the first ones are named and the others counted", () => {
  const message = fault("train", Array.from({ length: 14 }, (_, i) => `zz${i}: 1\n`).join(""));
  match(message, /zz9: there is no such key; take it out\n/);
  match(message, /zz10: there is no such key, nor are there 3 of those that follow$/);
});

Deno.test("a word that is none of the known ones is refused with the nearest", () => {
  match(
    fault("train", "lr_scheduler_type: cosin\n"),
    /line 5, lr_scheduler_type: one of linear, .* is needed, got cosin; the nearest one is cosine$/,
  );
  match(fault("train", "optim: adam\n"), /got adam; the nearest one is adamw_torch$/);
  match(fault("train", "optim: lion\n"), /one of adamw_torch, .* is needed, got lion$/);
  for (const scope of Object.keys(SMALLEST) as Scope[]) {
    const text = SMALLEST[scope].replace("llama3", "llama-3");
    throws(() => readRecipe(text, scope), {
      code: "invalid_recipe",
      param: "template",
      message: /template: one of llama3, chatml, .*, got llama-3; the nearest one is llama3$/,
    });
  }
});

for (
  const [lines, said] of [
    ["cosine_with_min_lr\nlr_scheduler_kwargs: {min_lrr: 1e-5}", /no argument min_lrr; .* min_lr$/],
    ["cosine\nlr_scheduler_kwargs: {foo: 1}", /cosine has no argument foo; .* num_cycles$/],
    ["linear\nlr_scheduler_kwargs: {power: 2}", /linear takes no arguments; take power out$/],
    ["polynomial\nlr_scheduler_kwargs: {power: two}", /power must be a number above 0, got "two"$/],
    ["cosine_with_min_lr", /needs either min_lr .* or min_lr_rate/],
    ["warmup_stable_decay\nlr_scheduler_kwargs: {num_stable_steps: 3}", /needs num_decay_steps/],
  ] as const
) {
  Deno.test(`lr_scheduler_type: ${lines.replace("\n", ", ")} is refused`, () => {
    const message = fault("train", `lr_scheduler_type: ${lines}\n`);
    match(message, /lr_scheduler_kwargs: /);
    match(message, said);
  });
}

Deno.test("the arguments of every schedule are those that Python has", () => {
  const known = Object.entries(SCHEDULES).map(([name, its]) => [name, Object.keys(its)]);
  deepStrictEqual(Object.fromEntries(known), schedules);
});

for (const key of ["lora_dropout", "adam_beta1", "adam_beta2"]) {
  Deno.test(`${key} must be below 1`, () => {
    match(fault("train", `${key}: 1.0\n`), /a number from 0 to below 1 is needed, got 1\.0$/);
    equal(train(`${key}: 0.99\n`).written[key as "lora_dropout"], 0.99);
  });
}

Deno.test("val_size 1 is one record and 1.0 neither a share nor a count", () => {
  equal(train("val_size: 1\n").keys.val_size, 1);
  equal(train("val_size: 100.0\n").keys.val_size, 100);
  match(fault("train", "val_size: 1.0\n"), /a share below 1, or .* is needed, got 1\.0$/);
});

Deno.test("an empty lora_target is refused", () => {
  match(
    fault("train", "lora_target: ''\n"),
    /lora_target: is empty; write all, or names of layers/,
  );
});

Deno.test("a training without template uses the base's own and says so", () => {
  const { notes } = readRecipe(TRAIN.replace("template: llama3\n", ""), "train");
  deepStrictEqual(notes.map(({ key }) => key), ["template"]);
});

Deno.test("a YAML that predicts is told from one that trains", () => {
  equal(scopeOfTraining(PREDICT), "predict");
  equal(scopeOfTraining(TRAIN), "train");
  equal(scopeOfTraining("[broken"), "train");
});

Deno.test("text that is no mapping is refused", () => {
  for (const text of ["", "just words", "- a\n- b\n", "a: [\n"]) {
    try {
      readRecipe(text, "train");
      ok(false, text);
    } catch (error) {
      equal((error as BullionError).code, "invalid_recipe", text);
    }
  }
});

Deno.test("what YAML can hold beside plain keys is refused, never left out", () => {
  match(fault("train", "<<: {bf16: true}\n"), /line 5, \(key\): .*merged/);
  match(fault("train", "? [a, b]\n: 1\n"), /line 5, \(key\)/);
  match(
    fault("train", "output_dir: !!python/object:os.system x\n"),
    /line 5, \(syntax\): Unresolved tag/,
  );
  match(fault("train", "---\nbf16: true\n"), /line 5, \(syntax\): a second document/);
  match(fault("train", "output_dir: *nowhere\n"), /\(aliases\)/);
  match(fault("train", "lora_target: &a [*a]\n"), /\(aliases\)/);
});

Deno.test("aliases that would fill the memory are refused", () => {
  const level = (name: string, of: string) => `${name}: &${name} [${Array(9).fill(of)}]\n`;
  const bomb = level("a", "x") + level("b", "*a") + level("c", "*b") + level("d", "*c");
  match(fault("train", bomb), /\(aliases\)/);
});

Deno.test("broken YAML is told as such, without keys that seem to be missing", () => {
  doesNotMatch(fault("train", "a: {b: [}\n"), /is missing/);
});

Deno.test("keys that never were YAML are held to the same rules, without lines", () => {
  try {
    recipeFromKeys(
      { model_name_or_path: "m", template: "llama3", do_train: true, dataset: 5 },
      "chat",
    );
    ok(false);
  } catch (error) {
    match((error as BullionError).message, /do_train: is a key of training/);
    doesNotMatch((error as BullionError).message, /line/);
  }
});

Deno.test("every default is a value that its own key would read", () => {
  for (const [name, { type, default: fallback }] of Object.entries(KEYS)) {
    if (fallback === null) continue;
    deepStrictEqual(type.read(fallback, null), fallback, name);
  }
});

Deno.test("every reason is a sentence without a full stop", () => {
  for (const [name, { effect }] of Object.entries(KEYS)) {
    if (effect.kind === "honoured") continue;
    match(effect.reason, /^\S.{10,}[^.]$/, name);
  }
});
