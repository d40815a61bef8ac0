"""Management's discussion: the year in words, products, expenses, research, outlook and risks."""

from __future__ import annotations

from bullion.sample_report.blocks import (
    Block,
    Heading,
    Paragraph,
    Report,
    Table,
    moved,
    percent,
    points,
)


def discussion(report: Report) -> list[Block]:
    tables = [_products(report), _expenses(report)]
    if report.layout.statements_first:
        tables.reverse()
    numbered: list[Block] = []
    for number, (title, blocks) in zip(("（一）", "（二）"), tables, strict=True):
        numbered += [Heading(3, number + title), *blocks]
    return [
        Heading(1, "第三节 管理层讨论与分析"),
        *_year(report),
        Heading(2, "二、主营业务分析"),
        *numbered,
        *_research(report),
        *_partners(report),
        *_strengths(report),
        *_outlook(report),
    ]


def _year(report: Report) -> list[Block]:
    company, income = report.company, report.figures.income
    revenue, profit = income["营业收入"], income["归属于上市公司股东的净利润"]
    first, second, third = company.products
    if report.layout.wording == 0:
        summary = (
            f"报告期内，公司实现营业收入{report.money(revenue.now)}，同比{moved(revenue.change)}；"
            f"实现归属于上市公司股东的净利润{report.money(profit.now)}，同比{moved(profit.change)}。"
        )
        trade = (
            f"公司主要从事{first}、{second}和{third}的研发、生产与销售，产品面向装备制造、汽车零部件、电子信息和新能源等领域。"
            "报告期内，公司主营业务、主要产品和经营模式未发生重大变化。"
        )
        effort = (
            "面对外部环境的变化，公司坚持稳中求进，围绕主业加大研发力度，推进精益生产，提高交付能力，"
            "主要产品的品质和服务得到客户认可。公司采用以销定产与适量备货相结合的方式组织生产，销售以直销为主，"
            "重点客户由专门团队提供从方案设计到售后维护的全过程服务。"
        )
    else:
        summary = (
            f"{report.now}年，公司营业收入为{report.money(revenue.now)}，较上年{moved(revenue.change, '增加', '减少')}；"
            f"归属于上市公司股东的净利润为{report.money(profit.now)}，较上年{moved(profit.change, '增加', '减少')}。"
        )
        trade = (
            f"公司的产品分为三类：{first}、{second}以及{third}，其中{first}是公司设立以来的传统产品。"
            "公司采购以年度框架合同为主，生产以订单为依据，销售采用直销和经销相结合的方式。"
        )
        effort = (
            "公司在年内调整了产线布局，减少了物料的往返搬运，改进了检验方法，并对仓储和物流进行了统一管理。"
            "海外市场的拓展仍处在起步阶段，公司与多家当地服务商建立了合作关系。"
        )
    return [
        Heading(2, "一、报告期内公司从事的业务情况"),
        Paragraph(trade),
        Paragraph(effort),
        Paragraph(summary),
    ]


def _products(report: Report) -> tuple[str, list[Block]]:
    layout = report.layout
    rows = [
        [
            "分产品",
            "营业收入",
            "营业成本",
            "毛利率（%）",
            "营业收入比上年增减（%）",
            "毛利率比上年增减（%）" if not layout.margin_in_points else "毛利率比上年增减",
        ]
    ]
    for segment in report.figures.segments:
        rows.append(
            [
                segment.name,
                report.amount(segment.revenue.now),
                report.amount(segment.cost.now),
                percent(segment.margin(True)),
                percent(segment.revenue.change),
                points(segment.margin(True), segment.margin(False)),
            ]
        )
    cause = max(report.figures.segments, key=lambda segment: segment.revenue.change).name
    return "主营业务分产品情况", [
        report.unit_line(),
        Table(rows, (2.1, 2.2, 2.2, 1.3, 1.6, 2.1)),
        Paragraph(f"报告期内{cause}销售情况较好，主要是下游客户扩大产能、公司新产品批量交付所致。"),
    ]


def _expenses(report: Report) -> tuple[str, list[Block]]:
    income, layout = report.figures.income, report.layout
    now, before = report.headers(layout.span_headers)
    rows = [report.compared("项目", now, before, layout.change_header)]
    for label in ("销售费用", "管理费用", "研发费用", "财务费用"):
        pair = income[label]
        rows.append(
            report.compared(
                label, report.amount(pair.now), report.amount(pair.before), percent(pair.change)
            )
        )
    return "费用", [
        report.unit_line(),
        Table(rows, (2.6, 2.4, 2.4, 2)),
        Paragraph(
            "研发费用变动主要是公司增加在研项目的人员和材料投入所致；其他费用与业务规模相适应。"
        ),
    ]


