"""How a report is laid out and worded: what differs between the reports of two companies."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True)
class Layout:
    unit: str
    """元 or 万元, of every amount in the report."""
    span_headers: tuple[str, str]
    """Headers of flows, this year's and last year's; `{now}` and `{before}` are the years."""
    end_headers: tuple[str, str]
    """Headers of balances."""
    change_header: str
    change_before: bool
    """Whether the change stands between the two years instead of after them."""
    margin_in_points: bool
    """Whether a margin's change reads 增加1.20个百分点 in its column."""
    running_header: str
    header_side: str
    """left, centre or right."""
    page_number: str
    """With `{page}` and `{pages}`."""
    wording: int
    """Which of the two wordings of a paragraph is used."""
    shareholders_first: bool
    """Whether the section on shareholders stands before the one on governance."""
    statements_first: bool
    """Whether the tables of expenses precede those of products."""

    @property
    def yuan(self) -> int:
        return 1 if self.unit == "元" else 10_000


SAMPLE = Layout(
    unit="万元",
    span_headers=("{now}年", "{before}年"),
    end_headers=("{now}年末", "{before}年末"),
    change_header="本年比上年增减（%）",
    change_before=False,
    margin_in_points=True,
    running_header="{name}{now}年年度报告",
    header_side="centre",
    page_number="{page} / {pages}",
    wording=0,
    shareholders_first=False,
    statements_first=False,
)


def draw_layout(seed: int) -> Layout:
    """Seed 0 is the committed sample's; every other seed differs from it in unit and headers."""
    if not seed:
        return SAMPLE
    rng = Random(f"layout {seed}")
    return Layout(
        unit="元",
        span_headers=rng.choice((("本期金额", "上期金额"), ("本期数", "上年同期数"))),
        end_headers=rng.choice(
            (("期末余额", "期初余额"), ("{now}年12月31日", "{before}年12月31日"))
        ),
        change_header=rng.choice(("同比增减", "变动比例（%）", "本期比上年同期增减（%）")),
        change_before=rng.random() < 0.5,
        margin_in_points=rng.random() < 0.5,
        running_header=rng.choice(("{now}年年度报告", "{short}  {now}年年度报告全文")),
        header_side=rng.choice(("left", "right")),
        page_number=rng.choice(("第{page}页 共{pages}页", "- {page} -", "{page}")),
        wording=1,
        shareholders_first=True,
        statements_first=rng.random() < 0.5,
    )
