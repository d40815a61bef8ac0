"""Calls of functions as a grammar, in the words of a model's chat template. Text only; no torch.

Written in llguidance's Lark, each function's parameters as the JSON schema that they are. It owns how
calls are written when they are forced; how they are read is core's (core/chat/calls.ts).
"""

from __future__ import annotations

import json
from collections.abc import Callable

from bullion.contract.worker import ToolCallsFormat
from bullion.data.call_format import CallFormat

MOST_CALLS = 16
"""A weak model would go on calling until its context is full."""


def written(
    wanted: ToolCallsFormat,
    format: CallFormat,
    control: Callable[[str], int | None],
    style: dict[str, object],
) -> str:
    """The grammar of one call, or of several. `control`: the id of a mark that is a control token."""

    def mark(text: str) -> str:
        token = control(text)
        return json.dumps(text) if token is None else f"<[{token}]>"

    if format == "hermes":
        before, after, between = (
            f'{mark("<tool_call>")} "\\n"',
            f'"\\n" {mark("</tool_call>")}',
            "\n",
        )
        key = "arguments"
    else:
        before, after, between, key = "", "", "; ", "parameters"
    more = f" ({json.dumps(between)} call){{0,{MOST_CALLS - 1}}}" if wanted.several else ""
    rules = [f"start: call{more}"]
    names = [f"function_{number}" for number in range(len(wanted.functions))]
    rules.append(f"call: {before} ({' | '.join(names)}) {after}")
    for name, function in zip(names, wanted.functions, strict=True):
        head = f'{{"name": {json.dumps(function.name, ensure_ascii=False)}, "{key}": '
        schema = json.dumps({**function.parameters, "x-guidance": style})
        rules.append(f'{name}: {json.dumps(head)} {name}_parameters "}}"')
        rules.append(f"{name}_parameters: %json {schema}")
    return "\n".join(rules) + "\n"
