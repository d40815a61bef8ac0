"""The export: base and adapters in, one verified model folder out. Reads top-down.

A generator of events that knows no HTTP. Weights pass by blocks of rows from shard to shard, summed
on the CPU so that the same bits come out on every machine, unless `export_device: auto` finds a
GPU; answers are compared on a GPU wherever one has room. What fails its proof is never published.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from bullion.contract.errors import Refusal
from bullion.contract.recipe import ExportSpec
from bullion.contract.worker import (
    Event,
    FinishedEvent,
    Interruption,
    Message,
    StoppedEvent,
)
from bullion.data.template import chat_prompt_ids
from bullion.export.changes import Changes, read_changes
from bullion.export.compare import LogitComparison, compare, steps_of
from bullion.export.crew import Crew
from bullion.export.describe import describe
from bullion.export.feed import Feed
from bullion.export.files import write_small_files
from bullion.export.pace import Interrupted, Pace
from bullion.export.pour import pieces_of, pour
from bullion.export.publish import check_target, publishing
from bullion.export.seal import Sealing
from bullion.export.shards import Shard, ordered_shapes, plan_shards, write_index
from bullion.export.streamed import StreamedModels, View, skeleton
from bullion.export.weigh import WeightProof, weigh
from bullion.models.fetch import allows_remote_code, local_folder
from bullion.models.load import load_tokenizer
from bullion.models.tensors import TensorFolder

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
GPU_BYTES = 6_000_000_000  # free memory that an export wants of a GPU
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Plan:
    """All that is known before the first byte is written."""

    source: Path
    base: TensorFolder
    model: PreTrainedModel  # without weights
    tokenizer: PreTrainedTokenizerFast
    changes: Changes
    dtype: torch.dtype | None  # None: each tensor keeps its own
    shards: list[Shard]
    device: torch.device  # where the merged weights are summed


def export(spec: ExportSpec, job_id: str, interruption: Interruption) -> Iterator[Event]:
    """Merge `spec.adapters` into `spec.model` and publish the result at `spec.export_dir`.

    Ends with a FinishedEvent, or a StoppedEvent that leaves nothing behind. Raises Refusal: of the
    model (models/fetch, models/tensors), the adapter (models/adapter, changes), the target
    (publish: export_dir_taken, disk_full), the proofs (weigh, compare: merge_…), and
    quantized_base, unsupported_export.
    """
    target = Path(spec.export_dir)
    pace = Pace(job_id, interruption)
    try:
        yield pace.phase("prepare", f"Reading {spec.model.name} and {len(spec.adapters)} adapters")
        plan = _prepare(spec)
        total = sum(shard.nbytes for shard in plan.shards)
        check_target(target, plan.source, total)
        with publishing(target, job_id) as folder, Sealing() as sealing, Crew() as crew:
            free = crew.start(free_device)  # beside the merge: a GPU takes a second to open
            yield pace.phase("merge", f"Writing {total / 1e9:.2f} GB in {len(plan.shards)} shards")
            yield from _pour(plan, folder, crew, sealing, pace)
            write_small_files(plan.source, folder, plan.tokenizer, spec.template, plan.dtype)
            yield pace.phase("verify_weights", "Weighing every tensor against base and adapter")
            proof = WeightProof()
            yield from _weigh(plan, folder, crew, proof, pace)
            yield pace.phase("verify_logits", "Comparing answers with base and adapter unmerged")
            found = LogitComparison()
            where = yield from _compare(plan, spec, folder, crew, free.result(), found, pace)
            yield pace.phase("publish", f"Publishing {target.name}")
            result = _result(plan, target, total, proof, found, where)
            describe(folder, spec, job_id, _told(result), sealing.hashes())
        yield FinishedEvent(job_id, result | {"seconds": pace.seconds()})
    except Interrupted as asked:
        yield StoppedEvent(job_id, asked.how)


def _prepare(spec: ExportSpec) -> Plan:
    if spec.legacy_format:
        raise Refusal(
            "unsupported_export",
            "Cannot export pickled .bin files, which can run code when they are opened: leave "
            "export_legacy_format out and get safetensors",
            "export_legacy_format",
        )
    source = local_folder(spec.model)
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    if config.get("quantization_config"):
        raise Refusal(
            "quantized_base",
            f"Cannot merge into {spec.model.name!r} as its weights are quantised: name the "
            "unquantised base",
            "model",
        )
    base = TensorFolder(source)
    model = skeleton(source, allows_remote_code(spec.model, source))
    changes = read_changes(
        [Path(adapter) for adapter in spec.adapters], base, "lm_head.weight" not in base.slots
    )
    dtype = DTYPES.get(spec.dtype)
    shards = plan_shards(ordered_shapes(base, list(model.state_dict()), dtype), spec.shard_bytes)
    device = free_device() if spec.device == "auto" else CPU
    return Plan(source, base, model, load_tokenizer(source), changes, dtype, shards, device)


def free_device() -> torch.device:
    """A GPU that has room for an export, or the CPU."""
    roomy = torch.cuda.is_available() and torch.cuda.mem_get_info()[0] >= GPU_BYTES
    return torch.device("cuda" if roomy else "cpu")


def _pour(plan: Plan, folder: Path, crew: Crew, sealing: Sealing, pace: Pace) -> Iterator[Event]:
    total = sum(len(pieces) for pieces in pieces_of(plan.shards))
    poured = pour(plan.base, plan.changes, plan.shards, folder, plan.device, crew, sealing)
    for done, _ in enumerate(poured, 1):
        yield from pace.step(done, total)
    write_index(folder, plan.shards)


def _weigh(plan: Plan, folder: Path, crew: Crew, proof: WeightProof, pace: Pace) -> Iterator[Event]:
    names = weigh(plan.base, TensorFolder(folder), plan.changes, plan.dtype, crew, proof)
    for done, _ in enumerate(names, 1):
        yield from pace.step(done, len(plan.base.slots))
    proof.judge(adapted=bool(plan.changes))


def _compare(
    plan: Plan,
    spec: ExportSpec,
    folder: Path,
    crew: Crew,
    device: torch.device,
    found: LogitComparison,
    pace: Pace,
) -> Generator[Event, None, torch.device]:
    """Returns where it ran: a GPU that somebody else fills meanwhile is left for the CPU."""
    prompts = [
        chat_prompt_ids(plan.tokenizer, [Message("user", probe)], template=spec.template)
        for probe in spec.probes
    ]
    if not any(prompts):
        yield pace.say("no_probes", "No prompt to compare answers on: only weights were verified")
        return device
    views = {
        "base": View(plan.base, {}),
        "tuned": View(plan.base, plan.changes),
        "merged": View(TensorFolder(folder), {}),
    }
    models = StreamedModels(plan.model, views, Feed(device, crew))
    try:
        for done, _ in enumerate(compare(models, prompts, found), 1):
            yield from pace.step(done, steps_of(models))
    except torch.OutOfMemoryError:
        if device == CPU:
            raise
        yield pace.say("gpu_full", "The GPU has no room left: answers are compared on the CPU")
        return (yield from _compare(plan, spec, folder, crew, CPU, found, pace))
    found.judge(next(iter(plan.shards[0].tensors.values()))[0], models.layers)
    return device


def _result(
    plan: Plan,
    target: Path,
    total: int,
    proof: WeightProof,
    found: LogitComparison,
    where: torch.device,
) -> dict[str, Any]:
    compared = found.positions > 0
    return {
        "path": str(target),
        "shards": len(plan.shards),
        "bytes": total,
        "max_logit_difference": found.max_difference if compared else None,
        "rms_logit_difference": found.rms_difference if compared else None,
        "rms_adapter_effect": found.rms_effect if compared else None,
        "top1_agreement": found.top1_agreement if compared else None,
        "positions": found.positions,
        "tensors_changed": len(proof.changed),
        "tensors_kept": len(plan.base.slots) - len(proof.changed),
        "merged_on": plan.device.type,
        "compared_on": where.type if compared else None,
    }


def _told(result: dict[str, Any]) -> dict[str, Any]:
    """The result without where it lies, which may change."""
    return {key: value for key, value in result.items() if key != "path"}
