"""What a prompt means in ids. Text gets the begin-of-text token once and never a control token.

It owns the three kinds of prompt, and whether one fits; the chat template is data/template's, the same as in training.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bullion.contract.errors import Refusal
from bullion.contract.worker import ChatPrompt, IdsPrompt, Message, Prompt, TextPrompt
from bullion.data.call_format import tool_template
from bullion.data.template import Template, chat_ids, choose, served_template
from bullion.data.tokens import Encoder, ids_of

MOST_CHARACTERS = 1_000_000  # a second's work, during which nobody gets a token


@dataclass(frozen=True)
class Context:
    """How many tokens of prompt and answer fit."""

    tokens: int
    trained: int  # what the model was made for; `tokens` are fewer where KV memory holds no more
    longest: int  # bytes of the longest token

    @staticmethod
    def check_tokenised(prompt: Prompt) -> None:
        """Refuses a text to be tokenised alone, whatever the context, that would hold everybody up."""
        characters = _characters(prompt)
        if characters > MOST_CHARACTERS:
            raise Refusal(
                "text_too_long",
                f"The text has {characters:,} characters and {MOST_CHARACTERS:,} are tokenised at "
                "once: send it in pieces",
                "messages" if isinstance(prompt, ChatPrompt) else "prompt",
            )

    def check_text(self, prompt: Prompt) -> None:
        """Refuses what cannot fit before it is tokenised: everybody's next token waits for that."""
        fewest = -(-_characters(prompt) // self.longest)  # a character is a byte or more
        if fewest > self.tokens:
            raise self._exceeded(prompt, f"at least {fewest}")

    def room(self, prompt: Prompt, tokens: int, wanted: int | None) -> int:
        """Tokens left for an answer. Raises Refusal: context_length_exceeded."""
        left = self.tokens - tokens
        if left < 0 or (left == 0 and wanted != 0):
            raise self._exceeded(prompt, f"{tokens}")
        return left

    def _exceeded(self, prompt: Prompt, tokens: str) -> Refusal:
        told = f"The prompt has {tokens} tokens and this model's context is {self.tokens}"
        remedy = "shorten the prompt"
        if self.tokens < self.trained:
            told += f", as kv_memory_gb holds no more of its {self.trained}"
            remedy += ", or raise kv_memory_gb"
        where = "messages" if isinstance(prompt, ChatPrompt) else "prompt"
        return Refusal("context_length_exceeded", f"{told}: {remedy}", where)


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
        if not self._takes_tools:
            called = next((i for i, m in enumerate(prompt.messages) if m.tool_calls), None)
            if prompt.tools or called is not None:
                what, where = (
                    ("tools", "tools")
                    if prompt.tools
                    else ("calls of tools", f"messages[{called}].tool_calls")
                )
                raise Refusal(
                    "tools_not_supported",
                    f"This model's chat template has no form for {what}: leave `{where}` out or "
                    "use a model that was trained with them",
                    where,
                )
        if self._template is None:
            self._template = choose(self._name, self._tokenizer)
        return chat_ids(self._template, self._encoder, prompt.messages, prompt.tools)

    def _text(self, prompt: TextPrompt, add_special_tokens: bool) -> list[int]:
        tokenizer = self._tokenizer
        [ids] = ids_of(tokenizer, [prompt.text])
        if add_special_tokens and tokenizer.bos_token_id is not None:
            return [tokenizer.bos_token_id, *ids]
        return ids


def _characters(prompt: Prompt) -> int:
    if isinstance(prompt, TextPrompt):
        return len(prompt.text)
    if isinstance(prompt, ChatPrompt):
        return sum(len(message.content) for message in prompt.messages)
    return 0
