"""What a company is or has: people, places, firms, codes, dates, products, plans.

Owns the items without a period and the shape of their values.
"""

from __future__ import annotations

from random import Random

from bullion.tinybase import words
from bullion.tinybase.companies import (
    COMMON_CHARACTERS,
    Company,
    digits,
    draw_address,
    draw_brand,
    draw_code,
    draw_firm,
    draw_goods,
    draw_person,
    latin,
)
from bullion.tinybase.words import spoken


def draw_attribute(rng: Random, company: Company) -> tuple[str, str]:
    """(item, value) with a name, a place, a code, a date or a plan."""
    items, value = rng.choice(
        (
            (words.PERSON_ITEMS, draw_person(rng)),
            (words.PERSON_ITEMS, draw_person(rng)),
            (words.ADDRESS_ITEMS, draw_address(rng, company.city)),
            (words.FIRM_ITEMS, draw_firm(rng)),
            (words.CODE_ITEMS, company.code),
            (words.CODE_ITEMS, draw_code(rng)),
            (words.PHONE_ITEMS, _phone(rng)),
            (words.WEB_ITEMS, _web(rng)),
            (words.DATE_ITEMS, _date(rng)),
            (words.PRODUCT_ITEMS, _products(rng)),
            (words.PRODUCT_ITEMS, _products(rng)),
            (words.NAME_ITEMS, _name(rng)),
            (words.PLAN_ITEMS, _plan(rng)),
        )
    )
    return spoken(rng.choice(items)), value


def _phone(rng: Random) -> str:
    return rng.choice(
        (
            f"0{digits(rng, 3)}-{digits(rng, 8)}",
            f"0{digits(rng, 2)}-{digits(rng, 8)}",
            digits(rng, 6),
        )
    )


def _web(rng: Random) -> str:
    host = f"{latin(rng, 3, 8)}.{rng.choice(('com', 'cn', 'com.cn'))}"
    return rng.choice(
        (
            f"www.{host}",
            f"http://www.{host}",
            f"{latin(rng, 2, 4)}@{host}",
            latin(rng, 2, 9).title(),
        )
    )


def _date(rng: Random) -> str:
    return f"{rng.randint(1985, 2025)}年{rng.randint(1, 12)}月{rng.randint(1, 28)}日"


def _products(rng: Random) -> str:
    goods = list(dict.fromkeys(draw_goods(rng) for _ in range(rng.choice((1, 2, 2, 3, 3)))))
    listed = "、".join(goods[:-1]) + "和" + goods[-1] if len(goods) > 1 else goods[0]
    tail = rng.choice(("", "", "", "等", "的研发、生产和销售", "的生产与销售", "制造业"))
    return listed + tail


def _name(rng: Random) -> str:
    """Free text of two to eight common characters: a short name, a trade mark, an opinion."""
    if rng.random() < 0.5:
        return draw_brand(rng) + rng.choice(words.TRADES)
    return "".join(rng.choice(COMMON_CHARACTERS) for _ in range(rng.randint(2, 8)))


def _plan(rng: Random) -> str:
    return rng.choice(
        (
            f"每10股派发现金红利{rng.randint(0, 20)}.{digits(rng, 2)}元（含税）",
            f"向全体股东每10股派发现金红利{rng.randint(0, 20)}.{digits(rng, 1)}元（含税）",
            f"{rng.randint(1, 99999):,}.{digits(rng, 2)}万元人民币",
            f"{rng.randint(1, 9999999999):,}元",
            rng.choice(("AAA", "AA+", "AA", "AA-", "A+")),
            f"9{digits(rng, 8)}{latin(rng, 2, 2).upper()}{digits(rng, 7)}",
        )
    )
