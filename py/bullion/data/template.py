"""Chat templates by LLaMA-Factory's names, for training and for serving alike.

A template turns a conversation into pieces: (prompt, answer) pairs to train on, or one prompt to be
answered. What a template lacks it never borrows. It does not decide labels (supervise.py) nor touch
ids (tokens.py). Sources: the models' published prompt formats, checked against golden tokens.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from bullion.contract.errors import Refusal
from bullion.contract.worker import Message
from bullion.data import tools as tool_text
from bullion.data.call_format import LLAMA3_HEADER, call_format
from bullion.data.records import Record, Turn
from bullion.data.tokens import Control, Encoder, Piece, pieces_of

Pair = tuple[list[Piece], list[Piece]]


class Template(Protocol):
    @property
    def name(self) -> str: ...

    def pairs(self, record: Record, default_system: str | None) -> list[Pair]:
        """The (prompt, answer) pairs of a record; prompt and answer are encoded apart."""
        ...

    def prompt(self, messages: Sequence[Message], tools: list[Any] | None) -> list[list[Piece]]:
        """The conversation up to where the assistant goes on, in rows that are encoded apart."""
        ...


@dataclass(frozen=True)
class Slots:
    """A template made of fixed strings around `{}`; control tokens are written as they are."""

    name: str
    controls: tuple[str, ...]
    prefix: str
    system: str
    user: str
    observation: str
    opening: str  # of the assistant's turn
    answer: str
    default_system: str | None = None
    tool_style: tool_text.Style = "llama3"
    empty_thought: str = ""  # put before an answer that has no thought of its own

    def _fill(self, slot: str, content: str) -> list[Piece]:
        before, after = slot.split("{}")
        return [*pieces_of(before, self.controls), content, *pieces_of(after, self.controls)]

    def _head(self, system: str | None, tools: Any | None) -> list[Piece]:
        text = system or ""
        if tools:
            text += tool_text.declare(self.tool_style, tools)
        head = pieces_of(self.prefix, self.controls)
        return [*head, *self._fill(self.system, text)] if text else head

    def _ask(self, turn: Turn) -> list[Piece]:
        slot = self.observation if turn.role == "observation" else self.user
        return self._fill(slot, turn.content)

    def _answer(self, turn: Turn) -> list[Piece]:
        text = turn.content
        if turn.role == "function_call":
            text = tool_text.call(self.tool_style, text)
        thought = ""
        if self.empty_thought and "<think>" not in text and "</think>" not in text:
            thought = self.empty_thought
        return self._fill(self.answer, thought + text)

    def pairs(self, record: Record, default_system: str | None) -> list[Pair]:
        system = record.system or default_system or self.default_system
        opening = pieces_of(self.opening, self.controls)
        pairs: list[Pair] = []
        for asked, answered in zip(record.turns[::2], record.turns[1::2], strict=True):
            head = [] if pairs else self._head(system, record.tools)
            pairs.append(([*head, *self._ask(asked), *opening], self._answer(answered)))
        return pairs

    def prompt(self, messages: Sequence[Message], tools: list[Any] | None) -> list[list[Piece]]:
        rest = list(messages)
        system = self.default_system
        if rest and rest[0].role == "system":
            system = rest.pop(0).content
        rows: list[list[Piece]] = [self._head(system, tools)]
        opening = pieces_of(self.opening, self.controls)
        for message in rest:
            if message.role == "system":
                rows.append(self._fill(self.system, message.content))
            elif message.role == "assistant":
                rows += [opening, self._answer(_answered(message))]
            else:
                slot = self.observation if message.role == "tool" else self.user
                rows.append(self._fill(slot, message.content))
        return [*rows, opening]


_LLAMA3 = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
_HEADER = "<|start_header_id|>{}<|end_header_id|>\n\n"


def _llama3_turn(role: str) -> str:
    return _HEADER.format(role) + "{}<|eot_id|>"


def _chatml(name: str, default_system: str | None = None, empty_thought: str = "") -> Slots:
    turn = "<|im_start|>{}\n{{}}<|im_end|>\n"
    return Slots(
        name,
        ("<|im_start|>", "<|im_end|>"),
        prefix="",
        system=turn.format("system"),
        user=turn.format("user"),
        observation=(
            "<|im_start|>user\n<tool_response>\n{}\n</tool_response><|im_end|>\n"
            if name != "chatml"
            else turn.format("tool")
        ),
        opening="<|im_start|>assistant\n",
        answer="{}<|im_end|>\n",
        default_system=default_system,
        tool_style="plain" if name == "chatml" else "qwen",
        empty_thought=empty_thought,
    )


TEMPLATES: dict[str, Slots] = {
    slots.name: slots
    for slots in (
        Slots(
            "llama3",
            _LLAMA3,
            prefix="<|begin_of_text|>",
            system=_llama3_turn("system"),
            user=_llama3_turn("user"),
            observation=_llama3_turn("ipython"),
            opening=_HEADER.format("assistant"),
            answer="{}<|eot_id|>",
        ),
        _chatml("chatml"),
        _chatml("qwen", "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."),
        _chatml("qwen3", empty_thought="<think>\n\n</think>\n\n"),
        _chatml("qwen3_nothink"),
    )
}
OWN = "default"
"""The template that stands for the tokenizer's own chat template."""


