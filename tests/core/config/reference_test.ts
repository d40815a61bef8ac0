// The reference project's YAML files, as they stand.
import { deepStrictEqual, equal } from "node:assert/strict";
import { readRecipe } from "../../../core/config/llamafactory.ts";
import type { Scope, Values } from "../../../core/config/llamafactory.ts";
import type { KeyName } from "../../../core/config/keys/table.ts";
import { KEYS } from "../../../core/config/keys/table.ts";
import { resumption, toExportSpec, toTrainSpec } from "../../../core/config/specs.ts";
import { readShared, sharedTest } from "../../shared_data.ts";

const model = { name: "base", path: "/base", hub: null, trust_remote_code: false };
const FOLDER = "data/reference";

const reference = (name: string, scope: Scope) =>
  readRecipe(new TextDecoder().decode(readShared(`${FOLDER}/${name}`)), scope);

/** Keys of a recipe that belong to its own run, not to how it trains. */
const OF_THE_RUN = [
  "model_name_or_path",
  "trust_remote_code",
  "dataset",
  "max_samples",
  "overwrite_output_dir",
];

const trainingOf = (keys: Values) =>
  Object.entries(keys).filter(([name]) =>
    KEYS[name as KeyName].effect.kind === "honoured" && !OF_THE_RUN.includes(name)
  );

sharedTest("the reference's training YAML means its 1,230 steps of eight records", FOLDER, () => {
  const { keys, notes } = reference("train_llama3_lora_sft.yaml", "train");
  const spec = toTrainSpec(keys, {
    model,
    output_dir: "/out",
    train: ["/d"],
    eval: [],
    adapter: null,
    resume_from: null,
  });
  const records = 977;
  const { batch_size, accumulation, epochs } = spec.length;
  equal(Math.ceil(records / batch_size / accumulation) * epochs, 1230);
  deepStrictEqual([spec.lora.rank, spec.lora.alpha, spec.lora.target], [8, 16, ["all"]]);
  deepStrictEqual(spec.schedule, {
    type: "cosine",
    warmup_ratio: 0.1,
    warmup_steps: 0,
    kwargs: {},
  });
  equal(spec.optimizer.learning_rate, 1e-4);
  equal(spec.precision.dtype, "bf16");
  equal(spec.data.max_samples, 1000);
  deepStrictEqual(resumption(keys), { kind: "fresh" });
  deepStrictEqual(notes.map(({ key }) => key), [
    "trust_remote_code",
    "overwrite_cache",
    "preprocessing_num_workers",
    "dataloader_num_workers",
    "ddp_timeout",
  ]);
});

sharedTest(
  "the recipe for Llama 3 that is shipped trains as the reference's YAML does",
  FOLDER,
  () => {
    const shipped = readRecipe(
      Deno.readTextFileSync(
        new URL("../../../configs/recipes/llama3_lora_sft.yaml", import.meta.url),
      ),
      "train",
    ).keys;
    const { keys } = reference("train_llama3_lora_sft.yaml", "train");
    deepStrictEqual(trainingOf(shipped), trainingOf(keys));
  },
);

sharedTest("the reference's merge YAML means four shards of 5 GB on the CPU", FOLDER, () => {
  const { keys } = reference("merge_llama3_lora_sft.yaml", "export");
  deepStrictEqual(keys.adapter_name_or_path, ["saves/llama3-8b/lora/sft"]);
  const spec = toExportSpec(keys, { model, export_dir: "/e", adapters: ["/a"], probes: [] });
  deepStrictEqual([spec.shard_bytes, spec.device, spec.legacy_format], [5e9, "cpu", false]);
});

sharedTest("the reference's inference and prediction YAML are read", FOLDER, () => {
  equal(reference("inference_llama3_lora_sft.yaml", "chat").keys.temperature, 0.1);
  equal(reference("predict_llama3_lora_sft.yaml", "predict").keys.max_new_tokens, 256);
});

for (const curve of ["curve_a", "curve_b"]) {
  sharedTest(`the YAML of golden ${curve} is read`, `golden/${curve}`, () => {
    const text = new TextDecoder().decode(readShared(`golden/${curve}/train.yaml`));
    equal(readRecipe(text, "train").keys.dataset_dir, "reference");
  });
}
