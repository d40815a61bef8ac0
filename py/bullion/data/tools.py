"""How functions are declared to a model and how their calls are written, by the style of its family.

Text only; it knows neither templates nor ids. Formats: Meta's Llama 3.1 and Alibaba's Qwen2.5 prompt
documentation. Unlike LLaMA-Factory no date of today is written, as training must be repeatable.
"""

from __future__ import annotations

import json
from typing import Any, Literal

from bullion.contract.errors import Refusal

Style = Literal["llama3", "qwen", "plain"]


def declare(style: Style, tools: Any) -> str:
    """What is added to the system message to declare `tools` (a list of schemas, or its JSON text)."""
    schemas = [_function(tool) for tool in _parsed(tools, "tools")]
    if style == "qwen":
        lines = "".join("\n" + json.dumps(s, ensure_ascii=False) for s in schemas)
        return (
            "\n\n# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
            f"You are provided with function signatures within <tools></tools> XML tags:\n<tools>{lines}"
            "\n</tools>\n\nFor each function call, return a json object with function name and "
            "arguments within <tool_call></tool_call> XML tags:\n<tool_call>\n"
            '{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'
        )
    listed = "".join(json.dumps(s, indent=4, ensure_ascii=False) + "\n\n" for s in schemas)
    return (
        "You have access to the following functions. To call a function, please respond with JSON "
        'for a function call. Respond in the format {"name": function name, "parameters": dictionary '
        f"of argument name and its value}}. Do not use variables.\n\n{listed}"
    )


def call(style: Style, content: str) -> str:
    """A function-call turn (JSON text of one call or a list of them) as the model writes it."""
    calls = _parsed(content, "function call")
    if style == "qwen":
        texts = [
            json.dumps({"name": c.get("name"), "arguments": _arguments(c)}, ensure_ascii=False)
            for c in calls
        ]
        return "\n".join(f"<tool_call>\n{text}\n</tool_call>" for text in texts)
    written = [{"name": c.get("name"), "parameters": _arguments(c)} for c in calls]
    return json.dumps(written[0] if len(written) == 1 else written, ensure_ascii=False)


def _arguments(call: dict[str, Any]) -> Any:
    return call.get("arguments", call.get("parameters", {}))


def _function(tool: dict[str, Any]) -> dict[str, Any]:
    return tool if tool.get("type") == "function" else {"type": "function", "function": tool}


def _parsed(value: Any, what: str) -> list[dict[str, Any]]:
    try:
        parsed = json.loads(value) if isinstance(value, str) else value
    except json.JSONDecodeError as raised:
        raise Refusal(
            "malformed_tools", f"The {what} is no JSON: {value!r:.80}; write one object or a list"
        ) from raised
    items = parsed if isinstance(parsed, list) else [parsed]
    if not all(isinstance(item, dict) for item in items):
        raise Refusal("malformed_tools", f"The {what} must hold JSON objects, not {value!r:.80}")
    return items
