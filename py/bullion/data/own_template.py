"""The tokenizer's own chat template as a Template, for models that have no named one.

Rendering is Transformers'; this file guards it: a special-token string in somebody's text is broken
by a mark before rendering and mended after, so it stays text.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from bullion.contract.errors import Refusal
from bullion.contract.worker import Message
from bullion.data.records import Record
from bullion.data.tokens import Piece, controls_of, pieces_of

_MARKS = [chr(code) for code in range(0xFDD0, 0xFDF0)]  # Unicode noncharacters


class OwnTemplate:
    """Renders prefixes of a conversation; what the assistant adds is the difference of two of them."""

    name = "default"

    def __init__(self, tokenizer: Any) -> None:
        if not getattr(tokenizer, "chat_template", None):
            raise Refusal(
                "no_chat_template",
                "The tokenizer of this model brings no chat template; name the template it was "
                "trained with",
                "template",
            )
        self.tokenizer = tokenizer
        self.controls = controls_of(tokenizer)

    def pairs(
        self, record: Record, default_system: str | None
    ) -> list[tuple[list[Piece], list[Piece]]]:
        messages: list[dict[str, Any]] = []
        if system := record.system or default_system:
            messages.append({"role": "system", "content": system})
        pairs = []
        done = ""
        for asked, answered in zip(record.turns[::2], record.turns[1::2], strict=True):
            role = "tool" if asked.role == "observation" else "user"
            messages.append({"role": role, "content": asked.content})
            mark = _mark([*messages, answered.content, record.tools])
            opened = self._render(messages, record.tools, True, mark)
            if answered.role == "function_call":
                calls = json.loads(answered.content)
                calls = calls if isinstance(calls, list) else [calls]
                functions = [{"type": "function", "function": call} for call in calls]
                messages.append({"role": "assistant", "content": "", "tool_calls": functions})
            else:
                messages.append({"role": "assistant", "content": answered.content})
            closed = self._render(messages, record.tools, False, mark)
            done = done if opened.startswith(done) else ""
            if not closed.startswith(opened):
                opened = self._common(opened, closed)
            pairs.append(
                (self._pieces(opened[len(done) :], mark), self._pieces(closed[len(opened) :], mark))
            )
            done = closed
        return pairs

    def prompt(self, messages: Sequence[Message], tools: list[Any] | None) -> list[list[Piece]]:
        plain = []
        for message in messages:
            entry: dict[str, Any] = {"role": message.role, "content": message.content}
            told = {
                "name": message.name,
                "tool_calls": message.tool_calls,
                "tool_call_id": message.tool_call_id,
            }
            plain.append(entry | {key: value for key, value in told.items() if value})
        mark = _mark([*plain, tools])
        return [self._pieces(self._render(plain, tools, True, mark), mark)]

    def _render(self, messages: list[dict[str, Any]], tools: Any, opened: bool, mark: str) -> str:
        guarded = [self._guard(message, mark) for message in messages]
        tools = self._guard(json.loads(tools) if isinstance(tools, str) else tools, mark)
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    guarded, tools=tools, tokenize=False, add_generation_prompt=opened
                )
            )
        except Exception as raised:
            raise Refusal(
                "chat_template_failed",
                f"The tokenizer's chat template does not take this conversation: {raised}",
                "template",
            ) from raised

    def _guard(self, value: Any, mark: str) -> Any:
        """The value with `mark` inside every control token's name, wherever a text is in it."""
        if isinstance(value, dict):
            return {self._guard(k, mark): self._guard(v, mark) for k, v in value.items()}
        if isinstance(value, list):
            return [self._guard(item, mark) for item in value]
        if not isinstance(value, str):
            return value
        for control in self.controls:
            if control in value:
                value = value.replace(control, control[0] + mark + control[1:])
        return value

    def _pieces(self, text: str, mark: str) -> list[Piece]:
        pieces = pieces_of(text, self.controls)
        return [p.replace(mark, "") if isinstance(p, str) else p for p in pieces]

    @staticmethod
    def _common(opened: str, closed: str) -> str:
        end = 0
        while end < min(len(opened), len(closed)) and opened[end] == closed[end]:
            end += 1
        return opened[:end]


def _mark(values: Sequence[Any]) -> str:
    text = json.dumps(values, ensure_ascii=False)
    return next(mark for mark in _MARKS if mark not in text)
