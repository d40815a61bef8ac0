"""Report prose: how an annual report states a fact, in sentences and in table rows.

Owns the sentence forms. Does not own questions and answers (phrasings.py) or their mix (corpus.py).
"""

from __future__ import annotations

from random import Random

from bullion.tinybase.facts import Fact

_FORMS = {
    "figure": (
        "{period}，{company}实现{item}{value}。",
        "{period}，公司{item}为{value}。",
        "报告期内，公司{period}{item}达到{value}。",
        "{company}{period}{item}为{value}。",
        "截至{period}，{company}的{item}为{value}。",
        "根据年报披露，{company}{period}的{item}合计{value}。",
        "其中，{period}{item}{value}。",
        "公司{item}：{value}（{period}）。",
        "从主要财务指标看，{item}在{period}为{value}。",
    ),
    "attribute": (
        "{company}的{item}是{value}。",
        "公司{item}：{value}。",
        "{company}{item}为{value}。",
        "公司的{item}为{value}，情况说明如下。",
        "{item}：{value}；",
        "报告期末，{company}的{item}仍为{value}。",
    ),
    "change": (
        "{company}{period}{item}同比{value}。",
        "{period}，公司{item}较上年同期{value}。",
        "与上年相比，{company}{period}的{item}{value}。",
        "公司{period}{item}{value}，主要由于市场情况变化所致。",
        "报告期内{item}{value}（{period}与上年同期相比）。",
    ),
}

_HEADINGS = (
    "第二节 公司简介和主要财务指标",
    "一、公司基本情况",
    "二、主要财务数据",
    "三、经营情况讨论与分析",
    "（一）主要会计数据",
    "（二）主营业务分析",
    "重要提示",
    "四、报告期内主要经营情况",
)


def sentence(rng: Random, fact: Fact) -> str:
    """One sentence that states the fact. The company may be called 公司, as reports do."""
    return rng.choice(_FORMS[fact.kind]).format(
        company=fact.company, period=fact.period, item=fact.item, value=fact.value
    )


def passage(rng: Random, facts: list[Fact]) -> str:
    """A paragraph under an optional heading, or the rows of a table; names the company first."""
    company = facts[0].company
    heading = f"{rng.choice(_HEADINGS)}\n" if rng.random() < 0.4 else ""
    if rng.random() < 0.25:
        rows = "\n".join(
            f"{fact.item} {fact.period} {fact.value}".replace("  ", " ") for fact in facts
        )
        return f"{heading}{company}\n项目 本期金额\n{rows}"
    opening = rng.choice((f"{company}年报披露：", f"以下为{company}的主要情况。", f"{company}："))
    return heading + opening + "".join(sentence(rng, fact) for fact in facts)
