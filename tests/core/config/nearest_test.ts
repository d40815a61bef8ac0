// The word that somebody meant.
import { equal } from "node:assert/strict";
import { editDistance, instead, nearest } from "../../../core/config/nearest.ts";

Deno.test("a swap, a lost, a doubled and a wrong letter each count one", () => {
  for (const slip of ["lora_rnak", "lora_ran", "lora_rankk", "lora_bank"]) {
    equal(editDistance(slip, "lora_rank"), 1, slip);
  }
  equal(editDistance("", "abc"), 3);
  equal(editDistance("same", "same"), 0);
});

const OPTIMISERS = ["adamw_torch", "adamw_8bit", "adafactor", "sgd"];

Deno.test("the word that was meant is found whatever its case, ties go by the order given", () => {
  equal(nearest("LORA_RANK", ["lora_alpha", "lora_rank"]), "lora_rank");
  equal(nearest("cat", ["rat", "bat"]), "rat");
});

Deno.test("a word's beginning, or parts of it, mean that word", () => {
  equal(nearest("adam", OPTIMISERS), "adamw_torch");
  equal(nearest("AdamW", OPTIMISERS), "adamw_torch");
  equal(nearest("adamw_hf", OPTIMISERS), "adamw_torch");
  equal(
    nearest("batch_size", ["eval_steps", "per_device_train_batch_size"]),
    "per_device_train_batch_size",
  );
});

Deno.test("what is near nothing gets no proposal", () => {
  equal(nearest("x", []), null);
  equal(nearest("c", ["b", "a"]), null);
  equal(nearest("nope", ["q_proj", "k_proj"]), null);
  equal(nearest("dpo", ["type", "supervised"]), null);
  equal(nearest("model_name_or_path", ["model", "training_file", "metadata"]), null);
});

Deno.test("where nothing is near, few known words are all said, many are not", () => {
  equal(instead("supervisd", ["type", "supervised"]), "the nearest one is supervised");
  equal(instead("dpo", ["type", "supervised"]), "there are type and supervised");
  equal(instead("dpo", ["type"]), "there is only type");
  equal(instead("dpo", []), "take it out");
  equal(instead("dpo", Array.from({ length: 13 }, (_, i) => `word${i}`)), "take it out");
});
