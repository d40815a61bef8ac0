"""The words of calls are told from a chat template: the known families, and what is none of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from bullion.data.call_format import call_format, tool_template

# What the families' published templates write about calls, shortened to that.
LLAMA = (
    '{% if tools %}Respond in the format {"name": function name, "parameters": dictionary of '
    "argument name and its value}.{% endif %}<|start_header_id|>assistant<|end_header_id|>"
    '{{ \'{"name": "\' + call.name + \'", "parameters": \' }}{{ call.arguments | tojson }}'
)
QWEN = (
    '{%- if tools %}<tools></tools><tool_call>\\n{\\"name\\": <function-name>, '
    '\\"arguments\\": <args-json-object>}\\n</tool_call>{% endif %}<|im_start|>assistant'
)
CODER = (
    "{% if tools %}<tool_call><function=name><parameter=p>{{ arguments }}</tool_call>{% endif %}"
)
KEYS = "{% if tools %}<tool_call>name<arg_key>k</arg_key> arguments</tool_call>{% endif %}"
OTHER = "{% if tools %}[AVAILABLE_TOOLS]{{ tools }}[TOOL_CALLS]{% endif %}"
PLAIN = "<|start_header_id|>{{ message.role }}<|end_header_id|>{{ parameters }}"


@pytest.mark.parametrize(
    ("template", "format", "takes_tools"),
    [
        (LLAMA, "llama3", True),
        (QWEN, "hermes", True),
        ({"default": PLAIN, "tool_use": QWEN}, "hermes", True),
        (CODER, None, True),
        (KEYS, None, True),
        (OTHER, None, True),
        (PLAIN, None, False),
        ({"default": PLAIN}, None, False),
        (None, None, False),
    ],
)
def test_a_chat_template_tells_how_calls_are_written(
    template: Any, format: str | None, takes_tools: bool
) -> None:
    tokenizer = SimpleNamespace(chat_template=template)
    assert call_format(tokenizer) == format
    assert (tool_template(tokenizer) is not None) == takes_tools
