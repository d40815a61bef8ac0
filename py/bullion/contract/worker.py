"""The messages between Deno and a Python process; twin of contract/worker.ts.

`Submission` is what comes in, `Event` what leaves by `drain`. Decoding is strict in both languages.
In one file because it is one vocabulary and its twin is one file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Union

from bullion.contract.errors import ErrorDetail
from bullion.contract.recipe import BaseModel, EncodeSpec, ExportSpec, TrainSpec

Interruption = Callable[[], Literal["cancel", "pause"] | None]
"""Looked at between steps: has somebody asked the running work to end?"""


@dataclass(frozen=True)
class TrainerOpening:
    role: Literal["trainer"]
    threads: int | None


@dataclass(frozen=True)
class EngineOpening:
    role: Literal["engine"]
    threads: int | None  # torch threads on the CPU; None: the process decides
    kv_memory_gb: float | None  # None: what is left on the device
    max_running: int
    max_waiting: int
    prefill_tokens: int  # prompt tokens computed between two decode steps
    cuda_graphs: bool


Opening = Union[TrainerOpening, EngineOpening]


@dataclass(frozen=True)
class ServedModel:
    """A base, or a base with one unmerged adapter over it."""

    name: str
    base: BaseModel
    adapter: str | None


@dataclass(frozen=True)
class Message:
    role: Literal["system", "user", "assistant", "tool"]
    content: str
    name: str | None = None
    tool_calls: list[dict[str, Any]] | None = None  # their arguments: objects
    tool_call_id: str | None = None


@dataclass(frozen=True)
class IdsPrompt:
    kind: Literal["ids"]
    ids: list[int]


@dataclass(frozen=True)
class TextPrompt:
    kind: Literal["text"]
    text: str


@dataclass(frozen=True)
class ChatPrompt:
    kind: Literal["chat"]
    messages: list[Message]
    tools: list[dict[str, Any]] | None


Prompt = Union[IdsPrompt, TextPrompt, ChatPrompt]


@dataclass(frozen=True)
class Sampling:
    max_tokens: int | None  # None: what is left of the context
    temperature: float  # 0: greedy
    top_p: float
    top_k: int  # 0: off
    min_p: float
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    logit_bias: dict[str, float]  # token id → added logit
    seed: int | None
    stop: list[str]
    ignore_eos: bool


@dataclass(frozen=True)
class TextFormat:
    type: Literal["text"]


@dataclass(frozen=True)
class JsonObjectFormat:
    type: Literal["json_object"]


@dataclass(frozen=True)
class JsonSchemaFormat:
    type: Literal["json_schema"]
    schema: dict[str, Any]


@dataclass(frozen=True)
class CalledFunction:
    name: str
    parameters: dict[str, Any]  # a JSON schema of an object


@dataclass(frozen=True)
class ToolCallsFormat:
    """Nothing but calls, in the words of the model's chat template."""

    type: Literal["tool_calls"]
    functions: list[CalledFunction]
    several: bool  # one call or more; False: exactly one


ResponseFormat = Union[TextFormat, JsonObjectFormat, JsonSchemaFormat, ToolCallsFormat]


@dataclass(frozen=True)
class GenerateSpec:
    model: str
    prompt: Prompt
    n: int
    sampling: Sampling
    logprobs: int | None  # how many alternatives a token; None: none
    echo: bool
    format: ResponseFormat


@dataclass(frozen=True)
class Train:
    type: Literal["train"]
    id: str
    spec: TrainSpec


@dataclass(frozen=True)
class Export:
    type: Literal["export"]
    id: str
    spec: ExportSpec


@dataclass(frozen=True)
class Encode:
    type: Literal["encode"]
    id: str
    spec: EncodeSpec


@dataclass(frozen=True)
class Probe:
    type: Literal["probe"]
    id: str


@dataclass(frozen=True)
class Load:
    type: Literal["load"]
    id: str
    model: ServedModel


@dataclass(frozen=True)
class Unload:
    type: Literal["unload"]
    id: str
    model: str


