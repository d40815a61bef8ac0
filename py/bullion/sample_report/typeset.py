"""Blocks onto A4 pages with reportlab: ruled tables, running header, page numbers, embedded font.

The only module that imports reportlab. The same blocks and font give the same bytes.
"""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path
from typing import Any

from reportlab import rl_config
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
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
UNEMBEDDED = "STSong-Light"
WIDTH = A4[0] - 44 * mm
SIDES = {"left": "drawString", "centre": "drawCentredString", "right": "drawRightString"}


def typeset(report: Report, blocks: list[Block], font: Path | None) -> bytes:
    """`font` is a TrueType file (or collection, of which the first face is taken) to embed. Without
    one the text names STSong-Light, which a reader must have, as many real reports do."""
    if font:
        pdfmetrics.registerFont(TTFont(FONT, str(font)))
    else:
        pdfmetrics.registerFont(UnicodeCIDFont(UNEMBEDDED))
    name = FONT if font else UNEMBEDDED
    pages = _build(report, blocks, name, 0)[1]
    return _build(report, blocks, name, pages)[0]


def _build(report: Report, blocks: list[Block], font: str, pages: int) -> tuple[bytes, int]:
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
    decorate = _decoration(report, font, pages)
    document.addPageTemplates([PageTemplate(frames=[frame], onPage=decorate)])
    flowables: list[Flowable] = []
    for block in blocks:
        flowables += _flowables(block, font)
    document.build(flowables)
    return out.getvalue(), document.page


def _decoration(report: Report, font: str, pages: int) -> Any:
    layout, company = report.layout, report.company
    header = layout.running_header.format(
        name=company.name, short=company.short_name, now=report.now
    )
    x = {"left": 22 * mm, "centre": A4[0] / 2, "right": A4[0] - 22 * mm}[layout.header_side]

    def decorate(canvas: Any, document: Any) -> None:
        canvas.saveState()
        canvas.setFont(font, 8.5)
        getattr(canvas, SIDES[layout.header_side])(x, A4[1] - 17 * mm, header)
        canvas.setLineWidth(0.4)
        canvas.line(22 * mm, A4[1] - 19 * mm, A4[0] - 22 * mm, A4[1] - 19 * mm)
        number = layout.page_number.format(page=document.page, pages=pages)
        canvas.drawCentredString(A4[0] / 2, 12 * mm, number)
        canvas.restoreState()

    return decorate


def _style(font: str, size: float, **more: Any) -> ParagraphStyle:
    leading = size * 1.55
    return ParagraphStyle("", fontName=font, fontSize=size, leading=leading, wordWrap="CJK", **more)


_HEADINGS: dict[int, dict[str, Any]] = {
    1: {"size": 15, "alignment": 1, "spaceBefore": 16, "spaceAfter": 10},
    2: {"size": 12, "spaceBefore": 10, "spaceAfter": 5},
    3: {"size": 10.5, "spaceBefore": 7, "spaceAfter": 4},
}
_PARAGRAPHS: dict[str, dict[str, Any]] = {
    "body": {"size": 10.5, "firstLineIndent": 21, "spaceAfter": 4},
    "entry": {"size": 10.5, "spaceAfter": 180},
    "centred": {"size": 10.5, "alignment": 1, "spaceAfter": 5},
    "right": {"size": 9, "alignment": 2, "spaceAfter": 2},
    "title": {"size": 22, "alignment": 1, "spaceAfter": 24},
}


def _flowables(block: Block, font: str) -> list[Flowable]:
    match block:
        case Heading(level, text):
            return [Text(text, _style(font, **_HEADINGS[level], keepWithNext=1))]
        case Paragraph(text, style):
            # reportlab closes up spaces; a wide gap is set with spaces that it keeps.
            return [Text(text.replace("  ", "\u00a0\u00a0"), _style(font, **_PARAGRAPHS[style]))]
        case PageBreak():
            return [PageEnd()]
        case Table():
            return [_table(block, font), Spacer(1, 8)]


def _table(table: Table, font: str) -> LongTable:
    scale = WIDTH / sum(table.widths)
    headers = {*range(table.headers), *table.bands}
    rows = [
        [
            Text(cell, _style(font, 9, alignment=_alignment(cell, column, at in headers)))
            for column, cell in enumerate(row)
        ]
        for at, row in enumerate(table.rows)
    ]
    ruled = LongTable(
        rows, colWidths=[width * scale for width in table.widths], repeatRows=table.headers
    )
    commands: list[tuple[Any, ...]] = [
        ("GRID", (0, 0), (-1, -1), 0.5, (0, 0, 0)),
        ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
        ("TOPPADDING", (0, 0), (-1, -1), 2.5),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 3.5),
    ]
    commands += [("SPAN", (left, top), (right, end)) for left, top, right, end in table.spans]
    ruled.setStyle(TableStyle(commands))
    return ruled


def _alignment(cell: str, column: int, header: bool) -> int:
    """Headers in the middle, amounts to the right, words and codes to the left."""
    if header:
        return 1
    return 2 if column > 0 and re.fullmatch(r"-?\d[\d,]*[.,]\d+|\d{1,5}", cell) else 0
