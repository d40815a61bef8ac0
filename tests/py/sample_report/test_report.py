"""The sample report's figures add up, its rates follow from them, its characters are common ones."""

from __future__ import annotations

import re
from random import Random

import pytest
from bullion.sample_report.__main__ import main
from bullion.sample_report.blocks import Heading, Paragraph, Report, Table
from bullion.sample_report.figures import Figures, total
from bullion.sample_report.report import compose, draw_report

SEEDS = (0, 1, 2, 3, 7, 12, 40)


def words(report: Report) -> list[str]:
    """Every text of the report, tables cell by cell."""
    texts: list[str] = []
    for block in compose(report):
        match block:
            case Heading(_, text) | Paragraph(text, _):
                texts.append(text)
            case Table():
                texts += [cell for row in block.rows for cell in row]
    return texts


def tables(report: Report, header: str) -> list[Table]:
    blocks = [block for block in compose(report) if isinstance(block, Table)]
    return [table for table in blocks if table.rows[0][0] == header]


def number(text: str) -> float:
    return float(text.replace(",", ""))


@pytest.fixture(params=SEEDS)
def report(request: pytest.FixtureRequest) -> Report:
    return draw_report(request.param)


@pytest.fixture
def figures(report: Report) -> Figures:
    return report.figures


def test_assets_equal_liabilities_and_equity(figures: Figures) -> None:
    assets = total(list(figures.assets.values()))
    claims = total([*figures.liabilities.values(), *figures.equity.values()])
    assert assets == claims
    assert all(pair.now > 0 and pair.before > 0 for pair in figures.assets.values())


def test_the_income_statement_adds_up_to_net_profit(figures: Figures) -> None:
    income = figures.income
    costs = ("营业成本", "税金及附加", "销售费用", "管理费用", "研发费用", "财务费用")
    operating = income["营业收入"] + income["其他收益"] - total([income[name] for name in costs])
    assert operating == income["营业利润"]
    gross = operating + income["营业外收入"] - income["营业外支出"]
    assert gross - income["所得税费用"] == income["净利润"]
    assert income["归属于上市公司股东的净利润"] + income["少数股东损益"] == income["净利润"]
    assert income["净利润"].now > 0


def test_products_sell_less_than_the_whole_revenue(figures: Figures) -> None:
    sold = total([segment.revenue for segment in figures.segments])
    assert 0.9 * figures.income["营业收入"].now < sold.now < figures.income["营业收入"].now


def test_cash_moves_by_its_flows_and_profit_kept_moves_equity(figures: Figures) -> None:
    cash = figures.cash
    end = cash["期末现金及现金等价物余额"]
    assert end.now - end.before == cash["现金及现金等价物净增加额"].now
    kept, surplus = figures.equity["未分配利润"], figures.equity["盈余公积"]
    profit = figures.income["归属于上市公司股东的净利润"]
    paid = profit.now - (kept.now - kept.before) - (surplus.now - surplus.before)
    assert paid == round(profit.before * 0.3)


def test_printed_changes_follow_from_the_printed_figures(report: Report) -> None:
    checked = 0
    for header in ("主要会计数据", "项目"):
        for table in tables(report, header):
            order = {cell: at for at, cell in enumerate(table.rows[0])}
            change = order.get(report.layout.change_header)
            if change is None:
                continue
            now, before = (order[name] for name in report.headers(report.layout.span_headers))
            for row in table.rows[1:]:
                if re.fullmatch(r"-?[\d.]+", row[change]):
                    moved = (number(row[now]) / number(row[before]) - 1) * 100
                    assert moved == pytest.approx(float(row[change]), abs=0.01)
                    checked += 1
    assert checked == 10


def test_staff_by_profession_adds_up_to_the_total(report: Report) -> None:
    (table,) = tables(report, "专业构成类别")
    *kinds, (label, whole) = table.rows[1:]
    assert label == "合计"
    assert sum(int(count) for _, count in kinds) == int(whole)


def test_shareholders_hold_the_shares_that_their_percentages_say(report: Report) -> None:
    company = report.company
    held = [holder.shares for holder in company.shareholders]
    assert held == sorted(held, reverse=True)
    assert sum(held) < company.shares
    (table,) = tables(report, "股东名称（全称）")
    for row, shares in zip(table.rows[1:], held, strict=True):
        assert number(row[1]) == shares
        assert float(row[2]) == pytest.approx(shares / company.shares * 100, abs=0.005)


def test_every_chinese_character_is_of_the_first_level(report: Report) -> None:
    rare = {
        character
        for text in words(report)
        for character in text
        if "\u4e00" <= character <= "\u9fff"
        and not 0xB0 <= character.encode("gb2312", errors="replace")[0] <= 0xD7
    }
    assert rare == set()


def test_a_seed_always_gives_the_same_report() -> None:
    assert compose(draw_report(5)) == compose(draw_report(5))


def test_another_seed_differs_in_company_figures_unit_and_order() -> None:
    first, second = draw_report(0), draw_report(7)
    assert first.company.name == "华岳精工股份有限公司"
    assert second.company.name != first.company.name
    assert second.layout.unit != first.layout.unit
    headings = [
        [block.text for block in compose(report) if isinstance(block, Heading) and block.level == 1]
        for report in (first, second)
    ]
    assert headings[0] != headings[1]
    assert second.figures.income["营业收入"] != first.figures.income["营业收入"]


def test_the_company_can_be_named() -> None:
    company = draw_report(3, "东海仪表股份有限公司").company
    assert (company.name, company.short_name) == ("东海仪表股份有限公司", "东海仪表")


def test_the_same_report_is_the_same_file() -> None:
    from bullion.sample_report.typeset import typeset

    report = draw_report(Random(3).randint(1, 99))
    blocks = compose(report)
    first = typeset(report, blocks, None)
    assert first == typeset(report, blocks, None)
    assert first.startswith(b"%PDF-") and len(first) < 400_000


def test_the_committed_sample_is_never_written_without_its_font(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main([])
    assert "--font is needed" in capsys.readouterr().err
