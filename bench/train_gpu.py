"""Training on a GPU, correctness then speed: `python bench/train_gpu.py --weights FOLDER`.

    --weights FOLDER    Llama-3-8B, or random weights in its shape (bench/random_weights.py)
    --reference FOLDER  the reference project's records (default: ../shared/data/reference)
    --parts NAMES       of tests, resume, plans, fp8; all of them unless told otherwise
    --out FILE          the table as JSON
    --tiny              the embedded base, short records and few steps, for trying this on a processor

tests: the step's own tests, on the device. resume: a job of four layers of that width killed inside a
step and inside a save, beside two undisturbed ones. plans: the reference's recipe with
`memory_limit_gb` 48 and 24, the largest step of its ten epochs among the first. fp8: its loss beside
that of two bf16 seeds (with --tiny the same arithmetic once more). Jobs run in trainer
processes as the service starts them. Exit code 0 only if all parts passed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor as Threads
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "py"), str(ROOT / "bench")]

from training import fp8_check, plans_check, resume_check  # noqa: E402
from training.reference_job import Job, read_records  # noqa: E402
from training.trainer import Spares  # noqa: E402

SHARED = Path(os.environ.get("BULLION_SHARED", ROOT.parent / "shared"))
LAYERS = 4  # of the resumed job
TESTS = "tests/py/train_llama"
PROCESSES = {"tests": 0, "resume": 5, "plans": 3, "fp8": 3}  # trainers that a part needs
EXACT = ("tests", "resume")  # parts that measure no speed
Outcome = tuple[bool, list[str]]
Part = Callable[[], Outcome]
Row = dict[str, Any]


def run_tests(device_wanted: bool) -> Outcome:
    """The step's tests by pytest, in a process of its own; this one never opens the device.

    With `device_wanted` a test that was skipped for want of a GPU is a failure.
    """
    command = [sys.executable, "-m", "pytest", "-c", "py/pyproject.toml", "--rootdir", "."]
    ran = subprocess.run(
        [*command, "-rs", "-p", "no:cacheprovider", TESTS], cwd=ROOT, capture_output=True, text=True
    )
    wanted = ("FAILED", "ERROR", "SKIPPED", "E  ")
    lines = [line for line in ran.stdout.splitlines() if line.startswith(wanted)]
    last = (ran.stdout.strip() or ran.stderr.strip()).splitlines()[-1:]
    skipped = [line for line in lines if line.startswith("SKIPPED")]
    missing = device_wanted and any("needs a GPU" in s or "no GPU" in s for s in skipped)
    return ran.returncode == 0 and not missing, lines[:40] + last


def few_layers(weights: Path, work: Path) -> Path:
    """A base of the same width and `LAYERS` layers, with random weights."""
    made = work / "few-layers"
    command = [sys.executable, str(ROOT / "bench/random_weights.py"), str(made)]
    command += ["--tokenizer", str(weights), "--layers", str(LAYERS)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return made


def parts(options: argparse.Namespace, work: Path, spares: Spares) -> dict[str, Part]:
    weights = options.weights.resolve()
    if options.tiny:
        job = Job(weights, read_records(options.reference, 96), 48, "fp32")
        limits, steps, narrow = [0.9, 0.8], 12, "auto"
    else:
        job = Job(weights, read_records(options.reference), 2048)
        limits, steps, narrow = [48.0, 24.0], plans_check.STEPS, "fp8"

    def resume() -> Outcome:
        base = weights if options.tiny else few_layers(weights, work)
        return resume_check.check(replace(job, weights=base), work, spares, options.seed)

    return {
        "tests": lambda: run_tests(device_wanted=not options.tiny),
        "resume": resume,
        "plans": lambda: plans_check.check(job, work, spares, limits, steps),
        "fp8": lambda: fp8_check.check(
            job, work, spares, narrow, 12 if options.tiny else fp8_check.STEPS
        ),
    }


def timed(part: Part) -> tuple[bool, float, list[str]]:
    began = time.monotonic()
    try:
        passed, lines = part()
    except Exception as raised:  # whatever one part meets, the others run
        traceback.print_exception(raised)
        passed, lines = False, [f"{type(raised).__name__}: {raised}"]
    return passed, time.monotonic() - began, lines


def outcomes(chosen: list[str], options: argparse.Namespace, work: Path) -> Iterator[Row]:
    """Each part as it ends: those that measure no speed beside each other, then the others alone."""
    with Spares(work, sum(PROCESSES[name] for name in chosen)) as spares, Threads() as threads:
        known = parts(options, work, spares)
        exact = {name: threads.submit(timed, known[name]) for name in chosen if name in EXACT}
        for name in chosen:
            passed, seconds, lines = exact[name].result() if name in exact else timed(known[name])
            yield {"part": name, "passed": passed, "seconds": round(seconds, 1), "lines": lines}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", type=Path, default=None)
    parser.add_argument("--reference", type=Path, default=SHARED / "data/reference")
    parser.add_argument("--parts", default=",".join(PROCESSES))
    parser.add_argument("--seed", type=int, default=20261125, help="of the moments of the kills")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    if options.weights is None:
        if not options.tiny:
            parser.error("--weights is needed; see --help")
        options.weights = ROOT / "models/bullion-tiny"
    wanted = options.parts.split(",")
    if unknown := sorted(set(wanted) - PROCESSES.keys()):
        parser.error(f"--parts knows {', '.join(PROCESSES)}, not {', '.join(unknown)}")
    chosen = [name for name in PROCESSES if name in wanted]
    found = []
    with tempfile.TemporaryDirectory(prefix="bullion-train-gpu-") as folder:
        for row in outcomes(chosen, options, Path(folder)):
            found.append(row)
            print(f"== {row['part']}: {row['seconds']:.0f} s", *row["lines"], sep="\n", flush=True)
            if options.out is not None:
                options.out.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    print("== all")
    for row in found:
        print(f"{row['part']:8s} {'passed' if row['passed'] else 'FAILED'} {row['seconds']:6.1f} s")
    raise SystemExit(0 if all(row["passed"] for row in found) else 1)


if __name__ == "__main__":
    main()
