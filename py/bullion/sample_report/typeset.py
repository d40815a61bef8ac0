"""Blocks onto A4 pages with reportlab: ruled tables, running header, page numbers, embedded font.

The only module that imports reportlab. The same blocks and font give the same bytes.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

from reportlab import rl_config
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import (
    BaseDocTemplate,
    Flowable,
    Frame,
    LongTable,
    PageTemplate,
    Spacer,
    TableStyle,
)
from reportlab.platypus import PageBreak as PageEnd
from reportlab.platypus import Paragraph as Text

from bullion.sample_report.blocks import Block, Heading, PageBreak, Paragraph, Report, Table

FONT = "report"
WIDTH = A4[0] - 44 * mm
SIDES = {"left": "drawString", "centre": "drawCentredString", "right": "drawRightString"}


def typeset(report: Report, blocks: list[Block], font: Path) -> bytes:
    """`font` is a TrueType file (or collection, of which the first face is taken)."""
    pdfmetrics.registerFont(TTFont(FONT, str(font)))
    pages = _build(report, blocks, 0)[1]
    return _build(report, blocks, pages)[0]


def _build(report: Report, blocks: list[Block], pages: int) -> tuple[bytes, int]:
    out = BytesIO()
    rl_config.invariant = 1
    document = BaseDocTemplate(
        out,
        pagesize=A4,
        title=f"{report.company.name}{report.now}年年度报告",
        author=report.company.name,
        invariant=1,
        pageCompression=1,
    )
    frame = Frame(22 * mm, 24 * mm, WIDTH, A4[1] - 50 * mm, 0, 0, 0, 0)
    decorate = _decoration(report, pages)
    document.addPageTemplates([PageTemplate(frames=[frame], onPage=decorate)])
    flowables: list[Flowable] = []
    for block in blocks:
        flowables += _flowables(block)
    document.build(flowables)
    return out.getvalue(), document.page


def _decoration(report: Report, pages: int) -> Any:
    layout, company = report.layout, report.company
    header = layout.running_header.format(
        name=company.name, short=company.short_name, now=report.now
    )
    x = {"left": 22 * mm, "centre": A4[0] / 2, "right": A4[0] - 22 * mm}[layout.header_side]

    def decorate(canvas: Any, document: Any) -> None:
        canvas.saveState()
        canvas.setFont(FONT, 8.5)
        getattr(canvas, SIDES[layout.header_side])(x, A4[1] - 17 * mm, header)
        canvas.setLineWidth(0.4)
        canvas.line(22 * mm, A4[1] - 19 * mm, A4[0] - 22 * mm, A4[1] - 19 * mm)
        number = layout.page_number.format(page=document.page, pages=pages)
        canvas.drawCentredString(A4[0] / 2, 12 * mm, number)
        canvas.restoreState()

    return decorate


def _style(name: str, size: float, **more: Any) -> ParagraphStyle:
    leading = size * 1.55
    return ParagraphStyle(
        name, fontName=FONT, fontSize=size, leading=leading, wordWrap="CJK", **more
    )


_HEADINGS = {
    1: _style("h1", 15, alignment=1, spaceBefore=16, spaceAfter=10),
    2: _style("h2", 12, spaceBefore=10, spaceAfter=5),
    3: _style("h3", 10.5, spaceBefore=7, spaceAfter=4),
}
_PARAGRAPHS = {
    "body": _style("body", 10.5, firstLineIndent=21, spaceAfter=4),
    "entry": _style("entry", 10.5, spaceAfter=180),
    "centred": _style("centred", 10.5, alignment=1, spaceAfter=5),
    "right": _style("right", 9, alignment=2, spaceAfter=2),
    "title": _style("title", 22, alignment=1, spaceAfter=24),
}
_LABEL = _style("label", 9)
_MIDDLE = _style("middle", 9, alignment=1)
_NUMBER = _style("number", 9, alignment=2)


def _flowables(block: Block) -> list[Flowable]:
    match block:
        case Heading(level, text):
            style = _HEADINGS[level]
            style.keepWithNext = 1
            return [Text(text, style)]
        case Paragraph(text, style_name):
            # reportlab closes up spaces; a wide gap is set with spaces that it keeps.
            return [Text(text.replace("  ", "\u00a0\u00a0"), _PARAGRAPHS[style_name])]
        case PageBreak():
            return [PageEnd()]
        case Table():
            return [_table(block), Spacer(1, 8)]


def _table(table: Table) -> LongTable:
    scale = WIDTH / sum(table.widths)
    rows = []
    for at, row in enumerate(table.rows):
        rows.append(
            [
                Text(cell, _cell_style(cell, column, at < table.headers))
                for column, cell in enumerate(row)
            ]
        )
    set_rows = LongTable(
        rows, colWidths=[width * scale for width in table.widths], repeatRows=table.headers
    )
    commands: list[tuple[Any, ...]] = [
        ("GRID", (0, 0), (-1, -1), 0.5, (0, 0, 0)),
        ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
        ("TOPPADDING", (0, 0), (-1, -1), 2.5),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 3.5),
    ]
    commands += [("SPAN", (left, top), (right, bottom)) for left, top, right, bottom in table.spans]
    set_rows.setStyle(TableStyle(commands))
    return set_rows


def _cell_style(cell: str, column: int, header: bool) -> ParagraphStyle:
    if header:
        return _MIDDLE
    numeric = column > 0 and cell[-1:].isdigit() and all(char in "-0123456789,." for char in cell)
    return _NUMBER if numeric else _LABEL
