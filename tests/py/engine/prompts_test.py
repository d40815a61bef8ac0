"""A prompt's ids are wanted while everybody waits: what can be read once is not read again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bullion.contract.errors import Refusal
from bullion.contract.worker import ChatPrompt, Message, TextPrompt
from bullion.engine.prompts import Context, Prompts
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


def test_a_text_on_which_the_tokenizer_gives_up_is_refused(base: Path) -> None:
    class PanicException(BaseException):
        """As the tokenizers library raises it: no Exception."""

    tokenizer = load_tokenizer(base)
    read = type(tokenizer).__call__

    class Panicking(type(tokenizer)):  # type: ignore[misc]
        def __call__(self, texts: Any, **more: Any) -> Any:
            if any("   " in text for text in texts):
                raise PanicException("retry-limit-in-match over")
            return read(self, texts, **more)

    tokenizer.__class__ = Panicking
    prompts = Prompts(tokenizer, 400)
    with pytest.raises(Refusal, match=r"4 characters that begins with '    '.*retry-limit"):
        prompts.ids(TextPrompt("text", "    "))
    chat = ChatPrompt("chat", [Message("user", "营业"), Message("user", "a    b")], None)
    with pytest.raises(Refusal, match=r"8 characters that begins with '\\n\\na    b'"):
        prompts.ids(chat)
    assert prompts.ids(TextPrompt("text", "营业收入"))


def test_a_text_that_cannot_fit_is_refused_before_it_is_tokenised() -> None:
    context = Context(tokens=10, trained=10, longest=4)
    context.check_text(TextPrompt("text", "a" * 40))
    with pytest.raises(Refusal, match=r"at least 11 tokens .* context is 10: shorten") as refused:
        context.check_text(TextPrompt("text", "a" * 41))
    assert refused.value.param == "prompt"
    messages = [Message("user", "a" * 30), Message("user", "b" * 30)]
    with pytest.raises(Refusal, match="at least 15 tokens") as refused:
        context.check_text(ChatPrompt("chat", messages, None))
    assert refused.value.param == "messages"


def test_a_text_to_be_tokenised_alone_has_its_bound() -> None:
    Context.check_tokenised(TextPrompt("text", "a" * 1_000_000))
    with pytest.raises(Refusal, match="1,000,001 characters and 1,000,000"):
        Context.check_tokenised(TextPrompt("text", "a" * 1_000_001))


def test_room_that_kv_memory_lacks_is_told() -> None:
    context = Context(tokens=10, trained=20, longest=4)
    prompt = TextPrompt("text", "a")
    assert context.room(prompt, 7, None) == 3 and context.room(prompt, 10, 0) == 0
    for tokens, wanted in ((10, None), (11, 0)):
        with pytest.raises(Refusal, match=r"kv_memory_gb holds no more of its 20.*or raise"):
            context.room(prompt, tokens, wanted)


def test_a_model_without_a_chat_template_loads_and_refuses_chats_alone(base: Path) -> None:
    tokenizer = load_tokenizer(base)
    tokenizer.chat_template = None
    vocabulary = tokenizer.get_vocab()
    tokenizer.get_vocab = lambda: {k: v for k, v in vocabulary.items() if k != "<|eot_id|>"}
    prompts = Prompts(tokenizer, 400)
    assert prompts.ids(TextPrompt("text", "x"))
    with pytest.raises(Refusal, match="no chat template"):
        prompts.ids(CHAT)
