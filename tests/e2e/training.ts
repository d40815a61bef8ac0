/** A training on the embedded base that a test can watch, stop or kill: small data, steps to order. */

/** Sixteen records in alpaca's form. */
export const records = JSON.stringify(
  Array.from({ length: 16 }, (_, i) => ({
    instruction: `第${i + 1}季度的营业收入是多少？`,
    output: `营业收入为${(i + 1) * 37}万元，较上期增长${i + 2}%。`,
  })),
);

export function recipe(more: Record<string, unknown> = {}): string {
  return JSON.stringify({
    model_name_or_path: "bullion-tiny",
    stage: "sft",
    do_train: true,
    finetuning_type: "lora",
    lora_target: "all",
    dataset: "quarters",
    template: "llama3",
    per_device_train_batch_size: 1,
    gradient_accumulation_steps: 8,
    learning_rate: 1e-3,
    logging_steps: 1,
    max_steps: 2,
    ...more,
  });
}
