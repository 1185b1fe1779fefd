"""How a value of the course shows itself."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import labkit
from labkit.course.shown import Code, Shown, Wire, as_table, text_table


class Counted(Shown):
    caption = "Bytes & more"
    note = "of one run"

    def table(self) -> pd.DataFrame:
        return pd.DataFrame({"kind": ["a", "b"], "bytes": [1.23456, float("nan")]}).set_index("kind")


class Quoted(Counted):
    left = True
    index = "column"

    def on_page(self) -> pd.DataFrame:
        return self.table().rename(columns={"bytes": "bytes each"})


def test_a_table_stands_between_its_sentences_with_three_digits_and_blanks() -> None:
    shown = Counted()._repr_html_()
    assert shown.startswith("<p>Bytes &amp; more</p>") and shown.endswith("<p>of one run</p>")
    assert "<td>1.23</td>" in shown and "<td></td>" in shown and "<th>kind</th>" in shown
    assert repr(Counted()).splitlines()[0] == "Bytes & more" and "1.23\n" in repr(Counted())


SHOWN = {
    0.00001234: "1.23e-05",
    0.5: "0.5",
    9.999: "10.0",
    51.375808: "51.4",
    52.04: "52.0",
    999.97: "1,000",
    5_845_123.0: "5,845,123",
}


@pytest.mark.parametrize("value", SHOWN)
def test_every_table_rounds_by_one_rule(value: float) -> None:
    class Figures(Shown):
        def table(self) -> pd.DataFrame:
            return as_table([(value,)], ["figure"])

    for shown in (Figures()._repr_html_(), repr(Figures()), Figures().table()._repr_html_(), repr(Figures().table())):
        assert re.findall(r"(?<![\w.'\"])\d[\d.,e-]*(?=</td>|\n|$)", shown)[-1] == SHOWN[value]
    assert Figures().table().loc[0, "figure"] == value


def test_whole_columns_and_figures_that_name_rows_stand_without_decimals() -> None:
    class Rates(Shown):
        def table(self) -> pd.DataFrame:
            rows = [(4.0, 28.0, 264.0, 52.04), (0.1 + 0.2, 49.99999999999999, float("nan"), 50.0)]
            return as_table(rows, ["rate_per_s", "bytes", "more", "ms"]).set_index("rate_per_s")

    for shown in (Rates()._repr_html_(), Rates().table()._repr_html_()):
        cells = re.findall(r"<t[hd]>([\d.]*)</t[hd]>", shown)[-8:]
        assert cells == ["4", "28", "264", "52.0", "0.3", "50", "", "50.0"]
        assert "<th>rate_per_s</th>" in shown
    for shown in (repr(Rates()), repr(Rates().table())):
        assert "28" in shown and "28.0" not in shown and "264.0" not in shown and "52.0" in shown
    assert Rates().table().bytes.dtype == float  # what a program reads is not touched


def test_figures_that_name_rows_on_two_levels_are_rounded_too() -> None:
    table = as_table([("a", 1.0, 2), ("a", 60.0, 3)], ["way", "per s", "n"]).set_index(["way", "per s"])
    assert "<th>60</th>" in table._repr_html_() and "1.0" not in repr(table)


def test_nobody_else_rounds_a_table() -> None:
    own = []
    for path in sorted(Path(labkit.__file__).parent.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        for found in re.finditer(r"(?<!value)(?<!tap)(?<!report)\.to_(?:html|string)\((?!full_html)", text):
            given = text[found.end() :].partition("\n\n")[0]
            own += [] if "float_format=rounded" in given else [f"{path.name}: {given[:60]}"]
    assert own == []


def test_text_stands_at_the_left_with_its_index_as_a_column_and_the_page_s_names() -> None:
    shown = Quoted()._repr_html_()
    assert "<td style='text-align:left'>a</td>" in shown and "<th style='text-align:left'>bytes each</th>" in shown
    assert "bytes each" not in repr(Quoted())


def test_quoted_text_is_escaped_and_code_is_code() -> None:
    shown = text_table(["what", ""], [("<b>", Code("a & b"))])
    assert "<td style='text-align:left'>&lt;b&gt;</td>" in shown and "<code>a &amp; b</code>" in shown


def test_a_slice_loads_no_plotly_before_a_chart_is_asked_for() -> None:
    slices = ("polling", "long_polling", "http_streaming", "where_the_server_lives")
    modules = ", ".join(f"labkit.course.{name}.claims" for name in slices)
    code = f"import sys, labkit.charts, {modules}; sys.exit('plotly' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_of_what_went_over_a_wire_cr_lf_and_nul_are_told_apart() -> None:
    wire = Wire.of(b"<a>\r\nb\0\\r\xff")
    pale = "<span style='opacity:0.45'>{}</span>".format
    shown = f"&lt;a&gt;{pale(chr(92) + 'r')}{pale(chr(92) + 'n')}b{pale(chr(92) + '0')}\\r\N{REPLACEMENT CHARACTER}"
    assert f"<code>{shown}</code>" in text_table([""], [(wire,)])
    assert str(wire) == "<a>\\r\\nb\\0\\r\N{REPLACEMENT CHARACTER}"