def _research(report: Report) -> list[Block]:
    figures = report.figures
    rnd, revenue = figures.income["研发费用"], figures.income["营业收入"]
    staff = figures.staff["技术人员"]
    share = staff / sum(figures.staff.values()) * 100
    rows = [
        ["研发投入合计", report.amount(rnd.now)],
        ["研发投入总额占营业收入的比例（%）", percent(rnd.now / revenue.now * 100)],
        ["公司研发人员的数量（人）", str(staff)],
        ["研发人员数量占公司总人数的比例（%）", percent(share)],
    ]
    if report.layout.wording == 0:
        patents = (
            f"公司设有省级企业技术中心，与多所高校建立了长期合作关系。截至报告期末，公司拥有授权专利{figures.patents}项，"
            f"其中发明专利{figures.inventions}项。"
        )
    else:
        patents = (
            f"公司重视知识产权保护。截至{report.now}年12月31日，公司拥有发明专利{figures.inventions}项，"
            f"拥有授权专利{figures.patents}项。"
        )
    return [
        Heading(2, "三、研发投入"),
        report.unit_line(),
        Table(rows, (5, 3), headers=0),
        Paragraph(patents),
    ]


def _partners(report: Report) -> list[Block]:
    figures = report.figures
    sold = figures.top_customers / figures.income["营业收入"].now * 100
    bought = figures.top_suppliers / (figures.income["营业成本"].now * 0.8) * 100
    return [
        Heading(2, "四、主要客户和供应商"),
        Paragraph(
            f"报告期内，公司前五名客户销售额{report.money(figures.top_customers)}，占年度销售总额{percent(sold)}%。"
        ),
        Paragraph(
            f"报告期内，公司前五名供应商采购额{report.money(figures.top_suppliers)}，占年度采购总额{percent(bought)}%。"
        ),
        Paragraph(
            "公司与主要客户和供应商之间不存在关联关系，不存在对单一客户或者供应商的严重依赖。"
        ),
    ]


def _strengths(report: Report) -> list[Block]:
    return [
        Heading(2, "五、核心竞争力分析"),
        Paragraph(
            "一是技术积累。公司长期专注于主业，掌握了材料处理、精密加工、装配检测等环节的关键工艺，"
            "建立了从设计、试制到批量生产的完整流程，能够根据客户需求提供定制化产品。"
        ),
        Paragraph(
            "二是质量管理。公司建立了覆盖供应商评价、来料检验、过程控制和出厂检测的质量管理体系，"
            "关键工序实行在线检测，产品数据可以追溯。"
        ),
        Paragraph(
            "三是客户资源。公司的客户分布在多个行业，单一行业的波动对公司经营的影响有限。公司在主要客户所在地设有服务站，"
            "能够在较短时间内响应客户的要求。"
        ),
        Paragraph(
            "四是人才队伍。公司的核心技术人员从业多年，报告期内保持稳定。公司建立了以项目成果为导向的激励机制，"
            "并为青年员工制定了系统的培养计划。"
        ),
    ]


def _outlook(report: Report) -> list[Block]:
    goal = round(report.figures.income["营业收入"].now * 1.12)
    return [
        Heading(2, "六、公司未来发展的展望"),
        Heading(3, "（一）行业格局和趋势"),
        Paragraph(
            "公司所处行业正处在转型升级阶段，下游客户对产品的精度、可靠性和交付周期提出了更高要求，"
            "具备自主研发能力和规模优势的企业将获得更多机会。"
        ),
        Heading(3, "（二）经营计划"),
        Paragraph(
            f"{report.now + 1}年，公司计划实现营业收入{report.money(goal)}，并继续推进新生产基地的建设。"
            "上述经营计划不构成公司对投资者的业绩承诺，能否实现取决于市场状况变化等多种因素。"
        ),
        Heading(3, "（三）可能面对的风险"),
        Paragraph(
            "原材料价格波动风险：公司主要原材料价格受市场供求影响较大，如果价格大幅上涨而公司不能及时调整产品价格，"
            "将对毛利率产生不利影响。公司将通过集中采购、工艺改进等措施降低影响。"
        ),
        Paragraph(
            "应收账款回收风险：随着经营规模扩大，应收账款余额相应增加。公司已建立客户信用管理制度，"
            "并按照会计准则的要求足额计提减值准备。"
        ),
        Paragraph(
            "技术更新风险：如果公司不能准确把握技术发展方向，可能失去已有的市场地位。公司将保持研发投入，加强与客户的联合开发。"
        ),
    ]
