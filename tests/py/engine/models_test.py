"""Models come and go by name: bases share nothing but memory, adapters share their base."""

from __future__ import annotations

import json
import shutil
import weakref
from pathlib import Path

import pytest
import torch
from bullion.contract.recipe import BaseModel
from bullion.contract.worker import (
    Detokenize,
    IdsPrompt,
    Load,
    MessageEvent,
    ServedModel,
    Tokenize,
    Unload,
)
from serving import Serving, generate, write_adapter

PROMPT = [0, 5, 6, 7]


def load(serving: Serving, name: str, base: Path, adapter: Path | None = None) -> None:
    model = ServedModel(name, BaseModel(name, str(base), None, False), str(adapter or "") or None)
    serving.run([Load("load", f"load-{name}", model)])


@pytest.fixture
def other(base: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(base, tmp_path / "other"))


def test_loading_says_what_was_loaded(serving: Serving) -> None:
    result = serving.finished["load-base"].result
    assert result["name"] == "base"
    assert (result["context_length"], result["vocab_size"]) == (512, 400)
    assert result["eos_ids"] == [1, 4]
    assert result["seconds"] >= 0
    json.dumps(serving.engine.status())  # JSON values only


def test_a_base_stays_in_memory_once_for_all_its_names(
    serving: Serving, base: Path, adapters: list[Path]
) -> None:
    load(serving, "again", base)
    load(serving, "tuned", base, adapters[0])
    load(serving, "tuned twice", base, adapters[0])
    assert len(serving.engine._residents) == 1
    assert serving.engine.status()["adapters"] == 1
    serving.run([Unload("unload", "u1", "tuned")])
    assert serving.engine.status()["adapters"] == 1
    serving.run([Unload("unload", "u2", "tuned twice")])
    assert serving.engine.status()["adapters"] == 0


def test_an_adapter_whose_files_changed_is_another_adapter(
    serving: Serving, base: Path, adapters: list[Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(adapters[0], tmp_path / "adapter"))
    load(serving, "tuned", base, folder)
    before = serving.text(generate("a", PROMPT, "tuned"))
    shutil.copytree(adapters[1], folder, dirs_exist_ok=True)
    load(serving, "tuned", base, folder)
    after = serving.text(generate("b", PROMPT, "tuned"))
    load(serving, "second", base, adapters[1])
    assert after == serving.text(generate("c", PROMPT, "second")) != before


def test_unloading_the_last_name_gives_the_base_back(serving: Serving) -> None:
    resident = weakref.ref(serving.engine._residents[0])
    serving.run([Unload("unload", "gone", "base")])
    assert "gone" in serving.finished and resident() is None
    serving.run([generate("a", PROMPT)])
    assert serving.failed["a"].error.code == "model_not_loaded"


def test_a_base_with_a_damaged_file_of_settings_is_refused_by_its_name(
    serving: Serving, other: Path
) -> None:
    for name in ("generation_config.json", "config.json"):
        (other / name).write_text('{"eos_token_id": ')
        load(serving, name, other)
        error = serving.failed[f"load-{name}"].error
        assert error.code == "broken_config" and str(other / name) in error.message


def test_two_bases_answer_side_by_side(serving: Serving, other: Path) -> None:
    load(serving, "other", other)
    assert len(serving.engine._residents) == 2
    serving.run([generate("a", PROMPT, "base"), generate("b", PROMPT, "other")])
    assert serving.texts[("a", 0)] == serving.texts[("b", 0)]


def test_a_stream_goes_on_while_another_base_is_loaded(serving: Serving, other: Path) -> None:
    serving.engine.submit(generate("stream", PROMPT, max_tokens=100))
    serving.step()
    model = ServedModel("other", BaseModel("other", str(other), None, False), None)
    serving.engine.submit(Load("load", "l", model))
    before = len(serving.deltas)
    while "l" not in serving.finished:
        serving.step()
    layers = serving.engine._residents[0].shape.layers
    assert len(serving.deltas) - before > 2 * layers  # each is read, and each is packed


def test_a_base_that_does_not_fit_takes_the_place_of_the_idle_one_and_says_so(
    serving: Serving, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = serving.engine
    room = {0: 1 << 40, 1: 0}
    monkeypatch.setattr(
        "bullion.engine.engine.free_bytes", lambda device: room[len(engine._residents)]
    )
    model = ServedModel("other", BaseModel("other", str(other), None, False), None)
    engine.submit(Load("load", "l", model))
    said = [event for _ in range(30) for event in engine.step()]
    messages = [event for event in said if isinstance(event, MessageEvent)]
    assert [message.code for message in messages] == ["model_unloaded"]
    assert engine.status()["models"] == ["other"]


def test_a_base_that_does_not_fit_beside_busy_ones_is_refused(
    serving: Serving, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bullion.engine.engine.free_bytes", lambda device: 0)
    serving.engine.submit(generate("stream", PROMPT, max_tokens=100))
    serving.step()
    load(serving, "other", other)
    assert serving.failed["load-other"].error.code == "out_of_memory"
    assert serving.finish[("stream", 0)] == "length"


def test_a_load_can_be_cancelled(serving: Serving, other: Path) -> None:
    model = ServedModel("other", BaseModel("other", str(other), None, False), None)
    serving.engine.submit(Load("load", "l", model))
    serving.step()
    serving.engine.cancel("l")
    serving.run()
    assert serving.engine.status()["models"] == ["base"]
    assert len(serving.engine._residents) == 1


def test_ids_and_text_go_there_and_back(serving: Serving) -> None:
    ids = [0, 60, 61, 62, 4]
    serving.run([Detokenize("detokenize", "d", "base", ids)])
    text = serving.finished["d"].result["text"]
    assert text.startswith("<|begin_of_text|>") and text.endswith("<|eot_id|>")
    serving.run([Tokenize("tokenize", "t", "base", IdsPrompt("ids", ids), True)])
    assert serving.finished["t"].result["ids"] == ids


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"use_dora": True}, "unsupported_adapter"),
        ({"modules_to_save": ["lm_head"]}, "unsupported_adapter"),
    ],
)
def test_an_adapter_that_cannot_be_served_unmerged_is_refused(
    serving: Serving, base: Path, tmp_path: Path, settings: dict[str, object], code: str
) -> None:
    load(serving, "tuned", base, write_adapter(tmp_path / "adapter", base, 1, **settings))
    assert serving.failed["load-tuned"].error.code == code
    assert "export" in serving.failed["load-tuned"].error.message


