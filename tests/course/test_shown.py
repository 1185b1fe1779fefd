"""How a value of the course shows itself."""

from __future__ import annotations

import subprocess
import sys

import pandas as pd

from labkit.course.shown import Code, Shown, Wire, as_table, text_table


class Counted(Shown):
    caption = "Bytes & more"
    note = "of one run"

    def table(self) -> pd.DataFrame:
        return pd.DataFrame({"kind": ["a", "b"], "bytes": [1.23456, float("nan")]}).set_index("kind")


class Rounded(Counted):
    decimals = 1


class Quoted(Counted):
    left = True
    index = "column"

    def on_page(self) -> pd.DataFrame:
        return self.table().rename(columns={"bytes": "bytes each"})


def test_a_table_stands_between_its_sentences_with_four_digits_and_blanks() -> None:
    shown = Counted()._repr_html_()
    assert shown.startswith("<p>Bytes &amp; more</p>") and shown.endswith("<p>of one run</p>")
    assert "<td>1.235</td>" in shown and "<td></td>" in shown and "<th>kind</th>" in shown
    assert repr(Counted()).splitlines()[0] == "Bytes & more" and "1.235" in repr(Counted())


def test_numbers_are_rounded_where_the_value_says_so() -> None:
    assert "<td>1.2</td>" in Rounded()._repr_html_() and "1.2\n" in repr(Rounded())


def test_large_numbers_are_written_out() -> None:
    class Large(Shown):
        def table(self) -> pd.DataFrame:
            return as_table([(17_990.4, 5_845_123.0, 8999.0, 0.00001234)], ["a", "b", "c", "d"])

    shown = Large()._repr_html_()
    assert all(f"<td>{text}</td>" in shown for text in ("17,990", "5,845,000", "8999", "1.234e-05"))


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
