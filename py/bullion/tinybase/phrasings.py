"""How a fact is asked and answered: reads configs/phrasings.zh.yaml, the list the question writer uses.

Owns the filling of its slots. Does not own the phrasings themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bullion.contract.errors import Refusal
from bullion.tinybase.facts import Fact

PROJECT_ROOT = Path(__file__).resolve().parents[3]
DEFAULT_PATH = PROJECT_ROOT / "configs" / "phrasings.zh.yaml"


@dataclass(frozen=True)
class Kind:
    """One kind of fact: its answer and the ways to ask for it, with the slots still in them."""

    answer: str
    questions: tuple[str, ...]


@dataclass(frozen=True)
class Phrasings:
    """Every kind of fact; the first `trained` questions of a kind are for tuning, the rest for asking."""

    trained: int
    kinds: dict[str, Kind]

    def questions(self, fact: Fact) -> list[str]:
        """All phrasings of the question that `fact` answers, the trained ones first."""
        return [_fill(question, fact) for question in self._kind(fact).questions]

    def answer(self, fact: Fact) -> str:
        return _fill(self._kind(fact).answer, fact)

    def text(self) -> str:
        """Every phrasing in one string; for whoever needs the characters that occur."""
        return "".join(k.answer + "".join(k.questions) for k in self.kinds.values())

    def _kind(self, fact: Fact) -> Kind:
        return self.kinds[fact.kind]


def load(path: Path = DEFAULT_PATH) -> Phrasings:
    """Reads the phrasings. Raises Refusal when the file lacks a kind or holds nothing out of training."""
    import yaml

    raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    kinds = {
        name: Kind(answer=kind["answer"], questions=tuple(kind["questions"]))
        for name, kind in raw["kinds"].items()
    }
    trained = int(raw["trained"])
    for name in ("figure", "attribute", "change"):
        if name not in kinds or len(kinds[name].questions) <= trained:
            raise Refusal(
                "phrasings_incomplete",
                f"Cannot write questions as kind {name!r} of {path} has no phrasing beyond the "
                f"{trained} trained ones: add one",
            )
    return Phrasings(trained=trained, kinds=kinds)


def _fill(form: str, fact: Fact) -> str:
    return form.format(company=fact.company, period=fact.period, item=fact.item, value=fact.value)