def test_an_adapter_of_another_shape_is_refused_by_the_module_that_does_not_fit(
    serving: Serving, base: Path, adapters: list[Path], tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(adapters[0], tmp_path / "adapter"))
    file = folder / "adapter_model.safetensors"
    tensors = load_file(file)
    name = next(name for name in tensors if "layers.1.mlp.up_proj.lora_B" in name)
    tensors[name] = tensors[name][:-8].contiguous()
    save_file(tensors, file)
    load(serving, "tuned", base, folder)
    assert serving.failed["load-tuned"].error.code == "adapter_mismatch"
    assert "layers.1.mlp.up_proj" in serving.failed["load-tuned"].error.message
    assert serving.engine.status()["adapters"] == 0


def test_what_a_request_would_wait_for_is_made_ready_while_nobody_asks(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = serving.engine._residents[0]._runner
    left = ["a kernel", "a graph"]
    monkeypatch.setattr(type(runner), "cold", property(lambda self: bool(left)))
    monkeypatch.setattr(type(runner), "warm", lambda self: left.pop())
    serving.engine.submit(generate("r", PROMPT, max_tokens=4))
    while serving.engine.busy:
        serving.step()
    assert left == ["a kernel", "a graph"] and serving.engine.cold
    serving.step()
    assert left == ["a kernel"] and serving.engine.cold
    serving.step()
    assert not left and not serving.engine.cold


def test_what_cannot_be_made_ready_beforehand_is_not_tried_for_ever(
    serving: Serving, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def warm(self: object) -> None:
        raise RuntimeError("out of graphs")

    runner = type(serving.engine._residents[0]._runner)
    monkeypatch.setattr(runner, "cold", True)
    monkeypatch.setattr(runner, "warm", warm)
    serving.step()
    assert not serving.engine.cold
    assert "out of graphs" in capfd.readouterr().err
    assert serving.text(generate("r", PROMPT, max_tokens=4))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="only a GPU has graphs and kernels")
def test_when_all_is_warm_no_request_records_or_compiles(
    serving: Serving, adapters: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from bullion.engine.graphs import DecodeGraphs

    engine = serving.engine
    while engine.cold:
        engine.step()
    monkeypatch.setattr(DecodeGraphs, "record", None)
    serving.load("tuned", adapters[0])
    requests = [generate(f"r{n}", PROMPT, "tuned" if n % 2 else "base") for n in range(5)]
    serving.run(requests)
    assert len(serving.finish) == 5
