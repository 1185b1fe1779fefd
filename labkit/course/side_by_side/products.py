"""Eight products, as a chooser is asked about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from labkit.choosing import Choice, choose
from labkit.course.shown import Shown, as_table
from labkit.errors import LabkitError

if TYPE_CHECKING:
    import pandas as pd

DAY_S, HOUR_S = 86_400.0, 3600.0
_JOB: dict[str, Any] = {"clients": 10_000, "rate_per_s": 1 / HOUR_S}
_SENSOR: dict[str, Any] = {"clients": 10_000, "rate_per_s": 1 / DAY_S}
_TOKENS: dict[str, Any] = {"clients": 200, "rate_per_s": 50, "finite": True}
_REFUSED = ("blocks-upgrade", "ends-tls")
PRODUCTS: dict[str, dict[str, Any]] = {
    "chat": {
        "clients": 50_000, "rate_per_s": 0.1, "upstream_per_s": 0.02, "staleness_s": 1, "one_way_s": 0.1,
        "mobile": True, "path": ("idle-timeout:240", "ends-tls"),
    },
    "ticker": {"clients": 500, "rate_per_s": 20, "latest_only": True, "staleness_s": 0.3},
    "job finished": _JOB | {"staleness_s": 10},
    "job finished, patient": _JOB | {"staleness_s": 120},
    "editor": {"clients": 200, "rate_per_s": 10, "upstream_per_s": 5, "staleness_s": 0.2, "ordered": True},
    "Upgrade refused": {"rate_per_s": 1, "staleness_s": 1, "path": _REFUSED},
    "and buffered": {"rate_per_s": 1, "staleness_s": 1, "path": (*_REFUSED, "buffering-proxy")},
    "sensor": _SENSOR | {"staleness_s": 60},
    "sensor, patient": _SENSOR | {"staleness_s": HOUR_S},
    "tokens": _TOKENS | {"staleness_s": 0.5},
    "dashboard": {"clients": 1000, "rate_per_s": 30, "staleness_s": 1},
}  # fmt: skip
"""What each needs; one transit is 50 ms unless it says otherwise, and all of it is encrypted."""
_SAID = {
    "clients": "{:,.0f} clients", "rate_per_s": "", "staleness_s": "S = {:g} s", "upstream_per_s": "{:g}/s up",
    "one_way_s": "d = {:g} s",
}  # fmt: skip


@dataclass(frozen=True, repr=False)
class Products(Shown):
    """The products, and what :func:`labkit.choose` answers for each. ``products["chat"]`` is one answer in full."""

    choices: Mapping[str, Choice]

    left: ClassVar[bool] = True
    index: ClassVar[Literal["name", "bare", "column"]] = "column"

    def __getitem__(self, name: str) -> Choice:
        if name not in self.choices:
            raise LabkitError(f"{name!r} is none of the products: {', '.join(self.choices)}")
        return self.choices[name]

    @property
    def caption(self) -> str:
        return "d = 50 ms one way unless said; TLS on."

    @cached_property
    def _rows(self) -> list[dict[str, object]]:
        return [
            {"product": name, "needs": needs_of(PRODUCTS[name]), "answer": choice.sentence}
            for name, choice in self.choices.items()
        ]

    def table(self) -> pd.DataFrame:
        return as_table(self._rows).set_index("product")


def needs_of(needs: Mapping[str, Any]) -> str:
    """What is needed, in a line."""
    rate = needs["rate_per_s"]
    each = {1 / HOUR_S: "1/h", 1 / DAY_S: "1/day"}.get(rate, f"{rate:g}/s")
    said = [f"{each} down", *(form.format(needs[name]) for name, form in _SAID.items() if form and name in needs)]
    path = needs.get("path", ())
    flags = [name for name in ("latest_only", "ordered", "finite", "mobile") if needs.get(name)]
    return "; ".join([*said, *flags, *path])


def eight_products() -> Products:
    """The answers of today, with the kit's own figures."""
    return Products({name: choose(**{"tls": True, **needs}) for name, needs in PRODUCTS.items()})
