"""From a folder to a base that answers, piece by piece: tokenizer, weights, KV memory, runner.

It owns how a base is held: in which dtype, with how many threads, with how much KV memory. Whether there
is room for it, and which names lead to it, the engine decides.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import torch

from bullion.contract.worker import EngineOpening
from bullion.engine.constrain import Grammars
from bullion.engine.memory import kv_pages
from bullion.engine.pages import PagePool
from bullion.engine.products import has_fp16_products
from bullion.engine.resident import Resident
from bullion.engine.runner import CpuRunner, Runner
from bullion.engine.tokenizer import Tokenizer
from bullion.models.llama import LlamaShape, LlamaWeights
from bullion.models.llama_weights import load_llama

PAGE_TOKENS = 16
_SMALL = 100_000_000  # parameters; below, a second thread on the CPU only waits for the first


def weight_dtype(shape: LlamaShape, device: torch.device) -> torch.dtype:
    """What weights are held in: the file's half precision. On the CPU, where they are exact, two bytes or
    four as they need, which for an estimate config.json tells."""
    half = shape.dtype in (torch.bfloat16, torch.float16)
    if device.type == "cpu":
        return shape.dtype if half and has_fp16_products() else torch.float32
    return shape.dtype if half else torch.bfloat16


def load_resident(
    folder: Path, shape: LlamaShape, device: torch.device, opening: EngineOpening, threads: int
) -> Generator[None, None, Resident]:
    """Yields between pieces, so that others can be served; `threads` is what this process may use.

    Raises what `load_tokenizer` and `load_llama` raise.
    """
    from bullion.models.load import load_tokenizer

    on_cpu = device.type == "cpu"
    dtype = torch.float32 if on_cpu else weight_dtype(shape, device)  # of what is computed
    tokenizer = Tokenizer.of(load_tokenizer(folder), folder)
    grammars = Grammars(tokenizer.tokenizer, shape.vocab_size, tokenizer.eos, tokenizer.calls)
    grammars.prepare_beside()
    yield
    weights = yield from load_llama(folder, shape, device, None if on_cpu else dtype)
    if on_cpu and opening.threads is None:
        torch.set_num_threads(1 if shape.parameters < _SMALL else threads)
    pages = kv_pages(shape, dtype, PAGE_TOKENS, opening, device)
    runner = yield from _runner(weights, pages, device, opening)
    pool = PagePool(pages, PAGE_TOKENS)
    return Resident(folder, shape, tokenizer, grammars, runner, pool, opening)


def _runner(
    weights: LlamaWeights, pages: int, device: torch.device, opening: EngineOpening
) -> Generator[None, None, Runner]:
    runner: CpuRunner | CudaRunner
    if device.type == "cpu":
        runner = CpuRunner(weights, pages, PAGE_TOKENS)
    else:
        from bullion.engine.cuda_runner import CudaRunner

        runner = CudaRunner(
            weights,
            pages,
            PAGE_TOKENS,
            opening.max_running,
            opening.prefill_tokens,
            opening.cuda_graphs,
        )
    yield from runner.prepare()
    return runner
