"""Who reports: a fictional listed company, its people, places, products and shareholders."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

SUFFIX = "股份有限公司"

_BRANDS = ("恒川", "明远", "瑞海", "天启", "博望", "云峰", "长宁", "新野", "安泰", "东篱")
_TRADES = {
    "精工": ("精密减速机", "数控转台", "直线模组"),
    "环保": ("污水处理设备", "除尘设备", "固废处理设备"),
    "食品": ("速冻面点", "调味酱料", "冷冻蔬菜"),
    "电气": ("中压开关柜", "智能电表", "充电模块"),
    "新材": ("特种薄膜", "玻璃纤维", "导热材料"),
    "医药": ("中药颗粒", "注射用制剂", "医用敷料"),
}
_SEATS = {
    "浙江省宁波市": ("江北区", "0574", "315"),
    "江苏省常州市": ("新北区", "0519", "213"),
    "福建省厦门市": ("同安区", "0592", "361"),
    "湖南省长沙市": ("开福区", "0731", "410"),
    "四川省成都市": ("金牛区", "028", "610"),
    "山东省青岛市": ("城阳区", "0532", "266"),
}
_ROADS = ("创业路", "金桥路", "科技大道", "学苑路", "滨江东路", "工业北路")
_SURNAMES = "王李张刘陈杨赵周吴徐孙朱胡林郭何高罗郑梁谢宋唐许邓冯韩曹曾彭肖蔡潘田董袁于余叶蒋杜苏魏程吕丁沈任姚卢钟姜崔谭陆范汪"
_GIVEN = "文德志建国明海波永强振华立新云平春生学东晓峰思源卫民家康景行伯安若谷子谦守正克俭宏图清和"
_AUDITORS = ("中正", "立言", "信和", "天平", "公允")
_INVESTORS = ("创新投资", "产业投资", "控股", "资产管理")

TITLES = ("董事长", "总经理", "财务总监", "董事会秘书", "监事会主席")


@dataclass(frozen=True)
class Shareholder:
    name: str
    shares: int  # at the end of the year
    kind: str


@dataclass(frozen=True)
class Company:
    """`name` is the registered name, `short_name` what the stock exchange lists."""

    name: str
    short_name: str
    code: str
    exchange: str
    seat: str
    address: str
    postcode: str
    phone: str
    website: str
    mailbox: str
    products: tuple[str, ...]
    officers: dict[str, str]
    """By title, in the order of TITLES."""
    auditor: str
    accountants: tuple[str, ...]
    founded: str
    shares: int
    shareholders: tuple[Shareholder, ...]
    year: int


def draw_company(seed: int, name: str | None = None) -> Company:
    """Seed 0 is the committed sample, 华岳精工 of 宁波; any other seed draws another company."""
    rng = Random(f"company {seed}")
    trade = rng.choice(sorted(_TRADES)) if seed else "精工"
    seat = rng.choice(sorted(_SEATS)) if seed else "浙江省宁波市"
    short = rng.choice(_BRANDS) + trade if seed else "华岳精工"
    district, area_code, zone = _SEATS[seat]
    exchange, code = rng.choice(
        (
            ("上海证券交易所", f"603{rng.randint(100, 999)}"),
            ("北京证券交易所", f"83{rng.randint(1000, 9999)}"),
        )
    )
    latin = "".join(rng.choice("bcdfghklmnprst") + rng.choice("aeiou") for _ in range(3))
    shares = rng.randint(1_800, 5_200) * 100_000
    company = Company(
        name=short + SUFFIX,
        short_name=short,
        code=code,
        exchange=exchange,
        seat=seat,
        address=f"{seat}{district}{rng.choice(_ROADS)}{rng.randint(18, 1988)}号",
        postcode=f"{zone}{rng.randint(0, 999):03d}",
        phone=f"{area_code}-8{rng.randint(0, 9_999_999):07d}",
        website=f"www.{latin}.com.cn",
        mailbox=f"ir@{latin}.com.cn",
        products=tuple(rng.sample(_TRADES[trade], 3)),
        officers=dict(zip(TITLES, _people(rng, len(TITLES)), strict=True)),
        auditor=f"{rng.choice(_AUDITORS)}会计师事务所（特殊普通合伙）",
        accountants=tuple(_people(rng, 2)),
        founded=f"{rng.randint(1996, 2010)}年{rng.randint(1, 12)}月{rng.randint(1, 28)}日",
        shares=shares,
        shareholders=_shareholders(rng, shares, short),
        year=rng.randint(2021, 2024),
    )
    if not seed:
        company = replace(
            company,
            code="688717",
            exchange="上海证券交易所",
            website="www.huayuejg.com.cn",
            mailbox="ir@huayuejg.com.cn",
            year=2024,
        )
    if name:
        company = replace(company, name=name, short_name=name.removesuffix(SUFFIX))
    return company


def _people(rng: Random, count: int) -> list[str]:
    surnames = rng.sample(_SURNAMES, count)
    return [surname + "".join(rng.sample(_GIVEN, rng.choice((1, 2, 2)))) for surname in surnames]


def _shareholders(rng: Random, shares: int, short: str) -> tuple[Shareholder, ...]:
    """The largest first; together they hold less than all shares."""
    parent = f"{short[:2]}控股集团有限公司"
    founder, *others = _people(rng, 3)
    fund = f"{rng.choice(_BRANDS)}{rng.choice(_INVESTORS)}有限公司"
    holders = (
        (parent, rng.uniform(0.28, 0.41), "境内非国有法人"),
        (founder, rng.uniform(0.09, 0.14), "境内自然人"),
        (fund, rng.uniform(0.05, 0.08), "境内非国有法人"),
        (others[0], rng.uniform(0.02, 0.04), "境内自然人"),
        (others[1], rng.uniform(0.01, 0.018), "境内自然人"),
    )
    return tuple(Shareholder(name, int(shares * share), kind) for name, share, kind in holders)
