"""Facts of fictional companies: what a report states, as (kind, company, period, item, value).

Owns which items exist, which value shapes go with them and how one is drawn. The kinds are those of
configs/phrasings.zh.yaml: a figure of a period, an attribute, a change against the period before.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from bullion.tinybase import words
from bullion.tinybase.attributes import draw_attribute
from bullion.tinybase.companies import COMMON_CHARACTERS, Company, digits, draw_goods
from bullion.tinybase.words import spoken


@dataclass(frozen=True)
class Fact:
    """One statement. `period` is empty for attributes; `company` is the name used in the text."""

    kind: str
    company: str
    period: str
    item: str
    value: str


def draw_fact(rng: Random, company: Company, called: str) -> Fact:
    """A fact of `company`, which the text calls `called` (its full or its short name)."""
    kind = rng.choices(("figure", "attribute", "change"), (60, 25, 15))[0]
    if kind == "attribute":
        return Fact(kind, called, "", *draw_attribute(rng, company))
    item, value = draw_figure(rng)
    if rng.random() < 0.08:
        item = draw_label(rng)
    if kind == "change":
        return Fact(kind, called, draw_period(rng), item, draw_change(rng))
    return Fact(kind, called, draw_period(rng), item, value)


def draw_facts(rng: Random, company: Company, called: str, count: int) -> list[Fact]:
    """`count` facts of one company that differ in what is asked; items recur in other periods."""
    facts: dict[tuple[str, str, str], Fact] = {}
    while len(facts) < count:
        fact = draw_fact(rng, company, called)
        siblings = [fact]
        if fact.period and rng.random() < 0.5:  # a row of a table: the same item, other periods
            value = draw_change(rng) if fact.kind == "change" else reshape(rng, fact.value)
            siblings.append(Fact(fact.kind, called, draw_period(rng), fact.item, value))
        for sibling in siblings:
            facts.setdefault((sibling.kind, sibling.period, sibling.item), sibling)
    return list(facts.values())[:count]


def draw_period(rng: Random) -> str:
    year = rng.randint(2017, 2025)
    if rng.random() < 0.5:
        return f"{year}年"
    ends = (
        "年度 年末 年末 年上半年 年上半年 年1-6月 年第一季度 年第二季度 年第三季度 年第四季度 "
        "年前三季度 年12月31日 年6月30日 年底 年下半年 年期末 年初"
    )
    return f"{year}{rng.choice(ends.split())}"


# --- figures ---
def draw_figure(rng: Random) -> tuple[str, str]:
    """(item, value) with a number."""
    shape = rng.choices(("money", "per_share", "percent", "count", "output"), (52, 8, 16, 16, 8))[0]
    if shape == "money":
        segment = rng.random() < 0.15
        item = draw_segment(rng, words.SEGMENT_MONEY) if segment else rng.choice(words.MONEY)
        return spoken(item), draw_money(rng)
    if shape == "per_share":
        item = spoken(rng.choice(words.PER_SHARE))
        return (
            item,
            f"{draw_sign(rng)}{draw_decimal(rng, 2)}{rng.choice(('元/股', '元/股', '元', ''))}",
        )
    if shape == "percent":
        segment = rng.random() < 0.2
        item = draw_segment(rng, words.SEGMENT_PERCENT) if segment else rng.choice(words.PERCENT)
        return spoken(item), draw_percent(rng)
    if shape == "count":
        item = spoken(rng.choice(words.COUNT))
        people = any(word in item for word in ("人数", "人员", "员工"))
        unit = rng.choice("人人名") if people else rng.choice(words.COUNT_UNITS)
        return item, f"{draw_whole(rng, 5)}{unit}"
    item = (
        f"{draw_goods(rng)}{'的' if rng.random() < 0.2 else ''}{spoken(rng.choice(words.OUTPUT))}"
    )
    return item, f"{draw_whole(rng, 7)}{rng.choice(words.OUTPUT_UNITS)}"


def draw_label(rng: Random) -> str:
    """An item that no list holds, since every report has some: any characters, or a trade's figure."""
    if rng.random() < 0.5:
        return "".join(rng.choice(COMMON_CHARACTERS) for _ in range(rng.randint(2, 8)))
    head = spoken(rng.choice(words.MONEY + words.COUNT + words.GOODS + words.MARKETS))
    return head + "".join(rng.choice(COMMON_CHARACTERS) for _ in range(rng.randint(1, 3)))


def draw_segment(rng: Random, measures: tuple[str, ...]) -> str:
    """An item of a segment table: a product or a market, and what is measured of it."""
    what = draw_goods(rng) if rng.random() < 0.6 else rng.choice(words.MARKETS)
    return f"{what}{rng.choice(('', '', '业务', '产品', '的'))}{rng.choice(measures)}"


def draw_money(rng: Random) -> str:
    form = rng.random()
    if form < 0.5:
        amount = f"{rng.randint(1, 10 ** rng.randint(5, 11)):,}.{digits(rng, 2)}"
        return f"{draw_sign(rng)}{amount}{'' if rng.random() < 0.12 else '元'}"
    if form < 0.75:
        return f"{draw_sign(rng)}{draw_decimal(rng, 4)}亿元"
    if form < 0.95:
        return f"{draw_sign(rng)}{rng.randint(1, 10 ** rng.randint(2, 7)):,}.{digits(rng, 2)}万元"
    return f"{draw_whole(rng, 10)}元"


def draw_percent(rng: Random) -> str:
    sign = "-" if rng.random() < 0.06 else ""
    return f"{sign}{rng.randint(0, 99)}.{digits(rng, rng.choice((1, 2, 2, 2)))}%"


def draw_change(rng: Random) -> str:
    way = rng.choice(("增长", "增长", "增长", "下降", "下降", "减少", "增加", "上升"))
    if rng.random() < 0.2:
        return f"{way}{rng.randint(0, 30)}.{digits(rng, 2)}个百分点"
    return f"{way}{rng.randint(0, 10 ** rng.choice((1, 2, 2, 2, 3)))}.{digits(rng, 2)}%"


def draw_sign(rng: Random) -> str:
    return "-" if rng.random() < 0.08 else ""


def draw_decimal(rng: Random, most: int) -> str:
    """`0.56`, `12.345`: at most `most` digits before the point, two to four after it."""
    return f"{rng.randint(0, 10 ** rng.randint(1, most) - 1)}.{digits(rng, rng.choice((2, 2, 2, 3, 4)))}"


def draw_whole(rng: Random, most: int) -> str:
    number = rng.randint(1, 10 ** rng.randint(1, most))
    return f"{number:,}" if rng.random() < 0.8 else str(number)


def reshape(rng: Random, value: str) -> str:
    """A value of the same shape: other digits, but no new leading zero."""
    drawn = []
    for at, character in enumerate(value):
        leads = at == 0 or not value[at - 1].isdigit()
        choice = "123456789" if leads and character != "0" else "0123456789"
        drawn.append(rng.choice(choice) if character.isdigit() else character)
    return "".join(drawn)