@dataclass(frozen=True)
class Generate:
    type: Literal["generate"]
    id: str
    spec: GenerateSpec


@dataclass(frozen=True)
class Tokenize:
    type: Literal["tokenize"]
    id: str
    model: str
    prompt: Prompt
    add_special_tokens: bool


@dataclass(frozen=True)
class Detokenize:
    type: Literal["detokenize"]
    id: str
    model: str
    ids: list[int]


Submission = Union[Train, Export, Encode, Probe, Load, Unload, Generate, Tokenize, Detokenize]


@dataclass(frozen=True)
class Cancellation:
    id: str
    how: Literal["cancel", "pause"]


@dataclass(frozen=True)
class TopLogprob:
    id: int
    text: str
    bytes: list[int]
    logprob: float


@dataclass(frozen=True)
class TokenLogprob:
    """One token's natural-log probability and its best rivals; None: first token of an echoed prompt."""

    id: int
    text: str
    bytes: list[int]
    logprob: float | None
    top: list[TopLogprob]
    offset: int  # characters of the choice's text, its echo included, before the token's


@dataclass(frozen=True)
class Usage:
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int


@dataclass(frozen=True)
class ReadyEvent:
    machine: dict[str, Any]
    id: str = ""
    type: Literal["ready"] = "ready"


@dataclass(frozen=True)
class MessageEvent:
    id: str
    code: str
    text: str
    level: Literal["info", "warn"] = "info"
    data: dict[str, Any] = field(default_factory=dict)
    type: Literal["message"] = "message"


@dataclass(frozen=True)
class ProgressEvent:
    id: str
    step: int
    total_steps: int
    epoch: float
    loss: float  # mean of the step losses since the last progress
    learning_rate: float
    grad_norm: float  # before clipping
    tokens: int
    tokens_per_second: float
    seconds: float  # since the first step began
    seconds_left: float
    type: Literal["progress"] = "progress"


@dataclass(frozen=True)
class EvaluatedEvent:
    id: str
    step: int
    epoch: float
    eval_loss: float
    metrics: dict[str, float] = field(default_factory=dict)
    type: Literal["evaluated"] = "evaluated"


@dataclass(frozen=True)
class CheckpointEvent:
    id: str
    step: int
    epoch: float
    path: str
    metrics: dict[str, float] = field(default_factory=dict)
    type: Literal["checkpoint"] = "checkpoint"


@dataclass(frozen=True)
class CheckpointRemovedEvent:
    id: str
    step: int
    path: str
    type: Literal["checkpoint_removed"] = "checkpoint_removed"


@dataclass(frozen=True)
class FinishedEvent:
    id: str
    result: dict[str, Any] = field(default_factory=dict)
    type: Literal["finished"] = "finished"


@dataclass(frozen=True)
class StoppedEvent:
    id: str
    how: Literal["cancel", "pause"]
    type: Literal["stopped"] = "stopped"


@dataclass(frozen=True)
class FailedEvent:
    id: str
    error: ErrorDetail
    type: Literal["failed"] = "failed"


@dataclass(frozen=True)
class DeltaEvent:
    id: str
    index: int
    text: str
    tokens: list[TokenLogprob] | None
    count: int  # generated tokens this delta stands for
    finish_reason: Literal["stop", "length", "tool_calls", "cancelled"] | None
    type: Literal["delta"] = "delta"


@dataclass(frozen=True)
class DoneEvent:
    id: str
    usage: Usage
    type: Literal["done"] = "done"


@dataclass(frozen=True)
class EncodedEvent:
    id: str
    records: list[dict[str, Any]]
    type: Literal["encoded"] = "encoded"


Event = Union[
    ReadyEvent,
    MessageEvent,
    ProgressEvent,
    EvaluatedEvent,
    CheckpointEvent,
    CheckpointRemovedEvent,
    FinishedEvent,
    StoppedEvent,
    FailedEvent,
    DeltaEvent,
    DoneEvent,
    EncodedEvent,
]
