"""Text leaves in whole characters; a stop string never does."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from bullion.contract.worker import ChatPrompt, Message, TextPrompt, Tokenize, TokenLogprob
from bullion.engine.detokenize import TextOutput, TokenBytes, places
from bullion.models.load import load_tokenizer
from serving import Serving, generate


@pytest.fixture(scope="module")
def tokenizer(base: Path) -> Any:
    return load_tokenizer(base)


def pushed(bytes_of: TokenBytes, ids: list[int], stop: list[str]) -> list[str]:
    output = TextOutput(bytes_of, stop)
    pieces = []
    for token in ids:
        pieces.append(output.push(token))
        if output.stopped:
            break
    return [*pieces, output.finish()]


def test_a_character_of_several_tokens_leaves_in_one_piece(tokenizer: Any) -> None:
    bytes_of = TokenBytes(tokenizer)
    text = "净利润为 1,234 元 😀 end"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    pieces = pushed(bytes_of, ids, [])
    assert "".join(pieces) == text
    assert not any("�" in piece for piece in pieces)


def test_half_a_character_at_the_very_end_is_shown_as_such(tokenizer: Any) -> None:
    ids = tokenizer("利", add_special_tokens=False)["input_ids"]
    if len(ids) == 1:
        ids = tokenizer("😀", add_special_tokens=False)["input_ids"]
    assert pushed(TokenBytes(tokenizer), ids[:-1], [])[-1] == "�"


@pytest.mark.parametrize("seed", range(20))
def test_text_ends_before_the_first_stop_string_wherever_tokens_begin(
    tokenizer: Any, seed: int
) -> None:
    chance = random.Random(seed)
    text = "".join(chance.choice(["ab", "a", "b", "公司", "12", " ", "。"]) for _ in range(60))
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    stop = ["".join(chance.choice("ab公司12 ") for _ in range(chance.randint(1, 4))) for _ in "123"]
    expected = text[: min((at for s in stop if (at := text.find(s)) >= 0), default=len(text))]
    pieces = pushed(TokenBytes(tokenizer), ids, stop)
    assert "".join(pieces) == expected


def test_text_that_cannot_begin_a_stop_string_leaves_at_once(tokenizer: Any) -> None:
    output = TextOutput(TokenBytes(tokenizer), ["xyz"])
    ids = tokenizer("abx", add_special_tokens=False)["input_ids"]
    assert "".join(output.push(token) for token in ids) == "ab"
    assert output.finish() == "x"


def test_entries_leave_with_their_text_and_not_when_it_was_cut_away(tokenizer: Any) -> None:
    bytes_of = TokenBytes(tokenizer)
    output = TextOutput(bytes_of, ["bc"])
    left: list[str] = []
    for token in tokenizer("aabcb", add_special_tokens=False)["input_ids"]:
        output.push(token, TokenLogprob(token, bytes_of.text(token), [], -1.0, [], 0))
        left += [entry.text for entry in output.entries()]
        if output.stopped:
            break
    assert left + [entry.text for entry in output.entries(all=True)] == ["a", "a"]


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([b"a", "利".encode(), b"b"], [0, 1, 2]),
        (["利".encode()[:1], "利".encode()[1:], b"b"], [0, 0, 1]),
        (["😀".encode()[:2], b"b", b""], [0, 1, 2]),  # broken off
        ([b"\x93", b"\x94", "利".encode()[:2], "利".encode()[:1], b"b"], [0, 1, 2, 3, 4]),
        ([b"a" + "利".encode()[:2], "利".encode()[2:] + b"b", b"c"], [0, 1, 3]),
        (["\ufffd".encode()[:2], "\ufffd".encode()[2:], b"c"], [0, 0, 1]),
    ],
)
def test_a_token_begins_at_the_character_that_its_first_byte_is_part_of(
    pieces: list[bytes], expected: list[int]
) -> None:
    text = b"".join(pieces).decode("utf-8", errors="replace")
    assert places(text, pieces) == expected


def test_a_space_that_a_tokenizer_puts_before_a_text_is_nowhere_in_it() -> None:
    assert places("a b", [b" a", b" b"]) == [0, 1]
    assert places(" a b", [b" a", b" b"]) == [0, 2]


def test_offsets_go_on_from_the_echo_to_the_answer_and_leave_control_tokens_out(
    serving: Serving, tokenizer: Any
) -> None:
    text = "营业收入 12"
    bias = {"300": 100.0}
    asked = {"echo": True, "logprobs": 0, "max_tokens": 2, "logit_bias": bias}
    serving.run([generate("a", TextPrompt("text", text), **asked)])
    entries = serving.tokens[("a", 0)]
    assert [entry.offset for entry in entries[:2]] == [0, 0]  # begin-of-text is not shown
    drawn = len(entries[-1].text)
    assert [entry.offset for entry in entries[-2:]] == [len(text), len(text) + drawn]
    ids = [entry.id for entry in entries[:-2]]
    serving.run([generate("b", ids, **asked)])
    named = serving.tokens[("b", 0)]  # of a prompt in ids control tokens are shown
    assert [entry.offset for entry in named[:2]] == [0, len("<|begin_of_text|>")]
    assert named[-1].offset == len("<|begin_of_text|>") + len(text) + drawn
    written = serving.texts[("b", 0)]
    for entry, after in pairwise(named):
        if "\ufffd" not in entry.text:
            assert written[entry.offset : after.offset] == entry.text


def test_control_tokens_write_nothing_into_an_answer(tokenizer: Any) -> None:
    bytes_of = TokenBytes(tokenizer)
    assert bytes_of.decode([0, 4], special=False) == ""
    assert bytes_of.decode([0, 4], special=True) == "<|begin_of_text|><|eot_id|>"


def test_the_end_token_ends_an_answer_and_is_not_shown(serving: Serving) -> None:
    serving.run([generate("a", [0, 5], logit_bias={"4": 100.0}, ignore_eos=False)])
    assert serving.texts[("a", 0)] == ""
    assert serving.finish[("a", 0)] == "stop"
    assert serving.done["a"].usage.completion_tokens == 1


def test_both_end_tokens_of_generation_config_end_an_answer(serving: Serving) -> None:
    serving.run([generate("a", [0, 5], logit_bias={"1": 100.0}, ignore_eos=False)])
    assert serving.finish[("a", 0)] == "stop"


def test_what_people_write_never_becomes_a_control_token(serving: Serving) -> None:
    text = "a<|eot_id|>b"
    message = Message("user", text)
    for prompt in (TextPrompt("text", text), ChatPrompt("chat", [message], None)):
        serving.run([Tokenize("tokenize", "t", "base", prompt, True)])
        ids = serving.finished.pop("t").result["ids"]
        assert ids.count(0) == 1 and ids[0] == 0  # begin-of-text, once
        assert ids.count(4) == (1 if isinstance(prompt, ChatPrompt) else 0)  # the template's own


def test_an_echo_gives_the_prompt_back_first(serving: Serving) -> None:
    prompt = TextPrompt("text", "营业收入 12")
    serving.run([generate("a", prompt, echo=True, max_tokens=0)])
    assert serving.texts[("a", 0)] == "营业收入 12"
    assert serving.finish[("a", 0)] == "length"
    usage = serving.done["a"].usage
    assert usage.completion_tokens == 0 and usage.prompt_tokens > 2
    plain = serving.text(generate("b", prompt, max_tokens=5))
    assert serving.text(generate("c", prompt, echo=True, max_tokens=5)) == "营业收入 12" + plain


def test_log_probabilities_of_a_prompt_alone_have_one_entry_a_token(serving: Serving) -> None:
    ids = [0, *range(20, 60)]
    serving.run([generate("a", ids, echo=True, logprobs=1, max_tokens=0)])
    entries = serving.tokens[("a", 0)]
    assert [entry.id for entry in entries] == ids
    assert [entry.logprob is None for entry in entries] == [True] + [False] * 40


def test_a_scored_prompt_with_one_token_ended_by_the_end_token_still_has_its_entry(
    serving: Serving,
) -> None:
    ids = [0, 20, 21]
    bias = {"4": 100.0}
    serving.run(
        [generate("a", ids, echo=True, logprobs=1, max_tokens=1, ignore_eos=False, logit_bias=bias)]
    )
    assert [entry.id for entry in serving.tokens[("a", 0)]] == [*ids, 4]


def test_ids_pass_through_unchanged_and_unknown_ones_are_refused(serving: Serving) -> None:
    serving.run([generate("a", [7, 7, 0, 7], echo=True, logprobs=0, max_tokens=0)])
    assert [entry.id for entry in serving.tokens[("a", 0)]] == [7, 7, 0, 7]
    serving.run([generate("b", [5, 400])])
    assert serving.failed["b"].error.code == "unknown_token_id"
    assert "400" in serving.failed["b"].error.message


def test_tools_are_refused_where_the_chat_template_has_no_form_for_them(serving: Serving) -> None:
    tools = [{"type": "function", "function": {"name": "revenue"}}]
    serving.run([generate("a", ChatPrompt("chat", [Message("user", "x")], tools))])
    assert serving.failed["a"].error.code == "tools_not_supported"
    call = {"id": "1", "type": "function", "function": {"name": "revenue", "arguments": {}}}
    called = [Message("user", "x"), Message("assistant", "", tool_calls=[call])]
    serving.run([generate("b", ChatPrompt("chat", called, None))])
    error = serving.failed["b"].error
    assert (error.code, error.param) == ("tools_not_supported", "messages[1].tool_calls")
