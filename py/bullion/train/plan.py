"""What a job will need of memory, and the fastest way of computing it that fits.

Reads the base's configuration, never its weights. It estimates and chooses; nothing is allocated.

Legend: T = tokens of a pack, H = hidden size, M = size of the feed-forward layer, V = vocabulary.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bullion.contract.errors import Refusal
from bullion.contract.recipe import TrainSpec
from bullion.data.examples import Examples
from bullion.train.schedule import Course
from bullion.train.step import Recompute

SLOWER: dict[Recompute, float] = {"none": 1.0, "selective": 1.02, "full": 1.37}  # measured
PASS_TOKENS = 400  # what a pass costs beside its tokens (launches, reading the weights), in tokens
USUAL_RANK = 8  # LLaMA-Factory's default
CONTEXT = 900_000_000  # CUDA's context, libraries, slack of the allocator


@dataclass(frozen=True)
class Plan:
    """How steps are computed. `pack_tokens` None: a step is one pack."""

    recompute: Recompute
    pack_tokens: int | None
    needed: int  # bytes
    available: int  # bytes

    @property
    def text(self) -> str:
        how = {
            "none": "nothing is computed twice",
            "selective": "cheap activations are computed twice",
            "full": "all activations are computed twice",
        }[self.recompute]
        packs = f"packs of {self.pack_tokens} tokens" if self.pack_tokens else "one pack a step"
        return f"Needs about {_size(self.needed)} of {_size(self.available)}: {how}, {packs}"

    @property
    def data(self) -> dict[str, Any]:
        return {
            "recompute": self.recompute,
            "pack_tokens": self.pack_tokens,
            "needed_gb": round(self.needed / 1e9, 4),
            "available_gb": round(self.available / 1e9, 4),
        }


def plan(
    spec: TrainSpec, folder: Path, examples: Examples, course: Course, device: torch.device
) -> Plan:
    """The fastest plan that fits into the device's free memory and `memory_limit_gb`.

    Raises Refusal does_not_fit with the figures of the smallest plan.
    """
    needs = estimator(spec, folder, device)
    free = free_memory(device)
    ceiling = spec.memory.limit_gb
    available = free if ceiling is None else min(free, int(ceiling * 1e9))
    longest = max(max(example.lengths) for example in examples.train)
    # Every epoch has an order of its own: the largest step may come late.
    largest = max(course.sums([len(example) for example in examples.train]))
    plans = []
    allowed: tuple[Recompute, ...] = ("none", "selective", "full")
    if spec.memory.disable_gradient_checkpointing:
        allowed = ("none",)
    for parts in range(1, max(2, -(-largest // longest) + 1)):
        tokens = max(longest, -(-largest // parts))
        for recompute in allowed:
            cost = SLOWER[recompute] * (1 + PASS_TOKENS / tokens)
            limit = None if parts == 1 else tokens
            plans.append((cost, Plan(recompute, limit, needs(tokens, recompute), available)))
    fitting = [(cost, made) for cost, made in plans if made.needed <= available]
    if fitting:
        return min(fitting, key=lambda found: found[0])[1]
    smallest = min((made for _, made in plans), key=lambda made: made.needed)
    tokens = smallest.pack_tokens or largest
    there = f"{_size(free)} are free"
    if ceiling is not None and available < free:
        there = f"memory_limit_gb ({ceiling:g}) allows {_size(available)}; {there}"
    param, advice = _way_out(spec, folder, device, smallest, tokens, longest, free)
    text = f"This job needs at least {_size(smallest.needed)} and {there}: {advice}"
    raise Refusal("does_not_fit", text, param)


def _way_out(
    spec: TrainSpec,
    folder: Path,
    device: torch.device,
    smallest: Plan,
    tokens: int,
    longest: int,
    free: int,
) -> tuple[str, str]:
    """The key to change so that a job fits, and how. A rank that takes most of it comes first."""
    usual = replace(spec, lora=replace(spec.lora, rank=min(spec.lora.rank, USUAL_RANK)))
    needs = estimator(usual, folder, device)
    needed, recompute = smallest.needed, smallest.recompute
    with_usual = needs(tokens, recompute)
    lower = f"lower lora_rank ({spec.lora.rank}); with {USUAL_RANK} it would be {_size(with_usual)}"
    if with_usual <= needed // 2:
        return "lora_rank", lower
    if needed <= free:
        return "memory_limit_gb", f"raise memory_limit_gb to {math.ceil(needed / 1e7) / 100:g}"
    if with_usual <= smallest.available:
        return "lora_rank", lower
    if spec.quantization is None and device.type == "cuda":
        saved = _weights(_skeleton(folder)) * 1.4  # bf16 to 4 bits with their scales
        how = f"quantization_bit: 4 would need about {_size(int(needed - saved))}"
        return "quantization_bit", how
    if needs(1, recompute) > smallest.available:
        return "model_name_or_path", "use a smaller base, or a machine with more memory"
    how = f"lower cutoff_len ({spec.data.cutoff_len}; the longest record has {longest} tokens)"
    return "cutoff_len", how


def estimator(
    spec: TrainSpec, folder: Path, device: torch.device
) -> Callable[[int, Recompute], int]:
    """(largest pack, recomputation) → bytes, for the step that will train this job."""
    model = _skeleton(folder)
    config = model.config
    if (
        config.model_type == "llama"
        and spec.quantization is None
        and not spec.lora.use_dora
        and not spec.lora.additional_target
        and not spec.optimizer.neftune_noise_alpha
    ):
        from bullion.train.llama import LlamaShape, estimate

        shape = LlamaShape.of(config)
        fp8 = spec.precision.compute_dtype == "fp8"
        return lambda tokens, recompute: estimate(
            shape, tokens, recompute, spec.lora.rank, device.type, fp8
        )
    return _general(spec, model, device)


def _general(spec: TrainSpec, model: Any, device: torch.device) -> Callable[[int, Recompute], int]:
    """Transformers + PEFT: per token and layer about 16 H + 5 M numbers, plus the adapters' in fp32."""
    config = model.config.get_text_config()
    cuda = device.type == "cuda"
    item = 2 if cuda and spec.precision.dtype != "fp32" else 4
    weight = {4: 0.6, 8: 1.1}.get(spec.quantization.bit, item) if spec.quantization else item
    hidden, layers = config.hidden_size, config.num_hidden_layers
    middle = getattr(config, "intermediate_size", None) or 4 * hidden
    trained = _adapter_parameters(spec, model)
    for name in spec.lora.additional_target:
        trained += sum(
            p.numel()
            for key, module in model.named_modules()
            if key.rpartition(".")[2] == name
            for p in module.parameters()
        )
    fixed = int(_weights(model) * weight) + 16 * trained + CONTEXT * cuda
    layer = (16 * hidden + 5 * middle) * item + 2 * hidden * 4
    logits = 3 * min(256 << 20, 4 * config.vocab_size * 4096)

    def needed(tokens: int, recompute: Recompute) -> int:
        kept = layers * layer if recompute == "none" else layers * hidden * item + 2 * layer
        return fixed + logits + tokens * (kept + 8 * hidden * item)

    return needed


