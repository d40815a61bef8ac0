"""LoRA fine-tuning: one generator, `recipe.train`, and the parts it reads like a list of."""
