"""The embedded base on the processor: how much of the matrix products' own rate a step reaches."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from bullion.train.llama import LlamaShape, LlamaStepper
from bullion.train.optimizer import Optimizer

from training.job import EMBEDDED, OPTIMIZER, random_llama, spec, steps_of_records, tokens_of
from training.loops import packed_loop, peft_loop

LENGTH = 0.16  # of the reference's records: the embedded base answers in about sixty tokens


def measure(lengths: Path, rounds: int = 5) -> list[str]:
    """Products and steps take turns, the fastest round of each counts: other work disturbs less."""
    device = torch.device("cpu")
    model = random_llama(EMBEDDED, torch.float32, device)
    steps = steps_of_records(lengths, EMBEDDED["vocab_size"], LENGTH)[:4]
    tokens = tokens_of(steps)
    began = time.perf_counter()
    list(peft_loop(model, steps[:2], device, recompute=False))
    theirs = tokens_of(steps[:2]) / (time.perf_counter() - began)
    stepper = LlamaStepper(model, spec("fp32"), device)
    optimizer = Optimizer(stepper.trainable(), OPTIMIZER)
    shape = LlamaShape.of(model.base_model.model.config)
    products, ours = [], []
    for _ in range(rounds + 1):
        products.append(sum(_frozen_products(shape, tokens_of([s])) for s in steps))
        began = time.perf_counter()
        list(packed_loop(stepper, steps, optimizer))
        ours.append(time.perf_counter() - began)
    floor, best = min(products), min(ours[1:])
    return [
        f"{torch.get_num_threads()} threads, {tokens // len(steps)} tokens a step",
        f"frozen products alone {tokens / floor:7.0f} tokens/s",
        f"ours                  {tokens / best:7.0f} tokens/s, {floor / best:.0%} of the products",
        f"Transformers + PEFT   {theirs:7.0f} tokens/s, ours {tokens / best / theirs:.1f} times",
    ]


def _frozen_products(shape: LlamaShape, tokens: int) -> float:
    """Seconds of the forward and activation-gradient products of one step, nothing else."""
    h, layers = shape.hidden, shape.layers
    groups = [(h, shape.qkv_width), (shape.q_width, h), (h, 2 * shape.mlp), (shape.mlp, h)]
    seconds = 0.0
    for k, n, times in [*((k, n, layers) for k, n in groups), (h, shape.vocabulary, 1)]:
        x, w, dy = torch.randn(tokens, k), torch.randn(n, k), torch.randn(tokens, n)
        y, dx = torch.empty(tokens, n), torch.empty(tokens, k)
        torch.mm(x, w.t(), out=y)
        began = time.perf_counter()
        for _ in range(times):
            torch.mm(x, w.t(), out=y)
            torch.mm(dy, w, out=dx)
        seconds += time.perf_counter() - began
    return seconds
