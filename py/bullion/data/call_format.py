"""In which words a model calls functions: read off its tokenizer's chat template, here and nowhere else.

A format that is not known is None; such a model is told of tools, and its calls are text. It owns the
names of the formats and their marks, not how tools are declared (tools.py, or the template itself).
"""

from __future__ import annotations

from typing import Any, Literal

CallFormat = Literal["llama3", "hermes"]

MARKS: dict[CallFormat, tuple[str, ...]] = {
    "llama3": ("<|python_tag|>",),
    "hermes": ("<tool_call>", "</tool_call>"),
}
"""What stands around calls. Some tokenizers have them as control tokens."""

LLAMA3_HEADER = "<|start_header_id|>"
_OTHERS = ("<function=", "<arg_key>")  # of families that put no JSON between Hermes' marks


def tool_template(tokenizer: Any) -> str | None:
    """The chat template for a conversation with tools; None: it has no form for them."""
    template = tokenizer.chat_template
    if isinstance(template, dict):
        template = template.get("tool_use") or template.get("default")
    return template if template and "tools" in template else None


def call_format(tokenizer: Any) -> CallFormat | None:
    """Llama 3's `{"name", "parameters"}`, or Hermes' and Qwen's `<tool_call>{"name", "arguments"}`."""
    template = tool_template(tokenizer)
    if template is None:
        return None
    if "<tool_call>" in template:
        is_json = "arguments" in template and not any(other in template for other in _OTHERS)
        return "hermes" if is_json else None
    return "llama3" if LLAMA3_HEADER in template and "parameters" in template else None
