"""What a trainer process is told to do, fully resolved; twin of contract/recipe.ts.

No field has a default here: core/config has filled them all in. Paths are absolute.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Pace = Literal["no", "steps", "epoch"]


@dataclass(frozen=True)
class BaseModel:
    """A base model: `path` is a folder of this machine, or an id on `hub`; `name` is the user's word."""

    name: str
    path: str
    hub: Literal["huggingface", "modelscope"] | None
    trust_remote_code: bool


@dataclass(frozen=True)
class DataSpec:
    train: list[str]  # canonical JSONL files
    eval: list[str]
    val_size: float  # below 1 a share, otherwise a count; split by seed
    cutoff_len: int
    max_samples: int | None  # the first N of each file
    train_on_prompt: bool
    mask_history: bool
    default_system: str | None
    packing: bool
    neat_packing: bool
    reject_truncated: bool


@dataclass(frozen=True)
class LoraSpec:
    rank: int
    alpha: float
    dropout: float
    target: list[str]  # ["all"] or module names
    additional_target: list[str]
    use_rslora: bool
    use_dora: bool
    plus_lr_ratio: float | None
    pissa_init: bool


@dataclass(frozen=True)
class QuantizationSpec:
    bit: Literal[4, 8]
    type: Literal["nf4", "fp4"]
    double: bool


@dataclass(frozen=True)
class OptimizerSpec:
    name: str
    learning_rate: float
    weight_decay: float
    beta1: float
    beta2: float
    epsilon: float
    max_grad_norm: float  # 0: no clipping
    neftune_noise_alpha: float | None


@dataclass(frozen=True)
class ScheduleSpec:
    type: str  # as transformers names them
    warmup_ratio: float
    warmup_steps: int  # above 0 it wins over the ratio
    kwargs: dict[str, Any]


@dataclass(frozen=True)
class LengthSpec:
    epochs: float
    max_steps: int  # optimiser steps; below 1 the epochs decide
    batch_size: int
    accumulation: int
    eval_batch_size: int
    shuffle: bool


@dataclass(frozen=True)
class LoggingSpec:
    steps: int
    plot_loss: bool
    report_to: list[str]


@dataclass(frozen=True)
class SavingSpec:
    strategy: Pace
    steps: int
    total_limit: int | None
    only_model: bool


@dataclass(frozen=True)
class EvaluationSpec:
    strategy: Pace
    steps: int
    load_best_model_at_end: bool
    early_stopping_steps: int | None
    compute_accuracy: bool


@dataclass(frozen=True)
class PrecisionSpec:
    dtype: Literal["bf16", "fp16", "fp32"]  # of the frozen base and the computation
    pure_bf16: bool
    compute_dtype: Literal["auto", "fp8"]


@dataclass(frozen=True)
class MemorySpec:
    limit_gb: float | None  # 10^9 bytes
    disable_gradient_checkpointing: bool


@dataclass(frozen=True)
class StartingAdapter:
    path: str
    create_new: bool


@dataclass(frozen=True)
class TrainSpec:
    output_dir: str
    model: BaseModel
    adapter: StartingAdapter | None
    template: str
    data: DataSpec
    lora: LoraSpec
    quantization: QuantizationSpec | None
    optimizer: OptimizerSpec
    schedule: ScheduleSpec
    length: LengthSpec
    logging: LoggingSpec
    saving: SavingSpec
    evaluation: EvaluationSpec
    precision: PrecisionSpec
    memory: MemorySpec
    seed: int
    resume_from: str | None  # a checkpoint folder


@dataclass(frozen=True)
class ExportSpec:
    export_dir: str
    model: BaseModel
    adapters: list[str]  # adapter folders, merged one after the other
    template: str
    shard_bytes: int
    dtype: Literal["auto", "bf16", "fp16", "fp32"]  # auto: the base's own
    device: Literal["cpu", "auto"]
    legacy_format: bool
    probes: list[str]  # prompts on which merged and base-plus-adapter are compared


@dataclass(frozen=True)
class EncodeSpec:
    model: BaseModel
    template: str
    data: DataSpec
    seed: int
    record: int | None
