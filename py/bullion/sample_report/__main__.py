"""`python -m bullion.sample_report [--font FONT.ttf] [--out REPORT.pdf]`: writes the sample report.

`--font` takes a TrueType font with Chinese characters; the glyphs that are used are embedded. Free
ones: Noto Sans SC (SIL OFL; npm @expo-google-fonts/noto-sans-sc, NotoSansSC_400Regular.ttf, the one
of the committed sample), WenQuanYi Micro Hei (Apache-2.0; Debian fonts-wqy-microhei) and AR PL
SungtiL GB (Arphic licence; Debian fonts-arphic-gbsn00lp). Without it the report names STSong-Light
and embeds nothing (then --out must be given). Needs reportlab (py/requirements-dev.txt).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bullion.sample_report.report import compose, draw_report

DEFAULT_OUT = Path(__file__).resolve().parents[3] / "examples" / "data" / "sample_report.pdf"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bullion.sample_report",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--font", type=Path, help="a TrueType font with Chinese, to embed")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT)
    parser.add_argument("--seed", type=int, default=0, help="0 is the committed sample")
    parser.add_argument("--company", help="full name of the company, instead of a drawn one")
    chosen = parser.parse_args(arguments)

    if chosen.font is None and chosen.out == DEFAULT_OUT:
        parser.error("--font is needed for the committed sample, which embeds it; or give --out")

    from bullion.sample_report.typeset import typeset  # the one that needs reportlab

    report = draw_report(chosen.seed, chosen.company)
    pdf = typeset(report, compose(report), chosen.font)
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_bytes(pdf)
    print(f"{chosen.out}: {report.company.name}, {report.now}, {len(pdf):,} bytes")


if __name__ == "__main__":
    main()
