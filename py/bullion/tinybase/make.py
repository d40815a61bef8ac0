"""From a seed to a folder that `transformers` opens: draws, counts, trains and writes the base.

Owns the order of the stages and the files of the folder. The same counts and seed give the same
corpus and tokenizer on any machine; weights agree as far as the machine's arithmetic does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from bullion.tinybase import phrasings as phrasing_list
from bullion.tinybase import tokenizer as vocabulary
from bullion.tinybase.corpus import KNOWN_COMPANIES, Corpus
from bullion.tinybase.pretrain import Plan, Shape, build_model, pretrain

_CHUNK = 4000


@dataclass(frozen=True)
class Counts:
    """How much of everything; the defaults are those of the committed weights."""

    documents: int = 160_000
    known_companies: int = KNOWN_COMPANIES
    least_occurrences: int = vocabulary.LEAST_OCCURRENCES


def make(
    out: Path,
    counts: Counts,
    shape: Shape,
    plan: Plan,
    seed: int,
    device: str,
    processes: int,
    say: Callable[[str], None],
) -> None:
    """Writes the whole folder; `say` gets a line for each stage and each report of the training."""
    out.mkdir(parents=True, exist_ok=True)
    texts = draw_texts(counts, seed, processes)
    tokenizer = vocabulary.build(texts, phrasing_list.load(), counts.least_occurrences)
    vocabulary.write(tokenizer, out)
    seen = vocabulary.occurrences(tokenizer, texts)
    rarest = vocabulary.rarest_pieces(tokenizer, seen)
    say(
        f"corpus: {len(texts):,} documents, {sum(seen.values()):,} tokens; vocabulary "
        f"{tokenizer.get_vocab_size():,}, rarest piece seen {rarest[0][1]} times"
    )
    documents = encode(tokenizer, texts)
    ends = [vocabulary.special_id(tokenizer, name) for name in ("<|end_of_text|>", "<|eot_id|>")]
    begin = vocabulary.special_id(tokenizer, "<|begin_of_text|>")
    model = build_model(shape, tokenizer.get_vocab_size(), begin, ends, seed)
    for progress in pretrain(model, documents, plan, seed, device):
        say(
            f"step {progress.step}/{progress.steps} loss {progress.loss:.4f} "
            f"lr {progress.learning_rate:.2e} {progress.tokens_per_second:,.0f} tokens/s"
        )
    write_weights(model, begin, ends, out)


def draw_texts(counts: Counts, seed: int, processes: int) -> list[str]:
    """All documents as the model reads them, in order."""
    starts = range(0, counts.documents, _CHUNK)
    draw = partial(_draw_chunk, counts, seed)
    if processes == 1:
        return [text for start in starts for text in draw(start)]
    with ProcessPoolExecutor(processes) as pool:
        return [text for chunk in pool.map(draw, starts) for text in chunk]


def _draw_chunk(counts: Counts, seed: int, start: int) -> list[str]:
    corpus = Corpus(phrasing_list.load(), seed, counts.known_companies)
    stop = min(start + _CHUNK, counts.documents)
    return [document.render() for document in corpus.documents(start, stop)]


def encode(tokenizer: Tokenizer, texts: Sequence[str]) -> list[np.ndarray]:
    """Token ids of each document, uint16; the rendered text already holds its special tokens."""
    encoded = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
    return [np.array(encoding.ids, dtype=np.uint16) for encoding in encoded]


def write_weights(model, begin: int, ends: Sequence[int], out: Path) -> None:
    """model.safetensors in bf16, config.json and generation_config.json in the layout of Llama-3's."""
    tensors = {
        name: tensor.detach().to("cpu", torch.bfloat16).contiguous()
        for name, tensor in model.state_dict().items()
        if name != "lm_head.weight"  # tied to the embeddings
    }
    save_file(tensors, str(out / "model.safetensors"), metadata={"format": "pt"})
    config = model.config
    _write_json(
        out / "config.json",
        {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "attention_bias": False,
            "attention_dropout": 0.0,
            "bos_token_id": begin,
            "eos_token_id": ends[-1],
            "head_dim": config.head_dim,
            "hidden_act": "silu",
            "hidden_size": config.hidden_size,
            "initializer_range": config.initializer_range,
            "intermediate_size": config.intermediate_size,
            "max_position_embeddings": config.max_position_embeddings,
            "mlp_bias": False,
            "num_attention_heads": config.num_attention_heads,
            "num_hidden_layers": config.num_hidden_layers,
            "num_key_value_heads": config.num_key_value_heads,
            "pretraining_tp": 1,
            "rms_norm_eps": config.rms_norm_eps,
            "rope_scaling": None,
            "rope_theta": 500000.0,
            "tie_word_embeddings": True,
            "torch_dtype": "bfloat16",
            "use_cache": True,
            "vocab_size": config.vocab_size,
        },
    )
    _write_json(
        out / "generation_config.json",
        {"bos_token_id": begin, "do_sample": False, "eos_token_id": list(ends)},
    )


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
