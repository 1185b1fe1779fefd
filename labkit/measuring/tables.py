"""A table of figures that a reader sees rounded; the figures themselves are whole."""

from __future__ import annotations

import pandas as pd


def _rounded(value: float) -> str:
    """One decimal, and of what is below ten three digits."""
    return f"{value:,.1f}" if abs(value) >= 10 else f"{value:.3g}"


class Table(pd.DataFrame):  # type: ignore[misc]  # pandas comes without types
    """A DataFrame, and so is what is selected from it."""

    @property
    def _constructor(self) -> type[Table]:
        return Table

    def _repr_html_(self) -> str | None:
        with pd.option_context("display.float_format", _rounded):
            shown: str | None = super()._repr_html_()
            return shown

    def __repr__(self) -> str:
        with pd.option_context("display.float_format", _rounded):
            return str(super().__repr__())
