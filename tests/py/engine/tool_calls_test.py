"""Forced calls are calls of known functions with arguments after their schemas, in the model's words."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bullion.contract.worker import CalledFunction, ChatPrompt, Message, ToolCallsFormat
from bullion.engine.call_grammar import MOST_CALLS
from serving import Serving, generate

PRICE = CalledFunction(
    "price",
    {
        "type": "object",
        "properties": {"of": {"enum": ["A", "B"]}, "year": {"type": "integer", "maximum": 99}},
        "required": ["of", "year"],
        "additionalProperties": False,
    },
)
PROFIT = CalledFunction("利润", {"type": "object", "properties": {}, "additionalProperties": False})
TOOLS = [
    {"type": "function", "function": {"name": f.name, "parameters": f.parameters}}
    for f in (PRICE, PROFIT)
]
LLAMA = (
    "{% if tools %}parameters{% endif %}{% for m in messages %}<|start_header_id|>{{ m.role }}"
    "<|end_header_id|>{{ m.content }}<|eot_id|>{% endfor %}"
)
HERMES = (
    "{% for t in tools or [] %}{{ t | tojson }}{% endfor %}{% for m in messages %}{{ m.content }}"
    '{% endfor %}<tool_call>{"name", "arguments"}</tool_call>'
)
OTHER = "{{ tools }}{% for m in messages %}{{ m.content }}{% endfor %}[TOOL_CALLS]"


@pytest.fixture
def serve_with(base: Path, tmp_path: Path, serve: Callable[..., Serving]) -> Callable[..., Serving]:
    """An engine over the small base with another chat template and control tokens by other names."""

    def opened(template: str, renamed: dict[str, str] | None = None) -> Serving:
        from transformers import AutoTokenizer

        folder = tmp_path / "base"
        shutil.copytree(base, folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        tokenizer.chat_template = template
        text = (folder / "tokenizer.json").read_text(encoding="utf-8")
        for old, new in (renamed or {}).items():
            text = text.replace(json.dumps(old), json.dumps(new))
        tokenizer.save_pretrained(folder)
        config = folder / "config.json"
        wide = json.loads(config.read_text(encoding="utf-8")) | {"max_position_embeddings": 4096}
        config.write_text(json.dumps(wide), encoding="utf-8")
        (folder / "tokenizer.json").write_text(text, encoding="utf-8")
        serving = serve()
        serving.base = folder
        serving.load("tools")
        return serving

    return opened


def asked(serving: Serving, id: str, several: bool = False, **changes: Any) -> str:
    prompt = ChatPrompt("chat", [Message("user", "x")], TOOLS)
    form = ToolCallsFormat("tool_calls", [PRICE, PROFIT], several)
    settings: dict[str, Any] = {"max_tokens": 400, "temperature": 1.0} | changes
    return serving.text(generate(id, prompt, "tools", format=form, **settings))


def valid(name: str, arguments: dict[str, Any]) -> bool:
    if name == "利润":
        return arguments == {}
    return arguments["of"] in "AB" and isinstance(arguments["year"], int) and len(arguments) == 2


@pytest.mark.parametrize("seed", range(4))
def test_a_llama_is_held_to_one_call(serve_with: Callable[..., Serving], seed: int) -> None:
    pytest.importorskip("llguidance")
    serving = serve_with(LLAMA)
    call = json.loads(asked(serving, "a", seed=seed))
    assert list(call) == ["name", "parameters"] and valid(call["name"], call["parameters"])
    assert serving.finish[("a", 0)] == "stop"


def test_several_calls_are_separated_as_llama_writes_them_and_have_an_end(
    serve_with: Callable[..., Serving],
) -> None:
    pytest.importorskip("llguidance")
    serving = serve_with(LLAMA)
    text = asked(serving, "a", True, seed=1, logit_bias={"4": -100.0, "1": -100.0}, max_tokens=1000)
    calls = [json.loads(call) for call in text.split("; ")]
    assert len(calls) == MOST_CALLS and all(valid(c["name"], c["parameters"]) for c in calls)


MARKS = {"<|start_header_id|>": "<tool_call>", "<|end_header_id|>": "</tool_call>"}


@pytest.mark.parametrize("controls", [{}, MARKS])
def test_hermes_calls_stand_between_marks_whether_or_not_those_are_control_tokens(
    serve_with: Callable[..., Serving], controls: dict[str, str]
) -> None:
    pytest.importorskip("llguidance")
    serving = serve_with(HERMES, controls)
    assert len(serving.engine._named("tools").resident.tokenizer.marks) == len(controls)
    text = asked(serving, "a", seed=2)
    found = re.fullmatch(r"<tool_call>\n(.*)\n</tool_call>", text)
    assert found is not None, text
    call = json.loads(found[1])
    assert list(call) == ["name", "arguments"] and valid(call["name"], call["arguments"])


def test_a_mark_that_is_a_control_token_is_shown_only_where_there_are_tools(
    serve_with: Callable[..., Serving],
) -> None:
    serving = serve_with(LLAMA, {"<|end_of_text|>": "<|python_tag|>"})
    bias: dict[str, Any] = {"logit_bias": {"1": 100.0}, "max_tokens": 2}
    chats = {
        "with": ChatPrompt("chat", [Message("user", "x")], TOOLS),
        "without": ChatPrompt("chat", [Message("user", "x")], None),
    }
    texts = {
        id: serving.text(generate(id, prompt, "tools", **bias)) for id, prompt in chats.items()
    }
    assert texts == {"with": "<|python_tag|><|python_tag|>", "without": ""}


def test_a_model_with_words_of_its_own_cannot_be_forced_and_can_be_asked(
    serve_with: Callable[..., Serving],
) -> None:
    pytest.importorskip("llguidance")
    serving = serve_with(OTHER)
    prompt = ChatPrompt("chat", [Message("user", "x")], TOOLS)
    form = ToolCallsFormat("tool_calls", [PRICE], False)
    serving.run([generate("a", prompt, "tools", format=form), generate("b", prompt, "tools")])
    assert serving.failed["a"].error.code == "tool_choice_not_supported"
    assert ("b", 0) in serving.finish


def test_parameters_that_are_no_schema_are_refused(serve_with: Callable[..., Serving]) -> None:
    pytest.importorskip("llguidance")
    serving = serve_with(LLAMA)
    prompt = ChatPrompt("chat", [Message("user", "x")], TOOLS)
    bad = CalledFunction("f", {"type": "object", "properties": {"a": {"type": "nonsense"}}})
    form = ToolCallsFormat("tool_calls", [bad], False)
    serving.run([generate("a", prompt, "tools", format=form)])
    error = serving.failed["a"].error
    assert (error.code, error.param) == ("invalid_json_schema", "tools")


def test_parameters_that_no_finite_value_obeys_are_refused(
    serve_with: Callable[..., Serving],
) -> None:
    pytest.importorskip("llguidance")
    serving = serve_with(LLAMA)
    prompt = ChatPrompt("chat", [Message("user", "x")], TOOLS)
    endless = {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}
    form = ToolCallsFormat("tool_calls", [PRICE, CalledFunction("f", endless)], True)
    serving.run([generate("a", prompt, "tools", format=form)])
    error = serving.failed["a"].error
    assert (error.code, error.param) == ("invalid_json_schema", "tools")
    assert "no finite value can obey f's" in error.message
