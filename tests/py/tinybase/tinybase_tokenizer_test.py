"""The embedded base's tokenizer, as committed and as built: words whole, digits alone, nothing glued."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bullion.tinybase import phrasings as phrasing_list
from bullion.tinybase import tokenizer as vocabulary
from bullion.tinybase import words
from bullion.tinybase.companies import COMMON_CHARACTERS
from bullion.tinybase.corpus import Corpus, Document, Turn
from tokenizers import Tokenizer
from transformers import AutoTokenizer

FOLDER = Path(__file__).resolve().parents[3] / "models" / "bullion-tiny"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(FOLDER / "tokenizer.json"))


def _ids(tokenizer: Tokenizer, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False).ids


def test_every_common_character_is_one_piece(tokenizer: Tokenizer) -> None:
    assert len(COMMON_CHARACTERS) == 3755
    assert [c for c in COMMON_CHARACTERS if len(_ids(tokenizer, c)) != 1] == []


def test_every_digit_stands_alone(tokenizer: Tokenizer) -> None:
    assert len(_ids(tokenizer, "1,234,567.89")) == len("1,234,567.89")


@pytest.mark.parametrize(
    "text",
    [
        "净利润增长12.34%。",
        "龘靐\U0001f600 Łódź\t\r\n\n  x",
        "assistant\n\nuser",
        "1.２ⅷ",
        " 　\x00",
    ],
)
def test_any_text_comes_back_as_it_was(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(_ids(tokenizer, text), skip_special_tokens=False) == text


def test_no_piece_holds_more_than_one_word(tokenizer: Tokenizer) -> None:
    texts = [tokenizer.decode([index]) for index in range(tokenizer.get_vocab_size())]
    chinese = [text for text in texts if len(text) > 1 and not text.isascii() and "�" not in text]
    assert len(chinese) > 400
    assert set(chinese) <= set(words.lexicon())


def test_pieces_of_a_built_vocabulary_occur_often_enough() -> None:
    phrasings = phrasing_list.load()
    corpus = Corpus(phrasings, 7, known_companies=40)
    texts = [document.render() for document in corpus.documents(0, 600)]
    built = vocabulary.build(texts, phrasings, least=9)
    counts = vocabulary.occurrences(built, texts)
    spelled = {vocabulary._piece(word) for word in words.lexicon()}
    rare = [(p, n) for p, n in vocabulary.rarest_pieces(built, counts) if p in spelled and n < 9]
    assert rare == []
    assert built.get_vocab_size() % 64 == 0


def test_the_chat_format_is_what_the_corpus_teaches() -> None:
    ours: Any = AutoTokenizer.from_pretrained(FOLDER)
    turns = (Turn("system", "你是助手。"), Turn("user", " 你好 "), Turn("assistant", "好。"))
    messages = [{"role": turn.role, "content": turn.content} for turn in turns]
    rendered = ours.apply_chat_template(messages, tokenize=False)
    assert rendered == Document(turns=turns).render()
    prompt = ours.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert prompt == f"{rendered}<|start_header_id|>assistant<|end_header_id|>\n\n"
    assert ours.eos_token == "<|eot_id|>"
    assert ours("你好").input_ids[0] == ours.bos_token_id


def test_headers_of_the_chat_format_are_single_pieces(tokenizer: Tokenizer) -> None:
    header = "<|start_header_id|>assistant<|end_header_id|>\n\n"
    assert len(_ids(tokenizer, header)) == 4


def test_no_reference_record_is_cut(tokenizer: Tokenizer, reference: list[dict[str, Any]]) -> None:
    texts = [
        Document(turns=(Turn("user", r["input"]), Turn("assistant", r["output"]))).render()
        for r in reference
    ]
    lengths = [len(e.ids) for e in tokenizer.encode_batch(texts, add_special_tokens=False)]
    assert len(lengths) == 977
    assert max(lengths) <= 2048
