"""What a run gives back: every delivery, every connection's bytes, and the statistics of both.

A :class:`Run` is plain data: no thread, no socket. It can be saved, loaded, compared, exported and asked about
one event. Statistics are over *scheduled* events, those that the run itself published; others keep their rows.
"""

from __future__ import annotations

import base64
import html
import json
import math
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from labkit.errors import LabkitError
from labkit.ledger import CATEGORIES, ConnectionRecord, Ledger, Mark, Transfer

if TYPE_CHECKING:
    import pandas as pd

    from labkit.explain import Explanation

FORMAT = 1
"""Version of the file format; a reader refuses a newer one."""

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
    "tcp_ip": "Int64",
    "opened": "datetime64[ns, UTC]",
    "duration_ms": "float64",
    "closed_by": "string",
}
_COUNTS = ("events", "lost", "duplicated", "out_of_order", "gaps", "conflated")
_LATENCIES = ("p50_ms", "p95_ms", "max_ms", "mean_ms", "expected_mean_ms")
_PER_EVENT = tuple(f"{name}_per_event" for name in ("bytes", *CATEGORIES, "tcp_ip"))
_SUMMARY = {
    **dict.fromkeys(_COUNTS, "int64"),
    **dict.fromkeys((*_LATENCIES, *_PER_EVENT), "float64"),
    **dict.fromkeys(("requests", "connections"), "Int64"),
    "failed": "string",
}
_SHOWN = ["events", "lost", "duplicated", "gaps", "p50_ms", "p95_ms", "max_ms", "mean_ms", "expected_mean_ms",
          "bytes_per_event", "requests", "connections"]  # fmt: skip
_SHORT = {"expected_mean_ms": "theory: mean_ms", "bytes_per_event": "bytes/event"}
_METADATA = b"labkit"
_NAN = float("nan")


