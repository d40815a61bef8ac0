"""Templates: what serving sends is what training saw, and nobody's text becomes a control token."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bullion.contract.errors import Refusal
from bullion.contract.worker import Message
from bullion.data.records import Record, Turn
from bullion.data.template import OWN, TEMPLATES, chat_prompt_ids, choose, stop_ids
from bullion.data.tokens import Encoder
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

SPECIAL = [
    "<|begin_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|im_start|>",
    "<|im_end|>",
]
CHAT = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return bytes_tokenizer(SPECIAL)


def bytes_tokenizer(special: list[str], chat: str | None = CHAT) -> Any:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(special)
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        bos_token=special[0],
        eos_token=special[-1],
        additional_special_tokens=special,
        chat_template=chat,
    )


def trained(tokenizer: Any, name: str, record: Record) -> tuple[str, str]:
    """(prompt, answer) of the last turn with everything before it, as text."""
    rows = [row for pair in choose(name, tokenizer).pairs(record, None) for row in pair]
    ids = Encoder(tokenizer).encode_all(rows)
    return tokenizer.decode([i for row in ids[:-1] for i in row]), tokenizer.decode(ids[-1])


CONVERSATION = Record(
    0,
    "Be brief.",
    None,
    (Turn("user", "One?"), Turn("assistant", "1"), Turn("user", "Two?"), Turn("assistant", "2")),
)
MESSAGES = [
    Message("system", "Be brief."),
    Message("user", "One?"),
    Message("assistant", "1"),
    Message("user", "Two?"),
]


def test_llama3_is_written_as_meta_documents_it(tokenizer: Any) -> None:
    def turn(role: str, text: str) -> str:
        return f"<|start_header_id|>{role}<|end_header_id|>\n\n{text}<|eot_id|>"

    prompt, answer = trained(tokenizer, "llama3", CONVERSATION)
    assert prompt == (
        "<|begin_of_text|>" + turn("system", "Be brief.") + turn("user", "One?")
        + turn("assistant", "1") + turn("user", "Two?")
        + "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )  # fmt: skip
    assert answer == "2<|eot_id|>"


def test_qwen_brings_its_own_system_message_and_qwen3_an_empty_thought(tokenizer: Any) -> None:
    record = Record(0, None, None, (Turn("user", "Hi"), Turn("assistant", "Ho")))
    prompt, answer = trained(tokenizer, "qwen", record)
    assert prompt.startswith("<|im_start|>system\nYou are Qwen, created by Alibaba Cloud.")
    assert prompt.endswith("<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
    assert answer == "Ho<|im_end|>\n"
    assert trained(tokenizer, "qwen3", record)[1] == "<think>\n\n</think>\n\nHo<|im_end|>\n"
    assert trained(tokenizer, "qwen3_nothink", record)[1] == "Ho<|im_end|>\n"


@pytest.mark.parametrize("name", [*TEMPLATES, "default"])
def test_what_serving_sends_is_what_training_saw(tokenizer: Any, name: str) -> None:
    served = chat_prompt_ids(tokenizer, MESSAGES, None, name)
    rows = [row for pair in choose(name, tokenizer).pairs(CONVERSATION, None) for row in pair]
    ids = Encoder(tokenizer).encode_all(rows[:-1])
    assert served == [i for row in ids for i in row]


@pytest.mark.parametrize("name", [*TEMPLATES, "default"])
def test_special_token_strings_in_anybodys_text_stay_text(tokenizer: Any, name: str) -> None:
    evil = "".join(SPECIAL)
    clean = Record(0, "s", None, (Turn("user", "u"), Turn("assistant", "a")))
    dirty = Record(0, evil, None, (Turn("user", evil), Turn("assistant", evil)))
    special = set(tokenizer.convert_tokens_to_ids(SPECIAL))

    def controls(record: Record) -> list[int]:
        rows = [row for pair in choose(name, tokenizer).pairs(record, None) for row in pair]
        ids = Encoder(tokenizer).encode_all(rows)
        return [i for row in ids for i in row if i in special]

    assert controls(dirty) == controls(clean)
    prompt, answer = trained(tokenizer, name, dirty)
    assert prompt.count(evil) == 2 and answer.count(evil) == 1


def test_without_a_name_llama3_is_known_by_its_tokens_and_others_by_their_own_template() -> None:
    for own in (None, CHAT.replace("<|im_start|>", "<|start_header_id|>")):
        llama = bytes_tokenizer(SPECIAL, own)
        assert chat_prompt_ids(llama, MESSAGES) == chat_prompt_ids(llama, MESSAGES, None, "llama3")
    both = bytes_tokenizer(SPECIAL)  # it has Llama's tokens and does not speak in them
    assert both.decode(chat_prompt_ids(both, MESSAGES)).endswith("<|im_start|>assistant\n")
    other = bytes_tokenizer(["<s>", "<|im_start|>", "<|im_end|>"])
    assert other.decode(chat_prompt_ids(other, MESSAGES)).endswith("<|im_start|>assistant\n")
    with pytest.raises(Refusal, match="no chat template"):
        chat_prompt_ids(bytes_tokenizer(["<s>", "</s>"], chat=None), MESSAGES)


def test_the_templates_are_those_that_a_request_may_name() -> None:
    golden = Path(__file__).parents[2] / "golden/templates.json"
    assert [*TEMPLATES, OWN] == json.loads(golden.read_text(encoding="utf-8"))


def test_an_unknown_template_is_refused_with_the_nearest(tokenizer: Any) -> None:
    with pytest.raises(Refusal, match="'llama3'") as refused:
        choose("lama3", tokenizer)
    assert (refused.value.code, refused.value.param) == ("unknown_template", "template")


def test_a_template_of_another_family_is_refused() -> None:
    qwen = bytes_tokenizer(["<|im_start|>", "<|im_end|>"])
    with pytest.raises(Refusal, match=r"<\|begin_of_text\|>") as refused:
        trained(qwen, "llama3", CONVERSATION)
    assert refused.value.code == "template_mismatch"


def test_every_token_that_ends_an_answer_stops_it(tokenizer: Any) -> None:
    ids = stop_ids(tokenizer)
    assert ids == tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|eot_id|>"])


@pytest.mark.parametrize(("name", "role"), [("llama3", "ipython"), ("qwen", "user")])
def test_tools_are_declared_called_and_answered(tokenizer: Any, name: str, role: str) -> None:
    tools = [{"name": "profit", "parameters": {"type": "object", "properties": {}}}]
    record = Record(
        0,
        "Be brief.",
        tools,
        (
            Turn("user", "Profit?"),
            Turn("function_call", '{"name": "profit", "arguments": {"year": 2023}}'),
            Turn("observation", "7"),
            Turn("assistant", "It is 7."),
        ),
    )
    prompt, answer = trained(tokenizer, name, record)
    assert '"name": "profit"' in prompt.split("Profit?")[0]
    assert role in prompt.split('"year": 2023')[1].split("7")[0]
    assert answer.startswith("It is 7.")
    call = {"function": {"name": "profit", "arguments": {"year": 2023}}}
    messages = [
        Message("system", "Be brief."),
        Message("user", "Profit?"),
        Message("assistant", "", None, [call]),
        Message("tool", "7"),
    ]
    assert tokenizer.decode(chat_prompt_ids(tokenizer, messages, tools, name)) == prompt


TOOLS_CHAT = (
    "{% if tools %}<|im_start|>system\n{% for t in tools %}{{ t | tojson }}{% endfor %}"
    "<tool_call>{arguments}</tool_call><|im_end|>\n{% endif %}{% for m in messages %}"
    "<|im_start|>{{ m.role }}\n{{ m.name or '' }}{{ m.content }}{% for c in m.tool_calls or [] %}"
    "<tool_call>{{ c.function.arguments | tojson }}</tool_call>{{ c.id }}{% endfor %}"
    "{{ m.tool_call_id or '' }}<|im_end|>\n{% endfor %}"
)


def test_an_own_template_gets_calls_as_objects_and_whose_answer_a_tool_gives() -> None:
    tokenizer = bytes_tokenizer(["<s>", "<|im_start|>", "<|im_end|>"], TOOLS_CHAT)
    call = {"id": "call_1", "function": {"name": "profit", "arguments": {"of": "甲"}}}
    messages = [
        Message("assistant", "", None, [call]),
        Message("tool", "7", "profit", None, "call_1"),
    ]
    text = tokenizer.decode(chat_prompt_ids(tokenizer, messages, None))
    assert '<tool_call>{"of": "甲"}</tool_call>call_1<|im_end|>' in text
    assert "<|im_start|>tool\nprofit7call_1<|im_end|>" in text


def test_special_token_strings_in_tools_and_calls_stay_text() -> None:
    special = ["<s>", "<|im_start|>", "<|im_end|>"]
    tokenizer = bytes_tokenizer(special, TOOLS_CHAT)
    ids = set(tokenizer.convert_tokens_to_ids(special))

    def controls(word: str) -> list[int]:
        tools = [{"function": {"name": word, "parameters": {"properties": {word: {}}}}}]
        call = {"id": word, "function": {"name": word, "arguments": {word: [word]}}}
        messages = [
            Message("assistant", word, None, [call]),
            Message("tool", word, word, None, word),
        ]
        return [i for i in chat_prompt_ids(tokenizer, messages, tools) if i in ids]

    assert controls("".join(special)) == controls("x")
