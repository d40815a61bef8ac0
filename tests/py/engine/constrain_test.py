"""Answers that obey a JSON schema, from a model that would write noise."""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

import pytest
from bullion.contract.errors import Refusal
from bullion.contract.worker import JsonObjectFormat, JsonSchemaFormat
from bullion.engine import constrain
from bullion.engine.constrain import MOST_PROPERTIES
from bullion.engine.schemas import has_value
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


@pytest.mark.parametrize("depth", [130, 1900])
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


# An object that requires itself, directly and through lists, in the ways that schemas are put together.
SELF = {"$ref": "#"}
NODE: dict[str, Any] = {
    "type": "object",
    "properties": {"a": SELF},
    "required": ["a"],
    "additionalProperties": False,
}
ENDLESS: dict[str, dict[str, Any]] = {
    "a property": NODE,
    "items": {"type": "array", "items": SELF, "minItems": 1},
    "prefixItems": {"type": "array", "prefixItems": [SELF], "minItems": 1},
    "an unnamed property": {"type": "object", "required": ["a"], "additionalProperties": SELF},
    "minProperties": {"type": "object", "additionalProperties": SELF, "minProperties": 1},
    "anyOf": {"anyOf": [NODE, {"type": "array", "items": SELF, "minItems": 1}]},
    "allOf": {"type": "object", "allOf": [{"properties": {"a": SELF}, "required": ["a"]}]},
    "two that require each other": {
        "$ref": "#/$defs/a~1b",
        "$defs": {
            "a/b": NODE | {"properties": {"a": {"$ref": "#/$defs/c%20d"}}},
            "c d": {"type": "array", "items": {"$ref": "#/$defs/a~1b"}, "minItems": 2},
        },
    },
}
WITH_END: dict[str, dict[str, Any]] = {
    "not required": NODE | {"required": []},
    "null": {"anyOf": [NODE, {"type": "null"}]},
    "a list that may be empty": {"type": "array", "items": SELF},
    "any type": {"properties": {"a": SELF}, "required": ["a"]},
    "an endless one that is not needed": {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/n"}, "b": {"const": 1}},
        "required": ["b"],
        "$defs": {"n": NODE | {"properties": {"a": {"$ref": "#/$defs/n"}}}},
    },
    "a chain": {
        "$ref": "#/$defs/0",
        "$defs": {
            str(i): NODE | {"properties": {"a": {"$ref": f"#/$defs/{i + 1}"}}} for i in range(99)
        }
        | {"99": {"type": "null"}},
    },
    "elsewhere": NODE | {"properties": {"a": {"$ref": "other.json"}}},
}


@pytest.mark.parametrize("way", ENDLESS)
def test_a_schema_that_requires_itself_without_end_has_no_value(way: str) -> None:
    assert not has_value(ENDLESS[way])


@pytest.mark.parametrize("way", WITH_END)
def test_a_schema_with_a_way_out_may_have_a_value(way: str) -> None:
    assert has_value(WITH_END[way])


def test_a_schema_without_finite_values_is_refused_before_it_is_followed(serving: Serving) -> None:
    pytest.importorskip("llguidance")
    serving.run([generate("a", [0, 5], format=JsonSchemaFormat("json_schema", NODE))])
    error = serving.failed["a"].error
    assert (error.code, error.param) == ("invalid_json_schema", "response_format")
    assert "no finite value can obey it" in error.message


def test_a_schema_that_is_empty_for_another_reason_hears_that_reason(serving: Serving) -> None:
    pytest.importorskip("llguidance")
    schema = {"type": "object", "required": ["a"], "additionalProperties": False}
    serving.run([generate("a", [0, 5], format=JsonSchemaFormat("json_schema", schema))])
    message = serving.failed["a"].error.message
    assert "required property 'a'" in message and "without end" not in message


def optional(count: int) -> dict[str, Any]:
    integers = {f"p{i}": {"type": "integer"} for i in range(count)}
    return {"type": "object", "properties": integers, "additionalProperties": False}


def test_an_object_may_leave_as_many_properties_optional_as_may_be_named(serving: Serving) -> None:
    pytest.importorskip("llguidance")
    form = JsonSchemaFormat("json_schema", optional(MOST_PROPERTIES))
    settings: dict[str, Any] = {"temperature": 1.0, "seed": 2, "max_tokens": 60}
    text = serving.text(generate("a", [0, 5], format=form, **settings))
    assert text.startswith('{"p') and ": " in text, text


def test_a_schema_that_names_more_properties_is_refused(serving: Serving) -> None:
    pytest.importorskip("llguidance")
    form = JsonSchemaFormat("json_schema", optional(MOST_PROPERTIES + 1))
    serving.run([generate("a", [0, 5], format=form)])
    error = serving.failed["a"].error
    assert error.code == "invalid_json_schema" and "2,001 properties" in error.message


def test_a_grammar_that_fails_ends_its_request_alone_and_says_so(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("llguidance")
    monkeypatch.setattr(constrain, "_endless", lambda schemas: None)
    expected = serving.text(generate("free", [0, 9, 10]))
    serving.run(
        [
            generate("bound", [0, 5, 6], n=2, format=JsonSchemaFormat("json_schema", NODE)),
            generate("beside", [0, 9, 10]),
        ]
    )
    assert serving.failed["bound"].error.code == "grammar_failed"
    assert not [end for end in serving.finish if end[0] == "bound"]
    assert serving.texts[("beside", 0)] == expected
    assert serving.text(generate("after", [0, 9, 10])) == expected


def test_where_no_token_may_come_the_grammar_has_failed() -> None:
    class Stuck:
        def is_stopped(self) -> bool:
            return False

        def compute_bitmask(self) -> bytes:
            return bytes(2)

    with pytest.raises(Refusal) as raised:
        constrain.Grammar(Stuck(), 16, frozenset({1})).allowed()
    assert raised.value.code == "grammar_failed"


def test_choices_of_one_request_go_their_own_ways(serving: Serving) -> None:
    pytest.importorskip("llguidance")
    settings: dict[str, Any] = {"temperature": 1.0, "seed": 3, "max_tokens": 200}
    serving.run([generate("a", [0, 5, 6], n=3, format=FORMAT, **settings)])
    texts = [serving.texts[("a", index)] for index in range(3)]
    assert len(set(texts)) == 3
    assert all(list(json.loads(text)) == ["company", "year", "audited"] for text in texts)


def test_what_cannot_be_read_for_another_reason_is_not_called_deep(serving: Serving) -> None:
    pytest.importorskip("llguidance")
    form = JsonSchemaFormat("json_schema", {"const": "\ud800"})
    serving.run([generate("a", [0, 5], format=form)])
    error = serving.failed["a"].error
    assert "hex escape" in error.message and "nested" not in error.message
