"""A table of figures that a reader sees rounded; the figures themselves are whole."""

from __future__ import annotations

from labkit.errors import naming_extras

with naming_extras():
    import pandas as pd

from labkit.measuring.rounding import blank, plain, rounded


class Table(pd.DataFrame):  # type: ignore[misc]  # pandas comes without types
    """A DataFrame, and so is what is selected from it."""

    @property
    def _constructor(self) -> type[Table]:
        return Table

    def _repr_html_(self) -> str | None:
        with pd.option_context("display.float_format", rounded):
            shown: str | None = pd.DataFrame._repr_html_(plain(self))
        return shown and blank(shown)

    def __repr__(self) -> str:
        with pd.option_context("display.float_format", rounded):
            return str(pd.DataFrame.__repr__(plain(self)))