def choose(name: str, tokenizer: Any) -> Template:
    """The template of that name; `default` is the tokenizer's own. Refuses an unknown name."""
    if name in TEMPLATES:
        return TEMPLATES[name]
    if name != OWN:
        known = [*TEMPLATES, OWN]
        near = difflib.get_close_matches(name, known, 1, 0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise Refusal(
            "unknown_template",
            f"There is no template {name!r}; {hint}known are {', '.join(known)}, where "
            f"{OWN!r} uses the chat template that the model's tokenizer brings",
            "template",
        )
    from bullion.data.own_template import OwnTemplate

    return OwnTemplate(tokenizer)


def chat_prompt_ids(
    tokenizer: Any,
    messages: Sequence[Message],
    tools: list[Any] | None = None,
    template: str | None = None,
) -> list[int]:
    """The ids to continue, encoded as in training; without a name by `served_template`."""
    name = served_template(tokenizer) if template is None else template
    return chat_ids(choose(name, tokenizer), Encoder(tokenizer), messages, tools)


def chat_ids(
    template: Template, encoder: Encoder, messages: Sequence[Message], tools: list[Any] | None
) -> list[int]:
    """The same for who keeps template and encoder: both read the whole vocabulary when they are made."""
    return [i for ids in encoder.encode_all(template.prompt(messages, tools)) for i in ids]


def served_template(tokenizer: Any) -> str:
    """llama3 for a tokenizer with its tokens, unless the chat template it brings speaks otherwise."""
    vocabulary = tokenizer.get_vocab()
    own = str(tokenizer.chat_template or LLAMA3_HEADER)
    speaks = LLAMA3_HEADER in own and call_format(tokenizer) != "hermes"
    return "llama3" if speaks and all(token in vocabulary for token in _LLAMA3) else OWN


_ENDINGS = ("<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|im_end|>", "<|endoftext|>")


def stop_ids(tokenizer: Any) -> list[int]:
    """Every id that ends an answer of this tokenizer, its eos first."""
    vocabulary = tokenizer.get_vocab()
    found = [tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else []
    found += [vocabulary[token] for token in _ENDINGS if token in vocabulary]
    return list(dict.fromkeys(found))


def _answered(message: Message) -> Turn:
    if not message.tool_calls:
        return Turn("assistant", message.content)
    calls = []
    for call in message.tool_calls:
        function = call["function"]
        calls.append({"name": function["name"], "arguments": function["arguments"]})
    return Turn("function_call", json.dumps(calls, ensure_ascii=False))


__all__ = [
    "OWN", "TEMPLATES", "Control", "Template", "chat_ids", "chat_prompt_ids", "choose",
    "served_template", "stop_ids",
]  # fmt: skip
