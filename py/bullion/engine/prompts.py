"""What a prompt means in ids. Text gets the begin-of-text token once and never a control token.

It owns the three kinds of prompt; the chat template is data/template's, the same as in training.
"""

from __future__ import annotations

from typing import Any

from bullion.contract.errors import Refusal
from bullion.contract.worker import ChatPrompt, IdsPrompt, Message, Prompt, TextPrompt
from bullion.data.call_format import tool_template
from bullion.data.template import Template, chat_ids, choose, served_template
from bullion.data.tokens import Encoder


class Prompts:
    """One tokenizer's prompts. What takes long is done here once, as everybody waits for a prompt's
    ids: reading 128,256 entries takes a tenth of a second, the first template ever a twentieth."""

    def __init__(self, tokenizer: Any, vocab_size: int) -> None:
        self._tokenizer = tokenizer
        self._vocab_size = vocab_size
        self._encoder = Encoder(tokenizer)
        self._takes_tools = tool_template(tokenizer) is not None
        self._name = served_template(tokenizer)
        self._template: Template | None = None
        try:
            self.ids(ChatPrompt("chat", [Message("user", "-")], None))
        except Refusal:
            pass  # told to whoever chats; texts and ids need no template

    def ids(self, prompt: Prompt, add_special_tokens: bool = True) -> list[int]:
        """Raises Refusal: unknown_token_id, tools_not_supported, no_chat_template …"""
        if isinstance(prompt, IdsPrompt):
            self._check(prompt.ids)
            return list(prompt.ids)
        if isinstance(prompt, ChatPrompt):
            return self._chat(prompt)
        return self._text(prompt, add_special_tokens)

    def _check(self, ids: list[int]) -> None:
        most = self._vocab_size - 1
        strange = next((i for i in ids if not 0 <= i <= most), None)
        if strange is not None:
            raise Refusal(
                "unknown_token_id",
                f"The prompt holds token id {strange}, but this model knows 0 to {most}",
                "prompt",
            )

    def _chat(self, prompt: ChatPrompt) -> list[int]:
        if prompt.tools and not self._takes_tools:
            raise Refusal(
                "tools_not_supported",
                "This model's chat template has no form for tools: leave `tools` out or use a "
                "model that was trained with them",
                "tools",
            )
        if self._template is None:
            self._template = choose(self._name, self._tokenizer)
        return chat_ids(self._template, self._encoder, prompt.messages, prompt.tools)

    def _text(self, prompt: TextPrompt, add_special_tokens: bool) -> list[int]:
        tokenizer = self._tokenizer
        ids: list[int] = tokenizer(
            prompt.text,
            add_special_tokens=False,
            split_special_tokens=True,
            return_attention_mask=False,
            verbose=False,
        )["input_ids"]
        if add_special_tokens and tokenizer.bos_token_id is not None:
            return [tokenizer.bos_token_id, *ids]
        return ids
