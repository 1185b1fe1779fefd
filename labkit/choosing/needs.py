"""What is needed, checked: one clear error for each parameter that makes no sense."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

from labkit.errors import LabkitError

OBSTACLES = ("plain", "buffering-proxy", "blocks-upgrade", "ends-tls")
PRICES = {"per_gb": "per 10^9 bytes", "per_million_requests": "per 10^6 requests", "per_connection_hour": "per hour"}


@dataclass(frozen=True, slots=True)
class Needs:
    """The inputs of :func:`labkit.choose`, with the path taken apart."""

    rate_per_s: float
    staleness_s: float
    payload_bytes: float = 20
    clients: float = 1000
    latest_only: bool = False
    upstream_per_s: float = 0.0
    one_way_s: float = 0.05
    tls: bool = False
    path: tuple[str, ...] = ("plain",)
    prices: tuple[tuple[str, float], ...] = ()
    servers: float = 1

    @property
    def idle_timeout_s(self) -> float:
        """The shortest time after which something on the path ends an idle connection; endless if nothing does."""
        return min((float(item.partition(":")[2]) for item in self.path if ":" in item), default=math.inf)

    def changed(self, name: str, value: Any) -> Needs:
        """The same, but for one input."""
        changes: dict[str, Any] = {name: value}
        return replace(self, **changes)

    def meets(self, obstacle: str) -> bool:
        """Whether something on the path reads the HTTP and is an obstacle: inside TLS it sees nothing to hold back."""
        return obstacle in self.path and (not self.tls or "ends-tls" in self.path)


def checked(
    rate_per_s: Any,
    staleness_s: Any,
    payload_bytes: Any,
    clients: Any,
    latest_only: Any,
    upstream_per_s: Any,
    one_way_s: Any,
    tls: Any,
    path: Any,
    prices: Any,
    servers: Any,
) -> Needs:
    """The needs, if every one of them makes sense.

    Raises:
        LabkitError: one does not; it names the parameter.
    """
    _number("rate_per_s", rate_per_s, above=0, unit="events a second")
    _number("staleness_s", staleness_s, above=0, unit="seconds")
    _number("payload_bytes", payload_bytes, least=0, unit="bytes")
    _number("clients", clients, least=1, unit="clients")
    _number("upstream_per_s", upstream_per_s, least=0, unit="messages a second of one client")
    _number("one_way_s", one_way_s, least=0, unit="seconds")
    _number("servers", servers, least=1, unit="server processes")
    for name, value in (("latest_only", latest_only), ("tls", tls)):
        if not isinstance(value, bool):
            raise LabkitError(f"choose: {name}={value!r}, expected True or False")
    return Needs(
        float(rate_per_s), float(staleness_s), float(payload_bytes), float(clients), latest_only,
        float(upstream_per_s), float(one_way_s), tls, _path(path), _prices(prices), float(servers),
    )  # fmt: skip


def _number(name: str, value: Any, *, unit: str, above: float | None = None, least: float = -math.inf) -> None:
    good = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if good and value >= least and (above is None or value > above):
        return
    allowed = f"above {above:g}" if above is not None else f"{least:g} or more"
    raise LabkitError(f"choose: {name}={value!r}, expected a number of {unit}, {allowed}")


def _path(path: Any) -> tuple[str, ...]:
    items = (path,) if isinstance(path, str) else tuple(path) if isinstance(path, Iterable) else (path,)
    for item in items:
        head, colon, seconds = str(item).partition(":")
        timed = head == "idle-timeout" and colon and _seconds(seconds)
        if not isinstance(item, str) or not (item in OBSTACLES or timed):
            known = ", ".join(OBSTACLES)
            raise LabkitError(f"choose: path={item!r}, expected some of {known}, idle-timeout:SECONDS")
    return items or ("plain",)


def _seconds(text: str) -> bool:
    try:
        return 0 < float(text) < math.inf
    except ValueError:
        return False


def _prices(prices: Any) -> tuple[tuple[str, float], ...]:
    if prices is None:
        return ()
    if not isinstance(prices, Mapping) or not prices or set(prices) - set(PRICES):
        raise LabkitError(f"choose: prices={prices!r}, expected a dict with some of {', '.join(PRICES)}")
    for name, price in prices.items():
        _number(f"prices[{name!r}]", price, least=0, unit=f"money {PRICES[name]}")
    return tuple((name, float(prices[name])) for name in PRICES if name in prices)
