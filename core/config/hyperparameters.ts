/**
 * OpenAI's fine-tuning request as keys of LLaMA-Factory's YAML.
 *
 * The rule. "auto" is a recipe of configs/recipes: `bullion_tiny.yaml` for the embedded base, which
 * the usual rates teach nothing, `llama3_lora_sft.yaml` for every other. On top of it:
 * - `n_epochs` sets num_train_epochs;
 * - `batch_size` sets gradient_accumulation_steps, with one record a device batch;
 * - `learning_rate_multiplier` multiplies the recipe's learning_rate;
 * - `seed` sets seed, and a validation file is evaluated once an epoch.
 */
import { z } from "zod";
import { BullionError } from "../../contract/errors.ts";
import type { Values } from "./keys/table.ts";
import { KEYS } from "./keys/table.ts";
import { readYamlMapping } from "./yaml.ts";
import { Faults } from "./faults.ts";

const auto = z.literal("auto");
const MOST = { n_epochs: 1000, batch_size: 4096 };

export const Hyperparameters = z.strictObject({
  n_epochs: z.union([auto, z.number().positive().max(MOST.n_epochs)]).default("auto"),
  batch_size: z.union([auto, z.int().positive().max(MOST.batch_size)]).default("auto"),
  learning_rate_multiplier: z.union([auto, z.number().positive()]).default("auto"),
});
export type Hyperparameters = z.infer<typeof Hyperparameters>;

/** The parts of a request that say how to train. `hyperparameters` is the older place of the same. */
export interface FineTuningRequest {
  model: string;
  training_file: string;
  validation_file?: string | null;
  method?: { type: string; supervised?: { hyperparameters?: unknown } | null } | null;
  hyperparameters?: unknown;
  seed?: number | null;
}

export type RecipeFile = "bullion_tiny.yaml" | "llama3_lora_sft.yaml";

/** The file of configs/recipes that "auto" means. */
export function autoRecipe(base: { embedded: boolean }): RecipeFile {
  return base.embedded ? "bullion_tiny.yaml" : "llama3_lora_sft.yaml";
}

/** Keys of a recipe that belong to its own example run, not to how a model is trained. */
const OF_THE_RUN = new Set([
  "model_name_or_path",
  "adapter_name_or_path",
  "dataset",
  "eval_dataset",
  "dataset_dir",
  "val_size",
  "max_samples",
  "output_dir",
  "overwrite_output_dir",
  "resume_from_checkpoint",
]);

/** Which of the three a request asks for, each "auto" or a value. Throws `invalid_hyperparameters`. */
export function hyperparametersOf(request: FineTuningRequest): Hyperparameters {
  const type = request.method?.type ?? "supervised";
  if (type !== "supervised") {
    throw new BullionError(
      "unsupported_method",
      `Cannot fine-tune by the method ${type}: only supervised is possible here`,
      { param: "method.type" },
    );
  }
  const place = request.method?.supervised?.hyperparameters !== undefined
    ? "method.supervised.hyperparameters"
    : "hyperparameters";
  const given = request.method?.supervised?.hyperparameters ?? request.hyperparameters ?? {};
  const parsed = Hyperparameters.safeParse(given);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  const param = [place, ...issue.path].join(".");
  throw new BullionError(
    "invalid_hyperparameters",
    `Cannot use ${param}: n_epochs is "auto" or a number above 0, ${MOST.n_epochs} at most, batch_size ` +
      `"auto" or an integer above 0, ${MOST.batch_size} at most, learning_rate_multiplier "auto" or a ` +
      `number above 0, got ${JSON.stringify(given)}`,
    { param },
  );
}

/**
 * The keys that a YAML would have, for `recipeFromKeys(…, "train")`; `output_dir` is the caller's to
 * add. `autoRecipeText` is the text of the file that `autoRecipe` names.
 */
export function keysOfRequest(
  request: FineTuningRequest,
  autoRecipeText: string,
): Record<string, unknown> {
  const { n_epochs, batch_size, learning_rate_multiplier } = hyperparametersOf(request);
  const keys = recipeKeys(autoRecipeText);
  keys.model_name_or_path = request.model;
  keys.do_train = true;
  keys.dataset = [request.training_file];
  if (n_epochs !== "auto") keys.num_train_epochs = n_epochs;
  if (batch_size !== "auto") {
    keys.per_device_train_batch_size = 1;
    keys.gradient_accumulation_steps = batch_size;
  }
  if (learning_rate_multiplier !== "auto") {
    const rate = keys.learning_rate ?? KEYS.learning_rate.default;
    keys.learning_rate = rate * learning_rate_multiplier;
  }
  if (request.seed != null) keys.seed = request.seed;
  if (request.validation_file) {
    keys.eval_dataset = [request.validation_file];
    keys.eval_strategy = "epoch";
  }
  return keys;
}

function recipeKeys(text: string): Partial<Values> {
  const faults = new Faults();
  const entries = readYamlMapping(text, faults) ?? [];
  faults.raise("invalid_recipe", "the recipe that stands for auto");
  const keys: Record<string, unknown> = {};
  for (const { key, value, source } of entries) {
    if (OF_THE_RUN.has(key)) continue;
    const known = Object.hasOwn(KEYS, key) ? KEYS[key as keyof typeof KEYS] : undefined;
    keys[key] = known?.type.read(value, source) ?? value;
  }
  return keys as Partial<Values>;
}
