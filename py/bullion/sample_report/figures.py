"""The year's figures: drawn so that every total adds up and every rate follows from its figures.

Amounts are whole numbers of the smallest unit that the report prints: 0.01元 in a report in 元,
0.01万元 in one in 万元. So what is printed adds up to the last digit.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True)
class Pair:
    """A figure of this year (or its end) and of the year before."""

    now: int
    before: int

    def __add__(self, other: Pair) -> Pair:
        return Pair(self.now + other.now, self.before + other.before)

    def __sub__(self, other: Pair) -> Pair:
        return Pair(self.now - other.now, self.before - other.before)

    @property
    def change(self) -> float:
        """Percent against the year before; that year's figure must be positive."""
        return (self.now / self.before - 1) * 100


def total(pairs: list[Pair]) -> Pair:
    return sum(pairs[1:], pairs[0])


@dataclass(frozen=True)
class Segment:
    name: str
    revenue: Pair
    cost: Pair

    def margin(self, this_year: bool) -> float:
        """Gross margin in percent."""
        revenue, cost = (
            (self.revenue.now, self.cost.now)
            if this_year
            else (self.revenue.before, self.cost.before)
        )
        return (1 - cost / revenue) * 100


@dataclass(frozen=True)
class Figures:
    """The income statement and balance sheet by the captions of the statements, in their order."""

    segments: list[Segment]
    income: dict[str, Pair]
    cash: dict[str, Pair]
    assets: dict[str, Pair]
    liabilities: dict[str, Pair]
    equity: dict[str, Pair]
    recurring_profit: Pair
    dividend_per_ten: float  # 元, before tax
    staff: dict[str, int]
    patents: int
    inventions: int
    top_customers: int  # their share of revenue, an amount
    top_suppliers: int


def draw_figures(
    rng: Random, units_of_yuan: int, products: tuple[str, ...], shares: int
) -> Figures:
    """`units_of_yuan` is how many yuan 100 of the smallest units are: 1 or 10,000."""
    yuan = 100 / units_of_yuan  # smallest units in one yuan
    revenue_before = rng.uniform(6.5, 16) * 1e8 * yuan

    def moved(before: float, low: float, high: float) -> Pair:
        return Pair(round(before * rng.uniform(low, high)), round(before))

    shares_of_revenue = [0.46, 0.31, 0.2]
    segments = []
    for product, share in zip(products, shares_of_revenue, strict=True):
        revenue = moved(revenue_before * share * rng.uniform(0.93, 1.07), 0.9, 1.24)
        margin = rng.uniform(0.24, 0.42)
        cost = Pair(
            round(revenue.now * (1 - margin + rng.uniform(-0.02, 0.02))),
            round(revenue.before * (1 - margin)),
        )
        segments.append(Segment(product, revenue, cost))
    main_revenue = total([segment.revenue for segment in segments])
    main_cost = total([segment.cost for segment in segments])
    other_revenue = moved(revenue_before * 0.03, 0.8, 1.3)
    income = {
        "营业收入": main_revenue + other_revenue,
        "营业成本": main_cost + moved(other_revenue.before * 0.6, 0.9, 1.1),
        "税金及附加": moved(revenue_before * 0.007, 0.9, 1.2),
        "销售费用": moved(revenue_before * 0.042, 0.92, 1.2),
        "管理费用": moved(revenue_before * 0.055, 0.94, 1.15),
        "研发费用": moved(revenue_before * 0.051, 1.03, 1.3),
        "财务费用": moved(revenue_before * 0.006, 0.7, 1.3),
        "其他收益": moved(revenue_before * 0.008, 0.7, 1.4),
    }
    costs = ("营业成本", "税金及附加", "销售费用", "管理费用", "研发费用", "财务费用")
    income["营业利润"] = (
        income["营业收入"] + income["其他收益"] - total([income[name] for name in costs])
    )
    income["营业外收入"] = moved(revenue_before * 0.001, 0.7, 1.4)
    income["营业外支出"] = moved(revenue_before * 0.0008, 0.7, 1.4)
    income["利润总额"] = income["营业利润"] + income["营业外收入"] - income["营业外支出"]
    gross = income["利润总额"]
    income["所得税费用"] = Pair(round(gross.now * 0.138), round(gross.before * 0.141))
    income["净利润"] = gross - income["所得税费用"]
    net = income["净利润"]
    minority = Pair(round(net.now * 0.021), round(net.before * 0.023))
    income["归属于上市公司股东的净利润"] = net - minority
    profit = income["归属于上市公司股东的净利润"]
    income["少数股东损益"] = minority
    exceptional = moved(revenue_before * 0.006, 0.7, 1.4)

    equity, cash = _equity_and_cash(rng, profit, minority, revenue_before, shares * yuan)
    liabilities = {
        "短期借款": moved(revenue_before * 0.12, 0.8, 1.2),
        "应付账款": moved(revenue_before * 0.17, 0.9, 1.2),
        "合同负债": moved(revenue_before * 0.06, 0.9, 1.2),
        "应付职工薪酬": moved(revenue_before * 0.03, 0.9, 1.2),
        "应交税费": moved(revenue_before * 0.015, 0.8, 1.2),
        "长期借款": moved(revenue_before * 0.07, 0.8, 1.2),
        "递延收益": moved(revenue_before * 0.02, 0.8, 1.1),
    }
    assets = {
        "货币资金": cash["期末现金及现金等价物余额"] + moved(revenue_before * 0.01, 0.8, 1.3),
        "应收账款": moved(revenue_before * 0.24, 0.95, 1.2),
        "预付款项": moved(revenue_before * 0.02, 0.8, 1.3),
        "存货": moved(revenue_before * 0.21, 0.9, 1.2),
        "在建工程": moved(revenue_before * 0.08, 0.6, 1.6),
        "无形资产": moved(revenue_before * 0.09, 0.94, 1.05),
    }
    both = total(list(liabilities.values())) + total(list(equity.values()))
    assets["固定资产"] = both - total(list(assets.values()))

    technical, sales, office = rng.randint(180, 320), rng.randint(60, 150), rng.randint(70, 160)
    return Figures(
        segments=segments,
        income=income,
        cash=cash,
        assets=assets,
        liabilities=liabilities,
        equity=equity,
        recurring_profit=profit - exceptional,
        dividend_per_ten=round(profit.now / yuan / shares * 10 * rng.uniform(0.28, 0.36), 1),
        staff={
            "生产人员": rng.randint(480, 900),
            "技术人员": technical,
            "销售人员": sales,
            "行政及财务人员": office,
        },
        patents=rng.randint(120, 280),
        inventions=rng.randint(30, 90),
        top_customers=round(income["营业收入"].now * rng.uniform(0.24, 0.38)),
        top_suppliers=round(income["营业成本"].now * rng.uniform(0.22, 0.4)),
    )


