"""What a prompt means in ids. Text gets the begin-of-text token once and never a control token.

It owns the three kinds of prompt; the chat template is data/template's, the same as in training.
"""

from __future__ import annotations

from typing import Any

from bullion.contract.errors import Refusal
from bullion.contract.worker import ChatPrompt, IdsPrompt, Prompt
from bullion.data.call_format import tool_template
from bullion.data.template import chat_prompt_ids


def prompt_ids(
    tokenizer: Any, prompt: Prompt, vocab_size: int, add_special_tokens: bool = True
) -> list[int]:
    """Raises Refusal: unknown_token_id, empty_prompt, tools_not_supported."""
    if isinstance(prompt, IdsPrompt):
        strange = next((i for i in prompt.ids if not 0 <= i < vocab_size), None)
        if strange is not None:
            raise Refusal(
                "unknown_token_id",
                f"The prompt holds token id {strange}, but this model knows 0 to {vocab_size - 1}",
                "prompt",
            )
        ids = list(prompt.ids)
    elif isinstance(prompt, ChatPrompt):
        if prompt.tools and tool_template(tokenizer) is None:
            raise Refusal(
                "tools_not_supported",
                "This model's chat template has no form for tools: leave `tools` out or use a "
                "model that was trained with them",
                "tools",
            )
        ids = chat_prompt_ids(tokenizer, prompt.messages, prompt.tools)
    else:
        ids = tokenizer(
            prompt.text,
            add_special_tokens=False,
            split_special_tokens=True,
            return_attention_mask=False,
            verbose=False,
        )["input_ids"]
        if add_special_tokens and tokenizer.bos_token_id is not None:
            ids = [tokenizer.bos_token_id, *ids]
    return ids
