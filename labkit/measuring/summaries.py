"""The statistics of runs, as tables: what came, how late, at which cost; and several runs side by side."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from labkit.client.ledger import ConnectionRecord
from labkit.errors import LabkitError, package
from labkit.measuring.natures import Natures
from labkit.measuring.quantiles import quantile
from labkit.measuring.recording import Recording
from labkit.measuring.tallies import BROWSER, Group, groups
from labkit.theory import Silent
from labkit.wire.spans import CATEGORIES

if TYPE_CHECKING:
    import pandas as pd


_COUNTS = ("events", "lost", "pending", "duplicated", "out_of_order", "gaps", "conflated")
_LATENCIES = ("p50_ms", "p95_ms", "max_ms", "mean_ms", "expected_mean_ms")
_PER_EVENT = tuple(f"{name}_per_event" for name in ("bytes", *CATEGORIES, "tcp_ip"))
_SUMMARY = {
    **dict.fromkeys(_COUNTS, "int64"),
    **dict.fromkeys((*_LATENCIES, *_PER_EVENT), "float64"),
    **dict.fromkeys(("requests", "connections"), "Int64"),
    "failed": "string",
}
_INTERVALS = ("events", *_LATENCIES[:4], "bytes_per_event", "requests", "connections")
_NAN = float("nan")


def summary(run: Recording, by: str = "technique") -> pd.DataFrame:
    """One row per technique, or per technique and subscriber: the columns are those of ``Run.summary``.

    Raises:
        LabkitError: *by* is neither ``technique`` nor ``subscriber``.
    """
    from labkit.measuring.tables import Table

    if by not in ("technique", "subscriber"):
        raise LabkitError(f"summary: by={by!r}, expected 'technique' or 'subscriber'")
    index = ["technique"] if by == "technique" else ["technique", "subscriber"]
    parts = [part for whole in groups(run) for part in ([whole] if by == "technique" else whole.split())]
    rows = [_row(run, part) for part in parts]
    return Table(rows, columns=[*index, *_SUMMARY]).astype(_SUMMARY).set_index(index)


def _row(run: Recording, group: Group) -> dict[str, Any]:
    tallies = group.tallies(run)
    received = sum(each.received for each in tallies)
    latencies = sorted(ms for each in tallies for ms in each.latencies_ms)
    counts: dict[str, Any] = {name: sum(getattr(t, name) for t in tallies) for name in _COUNTS if name != "gaps"}
    if group.technique in run.failures and not (group.connections or received):
        counts["lost"] = 0  # it never ran
    return {
        "technique": group.technique + BROWSER if group.browser else group.technique,
        "subscriber": group.label,
        **counts,
        "gaps": len(group.gaps),
        "p50_ms": quantile(latencies, 0.5),
        "p95_ms": quantile(latencies, 0.95),
        "max_ms": latencies[-1] if latencies else _NAN,
        "mean_ms": sum(latencies) / len(latencies) if latencies else _NAN,
        "expected_mean_ms": _NAN if group.browser else _expected_mean_ms(run, group.technique),
        **(_of_page(group, received) if group.browser else _of_own(group.connections, received)),
        "failed": run.failures.get(group.technique, ""),
    }


INTERVALS = {name: f"interval: {name}" for name in ("p50_ms", "p95_ms", "max_ms", "mean_ms")}
"""What to call the columns of :func:`intervals` where nothing else says that they are no latencies."""


def intervals(run: Recording) -> pd.DataFrame:
    """The time between deliveries, per technique: the columns are those of ``Run.intervals``."""
    from labkit.measuring.tables import Table

    return Table(interval_rows(run), columns=["technique", *_INTERVALS]).set_index("technique")


def interval_rows(run: Recording) -> list[dict[str, Any]]:
    """What :func:`intervals` tables, as plain rows: pandas is not needed for them."""
    arrivals: dict[str, dict[int, list[int]]] = {}
    for technique, subscriber, received_ns in run.columns("technique", "subscriber", "received_ns"):
        arrivals.setdefault(technique, {}).setdefault(subscriber or 0, []).append(received_ns)
    return [_intervals(technique, list(arrivals[technique].values()), run) for technique in sorted(arrivals)]


def _intervals(technique: str, arrivals_ns: list[list[int]], run: Recording) -> dict[str, Any]:
    """Of each subscriber from one of its own arrivals to the next."""
    gaps_ms = sorted((after - before) / 1e6 for mine in arrivals_ns for before, after in pairwise(sorted(mine)))
    events, records = sum(map(len, arrivals_ns)), list(run.ledger.of(technique))
    return {
        "technique": technique,
        "events": events,
        "p50_ms": quantile(gaps_ms, 0.5),
        "p95_ms": quantile(gaps_ms, 0.95),
        "max_ms": gaps_ms[-1] if gaps_ms else _NAN,
        "mean_ms": sum(gaps_ms) / len(gaps_ms) if gaps_ms else _NAN,
        "bytes_per_event": sum(record.bytes_total for record in records) / events,
        "requests": sum(record.requests for record in records),
        "connections": len(records),
    }


def _expected_mean_ms(run: Recording, technique: str) -> float:
    expected = Natures(run.settings).expected(technique)
    return _NAN if isinstance(expected, Silent) else expected.mean_s * 1e3


def _of_own(records: list[ConnectionRecord], received: int) -> dict[str, Any]:
    requests = sum(record.requests for record in records)
    return {**_per_event(records, received), "requests": requests, "connections": len(records)}


def _of_page(group: Group, received: int) -> dict[str, Any]:
    """What a relay saw of it, by route and topic: TCP's headers only where nothing else shared the connections."""
    if not group.connections:
        return {**_per_event([], 0), "requests": None, "connections": None}
    routes = group.routes
    counts = [record.by_route[route] for record in group.connections for route in routes & record.by_route.keys()]
    by_category = [sum(count.get(category, 0) for count in counts) for category in CATEGORIES]
    shared = any(record.by_route.keys() - routes for record in group.connections)
    derived = [record.tcp_ip_bytes for record in group.connections]
    tcp_ip = _NAN if shared or None in derived else sum(filter(None, derived))
    totals = [sum(by_category), *by_category, tcp_ip]
    return {
        **{name: total / received if received else _NAN for name, total in zip(_PER_EVENT, totals, strict=True)},
        "requests": sum(count["requests"] for count in counts),
        "connections": len(group.connections),
    }


