"""The embedded base's tokenizer: byte-level BPE whose merges never cross a word.

Owns the vocabulary: bytes, one piece for each common Chinese character, two-character words that occur
often enough, and the Llama-3 special tokens. Nothing is learned by pair counts: a piece that glues
template phrases would never be seen apart from them, and tuning could not emit what it never saw.
Vocabulary order: bytes, chat words, byte pairs that begin a character, characters, words, specials.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors

from bullion.tinybase import words
from bullion.tinybase.companies import SPELLED_CHARACTERS
from bullion.tinybase.phrasings import Phrasings

LEAST_OCCURRENCES = 50
"""How often a word must occur in the corpus to be a piece of its own."""

CHAT_WORDS = ("system", "user", "assistant", "tool", "ipython", "\n\n")
"""Whole pre-tokens of the chat format. They need no merges: `ignore_merges` looks them up as they are."""

SPECIAL_TOKENS = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    *[f"<|reserved_special_token_{index}|>" for index in range(4)],
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|reserved_special_token_4|>",
    "<|eot_id|>",
)
"""In Llama-3's order, whose first is 128000 there. Further reserved ones fill up to a multiple of 64."""

# As Llama-3 cuts text, except that every digit stands alone.
_CUTS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "<|start_header_id|>{{ message['role'] }}<|end_header_id|>\n\n{{ message['content'] }}<|eot_id|>"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)


def build(texts: Sequence[str], phrasings: Phrasings, least: int = LEAST_OCCURRENCES) -> Tokenizer:
    """The tokenizer for `texts`: of the lexicon's words those that occur at least `least` times.

    A word can lose its occurrences to a neighbour that overlaps it, so words are counted as pieces and
    dropped until every one left occurs often enough.
    """
    joined = "\n".join(texts)
    candidates = Counter({word: joined.count(word) for word in words.lexicon()})
    kept = [word for word, count in candidates.most_common() if count >= least]
    while True:
        tokenizer = _assemble(kept, phrasings)
        counts = occurrences(tokenizer, texts)
        enough = [word for word in kept if counts[_piece(word)] >= least]
        if len(enough) == len(kept):
            return tokenizer
        kept = enough


def occurrences(tokenizer: Tokenizer, texts: Iterable[str]) -> Counter[str]:
    """How often each piece occurs in `texts`."""
    ids: Counter[int] = Counter()
    for encoding in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False):
        ids.update(encoding.ids)
    return Counter(
        {piece: ids[index] for piece, index in tokenizer.get_vocab().items() if ids[index]}
    )


def rarest_pieces(tokenizer: Tokenizer, counts: Counter[str]) -> list[tuple[str, int]]:
    """(text, occurrences), the rarest first, of every piece but single bytes and special tokens.

    Some single bytes never occur alone: UTF-8 has no use for them, or a longer piece always takes them.
    """
    pieces = [
        piece
        for piece in tokenizer.get_vocab(with_added_tokens=False)
        if len(piece) > 1 and piece not in ("tool", "ipython")
    ]
    return sorted(((piece, counts[piece]) for piece in pieces), key=lambda pair: pair[1])


def special_id(tokenizer: Tokenizer, name: str) -> int:
    """The id of a special token; KeyError when the tokenizer is not one of ours."""
    index = tokenizer.token_to_id(name)
    if index is None:
        raise KeyError(f"the tokenizer has no {name}")
    return index


def write(tokenizer: Tokenizer, folder: Path) -> None:
    """tokenizer.json and tokenizer_config.json as `transformers` reads them."""
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|begin_of_text|>",
        "eos_token": "<|eot_id|>",
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": 2048,
        "chat_template": CHAT_TEMPLATE,
    }
    text = json.dumps(config, ensure_ascii=False, indent=2)
    (folder / "tokenizer_config.json").write_text(text + "\n", encoding="utf-8")


def _assemble(kept_words: Sequence[str], phrasings: Phrasings) -> Tokenizer:
    chinese = {c for c in phrasings.text() if "\u4e00" <= c <= "\u9fa5"} | set(SPELLED_CHARACTERS)
    characters = [*sorted(chinese), *words.PUNCTUATION]

    vocabulary = {_BYTES[byte]: byte for byte in range(256)}
    merges: list[tuple[str, str]] = []

    def add(left: str, right: str) -> None:
        if left + right not in vocabulary:
            vocabulary[left + right] = len(vocabulary)
            merges.append((left, right))

    for word in CHAT_WORDS:
        vocabulary[_piece(word)] = len(vocabulary)
    spelled = [_piece(character) for character in characters]
    for piece in spelled:
        add(piece[0], piece[1])
    for piece in spelled:
        if len(piece) == 3:
            add(piece[:2], piece[2])
    for word in kept_words:
        add(_piece(word[0]), _piece(word[1]))

    tokenizer = Tokenizer(models.BPE(vocabulary, merges, ignore_merges=True))
    cut = pre_tokenizers.Split(Regex(_CUTS), "isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([cut, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    fill = -(len(vocabulary) + len(SPECIAL_TOKENS)) % 64
    reserved = [f"<|reserved_special_token_{index}|>" for index in range(5, 5 + fill)]
    tokenizer.add_special_tokens(
        [AddedToken(t, special=True, normalized=False) for t in (*SPECIAL_TOKENS, *reserved)]
    )
    begin = SPECIAL_TOKENS[0]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A",
        pair=f"{begin} $A {begin}:1 $B:1",
        special_tokens=[(begin, special_id(tokenizer, begin))],
    )
    return tokenizer


def _byte_alphabet() -> list[str]:
    """The printable stand-in of each byte in a byte-level vocabulary: itself, or a letter from U+0100."""
    kept = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in kept]
    return [chr(b) if b in kept else chr(0x100 + others.index(b)) for b in range(256)]


_BYTES = _byte_alphabet()


def _piece(text: str) -> str:
    """Text as a byte-level vocabulary writes it."""
    return "".join(_BYTES[byte] for byte in text.encode("utf-8"))
