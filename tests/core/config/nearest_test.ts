// The word that somebody meant.
import { equal } from "node:assert/strict";
import { editDistance, nearest } from "../../../core/config/nearest.ts";

Deno.test("a swap, a lost, a doubled and a wrong letter each count one", () => {
  for (const slip of ["lora_rnak", "lora_ran", "lora_rankk", "lora_bank"]) {
    equal(editDistance(slip, "lora_rank"), 1, slip);
  }
  equal(editDistance("", "abc"), 3);
  equal(editDistance("same", "same"), 0);
});

Deno.test("the nearest word is found whatever its case, and ties go by alphabet", () => {
  equal(nearest("LORA_RANK", ["lora_alpha", "lora_rank"]), "lora_rank");
  equal(nearest("c", ["b", "a"]), "a");
  equal(nearest("x", []), null);
});