def _equity_and_cash(
    rng: Random, profit: Pair, minority: Pair, revenue_before: float, capital: float
) -> tuple[dict[str, Pair], dict[str, Pair]]:
    """Equity moves by profit less the dividend paid; cash moves by its three flows and exchange."""
    paid = round(profit.before * 0.3)
    reserve = round(profit.now * 0.1)
    share_capital = Pair(round(capital), round(capital))
    premium = round(revenue_before * 0.38)
    surplus_before = round(revenue_before * 0.05)
    kept_before = round(revenue_before * 0.42)
    minority_before = round(revenue_before * 0.012)
    equity = {
        "股本": share_capital,
        "资本公积": Pair(premium, premium),
        "盈余公积": Pair(surplus_before + reserve, surplus_before),
        "未分配利润": Pair(kept_before + profit.now - paid - reserve, kept_before),
        "少数股东权益": Pair(minority_before + minority.now, minority_before),
    }
    operating = Pair(
        round(profit.now * rng.uniform(0.9, 1.3)), round(profit.before * rng.uniform(0.8, 1.2))
    )
    investing = Pair(-round(revenue_before * 0.09), -round(revenue_before * 0.11))
    financing = Pair(
        -paid - round(revenue_before * rng.uniform(0.002, 0.01)), -round(revenue_before * 0.015)
    )
    exchange = Pair(round(revenue_before * 0.001), -round(revenue_before * 0.0007))
    increase = operating + investing + financing + exchange
    end_before = round(revenue_before * rng.uniform(0.24, 0.3))
    cash = {
        "经营活动产生的现金流量净额": operating,
        "投资活动产生的现金流量净额": investing,
        "筹资活动产生的现金流量净额": financing,
        "汇率变动对现金及现金等价物的影响": exchange,
        "现金及现金等价物净增加额": increase,
        "期末现金及现金等价物余额": Pair(end_before + increase.now, end_before),
    }
    return equity, cash
