"""Seconds and memory of an export: `python bench/export.py BASE [--out DIR] [--package DIR]`.

BASE is a model folder, as bench/random_weights.py writes one. An adapter of rank 8 on every linear
layer is drawn over it, merged, proved by weights and by answers, and published under DIR. Prints
one JSON line: seconds of each phase, processor seconds of all threads, peak memory, where it ran.
`--package` is a folder with another version of the Python package, for ratios within one sitting.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PROBES = [
    "请介绍一下这家公司的主营业务。",
    "公司报告期内的营业收入是多少？",
    "公司2023年归属于上市公司股东的净利润是多少？同比变动了多少？",
    "公司的研发投入占营业收入的比例是多少？",
    "What was the company's revenue in the reporting period?",
    "Summarise the main risks that the annual report names.",
    "Who is the controlling shareholder, and how many shares do they hold?",
    "What does the company say about its dividend policy?",
]


def draw_adapter(folder: Path, base: Path, rank: int) -> None:
    """A trained adapter's size and shape: A uniform, B small and not zero."""
    import torch
    from bullion.models.tensors import TensorFileWriter, TensorFolder

    draws = torch.Generator().manual_seed(7)
    tensors: dict[str, torch.Tensor] = {}
    for name, slot in TensorFolder(base).slots.items():
        if ".layers." not in name or len(slot.shape) != 2:
            continue
        module = f"base_model.model.{name.removesuffix('.weight')}"
        (out, into), bound = slot.shape, slot.shape[1] ** -0.5
        a = torch.empty(rank, into).uniform_(-bound, bound, generator=draws)
        tensors[f"{module}.lora_A.weight"] = a
        tensors[f"{module}.lora_B.weight"] = torch.randn(out, rank, generator=draws) * 2e-3
    folder.mkdir(parents=True, exist_ok=True)
    shapes = {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}
    with TensorFileWriter(folder / "adapter_model.safetensors", shapes) as writer:
        for name, tensor in tensors.items():
            writer.write(name, tensor)
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank, "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(config))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", type=Path)
    parser.add_argument("--out", type=Path, default=Path("merged"))
    parser.add_argument("--package", type=Path, default=ROOT / "py")
    parser.add_argument("--device", choices=["cpu", "auto"], default="cpu")
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--threads", type=int)
    given = parser.parse_args()
    sys.path.insert(0, str(given.package))

    begin = time.monotonic()
    from bullion.contract.recipe import BaseModel, ExportSpec
    from bullion.export.recipe import export
    from bullion.machine import use_threads

    use_threads(given.threads)
    seconds: dict[str, Any] = {"libraries": round(time.monotonic() - begin, 2)}
    adapter = given.out.parent / f"{given.out.name}.adapter"
    draw_adapter(adapter, given.base, given.rank)
    spec = ExportSpec(
        export_dir=str(given.out),
        model=BaseModel(str(given.base), str(given.base), None, False),
        adapters=[str(adapter)],
        template="llama3",
        shard_bytes=5_000_000_000,
        dtype="auto",
        device=given.device,
        legacy_format=False,
        probes=PROBES,
    )
    begin = time.monotonic()
    marks: list[tuple[str, float]] = []  # processor seconds at the start of each phase
    for last in export(spec, "bench", lambda: None):
        if last.type == "message" and last.code == "phase":
            marks.append((last.data["phase"], time.process_time()))
    ends = [at for _, at in marks[1:]] + [time.process_time()]
    used = {name: round(end - at, 2) for (name, at), end in zip(marks, ends, strict=True)}
    seconds["export"] = round(time.monotonic() - begin, 2)
    result = last.result  # type: ignore[union-attr]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    shutil.rmtree(adapter)
    told = {"seconds": seconds | result["seconds"], "processor_seconds": used, "peak_bytes": peak}
    print(json.dumps(result | told))


if __name__ == "__main__":
    main()
