"""A prompt's ids are wanted while everybody waits: what can be read once is not read again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bullion.contract.errors import Refusal
from bullion.contract.worker import ChatPrompt, Message, TextPrompt
from bullion.engine.prompts import Prompts
from bullion.models.load import load_tokenizer

CHAT = ChatPrompt("chat", [Message("user", "营业收入")], None)


@pytest.mark.parametrize("named", [True, False])
def test_no_request_reads_the_vocabulary(
    base: Path, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    tokenizer = load_tokenizer(base)
    if not named:
        tokenizer.chat_template = "{{ messages[0].content }}<|eot_id|>"
    prompts = Prompts(tokenizer, 400)

    def read(*_: Any) -> None:
        raise AssertionError("the vocabulary is read again")

    for method in ("get_vocab", "get_added_vocab"):
        monkeypatch.setattr(type(tokenizer), method, read)
    assert prompts.ids(CHAT) == prompts.ids(CHAT)
    assert prompts.ids(TextPrompt("text", "营业收入"))[0] == 0


def test_a_model_without_a_chat_template_loads_and_refuses_chats_alone(base: Path) -> None:
    tokenizer = load_tokenizer(base)
    tokenizer.chat_template = None
    vocabulary = tokenizer.get_vocab()
    tokenizer.get_vocab = lambda: {k: v for k, v in vocabulary.items() if k != "<|eot_id|>"}
    prompts = Prompts(tokenizer, 400)
    assert prompts.ids(TextPrompt("text", "x"))
    with pytest.raises(Refusal, match="no chat template"):
        prompts.ids(CHAT)
