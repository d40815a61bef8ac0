"""A small Llama with random weights and a byte-level tokenizer, made on the spot; and an engine over it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from bullion.contract.worker import EngineOpening
from bullion.engine.engine import Engine
from serving import Serving, write_adapter

TEXT = [
    "营业收入同比增长百分之十二，归属于上市公司股东的净利润为三亿元。",
    "The company reports revenue of 1,234.5 million yuan for the year 2023.",
    "请问公司本年度的研发投入是多少？研发投入占营业收入的比例为百分之五。",
]
SPECIAL = [
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
]


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """64 × 3 layers, 4 query and 2 key-value heads, 512 positions, llama3 rotary scaling, bf16."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("base")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=SPECIAL[0], eos_token=SPECIAL[4]
    )
    fast.save_pretrained(folder)
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=64,
        intermediate_size=160,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        rms_norm_eps=1e-5,
        rope_parameters={
            "rope_type": "llama3",
            "rope_theta": 10000.0,
            "factor": 4.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 128,
        },
        initializer_range=0.15,
        bos_token_id=0,
        eos_token_id=4,
    )
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.generation_config.eos_token_id = [1, 4]
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def reference(base: Path) -> Any:
    """The same model in transformers, computed in fp32 on the CPU."""
    from transformers import AutoModelForCausalLM

    half = torch.bfloat16 if torch.cuda.is_available() else torch.float32
    return AutoModelForCausalLM.from_pretrained(base, dtype=half).float().eval()


@pytest.fixture(scope="session")
def adapters(base: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three adapters of different ranks, the last with rsLoRA's scale."""
    root = tmp_path_factory.mktemp("adapters")
    return [
        write_adapter(root / "one", base, 1),
        write_adapter(root / "two", base, 2, rank=8),
        write_adapter(root / "three", base, 3, use_rslora=True),
    ]


@pytest.fixture
def serve(base: Path) -> Callable[..., Serving]:
    """A function that opens an engine over the small base; keywords change the opening."""

    def opened(**changes: Any) -> Serving:
        settings: dict[str, Any] = {
            "threads": 1,
            "kv_memory_gb": None,
            "max_running": 16,
            "max_waiting": 256,
            "prefill_tokens": 64,
            "cuda_graphs": True,
        }
        serving = Serving(Engine(EngineOpening("engine", **settings | changes)), base)
        serving.load()
        return serving

    return opened


@pytest.fixture
def serving(serve: Callable[..., Serving]) -> Serving:
    return serve()
