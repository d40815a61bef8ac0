"""The financial report: opinion, consolidated statements, the parent's own, and policies."""

from __future__ import annotations

from bullion.sample_report.blocks import Block, Heading, Paragraph, Report, Table
from bullion.sample_report.figures import Pair
from bullion.sample_report.front import sum_parent_equity, whole

_CURRENT_ASSETS = ("货币资金", "应收账款", "预付款项", "存货")
_FIXED_ASSETS = ("固定资产", "在建工程", "无形资产")
_CURRENT_DEBTS = ("短期借款", "应付账款", "合同负债", "应付职工薪酬", "应交税费")
_LONG_DEBTS = ("长期借款", "递延收益")


def statements(report: Report, number: str) -> list[Block]:
    company = report.company
    return [
        Heading(1, f"{number} 财务报告"),
        Heading(2, "一、审计意见"),
        Paragraph(
            f"我们审计了{company.name}的财务报表，包括资产负债表、利润表、现金流量表、股东权益变动表以及相关财务报表附注。"
            "我们认为，后附的财务报表在所有重大方面按照企业会计准则的规定编制，公允反映了公司的财务状况、经营成果和现金流量。"
        ),
        Paragraph(f"{company.auditor}  中国注册会计师：{'、'.join(company.accountants)}", "right"),
        Heading(2, "二、财务报表"),
        *_statement(report, "合并资产负债表", _balance(report), at_end=True),
        *_statement(report, "合并利润表", _income(report)),
        *_statement(report, "合并现金流量表", _cash(report)),
        *_statement(report, "母公司资产负债表", _parent(report), at_end=True),
        Heading(2, "三、重要会计政策及会计估计"),
        Paragraph(
            "公司以持续经营为基础编制财务报表，会计年度自公历1月1日起至12月31日止，以人民币为记账本位币。"
            "收入在客户取得相关商品控制权时确认。存货按照成本与可变现净值两者中较低者计量，发出时采用加权平均法计价。"
        ),
        Paragraph(
            "固定资产采用年限平均法计提折旧，房屋及建筑物的折旧年限为20年，机器设备的折旧年限为10年，运输设备的折旧年限为5年。"
            "研究阶段的支出在发生时计入当期损益。"
        ),
        Heading(2, "四、合并财务报表项目注释"),
        *_receivables(report),
    ]


def _statement(
    report: Report, title: str, rows: list[tuple[str, Pair | None]], at_end: bool = False
) -> list[Block]:
    layout = report.layout
    headers = report.headers(layout.end_headers if at_end else layout.span_headers)
    when = f"{report.now}年12月31日" if at_end else f"{report.now}年度"
    printed = [["项目", *headers]]
    for label, pair in rows:
        amounts = [report.amount(pair.now), report.amount(pair.before)] if pair else ["", ""]
        printed.append([label, *amounts])
    return [
        Heading(3, title),
        Paragraph(when, "centred"),
        report.unit_line(),
        Table(printed, (4, 2.6, 2.6)),
    ]


def _balance(report: Report) -> list[tuple[str, Pair | None]]:
    figures = report.figures
    assets, debts, equity = figures.assets, figures.liabilities, figures.equity
    current = whole({name: assets[name] for name in _CURRENT_ASSETS})
    fixed = whole({name: assets[name] for name in _FIXED_ASSETS})
    short = whole({name: debts[name] for name in _CURRENT_DEBTS})
    long = whole({name: debts[name] for name in _LONG_DEBTS})
    own = whole(equity)
    return [
        ("流动资产：", None),
        *((name, assets[name]) for name in _CURRENT_ASSETS),
        ("流动资产合计", current),
        ("非流动资产：", None),
        *((name, assets[name]) for name in _FIXED_ASSETS),
        ("非流动资产合计", fixed),
        ("资产总计", current + fixed),
        ("流动负债：", None),
        *((name, debts[name]) for name in _CURRENT_DEBTS),
        ("流动负债合计", short),
        ("非流动负债：", None),
        *((name, debts[name]) for name in _LONG_DEBTS),
        ("非流动负债合计", long),
        ("负债合计", short + long),
        ("股东权益：", None),
        *((name, equity[name]) for name in ("股本", "资本公积", "盈余公积", "未分配利润")),
        ("归属于母公司股东权益合计", sum_parent_equity(report)),
        ("少数股东权益", equity["少数股东权益"]),
        ("股东权益合计", own),
        ("负债和股东权益总计", short + long + own),
    ]


def _income(report: Report) -> list[tuple[str, Pair | None]]:
    income = report.figures.income
    numbering = {"营业收入": "一、", "营业利润": "二、", "利润总额": "三、", "净利润": "四、"}
    signs = {
        "营业成本": "减：",
        "其他收益": "加：",
        "营业外收入": "加：",
        "营业外支出": "减：",
        "所得税费用": "减：",
    }
    return [
        (numbering.get(name, signs.get(name, "")) + name, pair) for name, pair in income.items()
    ]


def _cash(report: Report) -> list[tuple[str, Pair | None]]:
    numbers = ("一、", "二、", "三、", "四、", "五、", "六、")
    cash = report.figures.cash
    return [
        (number + name, pair) for number, (name, pair) in zip(numbers, cash.items(), strict=True)
    ]


def _parent(report: Report) -> list[tuple[str, Pair | None]]:
    """The parent alone: the same captions with other amounts, as in every report."""

    def part(pair: Pair, share: float) -> Pair:
        return Pair(round(pair.now * share), round(pair.before * share))

    assets = report.figures.assets
    return [
        ("货币资金", part(assets["货币资金"], 0.71)),
        ("应收账款", part(assets["应收账款"], 0.83)),
        ("存货", part(assets["存货"], 0.77)),
        ("固定资产", part(assets["固定资产"], 0.64)),
    ]


def _receivables(report: Report) -> list[Block]:
    receivable = report.figures.assets["应收账款"]
    now, before = report.headers(report.layout.end_headers)
    shares = (("1年以内", 0.81), ("1至2年", 0.13))
    rows = [["账龄", now, before]]
    left = receivable
    for name, share in shares:
        pair = Pair(round(receivable.now * share), round(receivable.before * share))
        left = left - pair
        rows.append([name, report.amount(pair.now), report.amount(pair.before)])
    rows.append(["2年以上", report.amount(left.now), report.amount(left.before)])
    rows.append(["合计", report.amount(receivable.now), report.amount(receivable.before)])
    return [
        Heading(3, "（一）应收账款"),
        report.unit_line(),
        Table(rows, (4, 2.6, 2.6)),
    ]