def _adapter_parameters(spec: TrainSpec, model: Any) -> int:
    head = model.get_output_embeddings()
    return sum(
        spec.lora.rank * (module.in_features + module.out_features)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
        and (
            (module is not head)
            if "all" in spec.lora.target
            else name.rpartition(".")[2] in spec.lora.target
        )
    )


def _weights(model: nn.Module) -> int:
    """Parameters of the base, tied ones once."""
    return sum(parameter.numel() for parameter in model.parameters())


def _skeleton(folder: Path) -> Any:
    """The base without weights: its modules and shapes alone."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(str(folder), local_files_only=True)
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def free_memory(device: torch.device) -> int:
    """Bytes this process may still take: of the GPU, or of the machine and its control group."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + cached
    free = []
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        known = dict(line.split(":", 1) for line in lines)
        free.append(int(known["MemAvailable"].split()[0]) * 1024)
        group = Path("/sys/fs/cgroup")
        most = (group / "memory.max").read_text().strip()
        if most != "max":
            used = int((group / "memory.current").read_text())
            stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
            cache = int(stat["active_file"]) + int(
                stat["inactive_file"]
            )  # given back when asked for
            free.append(int(most) - used + cache)
    except (OSError, KeyError, ValueError):
        pass  # not Linux, or no control group of version 2
    if not free:
        free.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return max(0, min(free))


def hold_to(limit_gb: float | None, device: torch.device) -> None:
    """Make a ceiling given by hand a real one: beyond it the allocator raises."""
    if limit_gb is not None and device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
        share = max(limit_gb * 1e9 - CONTEXT, 0) / total
        # this function alone wants a device with its number
        index = torch.cuda.current_device() if device.index is None else device.index
        torch.cuda.set_per_process_memory_fraction(min(share, 1.0), index)


def _size(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"
