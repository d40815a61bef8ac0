/** Keys about sampling of answers. Allowed in every scope. */
import { honoured, key, noEffect, refused } from "./key.ts";
import { boolean, float, integer } from "./value_types.ts";

export const GENERATION_KEYS = {
  do_sample: key(boolean, true, honoured("predict", "chat")),
  temperature: key(float({ min: 0 }), 0.95, honoured("predict", "chat")),
  top_p: key(float({ above: 0, max: 1 }), 0.7, honoured("predict", "chat")),
  top_k: key(integer({ min: 0 }), 50, honoured("predict", "chat")),
  max_new_tokens: key(integer({ min: 1 }), 1024, honoured("predict", "chat")),
  repetition_penalty: key(float({ min: 0.01, max: 100 }), 1, honoured("predict", "chat")),
  skip_special_tokens: key(boolean, true, honoured("predict", "chat")),
  max_length: key(
    integer({ min: 1 }),
    1024,
    noEffect("max_new_tokens counts, as it does in LLaMA-Factory when both are there"),
  ),
  num_beams: key(integer({ min: 1 }), 1, refused("there is no beam search")),
  length_penalty: key(float(), 1, noEffect("it only weighs beams, and there is no beam search")),
};
