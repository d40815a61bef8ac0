// OpenAI's fine-tuning request becomes the keys of a YAML.
import { deepStrictEqual, equal, match, ok } from "node:assert/strict";
import { BullionError } from "../../../contract/errors.ts";
import { autoRecipe, keysOfRequest } from "../../../core/config/hyperparameters.ts";
import { recipeFromKeys } from "../../../core/config/llamafactory.ts";

const RECIPE = Deno.readTextFileSync(
  new URL("../../../configs/recipes/llama3_lora_sft.yaml", import.meta.url),
);
const request = { model: "base", training_file: "file-1" };

const keysFor = (more: Record<string, unknown>) =>
  recipeFromKeys(keysOfRequest({ ...request, ...more }, RECIPE), "train").keys;

function refusal(more: Record<string, unknown>): BullionError {
  try {
    keysOfRequest({ ...request, ...more }, RECIPE);
  } catch (error) {
    return error as BullionError;
  }
  throw new Error("nothing was refused");
}

Deno.test("auto is the recipe as it stands, with the request's own model and data", () => {
  const keys = keysFor({ hyperparameters: { n_epochs: "auto" } });
  equal(keys.model_name_or_path, "base");
  deepStrictEqual(keys.dataset, ["file-1"]);
  equal(keys.learning_rate, 1e-4);
  equal(keys.num_train_epochs, 10);
  equal(keys.gradient_accumulation_steps, 8);
  equal(keys.output_dir, null);
});

Deno.test("the embedded base has a recipe of its own", () => {
  equal(autoRecipe({ embedded: true }), "bullion_tiny.yaml");
  equal(autoRecipe({ embedded: false }), "llama3_lora_sft.yaml");
});

Deno.test("n_epochs, batch_size and the multiplier act on the recipe", () => {
  const hyperparameters = { n_epochs: 2, batch_size: 4, learning_rate_multiplier: 0.5 };
  const keys = keysFor({ method: { type: "supervised", supervised: { hyperparameters } } });
  equal(keys.num_train_epochs, 2);
  equal(keys.per_device_train_batch_size, 1);
  equal(keys.gradient_accumulation_steps, 4);
  equal(keys.learning_rate, 5e-5);
});

Deno.test("the older place of hyperparameters counts where the newer one is empty", () => {
  const old = { hyperparameters: { n_epochs: 7 } };
  equal(keysFor(old).num_train_epochs, 7);
  const supervised = { hyperparameters: { n_epochs: 2 } };
  equal(keysFor({ ...old, method: { type: "supervised", supervised } }).num_train_epochs, 2);
});

Deno.test("a validation file is evaluated once an epoch, a seed is the seed", () => {
  const keys = keysFor({ validation_file: "file-2", seed: 7 });
  deepStrictEqual(keys.eval_dataset, ["file-2"]);
  equal(keys.eval_strategy, "epoch");
  equal(keys.seed, 7);
});

Deno.test("a method other than supervised is refused by name", () => {
  const error = refusal({ method: { type: "dpo" } });
  equal(error.code, "unsupported_method");
  match(error.message, /dpo/);
});

Deno.test("a hyperparameter out of range is refused at its own place", () => {
  const error = refusal({
    method: { type: "supervised", supervised: { hyperparameters: { n_epochs: 0 } } },
  });
  equal(error.code, "invalid_hyperparameters");
  equal(error.param, "method.supervised.hyperparameters.n_epochs");
  ok(refusal({ hyperparameters: { batch: 1 } }).message.includes("batch"));
});
