"""How much memory there is, and how much of it a base's weights and KV pages may take."""

from __future__ import annotations

import ctypes
import gc
import os

import torch

from bullion.contract.worker import EngineOpening
from bullion.models.llama import LlamaShape

_CPU_SHARE = 0.25  # of the free memory, for KV pages: others live on this machine too
_CUDA_SHARE = 0.5  # of what is left beside the weights: a second base must still fit


def free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        torch.cuda.empty_cache()
        return torch.cuda.mem_get_info()[0]
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    except (ValueError, OSError):
        return 1 << 62  # not told on this system


def give_back(device: torch.device) -> None:
    """Hands what was freed back to the system: to the driver on a GPU, and what lies in malloc's heaps, where
    glibc keeps tensors below 32 MB otherwise; other allocators do it by themselves, or never."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)


def weight_bytes(shape: LlamaShape, dtype: torch.dtype, device: torch.device) -> int:
    """What loading takes at its peak, roughly: the weights and one layer twice; on the CPU the head in
    fp32 as well, which is packed while all the others are there."""
    packing = 4 * shape.vocab_size * shape.hidden_size if device.type == "cpu" else 0
    return int(shape.parameters * dtype.itemsize * 1.05) + packing


def page_bytes(shape: LlamaShape, dtype: torch.dtype, page_tokens: int) -> int:
    """Keys and values of one page in all layers."""
    return 2 * shape.layers * shape.kv_size * page_tokens * dtype.itemsize


def kv_pages(
    shape: LlamaShape,
    dtype: torch.dtype,
    page_tokens: int,
    opening: EngineOpening,
    device: torch.device,
) -> int:
    """Pages to set aside: as many as `kv_memory_gb` (10^9 bytes) holds, or a share of what is free,
    but never more than all running sequences could fill."""
    one = page_bytes(shape, dtype, page_tokens)
    if opening.kv_memory_gb is not None:
        budget = opening.kv_memory_gb * 1e9
    else:
        budget = free_bytes(device) * (_CUDA_SHARE if device.type == "cuda" else _CPU_SHARE)
    useful = opening.max_running * -(-shape.max_positions // page_tokens)
    return max(2, min(int(budget // one), useful) + 1)  # and the page that nobody gets
