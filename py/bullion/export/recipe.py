"""The export: base and adapters in, one verified model folder out. Reads top-down.

A generator of events that knows no thread and no HTTP. Weights pass tensor by tensor from shard to
shard, always computed on the CPU so that the same bits come out on every machine; the proofs may
run on a GPU. What fails its proof is never published.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

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
from bullion.export.changes import Changes, apply_changes, read_changes
from bullion.export.compare import LogitComparison, compare, steps_of
from bullion.export.describe import describe
from bullion.export.files import write_small_files
from bullion.export.pace import Interrupted, Pace
from bullion.export.publish import check_target, publishing
from bullion.export.shards import Shard, ordered_shapes, plan_shards, write_index
from bullion.export.streamed import StreamedModel, skeleton
from bullion.export.weigh import WeightProof, weigh
from bullion.models.fetch import allows_remote_code, local_folder
from bullion.models.load import load_tokenizer
from bullion.models.tensors import TensorFileWriter, TensorFolder

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
GPU_BYTES = 6_000_000_000  # free memory that the proofs want of a GPU


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
    device: torch.device  # of the proofs


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
        with publishing(target, job_id) as folder:
            yield pace.phase("merge", f"Writing {total / 1e9:.2f} GB in {len(plan.shards)} shards")
            hashes: dict[str, str] = {}
            yield from _write(plan, folder, hashes, pace)
            write_small_files(plan.source, folder, plan.tokenizer, spec.template, plan.dtype)
            yield pace.phase("verify_weights", "Weighing every tensor against base and adapter")
            proof = WeightProof()
            yield from _weigh(plan, folder, proof, pace)
            yield pace.phase("verify_logits", "Comparing answers with base and adapter unmerged")
            found = LogitComparison()
            yield from _compare(plan, spec, folder, found, pace)
            yield pace.phase("publish", f"Publishing {target.name}")
            result = _result(plan, target, total, proof, found)
            describe(folder, spec, job_id, _told(result), hashes)
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
    return Plan(
        source, base, model, load_tokenizer(source), changes, dtype, shards, _device(spec.device)
    )


def _device(wanted: Literal["cpu", "auto"]) -> torch.device:
    """Where the proofs run: a GPU that has room for one layer, or the CPU."""
    roomy = torch.cuda.is_available() and torch.cuda.mem_get_info()[0] >= GPU_BYTES
    return torch.device("cuda" if wanted == "auto" and roomy else "cpu")


def _write(plan: Plan, folder: Path, hashes: dict[str, str], pace: Pace) -> Iterator[Event]:
    total = sum(len(shard.tensors) for shard in plan.shards)
    tensors = enumerate(_merged(plan), 1)
    for shard in plan.shards:
        with TensorFileWriter(folder / shard.name, shard.tensors) as writer:
            for name in shard.tensors:
                done, tensor = next(tensors)
                writer.write(name, tensor)
                yield from pace.step(done, total)
        hashes[shard.name] = writer.sha256
    write_index(folder, plan.shards)


def _merged(plan: Plan) -> Iterator[torch.Tensor]:
    """Every tensor of every shard in order; while one is written the next one is merged."""

    def merge(name: str, dtype: torch.dtype) -> torch.Tensor:
        return apply_changes(plan.base.read(name).to(dtype), plan.changes.get(name, []))

    with ThreadPoolExecutor(1) as ahead:
        waiting: list[Future[torch.Tensor]] = []
        for shard in plan.shards:
            for name, (dtype, _) in shard.tensors.items():
                waiting.append(ahead.submit(merge, name, dtype))
                if len(waiting) > 1:
                    yield waiting.pop(0).result()
        yield waiting.pop().result()


def _weigh(plan: Plan, folder: Path, proof: WeightProof, pace: Pace) -> Iterator[Event]:
    merged = TensorFolder(folder)
    names = weigh(plan.base, merged, plan.changes, plan.dtype, plan.device, proof)
    for done, _ in enumerate(names, 1):
        yield from pace.step(done, len(plan.base.slots))
    proof.judge(adapted=bool(plan.changes))


def _compare(
    plan: Plan, spec: ExportSpec, folder: Path, found: LogitComparison, pace: Pace
) -> Iterator[Event]:
    prompts = [
        chat_prompt_ids(plan.tokenizer, [Message("user", probe)], template=spec.template)
        for probe in spec.probes
    ]
    if not any(prompts):
        yield pace.say("no_probes", "No prompt to compare answers on: only weights were verified")
        return
    merged = TensorFolder(folder)
    untuned = StreamedModel(plan.model, plan.base, {}, plan.device)
    tuned = StreamedModel(plan.model, plan.base, plan.changes, plan.device)
    steps = compare(
        untuned, tuned, StreamedModel(plan.model, merged, {}, plan.device), prompts, found
    )
    for done, _ in enumerate(steps, 1):
        yield from pace.step(done, steps_of(tuned))
    found.judge(next(iter(plan.shards[0].tensors.values()))[0], tuned.layers)


def _result(
    plan: Plan, target: Path, total: int, proof: WeightProof, found: LogitComparison
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
    }


def _told(result: dict[str, Any]) -> dict[str, Any]:
    """The result without where it lies, which may change."""
    return {key: value for key, value in result.items() if key != "path"}