class Run:
    """One measurement.

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
        self._given = deliveries
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
        import pandas as pd

        given = _by_column(self._given)
        frame = pd.DataFrame({name: _column(given.get(name), name) for name in COLUMNS})
        return frame.sort_values("received_ns", kind="stable", ignore_index=True)

    @cached_property
    def connections(self) -> pd.DataFrame:
        """One row per client connection: bytes by direction and by category, ``opened`` in wall time, UTC."""
        import pandas as pd

        rows = [self._connection(record) for record in self.ledger.of()]
        return pd.DataFrame(rows, columns=list(_CONNECTION)).astype(_CONNECTION)

    def _connection(self, record: ConnectionRecord) -> dict[str, Any]:
        import pandas as pd

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
        """What the apparatus itself takes, in ms: p50, p95, max; and of how many events, n."""
        values = sorted(self.floor_ms)
        at_most = values[-1] if values else _NAN
        return {"p50": quantile(values, 0.5), "p95": quantile(values, 0.95), "max": at_most, "n": len(values)}

    @property
    def foreign(self) -> bool:
        """Whether it only listened to a server that is not ours: nothing was due, so nothing can be late or lost."""
        return self.settings.get("server") == "elsewhere" and not self.published

    def summary(self, by: Literal["technique", "subscriber"] = "technique") -> pd.DataFrame:
        """One row per technique, or per technique and subscriber, indexed by it.

        Returns:
            ``events`` (delivered, each once per subscriber), ``lost`` (published and never arrived, conflated ones
            apart), ``duplicated``, ``out_of_order``, ``gaps`` (reported), ``conflated``; latencies from due, of
            first arrivals, in ms; ``expected_mean_ms`` of theory; bytes of both directions per event delivered
            and what they were for (``tcp_ip``, derived, comes on top); requests, connections, why it failed.
            Events that a page received stand apart, as ``sse (browser)``: no ledger sees their bytes, requests and connections.
        """
        import pandas as pd

        if by not in ("technique", "subscriber"):
            raise LabkitError(f"summary: by={by!r}, expected 'technique' or 'subscriber'")
        index = ["technique"] if by == "technique" else ["technique", "subscriber"]
        groups = [part for whole in _groups(self) for part in ([whole] if by == "technique" else whole.split())]
        rows = [self._row(group) for group in groups]
        return pd.DataFrame(rows, columns=[*index, *_SUMMARY]).astype(_SUMMARY).set_index(index)

    def _row(self, group: _Group) -> dict[str, Any]:
        tallies = [_tally(arrivals, set(self.published)) for arrivals in group.subscribers.values()]
        received = sum(tally.received for tally in tallies)
        latencies = sorted(ms for tally in tallies for ms in tally.latencies_ms)
        counts: dict[str, Any] = {name: sum(getattr(t, name) for t in tallies) for name in _COUNTS if name != "gaps"}
        if group.technique in self.failures and not (group.connections or received):
            counts["lost"] = 0  # it never ran
        return {
            "technique": f"{group.technique} (browser)" if group.browser else group.technique,
            "subscriber": min(group.subscribers, default=0),
            **counts,
            "gaps": len(group.gaps),
            "p50_ms": quantile(latencies, 0.5),
            "p95_ms": quantile(latencies, 0.95),
            "max_ms": latencies[-1] if latencies else _NAN,
            "mean_ms": sum(latencies) / len(latencies) if latencies else _NAN,
            "expected_mean_ms": _NAN if group.browser else self._expected_mean_ms(group.technique),
            **_per_event(group.connections, received),
            "requests": None if group.browser else sum(record.requests for record in group.connections),
            "connections": None if group.browser else len(group.connections),
            "failed": self.failures.get(group.technique, ""),
        }

    def intervals(self) -> pd.DataFrame:
        """What can be said of a server that is not ours: the time between deliveries, per technique.

        Returns:
            ``events``, ``p50_ms``, ``p95_ms``, ``max_ms`` and ``mean_ms`` from one arrival to the next,
            ``bytes_per_event``, ``requests``, ``connections``.
        """
        import pandas as pd

        rows = []
        for technique, frame in self.deliveries.groupby("technique"):
            gaps = sorted((frame["received_ns"].sort_values().diff().dropna() / 1e6).tolist())
            records = list(self.ledger.of(str(technique)))
            rows.append(
                {
                    "technique": technique,
                    "events": len(frame),
                    "p50_ms": quantile(gaps, 0.5),
                    "p95_ms": quantile(gaps, 0.95),
                    "max_ms": gaps[-1] if gaps else _NAN,
                    "mean_ms": sum(gaps) / len(gaps) if gaps else _NAN,
                    "bytes_per_event": sum(record.bytes_total for record in records) / len(frame),
                    "requests": sum(record.requests for record in records),
                    "connections": len(records),
                }
            )
        columns = ["technique", "events", *_SHOWN[4:8], "bytes_per_event", "requests", "connections"]
        return pd.DataFrame(rows, columns=columns).set_index("technique")

    def _expected_mean_ms(self, technique: str) -> float:
        from labkit import models

        if self.foreign or not self.settings.get("steady", True):  # a setting was changed in its course
            return _NAN
        schedule = self.settings.get("schedule") or {}
        schedule = {**schedule, **(schedule.get("settings") or {})}
        is_poisson = schedule.get("poisson", schedule.get("name") == "poisson")
        options = {**self.settings, **((self.settings.get("options") or {}).get(technique) or {})}
        poll_interval_s = options.get("interval_s") or options.get("poll_interval_s") or 1.0
        one_way_s, is_fresh = options.get("one_way_s") or 0.0, not options.get("keep_alive", True)
        if technique == "polling" and options.get("wait_after_answer"):
            return (
                models.polling_latency(poll_interval_s, one_way_s, fresh_connections=is_fresh, waiting=True).mean_s
                * 1e3
            )
        expected = models.expect(
            technique,
            one_way_s=one_way_s,
            poll_interval_s=poll_interval_s,
            rate_per_s=schedule.get("rate_per_s") if is_poisson else None,
            hold_s=30.0 if options.get("hold_s") is None else options["hold_s"],
            fresh_connections=is_fresh,
        )
        return _NAN if expected is None else expected.mean_s * 1e3

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

    def explain(self, event_id: int, technique: str | None = None, **where: Any) -> Explanation:
        """The story of one event: which hops, which bytes. See :func:`labkit.explain.explain`."""
        from labkit.explain import explain

        return explain(self, event_id, technique, **where)

    def to_pcapng(self, path: str | Path) -> Path:
        """Write the client connections as a capture for Wireshark; its TCP headers are synthetic."""
        from labkit.export import to_pcapng

        return to_pcapng(self, path)

    def to_har(self, path: str | Path) -> Path:
        """Write the HTTP exchanges, WebSocket messages included, as HAR 1.2 for a browser's developer tools."""
        from labkit.export import to_har

        return to_har(self, path)

    def save(self, path: str | Path) -> Path:
        """Write everything to one Parquet file: the deliveries as its table, the rest in its metadata."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = Path(path)
        table = pa.Table.from_pandas(self.deliveries, preserve_index=False)
        part = path.with_name(f"{path.name}.part")
        # store_schema would put down a second, encoded copy of all metadata
        with pq.ParquetWriter(part, table.schema, store_schema=False) as writer:
            writer.write_table(table)
            writer.add_key_value_metadata(
                {**(table.schema.metadata or {}), _METADATA: json.dumps(_pack(self)).encode()}
            )
        os.replace(part, path)
        return path

    @property
    def notes(self) -> list[str]:
        """What to know beside the summary: the floor, what failed, whether it was interrupted."""
        floor, notes = self.floor, []
        if self.floor_ms:
            notes.append(
                f"Floor of the apparatus: median {floor['p50']:.3g} ms, 95 % under {floor['p95']:.3g} ms, at most "
                f"{floor['max']:.3g} ms over {floor['n']} events."
            )
        notes += [f"{technique} failed: {reason}" for technique, reason in self.failures.items()]
        notes += self.settings.get("notes") or []
        if self.interrupted:
            notes.append("Interrupted: these are the events up to then.")
        return notes

    def __repr__(self) -> str:
        techniques = ", ".join(self.settings.get("techniques") or ()) or "no technique"
        return f"<Run of {techniques}: {len(self.deliveries)} deliveries{', interrupted' if self.interrupted else ''}>"

    def _repr_html_(self) -> str:
        table = self.intervals() if self.foreign else self.summary()[_SHOWN].rename(columns=_SHORT)
        shown = table.to_html(na_rep="", float_format=lambda value: f"{value:,.1f}", border=0, index_names=False)
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self.notes)
        return f'<div class="labkit-run" style="overflow-x: auto">{shown}{notes}</div>'


def load(path: str | Path) -> Run:
    """Read a run that ``Run.save`` wrote.

    Raises:
        LabkitError: the file cannot be read, is something else, or was saved by a newer format.
    """
    import pyarrow.parquet as pq

    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise LabkitError(f"{path} cannot be read: {error.strerror or error}") from None
    try:
        limit = (1 << 31) - 1  # the bytes of a long run go over pyarrow's own limit
        table = pq.read_table(path, thrift_string_size_limit=limit)
        packed = json.loads((table.schema.metadata or {})[_METADATA])
        newer = packed["format"] > FORMAT
        run = None if newer else _unpack(table.to_pandas(), packed)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, zlib.error) as error:
        reason = "no labkit metadata" if isinstance(error, KeyError) else type(error).__name__
        raise LabkitError(f"{path} is not a saved run ({reason}); write one with run.save(path)") from None
    if run is None:
        saved = packed["format"]
        raise LabkitError(
            f"{path} was saved by a newer labkit (format {saved}; this one reads {FORMAT}): upgrade labkit"
        )
    return run


def compare(*runs: Run, names: Iterable[str] | None = None) -> pd.DataFrame:
    """The summaries of several runs side by side.

    Args:
        names: one for each run; ``a``, ``b``, ... by default.

    Returns:
        One row per technique and measure, one column per run; for two runs also ``ratio``, the second to the first.

    Raises:
        LabkitError: fewer than two runs, or names that do not fit.
    """
    import pandas as pd

    labels = [chr(ord("a") + i) for i in range(len(runs))] if names is None else list(names)
    if len(runs) < 2 or len(labels) != len(runs) or len({*labels, "ratio"}) <= len(labels):
        raise LabkitError(f"compare: {len(runs)} runs named {labels}, expected at least two, each with its own name")
    columns = {}
    for label, run in zip(labels, runs, strict=True):
        numbers = run.summary().drop(columns=["failed"]).astype("float64")
        columns[label] = numbers.rename_axis(columns="measure").stack(future_stack=True)
    order = pd.MultiIndex.from_tuples(dict.fromkeys(key for c in columns.values() for key in c.index))
    table = pd.DataFrame({label: column.reindex(order) for label, column in columns.items()})
    if len(runs) == 2:
        table["ratio"] = (table[labels[1]] / table[labels[0]]).where(table[labels[0]] != 0)
    return table.rename_axis(["technique", "measure"])


def quantile(ordered: list[float], q: float) -> float:
    """The *q* quantile of sorted values, linear between neighbours; NaN of none."""
    if not ordered:
        return _NAN
    position = q * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


@dataclass(frozen=True, slots=True)
class _Arrival:
    topic: str
    event_id: int
    counts: bool  # in the statistics
    conflated: int
    latency_ms: float


@dataclass(frozen=True, slots=True)
class _Group:
    """One row of a summary: what its subscribers got, their connections, the subscribers that a gap was told."""

    technique: str
    browser: bool
    subscribers: dict[int, list[_Arrival]]
    connections: list[ConnectionRecord]
    gaps: list[int]

    def split(self) -> Iterator[_Group]:
        """The same, for each subscriber."""
        for number in sorted(self.subscribers):
            mine = [record for record in self.connections if record.subscriber == number]
            gaps = [gap for gap in self.gaps if gap == number]
            yield _Group(self.technique, self.browser, {number: self.subscribers[number]}, mine, gaps)


@dataclass(frozen=True, slots=True)
class _Tally:
    """What one subscriber got, each event once."""

    received: int  # with events that the run did not publish: their bytes are in the ledger too
    events: int
    lost: int
    duplicated: int
    out_of_order: int
    conflated: int
    latencies_ms: list[float]


def _groups(run: Run) -> list[_Group]:
    groups: dict[tuple[str, bool], _Group] = {}

    def group(technique: str, browser: bool = False) -> _Group:
        return groups.setdefault((technique, browser), _Group(technique, browser, {}, [], []))

    for technique in run.settings.get("techniques") or ():
        group(technique)
    for record in run.ledger.of():
        group(record.technique).connections.append(record)
        group(record.technique).subscribers.setdefault(record.subscriber, [])
    names = ("technique", "client", "subscriber", "topic", "event_id", "scheduled", "conflated", "latency_ms")
    columns = (run.deliveries[name].tolist() for name in names)
    for technique, client, subscriber, topic, event_id, scheduled, conflated, latency_ms in zip(*columns, strict=True):
        arrival = _Arrival(topic, event_id, scheduled or run.foreign, conflated, latency_ms)
        group(technique, client == "browser").subscribers.setdefault(subscriber, []).append(arrival)
    for gap in run.missing:
        group(gap["technique"], gap.get("client") == "browser").gaps.append(gap.get("subscriber", 0))
    for known in groups.values():
        if not known.browser:
            _add_silent(known.subscribers, run.settings.get("subscribers") or 1)
    return list(groups.values())


def _add_silent(subscribers: dict[int, list[_Arrival]], count: int) -> None:
    """Put in the subscribers that neither connected nor received anything: they have lost everything."""
    for number in range(count):
        if len(subscribers) < count:
            subscribers.setdefault(number, [])


def _tally(arrivals: list[_Arrival], published: set[tuple[str, int]]) -> _Tally:
    seen: set[tuple[str, int]] = set()
    skipped: set[tuple[str, int]] = set()
    newest: dict[str, int] = {}
    first: list[_Arrival] = []
    duplicated = out_of_order = 0
    for arrival in arrivals:
        topic, event_id = arrival.topic, arrival.event_id
        skipped.update((topic, event_id - i) for i in range(1, arrival.conflated + 1))
        if (topic, event_id) in seen:
            duplicated += arrival.counts
            continue
        out_of_order += arrival.counts and event_id < newest.get(topic, 0)
        newest[topic] = max(event_id, newest.get(topic, 0))
        seen.add((topic, event_id))
        first.append(arrival)
    conflated = (skipped & published) - seen
    counted = [arrival for arrival in first if arrival.counts]
    latencies_ms = [arrival.latency_ms for arrival in counted if not math.isnan(arrival.latency_ms)]
    lost = len(published - seen - conflated)
    return _Tally(len(first), len(counted), lost, duplicated, out_of_order, len(conflated), latencies_ms)


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


def _by_column(given: Any) -> dict[str, list[Any]]:
    """Rows, columns or a frame, as lists by column: pandas would make floats of the integers beside a None."""
    if isinstance(given, Mapping) or hasattr(given, "columns"):
        return {name: list(given[name]) for name in given}
    rows = list(given)
    return {name: [row.get(name) for row in rows] for name in COLUMNS} if rows else {}


def _column(values: list[Any] | None, name: str) -> Any:
    import pandas as pd

    dtype, default = COLUMNS[name], _DEFAULTS.get(name)
    if values is None:
        values = []
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


def _pack(run: Run) -> dict[str, Any]:
    ledger = {"keep_bytes": run.ledger.keep_bytes, "connections": [_pack_record(c) for c in run.ledger.connections]}
    return {
        "format": FORMAT,
        "published": [[*key, value] for key, value in run.published.items()],
        **{name: getattr(run, name) for name in _PACKED},
        "ledger": base64.b64encode(zlib.compress(json.dumps(ledger).encode())).decode(),
    }


_PACKED = ("settings", "floor_ms", "failures", "interrupted", "missing", "versions")


def _pack_record(record: ConnectionRecord) -> dict[str, Any]:
    plain = {f.name: getattr(record, f.name) for f in fields(record) if f.name not in ("transfers", "marks")}
    data = b"".join(transfer.data for transfer in record.transfers)
    return {
        **plain,
        "data": base64.b64encode(data).decode(),
        "transfers": [[t.t_ns, t.direction, t.start, len(t.data)] for t in record.transfers],
        "marks": [list(asdict(mark).values()) for mark in record.marks],
    }


def _unpack(frame: pd.DataFrame, packed: dict[str, Any]) -> Run:
    plain = json.loads(zlib.decompress(base64.b64decode(packed["ledger"])))
    ledger = Ledger(plain["keep_bytes"])
    ledger.connections = [_unpack_record(record) for record in plain["connections"]]
    published = {(topic, event_id): value for topic, event_id, value in packed["published"]}
    return Run(frame, published, ledger, **{name: packed[name] for name in _PACKED})


def _unpack_record(plain: dict[str, Any]) -> ConnectionRecord:
    known = {f.name for f in fields(ConnectionRecord)} - {"transfers", "marks"}
    own = {name: value for name, value in plain.items() if name in known}
    record = ConnectionRecord(**{**own, "local": tuple(plain["local"]), "remote": tuple(plain["remote"])})
    data, at = base64.b64decode(plain["data"]), 0
    for t_ns, direction, start, size in plain["transfers"]:
        record.transfers.append(Transfer(t_ns, direction, start, data[at : at + size]))
        at += size
    record.marks.extend(Mark(*values) for values in plain["marks"])
    return record
