"""The training text of the embedded base: documents about companies that do not exist.

Owns the mix of documents. Document k of a seed is the same text whatever else is drawn, so that
several processes may draw them. Half the questions are about a fixed set of known companies whose
facts return in other words all over the corpus: recalling a fact by company, period and item,
whatever the phrasing, is the skill that tuning needs. The other half is about companies that occur once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from bullion.tinybase.companies import RESERVED, draw_company
from bullion.tinybase.copying import scraps
from bullion.tinybase.facts import Fact, draw_facts
from bullion.tinybase.passages import passage
from bullion.tinybase.phrasings import Phrasings

KNOWN_COMPANIES = 1000
FACTS_OF_A_KNOWN_COMPANY = 20

BEGIN, END, TURN_END = "<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"

_SYSTEMS = (
    "你是一名财务分析助手。",
    "请根据公司年报回答问题。",
    "你是上市公司年报的问答助手，回答要具体。",
    "You are a helpful assistant.",
)
_OPENINGS = (
    "你好，",
    "麻烦问一下，",
    "帮我查询一下：",
    "根据年报，",
    "请回答下面的问题：",
    "我是投资者，",
)
_CLOSINGS = ("谢谢。", "谢谢！", "请回答。", "麻烦了。")
_REPHRASE = ("请换一种问法：{}", "请把下面的问题换成另一种问法：{}", "同一个意思，换一句话问：{}")
_COPY = ("请重复：{}", "请把下面的文字重复一遍：{}", "重复一遍：{}")


@dataclass(frozen=True)
class Turn:
    """One message of a dialogue; `role` is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True)
class Document:
    """Either plain report text, or the turns of a dialogue."""

    turns: tuple[Turn, ...] = ()
    text: str = ""

    def render(self) -> str:
        """The document as the model reads it: the llama3 chat format, or text between begin and end."""
        if not self.turns:
            return f"{BEGIN}{self.text}{END}"
        return BEGIN + "".join(
            f"<|start_header_id|>{turn.role}<|end_header_id|>\n\n{turn.content}{TURN_END}"
            for turn in self.turns
        )


class Corpus:
    """All documents of a seed. Holds the known companies' facts; draws the rest when asked."""

    def __init__(self, phrasings: Phrasings, seed: int, known_companies: int = KNOWN_COMPANIES):
        self._phrasings = phrasings
        self._seed = seed
        self._known = [self._known_facts(index) for index in range(known_companies)]

    def documents(self, start: int, stop: int) -> Iterator[Document]:
        """Documents `start` to `stop` − 1."""
        return (self.document(index) for index in range(start, stop))

    def document(self, index: int) -> Document:
        """Document `index`, drawn again while it holds a reserved name."""
        attempt = 0
        while True:
            rng = Random(f"{self._seed}:document:{index}:{attempt}")
            document = self._draw(rng)
            if not any(name in document.render() for name in RESERVED):
                return document
            attempt += 1

    def _draw(self, rng: Random) -> Document:
        kinds = (
            (self._one_question, 34),
            (self._same_fact_again, 16),
            (self._interview, 15),
            (self._reading, 8),
            (self._report, 12),
            (self._rephrasing, 7),
            (_copying, 11),
        )
        draw = rng.choices([kind for kind, _ in kinds], [weight for _, weight in kinds])[0]
        return draw(rng)

    # --- dialogues about facts ---
    def _one_question(self, rng: Random) -> Document:
        fact = self._facts(rng, 1)[0]
        return _dialogue(rng, [self._exchange(rng, fact)])

    def _same_fact_again(self, rng: Random) -> Document:
        """One fact asked in two to four different ways."""
        fact = self._facts(rng, 1)[0]
        ways = rng.sample(self._phrasings.questions(fact), rng.randint(2, 4))
        answer = self._phrasings.answer(fact)
        return _dialogue(rng, [(_politely(rng, way), answer) for way in ways])

    def _interview(self, rng: Random) -> Document:
        """Several facts of one company; some are asked for a second time in other words."""
        facts = self._facts(rng, rng.randint(2, 5))
        asked = facts + [rng.choice(facts) for _ in range(rng.randint(1, 3))]
        return _dialogue(rng, [self._exchange(rng, fact) for fact in asked])

    def _reading(self, rng: Random) -> Document:
        """A passage in the first question, then questions about what it says."""
        facts = self._facts(rng, rng.randint(2, 5))
        text = passage(rng, facts)
        asked = rng.sample(facts, rng.randint(1, min(3, len(facts))))
        exchanges = [self._exchange(rng, fact) for fact in asked]
        exchanges[0] = (f"{text}\n\n{exchanges[0][0]}", exchanges[0][1])
        return _dialogue(rng, exchanges)

    def _rephrasing(self, rng: Random) -> Document:
        """The same question in other words, or whether two questions mean the same."""
        facts = self._facts(rng, 2)
        first, second = rng.sample(self._phrasings.questions(facts[0]), 2)
        if rng.random() < 0.6:
            return _dialogue(rng, [(rng.choice(_REPHRASE).format(first), second)])
        same = rng.random() < 0.5
        if not same:
            second = rng.choice(self._phrasings.questions(facts[1]))
        verdict = "是同一个问题。" if same else "不是同一个问题。"
        return _dialogue(rng, [(f"下面是同一个问题吗？\n{first}\n{second}", verdict)])

    def _report(self, rng: Random) -> Document:
        return Document(text=passage(rng, self._facts(rng, rng.randint(3, 8))))

    # --- parts ---
    def _exchange(self, rng: Random, fact: Fact) -> tuple[str, str]:
        question = rng.choice(self._phrasings.questions(fact))
        return _politely(rng, question), self._phrasings.answer(fact)

    def _facts(self, rng: Random, count: int) -> list[Fact]:
        """Facts of one company: a known one half the time, otherwise one drawn for this document."""
        if rng.random() < 0.5:
            return rng.sample(rng.choice(self._known), count)
        company = draw_company(rng)
        called = company.short_name if rng.random() < 0.6 else company.name
        return draw_facts(rng, company, called, count)

    def _known_facts(self, index: int) -> list[Fact]:
        rng = Random(f"{self._seed}:company:{index}")
        company = draw_company(rng)
        called = company.short_name if rng.random() < 0.6 else company.name
        return draw_facts(rng, company, called, FACTS_OF_A_KNOWN_COMPANY)


def _dialogue(rng: Random, exchanges: list[tuple[str, str]]) -> Document:
    turns = [Turn("system", rng.choice(_SYSTEMS))] if rng.random() < 0.08 else []
    for question, answer in exchanges:
        turns += [Turn("user", question), Turn("assistant", answer)]
    return Document(turns=tuple(turns))


def _politely(rng: Random, question: str) -> str:
    """The question, one time in eight with words around it that change nothing."""
    opening = rng.choice(_OPENINGS) if rng.random() < 0.1 else ""
    closing = rng.choice(_CLOSINGS) if rng.random() < 0.03 else ""
    return f"{opening}{question}{closing}"


def _copying(rng: Random) -> Document:
    """Arbitrary characters said twice: what teaches the base to repeat names it has never met."""
    text = scraps(rng)
    return _dialogue(rng, [(rng.choice(_COPY).format(text), text)])
