"""The optimiser of a job: its kind, its parameter groups, and a step that waits for nothing.

It owns learning rates, clipping and clearing of gradients. It does not know records or schedules.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from bullion.contract.errors import Refusal, missing_package
from bullion.contract.recipe import OptimizerSpec

OPTIMIZERS = ("adamw_torch", "adamw_torch_fused", "adamw_8bit", "adafactor", "sgd")
SAME = {"adamw_bnb_8bit": "adamw_8bit"}
_NO_DECAY = re.compile(r"bias|layernorm|rmsnorm|(^|[._])norm($|\.)", re.IGNORECASE)


class Optimizer:
    """Parameters, their groups and torch's optimiser; the only writer of trained parameters."""

    def __init__(
        self,
        trainable: Sequence[tuple[str, Parameter]],
        spec: OptimizerSpec,
        plus_lr_ratio: float | None = None,
    ) -> None:
        self.parameters = [parameter for _, parameter in trainable]
        self.max_grad_norm = spec.max_grad_norm
        self._base = spec.learning_rate
        self.last_norm = torch.zeros(())  # before clipping, of the newest step
        self.torch = build(groups(trainable, spec, plus_lr_ratio), spec)
        self._factors = [group["lr"] / spec.learning_rate for group in self.torch.param_groups]

    def step(self, factor: float) -> Tensor:
        """Clip, step at `factor` × the learning rate, clear; returns the norm before clipping (0-d)."""
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients) if gradients else torch.zeros(())
        if self.max_grad_norm > 0 and gradients:
            torch.nn.utils.clip_grads_with_norm_(self.parameters, self.max_grad_norm, norm)
        for group, own in zip(self.torch.param_groups, self._factors, strict=True):
            group["lr"] = self._base * own * factor
        self.torch.step()
        if gradients:
            torch._foreach_zero_(gradients)
        self.last_norm = norm
        return norm

    def state(self) -> dict[str, Any]:
        return self.torch.state_dict()

    def restore(self, state: dict[str, Any]) -> None:
        self.torch.load_state_dict(state)


def groups(
    trainable: Sequence[tuple[str, Parameter]], spec: OptimizerSpec, plus_lr_ratio: float | None
) -> list[dict[str, Any]]:
    """Groups by weight decay, and with LoRA+ by side: B (and vectors) learn `plus_lr_ratio` times as fast."""
    found: dict[tuple[bool, bool], list[Parameter]] = {}
    for name, parameter in trainable:
        fast = plus_lr_ratio is not None and ("lora_B" in name or parameter.ndim == 1)
        decays = _NO_DECAY.search(name) is None
        found.setdefault((fast, decays), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": spec.learning_rate * ((plus_lr_ratio or 1.0) if fast else 1.0),
            "weight_decay": spec.weight_decay if decays else 0.0,
        }
        for (fast, decays), parameters in found.items()
    ]


def build(param_groups: list[dict[str, Any]], spec: OptimizerSpec) -> torch.optim.Optimizer:
    """Torch's, transformers' or bitsandbytes' optimiser of that name; raises Refusal otherwise."""
    name = SAME.get(spec.name, spec.name)
    adam: dict[str, Any] = {
        "lr": spec.learning_rate,
        "betas": (spec.beta1, spec.beta2),
        "eps": spec.epsilon,
    }
    if name in ("adamw_torch", "adamw_torch_fused"):
        return torch.optim.AdamW(param_groups, fused=True, **adam)
    if name == "sgd":
        return torch.optim.SGD(param_groups, lr=spec.learning_rate)
    if name == "adafactor":
        from transformers.optimization import Adafactor

        return Adafactor(
            param_groups, lr=spec.learning_rate, scale_parameter=False, relative_step=False
        )
    if name == "adamw_8bit":
        try:
            import bitsandbytes
        except ImportError as raised:
            raise missing_package("optim adamw_8bit", "bitsandbytes", "optim") from raised
        return bitsandbytes.optim.AdamW8bit(param_groups, **adam)
    raise Refusal(
        "unknown_optimizer",
        f"There is no optimiser {spec.name!r} here; known are {', '.join(OPTIMIZERS)}",
        "optim",
    )