def _per_event(records: list[ConnectionRecord], received: int) -> dict[str, float]:
    if not records or not received:
        return dict.fromkeys(_PER_EVENT, _NAN)
    derived = [record.tcp_ip_bytes for record in records]
    totals = [
        sum(record.bytes_total for record in records),
        *(sum(record.by_category[category] for record in records) for category in CATEGORIES),
        sum(_NAN if count is None else count for count in derived),
    ]
    return {name: total / received for name, total in zip(_PER_EVENT, totals, strict=True)}


def compare(*runs: Recording, names: Iterable[str] | None = None) -> pd.DataFrame:
    """The summaries of several runs side by side.

    Args:
        names: one for each run; ``a``, ``b``, ... by default.

    Returns:
        One row per technique and measure, one column per run; for two runs also ``ratio``, the second to the first.

    Raises:
        LabkitError: fewer than two runs, or names that do not fit.
    """
    pd = package("pandas")

    from labkit.measuring.tables import Table

    labels = [chr(ord("a") + i) for i in range(len(runs))] if names is None else list(names)
    if len(runs) < 2 or len(labels) != len(runs) or len({*labels, "ratio"}) <= len(labels):
        raise LabkitError(f"compare: {len(runs)} runs named {labels}, expected at least two, each with its own name")
    columns = {}
    for label, run in zip(labels, runs, strict=True):
        numbers = summary(run).drop(columns=["failed"]).astype("float64")
        columns[label] = numbers.rename_axis(columns="measure").stack(future_stack=True)
    keys = dict.fromkeys(key for c in columns.values() for key in c.index)
    order = pd.MultiIndex.from_tuples(keys, names=["technique", "measure"])
    table = Table({label: column.reindex(order) for label, column in columns.items()})
    if len(runs) == 2:
        table["ratio"] = (table[labels[1]] / table[labels[0]]).where(table[labels[0]] != 0)
    return table
