"""The packed LoRA step of the Llama family, forward and backward by hand.

Frozen weights need no gradient, so no autograd graph is built: each block knows its own backward.
What is exact: the loss and every adapter gradient equal those of separate Transformers + PEFT passes.
Not here: the choice of records, clipping, optimiser and schedule (train/), files (train/checkpoint).
"""

from bullion.train.llama.memory import estimate
from bullion.train.llama.shape import LlamaShape
from bullion.train.llama.stepper import LlamaStepper
from bullion.train.llama.supported import obstacle

__all__ = ["LlamaShape", "LlamaStepper", "estimate", "obstacle"]
