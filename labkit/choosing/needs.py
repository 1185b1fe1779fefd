"""What is needed, checked: one clear error for each parameter that makes no sense."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

from labkit.choosing.probed import is_probe, probed
from labkit.errors import LabkitError
from labkit.theory.path import HEARTBEAT_S

OBSTACLES = ("plain", "buffering-proxy", "blocks-upgrade", "ends-tls", "http2-edge")
SIX = 6
"""Connections that a browser gives one host over HTTP/1.1, over all of its tabs (02, 14)."""
SAFE = 0.8
"""Share of an idle time-out after which something is sent."""
MOBILE_HEARTBEAT_S = 240.0
"""For phones a heartbeat is as rare as the path allows, and this at the most: each one wakes the radio."""
POST_KEPT_S = 10.0
"""A POST's connection is taken to be kept where the next one comes within so long: an assumption, servers differ."""
SMALLEST, LARGEST = 1e-9, 1e12
"""Of every number that is not 0: nothing that anybody needs is beyond, and the arithmetic holds."""
PRICES = {"per_gb": "per 10^9 bytes", "per_million_requests": "per 10^6 requests", "per_connection_hour": "per hour"}


@dataclass(frozen=True, slots=True)
class Needs:
    """The inputs of :func:`labkit.choose`, with the path taken apart.

    Attributes:
        servers: how many there may be; None: as many as it takes.
        heartbeat_s: None: as often as the path asks for.
        taken: what was taken from a probe, and what was not, as sentences.
    """

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
    servers: float | None = None
    held_per_browser: float = 1
    ordered: bool = False
    finite: bool = False
    mobile: bool = False
    heartbeat_s: float | None = None
    taken: tuple[str, ...] = ()

    @property
    def idle_timeout_s(self) -> float:
        """The shortest time after which something on the path ends an idle connection; endless if nothing does."""
        return min((float(item.partition(":")[2]) for item in self.path if ":" in item), default=math.inf)

    @property
    def beat_s(self) -> float:
        """How often a stream that is silent says something."""
        if self.heartbeat_s is not None:
            return self.heartbeat_s
        return min(MOBILE_HEARTBEAT_S if self.mobile else HEARTBEAT_S, SAFE * self.idle_timeout_s)

    @property
    def posts_keep_a_connection(self) -> bool:
        """Whether messages upstream are so many that a POST's connection is kept for the next one."""
        return self.upstream_per_s * POST_KEPT_S >= 1

    @property
    def serves_tls(self) -> bool:
        """Whether the servers encrypt themselves: nothing on the path ends TLS for them."""
        return self.tls and "ends-tls" not in self.path

    @property
    def http2(self) -> bool:
        """Whether what is nearest the clients speaks HTTP/2 to them."""
        return "http2-edge" in self.path

    def changed(self, name: str, value: Any) -> Needs:
        """The same, but for one input."""
        changes: dict[str, Any] = {name: value}
        return replace(self, **changes)

    def meets(self, obstacle: str) -> bool:
        """Whether something on the path reads the HTTP and is an obstacle: inside TLS it sees nothing to hold back."""
        return obstacle in self.path and (not self.tls or "ends-tls" in self.path)


_NUMBERS: dict[str, dict[str, Any]] = {
    "rate_per_s": {"above": 0, "unit": "events a second"},
    "staleness_s": {"above": 0, "unit": "seconds"},
    "payload_bytes": {"least": 0, "unit": "bytes"},
    "clients": {"least": 1, "unit": "clients"},
    "upstream_per_s": {"least": 0, "unit": "messages a second of one client"},
    "one_way_s": {"least": 0, "unit": "seconds"},
    "servers": {"least": 1, "whole": True, "unit": "server processes"},
    "held_per_browser": {"least": 1, "whole": True, "unit": "streams or held requests of one browser"},
    "heartbeat_s": {"above": 0, "unit": "seconds"},
}
_OPTIONAL = ("servers", "heartbeat_s")
_SWITCHES = ("latest_only", "tls", "ordered", "finite", "mobile")


def checked(path: Any, prices: Any, **inputs: Any) -> Needs:
    """The needs, if every one of them makes sense.

    Raises:
        LabkitError: one does not; it names the parameter.
    """
    for name, wanted in _NUMBERS.items():
        if inputs[name] is not None or name not in _OPTIONAL:
            _number(name, inputs[name], **wanted)
            inputs[name] = float(inputs[name])
    for name in _SWITCHES:
        if not isinstance(inputs[name], bool):
            raise LabkitError(f"choose: {name}={inputs[name]!r}, expected True or False")
    if is_probe(path):
        found = probed(path)
        inputs["tls"] = inputs["tls"] or found.tls
        return Needs(**inputs, path=found.path, prices=_prices(prices), taken=found.said)
    return Needs(**inputs, path=_path(path), prices=_prices(prices))


def _number(
    name: str, value: Any, *, unit: str, above: float | None = None, least: float = -math.inf, whole: bool = False
) -> None:
    good = isinstance(value, Real) and not isinstance(value, bool) and _is_reckoned_with(value)
    if good and value >= least and (above is None or value > above) and not (whole and value % 1):
        return
    allowed = f"above {above:g}" if above is not None else f"{least:g} or more"
    out = isinstance(value, Real) and not _is_reckoned_with(value)
    bounds = f"; it reckons with {SMALLEST:g} to {LARGEST:g}" if out else ""
    raise LabkitError(f"choose: {name}={value!r:.80}, expected a {'whole ' * whole}number of {unit}, {allowed}{bounds}")


def _is_reckoned_with(value: Any) -> bool:
    return not value or SMALLEST <= abs(value) <= LARGEST


def _path(path: Any) -> tuple[str, ...]:
    items = (path,) if isinstance(path, str) else tuple(path) if isinstance(path, Iterable) else (path,)
    for item in items:
        head, colon, seconds = str(item).partition(":")
        timed = head == "idle-timeout" and colon and _seconds(seconds)
        if not isinstance(item, str) or not (item in OBSTACLES or timed):
            known = ", ".join(OBSTACLES)
            said = f"{item!r:.80}, expected some of {known}, idle-timeout:SECONDS"
            raise LabkitError(f"choose: path={said}, or what `labkit probe --json` wrote")
    return items or ("plain",)


def _seconds(text: str) -> bool:
    try:
        return SMALLEST <= float(text) <= LARGEST
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
