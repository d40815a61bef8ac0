"""Names of what does not exist: companies, people, addresses, firms, codes.

Owns the drawing of single names. `RESERVED` are names this corpus must never hold, since the sample
report is about them. Does not own facts (facts.py) or text (corpus.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from bullion.tinybase import words
from bullion.tinybase.words import spoken

RESERVED = ("华岳", "688717")
"""Parts of the sample report's company; corpus.py draws a document again that holds one of them."""

COMMON_CHARACTERS = tuple(
    bytes((0xA0 + row, 0xA0 + cell)).decode("gb2312")
    for row in range(16, 56)
    for cell in range(1, 95 if row < 55 else 90)
)
"""The 3,755 first-level characters of GB2312."""

SPELLED_CHARACTERS = tuple(sorted({*COMMON_CHARACTERS, *words.characters()}))
"""The characters that the copying exercises teach and the tokenizer has a piece for."""


@dataclass(frozen=True)
class Company:
    """What a report calls its company: full name, short name, stock code and town of its seat."""

    name: str
    short_name: str
    code: str
    city: str


def draw_company(rng: Random) -> Company:
    city = spoken(rng.choice(words.CITIES))
    brand = draw_brand(rng)
    trade = rng.choice(words.TRADES)
    short = brand + trade
    place = rng.choice(("", "", "", town(city)))
    form = rng.choice(("股份有限公司", "股份有限公司", "股份有限公司", "集团股份有限公司"))
    return Company(f"{place}{short}{form}", short, draw_code(rng), city)


def draw_brand(rng: Random) -> str:
    """Two characters, rarely three; every fourth brand from the whole set of common characters."""
    characters = COMMON_CHARACTERS if rng.random() < 0.25 else words.BRAND_CHARACTERS
    return "".join(rng.choice(characters) for _ in range(rng.choice((2, 2, 2, 2, 3))))


def draw_code(rng: Random) -> str:
    return rng.choice(("600", "601", "603", "605", "688", "000", "002", "300", "301")) + digits(
        rng, 3
    )


def draw_person(rng: Random) -> str:
    given = COMMON_CHARACTERS if rng.random() < 0.15 else words.GIVEN_CHARACTERS
    return rng.choice(words.SURNAMES) + "".join(
        rng.choice(given) for _ in range(rng.choice((1, 2, 2)))
    )


def draw_address(rng: Random, city: str) -> str:
    district = spoken(rng.choice(words.DISTRICTS)) if rng.random() < 0.6 else ""
    road = draw_brand(rng) + spoken(rng.choice(words.ROADS))
    number = f"{rng.randint(1, 2999)}号"
    room = rng.choice(("", "", "", f"{rng.randint(1, 30)}幢", f"{rng.randint(2, 38)}层"))
    return f"{city}{district}{road}{number}{room}"


def draw_firm(rng: Random) -> str:
    """An auditor, bank, shareholder or customer."""
    brand, trade = draw_brand(rng), rng.choice(words.TRADES)
    return rng.choice(
        (
            f"{brand}会计师事务所（特殊普通合伙）",
            f"{brand}会计师事务所",
            f"{brand}证券股份有限公司",
            f"{brand}律师事务所",
            f"{brand}{trade}有限公司",
            f"{brand}投资控股有限公司",
            f"{brand}{trade}集团有限公司",
            f"{brand}{trade}股份有限公司",
        )
    )


def draw_goods(rng: Random) -> str:
    quality = spoken(rng.choice(words.GOODS_WORDS)) if rng.random() < 0.3 else ""
    return quality + spoken(rng.choice(words.GOODS))


def town(city: str) -> str:
    """`江苏省南京市` → `南京`."""
    return city.split("省")[-1].removesuffix("市")


def digits(rng: Random, count: int) -> str:
    return "".join(rng.choice("0123456789") for _ in range(count))


def latin(rng: Random, least: int, most: int) -> str:
    return "".join(
        rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(least, most))
    )
