"""A small Llama with random weights and a byte-level tokenizer, made on the spot; and an engine over it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from bullion.contract.recipe import BaseModel
from bullion.contract.worker import (
    DeltaEvent,
    DoneEvent,
    EngineOpening,
    FailedEvent,
    FinishedEvent,
    Generate,
    GenerateSpec,
    IdsPrompt,
    Load,
    Prompt,
    Sampling,
    ServedModel,
    TextFormat,
    TokenLogprob,
)
from bullion.engine.engine import Engine

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
    """64 × 3 layers, 4 query and 2 key-value heads, 512 positions, llama3 rotary scaling."""
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
    model = LlamaForCausalLM(config)
    model.generation_config.eos_token_id = [1, 4]
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def reference(base: Path) -> Any:
    """The same model in transformers, fp32."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()


def write_adapter(folder: Path, base: Path, seed: int, rank: int = 4, **settings: Any) -> Path:
    """A LoRA adapter with random A and B on every linear layer, strong enough to change texts."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", **settings)
    tuned = get_peft_model(model, config)
    for name, parameter in tuned.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    tuned.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def adapters(base: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three adapters of different ranks, the last with rsLoRA's scale."""
    root = tmp_path_factory.mktemp("adapters")
    return [
        write_adapter(root / "one", base, 1),
        write_adapter(root / "two", base, 2, rank=8),
        write_adapter(root / "three", base, 3, use_rslora=True),
    ]


def sampling(**changes: Any) -> Sampling:
    """Greedy, 16 tokens, never ended by the end token; `changes` say what a test is about."""
    settings: dict[str, Any] = {
        "max_tokens": 16,
        "temperature": 0.0,
        "top_p": 1.0,
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "logit_bias": {},
        "seed": None,
        "stop": [],
        "ignore_eos": True,
    }
    return Sampling(**settings | changes)


def generate(
    id: str,
    prompt: Prompt | list[int],
    model: str = "base",
    n: int = 1,
    logprobs: int | None = None,
    echo: bool = False,
    format: Any = None,
    **changes: Any,
) -> Generate:
    if isinstance(prompt, list):
        prompt = IdsPrompt("ids", prompt)
    form = format or TextFormat("text")
    spec = GenerateSpec(model, prompt, n, sampling(**changes), logprobs, echo, form)
    return Generate("generate", id, spec)


class Serving:
    """An engine with what its requests have answered so far."""

    def __init__(self, engine: Engine, base: Path) -> None:
        self.engine = engine
        self.base = base
        self.texts: dict[tuple[str, int], str] = {}
        self.tokens: dict[tuple[str, int], list[TokenLogprob]] = {}
        self.finish: dict[tuple[str, int], str] = {}
        self.done: dict[str, DoneEvent] = {}
        self.failed: dict[str, FailedEvent] = {}
        self.finished: dict[str, FinishedEvent] = {}
        self.deltas: list[DeltaEvent] = []

    def load(self, name: str = "base", adapter: Path | None = None) -> dict[str, Any]:
        model = BaseModel(name, str(self.base), None, False)
        over = str(adapter) if adapter else None
        self.engine.submit(Load("load", f"load-{name}", ServedModel(name, model, over)))
        self.run()
        assert f"load-{name}" not in self.failed, self.failed[f"load-{name}"].error
        return self.finished[f"load-{name}"].result

    def step(self) -> None:
        for event in self.engine.step():
            if isinstance(event, DeltaEvent):
                key = (event.id, event.index)
                assert key not in self.finish, "a delta after the end"
                self.deltas.append(event)
                self.texts[key] = self.texts.get(key, "") + event.text
                self.tokens.setdefault(key, []).extend(event.tokens or [])
                if event.finish_reason:
                    self.finish[key] = event.finish_reason
            elif isinstance(event, DoneEvent):
                self.done[event.id] = event
            elif isinstance(event, FailedEvent):
                self.failed[event.id] = event
            elif isinstance(event, FinishedEvent):
                self.finished[event.id] = event

    def run(self, work: Iterable[Any] = ()) -> None:
        for each in work:
            self.engine.submit(each)
        steps = 0
        while self.engine.busy:
            self.step()
            steps += 1
            assert steps < 20000, "the engine does not come to rest"

    def text(self, work: Generate, index: int = 0) -> str:
        """The answer to one request that runs with nothing beside it."""
        self.run([work])
        assert work.id not in self.failed, self.failed[work.id].error
        return self.texts[(work.id, index)]


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
