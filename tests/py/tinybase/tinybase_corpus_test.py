"""What the embedded base is trained on: nothing of the sample report, every phrasing, always the same."""

from __future__ import annotations

import hashlib

import pytest
from bullion.contract.errors import Refusal
from bullion.tinybase import corpus as corpus_module
from bullion.tinybase import phrasings as phrasing_list
from bullion.tinybase.companies import RESERVED
from bullion.tinybase.corpus import Corpus
from bullion.tinybase.facts import Fact

SEED = 20260


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return Corpus(phrasing_list.load(), SEED)


@pytest.fixture(scope="module")
def texts(corpus: Corpus) -> list[str]:
    return [document.render() for document in corpus.documents(0, 4000)]


def test_the_committed_weights_come_from_this_text(texts: list[str]) -> None:
    digest = hashlib.sha256("\0".join(texts[:500]).encode()).hexdigest()
    assert digest == "1e39dd31968382b1bd8ef852f6bef213ed7984a0a29b552eebb2f077c37305fd", (
        "the generator or configs/phrasings.zh.yaml changed: train models/bullion-tiny anew"
    )


def test_the_company_of_the_sample_report_never_occurs(texts: list[str]) -> None:
    assert "华岳" in RESERVED
    assert "688717" in RESERVED
    assert not [text for text in texts if any(name in text for name in RESERVED)]


def test_a_document_with_a_reserved_name_is_drawn_again(
    corpus: Corpus, texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert any("净利润" in text for text in texts[:200])
    monkeypatch.setattr(corpus_module, "RESERVED", ("净利润",))
    again = [document.render() for document in corpus.documents(0, 200)]
    assert not any("净利润" in text for text in again)
    kept = [text for text in texts[:200] if "净利润" not in text]
    assert set(kept) <= set(again)


def test_a_document_does_not_depend_on_what_else_is_drawn(corpus: Corpus, texts: list[str]) -> None:
    assert corpus.document(321).render() == texts[321]


def test_another_seed_writes_other_text(texts: list[str]) -> None:
    other = Corpus(phrasing_list.load(), SEED + 1, known_companies=30)
    assert other.document(0).render() != texts[0]


def test_every_phrasing_of_the_list_is_met(texts: list[str]) -> None:
    joined = "\n".join(texts)
    for kind in phrasing_list.load().kinds.values():
        for form in (*kind.questions, kind.answer):
            pieces = [part.split("}")[-1] for part in form.split("{")]
            longest = max(pieces, key=len)
            assert longest in joined, form


def test_the_longest_kind_of_document_fits_a_row(texts: list[str]) -> None:
    assert max(map(len, texts)) < 2000


def test_slots_are_filled_and_trained_questions_come_first() -> None:
    phrasings = phrasing_list.load()
    fact = Fact("figure", "甲公司", "2023年", "营业收入", "1.00元")
    questions = phrasings.questions(fact)
    assert questions[0] == "甲公司2023年营业收入是多少？"
    assert len(questions) > phrasings.trained == 3
    assert phrasings.answer(fact) == "甲公司2023年营业收入为1.00元。"


def test_a_list_without_a_phrasing_to_ask_in_is_refused(tmp_path) -> None:
    path = tmp_path / "phrasings.yaml"
    path.write_text("trained: 1\nkinds: {figure: {answer: a, questions: [b]}}\n", encoding="utf-8")
    with pytest.raises(Refusal, match="'figure'") as refused:
        phrasing_list.load(path)
    assert refused.value.code == "phrasings_incomplete"
