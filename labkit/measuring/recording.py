"""What a run has put down: every delivery, every connection's bytes, how it was made.

Plain data: no thread, no socket.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from labkit.client.ledger import ConnectionRecord, Ledger
from labkit.errors import package
from labkit.measuring.quantiles import quantile
from labkit.wire.spans import CATEGORIES

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = {
    "technique": "string",
    "client": "string",
    "http_version": "string",
    "topic": "string",
    "subscriber": "int64",
    "event_id": "int64",
    "wire_id": "string",
    "due_ns": "Int64",
    "published_ns": "Int64",
    "received_ns": "int64",
    "latency_ms": "float64",
    "transit_ms": "float64",
    "clock_error_ms": "float64",
    "bytes": "Int64",
    "payload_bytes": "Int64",
    "scheduled": "bool",
    "conflated": "int64",
}
"""Columns of ``Run.deliveries`` and their pandas types. What is not known is missing, never zero."""

_DEFAULTS = {"client": "kernel", "topic": "", "subscriber": 0, "scheduled": True, "conflated": 0}
_CONNECTION = {
    "technique": "string",
    "subscriber": "int64",
    **dict.fromkeys(("bytes_in", "bytes_out", "reads", "writes", "requests", "responses", *CATEGORIES), "int64"),
    "duplicates": "int64",
    "duplicate_bytes": "int64",
    "tcp_ip": "Int64",
    "opened": "datetime64[ns, UTC]",
    "duration_ms": "float64",
    "closed_by": "string",
}
_NAN = float("nan")


class Recording:
    """What :class:`labkit.Run` tells the statistics of.

    Args:
        deliveries: one row per delivery, as dicts, as a dict of columns or as a frame; columns as in ``COLUMNS``.
        published: what the run published, by ``(topic, event id)``; the values are kept as plain data.
        ledger: the bytes of every connection, relays' captures included.
        settings: how the run was made: techniques, schedule, one_way_s, jitter_s, poll_interval_s, hold_s,
            subscribers, started (ISO wall time), started_ns (the kit's clock at that moment), duration_s, server,
            mss.
        floor_ms: latencies of the same events over a bare socket pair, in ms.
        failures: for each technique that did not finish, why.
        interrupted: whether it was stopped before its time.
        missing: the gaps that were reported to subscribers, each with at least ``technique`` and ``subscriber``.
        versions: of Python and of what the kit stands on.
    """

    def __init__(
        self,
        deliveries: Iterable[Mapping[str, Any]] | Mapping[str, Any] | pd.DataFrame,
        published: Mapping[tuple[str, int], Any],
        ledger: Ledger,
        settings: Mapping[str, Any],
        floor_ms: Iterable[float] = (),
        failures: Mapping[str, str] | None = None,
        interrupted: bool = False,
        missing: Iterable[Mapping[str, Any]] = (),
        versions: Mapping[str, str] | None = None,
    ) -> None:
        self._given = deliveries if _is_by_column(deliveries) else list(deliveries)
        self.published: dict[tuple[str, int], Any] = {key: _plain(value) for key, value in published.items()}
        self.ledger = ledger
        self.settings: dict[str, Any] = _plain(dict(settings))
        self.floor_ms = [float(value) for value in floor_ms]
        self.failures = dict(failures or {})
        self.interrupted = interrupted
        self.missing: list[dict[str, Any]] = _plain([dict(gap) for gap in missing])
        self.versions = dict(versions or {})

    @cached_property
    def deliveries(self) -> pd.DataFrame:
        """One row per delivery, in the order of arrival; times in ns of the kit's clock or in ms."""
        pd = package("pandas")

        given = _by_column(self._given)
        frame = pd.DataFrame({name: _column(given[name], name) for name in COLUMNS})
        return frame.sort_values("received_ns", kind="stable", ignore_index=True)

    def columns(self, *names: str) -> Iterator[tuple[Any, ...]]:
        """These columns of the deliveries as they were put down, a tuple for each; pandas is not needed for it."""
        given = _by_column(self._given)
        return zip(*(given[name] for name in names), strict=True)

    @cached_property
    def connections(self) -> pd.DataFrame:
        """One row per client connection: bytes by direction and by category, ``opened`` in wall time, UTC."""
        pd = package("pandas")

        rows = [self._connection(record) for record in self.ledger.of()]
        return pd.DataFrame(rows, columns=list(_CONNECTION)).astype(_CONNECTION)

    def _connection(self, record: ConnectionRecord) -> dict[str, Any]:
        pd = package("pandas")

        closed_ns = record.closed_ns
        return {
            **{name: getattr(record, name) for name in _CONNECTION if hasattr(record, name)},
            **{str(name): count for name, count in record.by_category.items()},
            "tcp_ip": pd.NA if record.tcp_ip_bytes is None else record.tcp_ip_bytes,
            "opened": pd.Timestamp(self.wall_ns(record.opened_ns), unit="ns", tz="UTC"),
            "duration_ms": _NAN if closed_ns is None else (closed_ns - record.opened_ns) / 1e6,
        }

    @property
    def floor(self) -> dict[str, float]:
        """What the apparatus takes at least, in ms: p50, p95, max; and of how many events, n.

        A lower bound: the same events over a bare socket pair, between the thread that publishes and the loop that
        receives. What a server and a client take, or a lab in a process of its own, comes on top.
        """
        values = sorted(self.floor_ms)
        at_most = values[-1] if values else _NAN
        return {"p50": quantile(values, 0.5), "p95": quantile(values, 0.95), "max": at_most, "n": len(values)}

    @property
    def stalls(self) -> str:
        """How long the loop that receives stood still, and in how many pieces; empty if it did not."""
        return stalls(self.settings)

    @property
    def foreign(self) -> bool:
        """Whether it only listened to a server that is not ours: nothing was due, so nothing can be late or lost."""
        return self.settings.get("server") == "elsewhere" and not self.published

    def wall_ns(self, t_ns: int) -> int:
        """A time of the kit's clock as ns since 1970, by when the run started on both clocks."""
        started = self.settings.get("started")
        wall_us = round(datetime.fromisoformat(started).timestamp() * 1e6) if started else 0
        return wall_us * 1000 + t_ns - self.started_ns

    @cached_property
    def started_ns(self) -> int:
        """When it started, on the kit's clock; the first connection's opening where that was not kept."""
        kept = self.settings.get("started_ns")
        return int(kept) if kept is not None else min((c.opened_ns for c in self.ledger.connections), default=0)


def stalls(settings: Mapping[str, Any]) -> str:
    """What :attr:`Recording.stalls` says of a run with these settings."""
    held_up = settings.get("held_up_ms") or {}
    total_ms, times = held_up.get("total", 0.0), held_up.get("times", 0)
    if not total_ms:
        return ""
    longest_ms = held_up.get("max", 0.0)
    longest = f"{longest_ms:.3g} ms" if longest_ms < 999.5 else f"{longest_ms / 1e3:.3g} s"
    pieces = f" in {times} stalls, the longest {longest}" if times > 1 else ""
    return f"the receiving loop stood still for {total_ms / 1e3:.3g} s{pieces or ' at once' * times}"


def _by_column(given: Any) -> dict[str, list[Any]]:
    """Rows, columns or a frame, as lists by column: pandas would make floats of the integers beside a None.

    Of a column that is not given nothing is known, as of a row's that are not.
    """
    if not _is_by_column(given):
        return {name: [row.get(name) for row in given] for name in COLUMNS}
    count = max((len(given[name]) for name in given), default=0)
    return {name: list(given[name]) if name in given else [None] * count for name in COLUMNS}


def _is_by_column(given: Any) -> bool:
    return isinstance(given, Mapping) or hasattr(given, "columns")


def _column(values: list[Any], name: str) -> Any:
    pd = package("pandas")

    dtype, default = COLUMNS[name], _DEFAULTS.get(name)
    absent = _NAN if dtype == "float64" else pd.NA
    filled = [(absent if default is None else default) if pd.isna(value) else value for value in values]
    return pd.Series(pd.array(filled, dtype=dtype))


def _plain(value: Any) -> Any:
    """The same in JSON's types, so that a run that was saved and loaded has the same."""
    return json.loads(json.dumps(value, default=_plain_object))


def _plain_object(value: Any) -> Any:
    if hasattr(value, "item"):
        return value.item()
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in fields(value)}
    return list(value) if isinstance(value, set | frozenset) else str(value)
