/** Keys about records: where they come from and how they become tokens. Allowed in every scope. */
import { TemplateName } from "../../../contract/recipe.ts";
import { honoured, key, noEffect, refused, type ValueType } from "./key.ts";
import { anything, boolean, choice, float, integer, list, orNull, text } from "./value_types.ts";

const notNegative = float({ min: 0 });

/** LLaMA-Factory takes 1 for one record, and 1.0 for a share, which leaves nothing to train on. */
const shareOrCount: ValueType<number> = {
  expects: "a share below 1, or a whole number of records (one: 1, not 1.0)",
  read(raw, source) {
    const value = notNegative.read(raw, source);
    const written = typeof raw === "string" ? raw.trim() : source;
    return value === 1 && written !== null && written !== "1" ? undefined : value;
  },
};

export const DATA_KEYS = {
  template: key(
    orNull(choice(...TemplateName.options)),
    null,
    honoured("train", "predict", "export", "chat"),
  ),
  dataset: key(orNull(list), null, honoured("train")),
  eval_dataset: key(orNull(list), null, honoured("train", "predict")),
  dataset_dir: key(text, "data", honoured("train", "predict")),
  cutoff_len: key(integer({ min: 1 }), 2048, honoured("train", "predict")),
  max_samples: key(orNull(integer({ min: 1 })), null, honoured("train", "predict")),
  val_size: key(shareOrCount, 0, honoured("train", "predict")),
  train_on_prompt: key(boolean, false, honoured("train")),
  mask_history: key(boolean, false, honoured("train")),
  packing: key(orNull(boolean), null, honoured("train")),
  neat_packing: key(boolean, false, honoured("train")),
  default_system: key(orNull(text), null, honoured("train", "predict", "chat")),

  overwrite_cache: key(
    boolean,
    false,
    noEffect("nothing is cached: records are encoded each time"),
  ),
  preprocessing_num_workers: key(
    orNull(integer({ min: 1 })),
    null,
    noEffect("records are encoded in one pass; the result is the same with any number of workers"),
  ),
  preprocessing_batch_size: key(
    integer({ min: 1 }),
    1000,
    noEffect("records are encoded in one pass"),
  ),
  ignore_pad_token_for_loss: key(
    boolean,
    true,
    refused("nothing is padded here, so padding can never count in the loss"),
  ),
  streaming: key(
    boolean,
    false,
    refused("the data is read as a whole, so that every epoch has its exact order"),
  ),
  buffer_size: key(anything, 16384, noEffect("the data is read as a whole, not streamed")),
  mix_strategy: key(
    choice("concat", "interleave_under", "interleave_over", "interleave_once"),
    "concat",
    refused("data sets are joined one after the other (concat)"),
  ),
  interleave_probs: key(orNull(list), null, refused("data sets are joined one after the other")),
  eval_on_each_dataset: key(
    boolean,
    false,
    refused("evaluation data sets are evaluated together"),
  ),
  tokenized_path: key(orNull(text), null, refused("tokenised data is neither read nor kept")),
  data_shared_file_system: key(boolean, false, noEffect("one machine trains")),
  tool_format: key(orNull(text), null, refused("tools are written as the template has them")),
  enable_thinking: key(
    orNull(boolean),
    true,
    noEffect("answers are trained as the records have them; see templates qwen3 and qwen3_nothink"),
  ),
  media_dir: key(orNull(text), null, noEffect("only text is trained")),
  eval_num_beams: key(orNull(integer({ min: 1 })), null, refused("there is no beam search")),
};
