"""How a value of the course shows itself: as its table, in a notebook and as text."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from labkit.measuring.rounding import plain, rounded

if TYPE_CHECKING:
    import pandas as pd

    from labkit.measuring.run import Run


class OfRun:
    """A value that rests on one run."""

    run: Run

    @property
    def settings(self) -> dict[str, Any]:
        return dict(self.run.settings)

    @property
    def one_way_s(self) -> float:
        return float(self.run.settings["one_way_s"])


def as_table(rows: Any, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """A table of rows, which shows itself rounded; pandas is loaded when the first one is made."""
    from labkit.measuring.tables import Table

    return Table(rows, columns=columns)


class Shown:
    """A value that shows itself as its table.

    Attributes:
        caption: a sentence above the table.
        note: sentences below it.
        left: whether cells stand at the left, since they are text.
        index: whether the index is shown with its ``name``, ``bare``, or as a ``column`` like others.
    """

    left: ClassVar[bool] = False
    index: ClassVar[Literal["name", "bare", "column"]] = "name"

    @property
    def caption(self) -> str:
        return ""

    @property
    def note(self) -> str:
        return ""

    def table(self) -> pd.DataFrame:
        """One row for each thing that was tried."""
        raise NotImplementedError

    def on_page(self) -> pd.DataFrame:
        """The table as a reader sees it, where that has other columns than a program wants."""
        return self.table()

    def __repr__(self) -> str:
        return "\n".join(filter(None, (self.caption, self._text(), self.note)))

    def _text(self) -> str:
        return str(plain(self.table()).to_string(float_format=rounded))

    def _repr_html_(self) -> str:
        frame = plain(self.on_page())
        if self.index == "column":
            frame = frame.reset_index().rename_axis(columns=None)
        shown = frame.to_html(
            border=0,
            na_rep="",
            index=self.index != "column",
            index_names=self.index == "name",
            float_format=rounded,
        )
        for cell in ("td", "th") if self.left else ():
            shown = shown.replace(f"<{cell}>", f"<{cell} style='text-align:left'>")
        return f'{sentence(self.caption)}<div style="overflow-x: auto">{shown}</div>{sentence(self.note)}'


def sentence(text: str) -> str:
    """A paragraph; nothing of no text."""
    return f"<p>{html.escape(text)}</p>" if text else ""


class Code(str):
    """Text that a cell shows as code."""

    __slots__ = ()

    def to_html(self) -> str:
        return f"<code>{html.escape(self)}</code>"


class Wire(Code):
    """Text as it went over a wire: CR, LF and NUL are shown as escapes, which are pale on a page."""

    __slots__ = ()
    ESCAPES: ClassVar[dict[str, str | int | None]] = {"\r": "\\r", "\n": "\\n", "\0": "\\0"}

    @classmethod
    def of(cls, data: bytes) -> Wire:
        """Of the bytes; what is no UTF-8 is replaced."""
        return cls(data.decode("utf-8", "replace"))

    def __str__(self) -> str:
        return self.translate(str.maketrans(self.ESCAPES))

    def to_html(self) -> str:
        shown = html.escape(self[:])
        for control, escape in self.ESCAPES.items():
            shown = shown.replace(control, f"<span style='opacity:0.45'>{escape}</span>")
        return f"<code>{shown}</code>"


def text_table(columns: Iterable[object], rows: Iterable[Sequence[object]], style: str = "") -> str:
    """A table of text, each cell at the left: for what is quoted rather than counted. ``Code`` stands as code."""
    head = "".join(_cell(name, "th") for name in columns)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<table{f' style={style!r}' if style else ''}><tr>{head}</tr>{body}</table>"


def _cell(value: object, tag: str = "td") -> str:
    text = value.to_html() if isinstance(value, Code) else html.escape(str(value))
    return f"<{tag} style='text-align:left'>{text}</{tag}>"
