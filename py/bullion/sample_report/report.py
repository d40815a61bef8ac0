"""A whole report: the sections in the order of its layout."""

from __future__ import annotations

from random import Random

from bullion.sample_report.blocks import Block, PageBreak, Report
from bullion.sample_report.business import discussion
from bullion.sample_report.company import draw_company
from bullion.sample_report.figures import draw_figures
from bullion.sample_report.front import cover, definitions, key_figures, notices, profile
from bullion.sample_report.governance import governance, matters, shareholders
from bullion.sample_report.layout import draw_layout
from bullion.sample_report.statements import statements


def draw_report(seed: int, company_name: str | None = None) -> Report:
    company, layout = draw_company(seed, company_name), draw_layout(seed)
    rng = Random(f"figures {seed}")
    return Report(company, draw_figures(rng, layout.yuan, company.products, company.shares), layout)


def compose(report: Report) -> list[Block]:
    if report.layout.shareholders_first:
        middle = [
            *shareholders(report, "第四节"),
            *governance(report, "第五节"),
            *matters("第六节"),
        ]
    else:
        middle = [
            *governance(report, "第四节"),
            *matters("第五节"),
            *shareholders(report, "第六节"),
        ]
    return [
        *cover(report),
        *notices(report),
        *definitions(report),
        *profile(report),
        *key_figures(report),
        *discussion(report),
        *middle,
        PageBreak(),
        *statements(report, "第七节"),
    ]
