"""Answers that obey a JSON schema, from a model that would write noise."""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

import pytest
from bullion.contract.worker import JsonObjectFormat, JsonSchemaFormat
from serving import Serving, generate

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "company": {"type": "string", "maxLength": 8},
        "year": {"type": "integer", "minimum": 2000, "maximum": 2030},
        "audited": {"type": "boolean"},
    },
    "required": ["company", "year", "audited"],
    "additionalProperties": False,
}
FORMAT = JsonSchemaFormat("json_schema", SCHEMA)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_an_answer_obeys_its_schema_and_ends_by_itself(
    serving: Serving, temperature: float
) -> None:
    pytest.importorskip("llguidance")
    settings: dict[str, Any] = {"temperature": temperature, "seed": 3, "max_tokens": 200}
    expected = serving.text(generate("free", [0, 9, 10], **settings | {"max_tokens": 30}))
    serving.run(
        [
            generate("bound", [0, 5, 6], format=FORMAT, **settings),
            generate("beside", [0, 9, 10], **settings | {"max_tokens": 30}),
        ]
    )
    assert not serving.failed
    answer = json.loads(serving.texts[("bound", 0)])
    assert list(answer) == ["company", "year", "audited"]
    assert len(answer["company"]) <= 8 and 2000 <= answer["year"] <= 2030
    assert isinstance(answer["audited"], bool)
    assert serving.finish[("bound", 0)] == "stop"
    assert serving.texts[("beside", 0)] == expected


def test_a_json_object_is_one(serving: Serving) -> None:
    pytest.importorskip("llguidance")
    form = JsonObjectFormat("json_object")
    serving.run([generate("a", [0, 5], format=form, temperature=1.0, seed=1, max_tokens=400)])
    text = serving.texts[("a", 0)]
    assert text.startswith("{")
    if serving.finish[("a", 0)] == "stop":
        assert isinstance(json.loads(text), dict)


def test_the_vocabulary_is_prepared_once_and_before_anybody_asks(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hf = pytest.importorskip("llguidance.hf")
    threads: list[str] = []
    prepared = hf.from_tokenizer

    def watched(*given: Any, **more: Any) -> Any:
        threads.append(threading.current_thread().name)
        return prepared(*given, **more)

    monkeypatch.setattr(hf, "from_tokenizer", watched)
    serving = serve()
    for thread in threading.enumerate():
        if thread.name == "grammar vocabulary":
            thread.join()
    assert threads == ["grammar vocabulary"]
    serving.run([generate("a", [0, 5], format=FORMAT), generate("b", [0, 6], format=FORMAT)])
    assert not serving.failed and len(threads) == 1


@pytest.mark.parametrize("depth", [130, 5000])
def test_a_schema_that_is_nested_too_deeply_is_refused(serving: Serving, depth: int) -> None:
    pytest.importorskip("llguidance")
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}}
    serving.run([generate("a", [0, 5], format=JsonSchemaFormat("json_schema", schema))])
    assert serving.failed["a"].error.code == "invalid_json_schema"
    assert "nested too deeply" in serving.failed["a"].error.message


def test_a_schema_that_no_value_obeys_is_refused(serving: Serving) -> None:
    pytest.importorskip("llguidance")
    form = JsonSchemaFormat("json_schema", {"$ref": "#"})
    serving.run([generate("a", [0, 5], format=form)])
    assert serving.failed["a"].error.code == "invalid_json_schema"


def test_a_schema_that_cannot_be_followed_is_refused(serving: Serving) -> None:
    pytest.importorskip("llguidance")
    form = JsonSchemaFormat("json_schema", {"type": "nonsense"})
    serving.run([generate("a", [0, 5], format=form)])
    assert serving.failed["a"].error.code == "invalid_json_schema"


def test_without_the_package_the_refusal_names_it(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    serving.run([generate("a", [0, 5], format=FORMAT)])
    assert serving.failed["a"].error.code == "missing_package"
    assert "pip install llguidance" in serving.failed["a"].error.message
