"""What a report is made of before it is set: headings, paragraphs, ruled tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from bullion.sample_report.company import Company
from bullion.sample_report.figures import Figures
from bullion.sample_report.layout import Layout


@dataclass(frozen=True)
class Heading:
    level: int
    text: str


@dataclass(frozen=True)
class Paragraph:
    text: str
    style: str = "body"
    """body, centred, right, title, or entry (no indent)."""


@dataclass(frozen=True)
class Table:
    """`headers` rows stand first and are repeated on the next page; widths are relative."""

    rows: list[list[str]]
    widths: tuple[float, ...]
    headers: int = 1
    spans: list[tuple[int, int, int, int]] = field(default_factory=list)
    """Merged cells: left column, top row, right column, bottom row."""
    bands: tuple[int, ...] = ()
    """Rows that are headers of what is below them, in the middle of the table."""


@dataclass(frozen=True)
class PageBreak:
    pass


Block: TypeAlias = Heading | Paragraph | Table | PageBreak


@dataclass(frozen=True)
class Report:
    """Everything a section is written from."""

    company: Company
    figures: Figures
    layout: Layout

    @property
    def now(self) -> int:
        return self.company.year

    def amount(self, value: int) -> str:
        """A whole number of smallest units as it is printed: 1,234.56."""
        return f"{value / 100:,.2f}"

    def money(self, value: int) -> str:
        return self.amount(value) + self.layout.unit

    def headers(self, of: tuple[str, str]) -> tuple[str, str]:
        now, before = (text.format(now=self.now, before=self.now - 1) for text in of)
        return now, before

    def compared(self, label: str, now: str, before: str, change: str) -> list[str]:
        """A row of label, two years and change in this report's order of columns."""
        if self.layout.change_before:
            return [label, now, change, before]
        return [label, now, before, change]

    def unit_line(self) -> Paragraph:
        return Paragraph(f"单位：{self.layout.unit}  币种：人民币", "right")


def percent(value: float) -> str:
    return f"{value:.2f}"


def moved(value: float, up: str = "增长", down: str = "下降") -> str:
    """`增长4.49%`: a change in words."""
    return f"{up if value >= 0 else down}{abs(value):.2f}%"


def points(now: float, before: float) -> str:
    """`增加1.20个百分点`, from two percentages as they are printed."""
    difference = round(now, 2) - round(before, 2)
    return f"{'增加' if difference >= 0 else '减少'}{abs(difference):.2f}个百分点"
