"""What a merged model says about itself: bullion.json for programs, README.md for people."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from bullion.contract.recipe import ExportSpec
from bullion.export.publish import DESCRIPTION
from bullion.models.adapter import CONFIG, WEIGHTS

CARD = """---
library_name: transformers
pipeline_tag: text-generation
base_model: {base}
---
# {name}

{base} with {adapters} merged in by Bullion. Plain safetensors: it opens in transformers and vLLM.
Chat template: `{template}`. Its licence is that of its base.

| checked before it was published | |
|---|---|
| tensors changed | {tensors_changed} |
| tensors left as in the base | {tensors_kept} |
| largest logit difference to base and adapter unmerged | {max_logit_difference} |
| share of equal best tokens | {top1_agreement} |
| positions compared on prompts | {positions} |

`{description}` holds the same for programs, with the hashes of the adapters and of these files.
"""


def describe(
    folder: Path, spec: ExportSpec, job_id: str, result: dict[str, Any], hashes: dict[str, str]
) -> None:
    """Write both files. `result` holds the figures, `hashes` the sha256 of each weight file."""
    adapters = [_adapter(Path(path)) for path in spec.adapters]
    told = {
        "kind": "merged_model",
        "job": job_id,
        "base": {"name": spec.model.name, "hub": spec.model.hub},
        "adapters": adapters,
        "template": spec.template,
        "figures": result,
        "sha256": hashes,
    }
    text = json.dumps(told, ensure_ascii=False, indent=2)
    (folder / DESCRIPTION).write_text(text + "\n", encoding="utf-8")
    names = ", ".join(f"`{adapter['name']}`" for adapter in adapters) or "no adapter"
    card = CARD.format(
        base=spec.model.name,
        name=Path(spec.export_dir).name,
        adapters=names,
        template=spec.template,
        description=DESCRIPTION,
        tensors_changed=result["tensors_changed"],
        tensors_kept=result["tensors_kept"],
        max_logit_difference=_figure(result["max_logit_difference"], ".3g"),
        top1_agreement=_figure(result["top1_agreement"], ".2%"),
        positions=result["positions"],
    )
    (folder / "README.md").write_text(card, encoding="utf-8")


def _figure(value: float | None, style: str) -> str:
    return "not compared" if value is None else format(value, style)


def _adapter(folder: Path) -> dict[str, Any]:
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    kept = ("r", "lora_alpha", "use_rslora", "use_dora", "target_modules", "modules_to_save")
    with (folder / WEIGHTS).open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"name": folder.name, "sha256": digest} | {key: config.get(key) for key in kept}
