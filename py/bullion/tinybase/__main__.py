"""`python -m bullion.tinybase make|probe|sample`: makes the embedded base, measures it, shows its text."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from bullion.tinybase import phrasings as phrasing_list
from bullion.tinybase.corpus import Corpus

DEFAULT_FOLDER = phrasing_list.PROJECT_ROOT / "models" / "bullion-tiny"
DEFAULT_SEED = 20260


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bullion.tinybase", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)

    make = verbs.add_parser("make", help="corpus, tokenizer, pre-training, weights")
    make.add_argument("--out", type=Path, default=DEFAULT_FOLDER)
    make.add_argument("--documents", type=int, help="documents of the corpus")
    make.add_argument("--tokens", type=int, help="tokens of the pre-training")
    make.add_argument("--rows", type=int, help="rows of 1,024 tokens in a step")
    make.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    make.add_argument("--seed", type=int, default=DEFAULT_SEED)
    make.add_argument("--processes", type=int, default=os.cpu_count() or 1)

    probe = verbs.add_parser("probe", help="tune on facts of an unseen company, ask in other words")
    probe.add_argument("--model", type=Path, default=DEFAULT_FOLDER)
    probe.add_argument("--companies", type=int, default=1)
    probe.add_argument("--facts", type=int, default=40)
    probe.add_argument("--epochs", type=int)
    probe.add_argument("--device", choices=("cuda", "cpu"), default="cpu")
    probe.add_argument("--seed", type=int, default=1)

    sample = verbs.add_parser("sample", help="print documents of the corpus")
    sample.add_argument("--documents", type=int, default=10)
    sample.add_argument("--seed", type=int, default=DEFAULT_SEED)

    chosen = parser.parse_args(arguments)
    {"make": _make, "probe": _probe, "sample": _sample}[chosen.verb](chosen)


def _make(chosen: argparse.Namespace) -> None:
    from bullion.tinybase.make import Counts, make
    from bullion.tinybase.pretrain import Plan, Shape

    def given(**values: int | None) -> dict[str, int]:
        return {name: value for name, value in values.items() if value is not None}

    make(
        out=chosen.out,
        counts=Counts(**given(documents=chosen.documents)),
        shape=Shape(),
        plan=Plan(**given(tokens=chosen.tokens, rows=chosen.rows)),
        seed=chosen.seed,
        device=chosen.device,
        processes=chosen.processes,
        say=lambda line: print(line, flush=True),
    )


def _probe(chosen: argparse.Namespace) -> None:
    import torch
    from tokenizers import Tokenizer
    from transformers import LlamaForCausalLM

    from bullion.tinybase.probe import Recipe, draw_probe, probe

    tokenizer = Tokenizer.from_file(str(chosen.model / "tokenizer.json"))
    model = LlamaForCausalLM.from_pretrained(chosen.model, dtype=torch.float32)
    recipe = Recipe() if chosen.epochs is None else Recipe(epochs=chosen.epochs)
    facts = draw_probe(chosen.seed, chosen.companies, chosen.facts)
    verdict = probe(model.to(chosen.device).eval(), tokenizer, phrasing_list.load(), facts, recipe)
    print(json.dumps(verdict.summary(), ensure_ascii=False, indent=2))


def _sample(chosen: argparse.Namespace) -> None:
    corpus = Corpus(phrasing_list.load(), chosen.seed)
    for document in corpus.documents(0, chosen.documents):
        print(document.render(), end="\n\n")


if __name__ == "__main__":
    main()
