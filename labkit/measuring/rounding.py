"""How a figure is shown to a reader, wherever it stands: rounded, and with what it counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

READ_WHOLE = 1000
"""Rows of a table that a person may read; a longer one is shown in part."""


def rounded(value: float) -> str:
    """Three digits below ten, one decimal from there, none from a thousand on; 1.003 is 1.00, and only 1 is 1."""
    if abs(value) >= 999.95:
        return f"{value:,.0f}"
    if abs(value) >= 9.995:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 0.9995 and value % 1 else f"{value:.3g}"


def plain(frame: pd.DataFrame) -> pd.DataFrame:
    """The table to be shown: figures that name rows as text, and those of a column that are all whole, without ``.0``.

    A column with one that is not whole is left to :func:`rounded`, so that its decimals stand below each other.
    """
    if len(frame) > READ_WHOLE:
        return frame
    shown = frame.set_axis(_index(frame.index))
    for place, kind in enumerate(frame.dtypes):
        if kind.kind == "f" and (texts := _whole(frame.iloc[:, place])):
            shown.isetitem(place, texts)
    return shown


def _index(index: Any) -> Any:
    if index.nlevels == 1:
        return type(index)(_texts(index), name=index.name) if _can_be_texts(index) else index
    for number, level in enumerate(index.levels):
        if _can_be_texts(level):
            index = index.set_levels(_texts(level), level=number)
    return index


def _can_be_texts(figures: Any) -> bool:
    """Whether they are figures, and no two that differ read the same."""
    return bool(figures.dtype.kind == "f") and len(set(_texts(figures))) == figures.nunique(dropna=False)


def _texts(figures: Any) -> list[str]:
    return _whole(figures) or [_name(value) for value in figures]


def _name(figure: float) -> str:
    text = rounded(figure)
    return text.rstrip("0").removesuffix(".") if "." in text and "e" not in text else text


def _whole(figures: Any) -> list[str]:
    """Each as text, the missing ones empty; nothing if one is not whole, or there are none."""
    known = list(figures.dropna())
    if not known or any(abs(value - float(f"{value:.0f}")) > 1e-9 * abs(value) for value in known):
        return []
    return ["" if missing else f"{value:,.0f}" for value, missing in zip(figures, figures.isna(), strict=True)]


def counted(number: float, noun: str, shown: str = "") -> str:
    """``1 event``, ``2 events``, ``0 deliveries``.

    Args:
        noun: of one; what ends in a consonant and y has ``ies`` for several.
        shown: the number as it is to stand there, if not plainly.
    """
    if number != 1:
        noun = f"{noun[:-1]}ies" if noun.endswith("y") and noun[-2:-1] not in "aeiou" else f"{noun}s"
    return f"{shown or number} {noun}"


def blank(table: str) -> str:
    """A table in HTML, its missing figures left empty; ``na_rep`` of pandas leaves out those of its whole numbers."""
    return table.replace("<td>&lt;NA&gt;</td>", "<td></td>").replace("<td>NaN</td>", "<td></td>")
