"""The front of a report: cover, notices, definitions, company profile and key figures."""

from __future__ import annotations

from bullion.sample_report.blocks import (
    Block,
    Heading,
    PageBreak,
    Paragraph,
    Report,
    Table,
    percent,
    points,
)
from bullion.sample_report.figures import Pair


def cover(report: Report) -> list[Block]:
    company = report.company
    return [
        Paragraph(f"公司代码：{company.code}          公司简称：{company.short_name}", "entry"),
        Paragraph(company.name, "title"),
        Paragraph(f"{report.now}年年度报告", "title"),
        PageBreak(),
    ]


def notices(report: Report) -> list[Block]:
    company, officers = report.company, report.company.officers
    dividend = f"{report.figures.dividend_per_ten:.1f}"
    return [
        Paragraph("重要提示", "centred"),
        Heading(2, "一、董事会及监事会声明"),
        Paragraph(
            "本公司董事会、监事会及董事、监事、高级管理人员保证年度报告内容的真实性、准确性、完整性，"
            "不存在虚假记载、误导性陈述或重大遗漏，并承担个别和连带的法律责任。"
        ),
        Heading(2, "二、董事会会议出席情况"),
        Paragraph("公司全体董事出席了审议本年度报告的董事会会议。"),
        Heading(2, "三、审计意见"),
        Paragraph(f"{company.auditor}为本公司出具了标准无保留意见的审计报告。"),
        Heading(2, "四、财务报告声明"),
        Paragraph(
            f"公司负责人{officers['董事长']}、主管会计工作负责人{officers['财务总监']}声明：保证年度报告中财务报告的"
            "真实、准确、完整。"
        ),
        Heading(2, "五、利润分配预案"),
        Paragraph(
            f"公司拟以实施权益分派股权登记日的总股本为基数，向全体股东每10股派发现金红利{dividend}元（含税），"
            "不送红股，不以资本公积转增股本。本预案需提交股东大会审议。"
        ),
        Heading(2, "六、前瞻性陈述的风险声明"),
        Paragraph(
            "本报告中涉及的未来计划、发展战略等前瞻性描述不构成公司对投资者的实质承诺，请投资者注意投资风险。"
        ),
        PageBreak(),
    ]


def definitions(report: Report) -> list[Block]:
    company = report.company
    rows = [
        [f"公司、本公司、{company.short_name}", "指", company.name],
        ["控股股东", "指", company.shareholders[0].name],
        ["证监会", "指", "中国证券监督管理委员会"],
        ["交易所", "指", company.exchange],
        ["公司法", "指", "中华人民共和国公司法"],
        ["证券法", "指", "中华人民共和国证券法"],
        ["报告期", "指", f"{report.now}年1月1日至{report.now}年12月31日"],
        ["元、万元", "指", "人民币元、人民币万元"],
    ]
    return [
        Heading(1, "第一节 释义"),
        Paragraph("在本报告中，除非文义另有所指，下列词语具有如下含义："),
        Table(rows, (3, 0.7, 5), headers=0),
    ]


def profile(report: Report) -> list[Block]:
    company = report.company
    information = [
        ["公司的中文名称", company.name],
        ["公司的中文简称", company.short_name],
        ["公司的法定代表人", company.officers["董事长"]],
        ["公司注册地址", company.address],
        ["公司注册地址的邮政编码", company.postcode],
        ["公司网址", company.website],
        ["电子信箱", company.mailbox],
        ["成立日期", company.founded],
    ]
    contact = [
        ["", "董事会秘书"],
        ["姓名", company.officers["董事会秘书"]],
        ["电话", company.phone],
    ]
    shares = [
        ["股票种类", "股票上市交易所", "股票简称", "股票代码"],
        ["A股", company.exchange, company.short_name, company.code],
    ]
    auditor = [
        ["公司聘请的会计师事务所", "名称", company.auditor],
        ["", "签字会计师姓名", "、".join(company.accountants)],
    ]
    return [
        Heading(1, "第二节 公司简介和主要财务指标"),
        Heading(2, "一、公司信息"),
        Table(information, (3, 5), headers=0),
        Heading(2, "二、联系人和联系方式"),
        Table(contact, (3, 5)),
        Heading(2, "三、公司股票简况"),
        Table(shares, (2, 3, 2, 2)),
        Heading(2, "四、其他相关资料"),
        Table(auditor, (2.4, 2.4, 4.4), headers=0, spans=[(0, 0, 0, 1)]),
    ]


def key_figures(report: Report) -> list[Block]:
    figures, layout = report.figures, report.layout
    now, before = report.headers(layout.span_headers)
    end, end_before = report.headers(layout.end_headers)
    equity = sum_parent_equity(report)
    assets = whole(report.figures.assets)
    flows = {
        "营业收入": figures.income["营业收入"],
        "归属于上市公司股东的净利润": figures.income["归属于上市公司股东的净利润"],
        "归属于上市公司股东的扣除非经常性损益的净利润": figures.recurring_profit,
        "经营活动产生的现金流量净额": figures.cash["经营活动产生的现金流量净额"],
    }
    balances = {"总资产": assets, "归属于上市公司股东的净资产": equity}
    rows = [report.compared("主要会计数据", now, before, layout.change_header)]
    rows += [_row(report, label, pair) for label, pair in flows.items()]
    band = len(rows)
    rows.append(
        report.compared("", end, end_before, layout.change_header.replace("本年", "本年末"))
    )
    rows += [_row(report, label, pair) for label, pair in balances.items()]
    profit = figures.income["归属于上市公司股东的净利润"]
    per_share = [
        value / 100 * layout.yuan / report.company.shares for value in (profit.now, profit.before)
    ]
    average = (equity.now + equity.before) / 2
    returned = (profit.now / average * 100, profit.before / (equity.before * 0.96) * 100)
    ratios = [
        report.compared("主要财务指标", now, before, layout.change_header),
        report.compared(
            "基本每股收益（元/股）",
            percent(per_share[0]),
            percent(per_share[1]),
            percent((round(per_share[0], 2) / round(per_share[1], 2) - 1) * 100),
        ),
        report.compared(
            "加权平均净资产收益率（%）",
            percent(returned[0]),
            percent(returned[1]),
            points(*returned),
        ),
    ]
    widths = (3.4, 2.2, 2.2, 2)
    return [
        Heading(2, "五、近两年主要会计数据和财务指标"),
        Heading(3, "（一）主要会计数据"),
        report.unit_line(),
        Table(rows, widths, bands=(band,)),
        Heading(3, "（二）主要财务指标"),
        Table(ratios, widths),
    ]


def whole(items: dict[str, Pair]) -> Pair:
    return Pair(
        sum(pair.now for pair in items.values()), sum(pair.before for pair in items.values())
    )


def sum_parent_equity(report: Report) -> Pair:
    return whole(report.figures.equity) - report.figures.equity["少数股东权益"]


def _row(report: Report, label: str, pair: Pair) -> list[str]:
    return report.compared(
        label, report.amount(pair.now), report.amount(pair.before), percent(pair.change)
    )
