"""Governance, staff, major matters and shareholders."""

from __future__ import annotations

from random import Random

from bullion.sample_report.blocks import Block, Heading, Paragraph, Report, Table, percent
from bullion.sample_report.company import TITLES


def governance(report: Report, number: str) -> list[Block]:
    company, year = report.company, report.now
    rng = Random(f"governance {company.code}")
    officers = [["姓名", "职务", "性别", "年龄", "任期起始日期", "任期终止日期"]]
    for title in TITLES:
        officers.append(
            [
                company.officers[title],
                title,
                rng.choice(("男", "男", "女")),
                str(rng.randint(36, 61)),
                f"{year - 2}年6月18日",
                f"{year + 1}年6月17日",
            ]
        )
    staff = report.figures.staff
    people = [["专业构成类别", "专业构成人数（人）"]]
    people += [[kind, str(count)] for kind, count in staff.items()]
    people.append(["合计", str(sum(staff.values()))])
    return [
        Heading(1, f"{number} 公司治理"),
        Heading(2, "一、公司治理的基本状况"),
        Paragraph(
            "公司按照公司法、证券法和上市公司治理准则的要求，建立了由股东大会、董事会、监事会和管理层组成的治理结构，"
            "形成了权责明确、相互协调、相互制衡的运行机制。报告期内，股东大会、董事会、监事会的召集、召开和表决程序符合规定。"
        ),
        Heading(2, "二、董事、监事和高级管理人员情况"),
        Table(officers, (1.4, 1.8, 0.8, 0.8, 2.2, 2.2)),
        Paragraph(
            "公司董事、监事和高级管理人员的报酬由股东大会和董事会根据岗位职责和经营业绩确定，并按月发放。"
        ),
        Heading(2, "三、员工情况"),
        Table([["在职员工的数量合计（人）", f"{sum(staff.values()):,}"]], (4, 4), headers=0),
        Table(people, (4, 4)),
        Paragraph(
            "公司实行以岗位价值和绩效为基础的薪酬制度，按照国家规定为员工缴纳社会保险和住房公积金。"
            "公司每年制定培训计划，内容包括安全生产、岗位技能和管理能力等。"
        ),
        Heading(2, "四、内部控制"),
        Paragraph(
            "公司董事会审议通过了内部控制评价报告。根据内部控制重大缺陷的认定情况，于评价基准日，公司不存在财务报告内部控制重大缺陷，"
            "也未发现非财务报告内部控制重大缺陷。"
        ),
    ]


def matters(number: str) -> list[Block]:
    return [
        Heading(1, f"{number} 重要事项"),
        Heading(2, "一、承诺事项履行情况"),
        Paragraph(
            "公司控股股东和实际控制人在首次公开发行时作出的股份锁定、避免同业竞争等承诺，报告期内均得到履行。"
        ),
        Heading(2, "二、重大诉讼和仲裁"),
        Paragraph("报告期内，公司没有重大诉讼和仲裁事项。"),
        Heading(2, "三、环境和社会责任"),
        Paragraph(
            "公司不属于环境保护部门公布的重点排污单位。公司生产过程中产生的废水、废气和固体废物均按照国家规定处理，"
            "主要厂区安装了太阳能发电设施，并对高能耗设备进行了改造。"
        ),
        Paragraph(
            "报告期内，公司参与了所在地的教育助学和社区服务活动，员工志愿者队伍多次到学校开展科普讲座。"
        ),
    ]


def shareholders(report: Report, number: str) -> list[Block]:
    company = report.company
    rng = Random(f"shareholders {company.code}")
    rows = [["股东名称（全称）", "期末持股数量", "比例（%）", "股东性质"]]
    for holder in company.shareholders:
        share = percent(holder.shares / company.shares * 100)
        rows.append([holder.name, f"{holder.shares:,}", share, holder.kind])
    count = rng.randint(9_000, 32_000)
    return [
        Heading(1, f"{number} 股份变动及股东情况"),
        Heading(2, "一、股份变动情况"),
        Paragraph("报告期内，公司股份总数及股本结构未发生变化。"),
        Heading(2, "二、股东情况"),
        Heading(3, "（一）股东总数"),
        Table([["截至报告期末普通股股东总数（户）", f"{count:,}"]], (5, 3), headers=0),
        Heading(3, "（二）截至报告期末前五名股东持股情况"),
        Paragraph("单位：股", "right"),
        Table(rows, (4, 2.4, 1.4, 2.2)),
        Paragraph(
            f"上述股东中，{company.shareholders[1].name}为{company.shareholders[0].name}的董事。除此之外，公司未知其他股东之间是否存在关联关系。"
        ),
        Heading(2, "三、控股股东和实际控制人"),
        Paragraph(f"公司的控股股东为{company.shareholders[0].name}，报告期内未发生变更。"),
    ]
