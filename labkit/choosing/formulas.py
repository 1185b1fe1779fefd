"""Where each number of a choice comes from: its formula, the figures in it and the notebook that measured them."""

from __future__ import annotations

from collections.abc import Mapping

from labkit.choosing.figures import ASSUMED, ESTIMATED, HERE, KIT, MEASURED, TLS, Figures, Range
from labkit.techniques import find
from labkit.techniques.http_streaming import HTTP_STREAMING
from labkit.techniques.long_polling import LONG_POLLING
from labkit.techniques.polling import POLLING
from labkit.techniques.sse import SSE
from labkit.techniques.websocket import WEBSOCKET
from labkit.theory import Kind

NOTEBOOKS = {
    POLLING.name: "01_polling",
    LONG_POLLING.name: "02_long_polling",
    HTTP_STREAMING.name: "03_http_streaming",
    SSE.name: "04_server_sent_events",
    WEBSOCKET.name: "05_websocket",
}
OF_THE_SERVER = ("connections", "work")
"""What 08_side_by_side measured; the other figures stand on the notebook of their technique."""
_FORMULAS: dict[Kind, dict[str, str]] = {
    "poll": {
        "mean": "T/2 + d, T = S - d; newest only: d + 1/lambda - T / (e^(lambda T) - 1)",
        "worst": "T + d = S",
        "requests/h": "N 3600/T",
        "bytes/h": "N 3600 (lambda (p + e) + x/T); newest only: at most one event a poll",
        "connections": "N kept alive up to T = 60 s, else N times its handshake and exchange / T",
        "work": "N 3600 (exchange/T + lambda further) + memory",
    },
    "hold": {
        "mean": "d + (g/2) a / (a + e^-a (1 - e^(-lambda H))) + F/2, a = lambda g, g = 2d",
        "worst": "3d + F, F = n exchange",
        "requests/h": "N 3600 / (g + e^-a (1 - e^(-lambda H)) / lambda)",
        "bytes/h": "x requests/h + N 3600 lambda (p + e)",
        "connections": "N",
        "work": "requests/h exchange + N 3600 lambda further + memory",
    },
    "stream": {
        "mean": "d + W (1 + lambda W/2) / (1 + lambda W) + F/2",
        "worst": "d + W + F, F = n (1.25 delivery + lambda W further)",
        "requests/h": "N, opened again once an hour",
        "bytes/h": "N (3600 (lambda (p + e) + w b / (e^(w B) - 1)) + open); newest only: one event a write",
        "connections": "N",
        "work": "N 3600 (w delivery + lambda further) + N heartbeats + memory, w = lambda / (1 + lambda W)",
    },
}
_SILENT, _PINGED = "w b / (e^(w B) - 1)", "b / B"
"""Heartbeats where they fill what is silent, and where a ping is sent whatever there is."""
FORMULAS = {
    name: {
        figure: formula.replace(_SILENT, _PINGED) if each.pings else formula
        for figure, formula in _FORMULAS[find(name).kind].items()
    }
    for name, each in MEASURED.items()
}
"""Per technique and figure: S tolerated, d transit, T interval, H hold, N clients, n of them on a server, p payload, e
what an event adds, x an exchange, b a heartbeat, B its interval, W for how long a stream gathers events (S - d - F if
another one comes in that time, else 0), w its writes, F the fan-out from the first client to the last."""
_STANDS_ON: dict[Kind, dict[str, tuple[str, ...]]] = {
    "poll": {"bytes/h": ("exchange_bytes", "event_bytes"), "work": ("exchange_us", "further_us", "memory_kib")},
    "hold": {
        "mean": ("exchange_us",),
        "worst": ("exchange_us",),
        "bytes/h": ("exchange_bytes", "event_bytes"),
        "work": ("exchange_us", "further_us", "memory_kib"),
    },
    "stream": {
        "mean": ("event_us", "further_us"),
        "worst": ("event_us", "further_us"),
        "bytes/h": ("event_bytes", "heartbeat_bytes", "open_bytes"),
        "work": ("event_us", "heartbeat_us", "further_us", "memory_kib"),
    },
}
"""The figures in each number; one that is not named here is arithmetic alone."""


def measured_in(technique: str, figure: str) -> str:
    """The notebook that measured what a figure stands on."""
    return "08_side_by_side" if figure in OF_THE_SERVER else NOTEBOOKS[technique]


def stands_on(technique: str, figure: str, figures: Figures) -> str:
    """Where a number's own figures are from: measured here, measured by the kit, estimated; or computed alone."""
    by: dict[str, list[str]] = {}
    for name in _STANDS_ON[find(technique).kind].get(figure, ()):
        by.setdefault(figures.origin(name), []).append(name)
    said = [f"{origin}: {', '.join(by[origin])}" for origin in (HERE, KIT) if origin in by]
    return "; ".join(said) or "computed"


def rows_of(figures: Mapping[str, Figures], *, tls: bool) -> list[dict[str, object]]:
    """Every figure with its range and where it is from, one row each."""
    rows = list[dict[str, object]]()
    for technique, each in figures.items():
        for name in FIGURES:
            rows.append(_row(technique, name, getattr(each, name), each.origin(name)))
    if tls:
        rows += [_row("TLS", name, getattr(TLS, name), KIT) for name in TLS.__slots__]
    rows += [_row("all", name, assumed, ESTIMATED) for name, assumed in ASSUMED.items()]
    return [row for row in rows if row["to"]]


FIGURES = (
    "open_bytes", "exchange_bytes", "event_bytes", "heartbeat_bytes", "message_bytes", "exchange_us", "event_us",
    "heartbeat_us", "further_us", "message_us", "memory_kib",
)  # fmt: skip


def _row(technique: str, name: str, value: float | Range, origin: str) -> dict[str, object]:
    told = value if isinstance(value, Range) else Range(value, value, value)
    return {"technique": technique, "figure": name, "value": told.value, "from": told.low, "to": told.high,
            "origin": origin}  # fmt: skip
