"""What the latency charts read from a run: one row per technique, what theory expects of it, the axis for all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from labkit.charts import style
from labkit.measuring.natures import Natures
from labkit.measuring.rounding import counted
from labkit.measuring.settings import DIALS
from labkit.measuring.tallies import BROWSER
from labkit.theory import Mark, Silent

DRAWN = 600  # dots a technique; more add ink and megabytes, not sight
LINEAR_UP_TO = 5.0  # slowest over fastest


@dataclass(frozen=True)
class Row:
    """One technique of a run: its scheduled deliveries with a latency, and what theory expects (ms)."""

    technique: str
    natures: Natures
    deliveries: pd.DataFrame
    low_ms: float | None = None
    expected_ms: float | None = None
    high_ms: float | None = None
    trouble: str = ""
    timed: bool = True
    """False against a server that is not ours: when events were due is unknown, ``latency_ms`` is the interval."""

    @property
    def short(self) -> str:
        return self.natures.short(self.technique)

    @property
    def mark(self) -> Mark:
        return self.natures.mark(self.technique)

    @property
    def measure(self) -> str:
        """What ``latency_ms`` is."""
        return "latency" if self.timed else "interval"

    @property
    def moment(self) -> str:
        """What ``due_ns`` is the time of."""
        return "due" if self.timed else "received"

    @property
    def latency_ms(self) -> pd.Series[float]:
        return self.deliveries["latency_ms"]

    @property
    def mean_ms(self) -> float:
        return float(self.latency_ms.mean())


def rows_of(run: Any) -> list[Row]:
    frame = run.deliveries
    frame = frame[frame["scheduled"].astype(bool) | frame["due_ns"].isna()]
    timed = not getattr(run, "foreign", False) and (bool(frame["latency_ms"].notna().any()) or frame.empty)
    frame = frame if timed else _with_intervals(frame)
    frame = frame[frame["latency_ms"].notna()]
    frame = frame.assign(technique=frame["technique"].where(frame["client"] != "browser", frame["technique"] + BROWSER))
    seen = list(dict.fromkeys(frame["technique"]))
    rows, troubles, natures = [], _troubles(run), Natures(run.settings)
    order = [t for t in run.settings.get("techniques", ()) if t in seen or troubles.get(t)]
    for technique in order + [t for t in seen if t not in order]:
        mine = frame[frame["technique"] == technique]
        low, mean, high = _expected(natures, technique) if timed else (None, None, None)
        rows.append(Row(technique, natures, mine, low, mean, high, troubles.get(technique, ""), timed))
    return rows


def _failure(run: Any, technique: str) -> str:
    return str((getattr(run, "failures", None) or {}).get(technique, ""))


def _troubles(run: Any) -> dict[str, str]:
    """What went wrong, in a word or two, by technique."""
    summary = run.summary()
    words = {"lost": "lost", "duplicated": "twice", "out_of_order": "out of order"}
    told = {}
    for technique, row in summary.iterrows():
        counts = [f"{int(row[key])} {word}" for key, word in words.items() if row.get(key, 0) > 0]
        told[str(technique)] = ", ".join(counts + (["failed"] if _failure(run, str(technique)) else []))
    return {**dict.fromkeys(run.failures or {}, "failed"), **told}


def _schedule(run: Any) -> dict[str, Any]:
    schedule = run.settings.get("schedule") or {}
    return {**(schedule.get("settings") or {}), **schedule}  # of a source that is off, the rate that is set is none


def _with_intervals(frame: pd.DataFrame) -> pd.DataFrame:
    """Where no latency can be known: the time since the subscriber's previous delivery in its place."""
    frame = frame.sort_values("received_ns")
    gaps = frame.groupby(["technique", "subscriber"])["received_ns"].diff() / 1e6
    return frame.assign(latency_ms=gaps, due_ns=frame["received_ns"])


def _expected(natures: Natures, technique: str) -> tuple[float | None, float | None, float | None]:
    """Least, mean and greatest latency that theory expects, in ms; None where there is no theory."""
    told = natures.expected(technique)
    if isinstance(told, Silent):
        return None, None, None
    return told.min_s * 1e3, told.mean_s * 1e3, told.max_s * 1e3


def group_name(rows: Sequence[Row]) -> str:
    """What to call several techniques at once."""
    return rows[0].natures.group([row.technique for row in rows])


def one_way_ms(run: Any) -> float:
    return float(run.settings.get("one_way_s") or 0.0) * 1e3


def latency_axis(rows: Sequence[Row], *, most_ticks: int = 9, more: Sequence[float] = ()) -> dict[str, Any]:
    """Range and ticks that hold every delivery, every expectation and *more*; logarithmic where that is needed."""
    candidates = [row.low_ms for row in rows] + [row.high_ms for row in rows] + list(more)
    for row in (row for row in rows if len(row.deliveries)):
        candidates += [float(row.latency_ms.min()), float(row.latency_ms.max())]
    values = [v for v in candidates if v is not None and math.isfinite(v) and v > 0] or [1.0, 10.0]
    low, high = max(min(values), max(values) / 1e5), max(values)
    if high / low <= LINEAR_UP_TO:
        return {"type": "linear", "range": [0, high * 1.08]}
    low, high = low / 1.25, high * 1.15
    ticks = style.log_ticks(low, high, most_ticks)
    return {
        "type": "log",
        "range": [math.log10(low), math.log10(high)],
        "tickvals": ticks,
        "ticktext": [style.number(t) for t in ticks],
    }


def floor_of(axis: dict[str, Any]) -> float:
    """The least value that the axis can show; a logarithmic one has no place for 0, which is drawn at its edge."""
    return float(10.0 ** axis["range"][0]) if axis["type"] == "log" else -math.inf


def expected_on(axis: dict[str, Any], row: Row) -> tuple[float, float, float] | None:
    """Where the axis shows the least, mean and greatest value that theory expects; None without theory."""
    if row.expected_ms is None:
        return None
    low, high = (row.expected_ms if v is None else v for v in (row.low_ms, row.high_ms))
    floor = floor_of(axis)
    return max(low, floor), max(row.expected_ms, floor), max(high, floor)


def nothing_timed(run: Any) -> str:
    """The title where no delivery has anything to show."""
    return "Too few deliveries for an interval" if getattr(run, "foreign", False) else "No delivery has a latency"


def drawn_of(frame: pd.DataFrame) -> pd.DataFrame:
    """At most DRAWN deliveries: every k-th, and the slowest whatever its place."""
    if len(frame) <= DRAWN:
        return frame
    kept = frame.iloc[:: math.ceil(len(frame) / DRAWN)]
    slowest = frame.loc[[frame["latency_ms"].idxmax()]]
    return pd.concat([kept, slowest]).drop_duplicates(["topic", "event_id", "subscriber"]).sort_index()


def thinned(rows: Sequence[Row]) -> str:
    total, shown = sum(len(r.deliveries) for r in rows), sum(len(drawn_of(r.deliveries)) for r in rows)
    return "" if shown == total else f"{style.number(shown)} of {counted(total, 'delivery', style.number(total))} drawn"


def conditions(run: Any, rows: Sequence[Row]) -> str:
    """Under what the run was made, and what of it is drawn."""
    settings, schedule, natures = run.settings, _schedule(run), Natures(run.settings)
    events = max((len(row.deliveries[["topic", "event_id"]].drop_duplicates()) for row in rows), default=0)
    said = [counted(events, "event", style.number(events))]
    if schedule.get("rate_per_s"):
        process = str(schedule.get("name", "")).replace("poisson", "Poisson")
        said[0] += f" at {style.number(schedule['rate_per_s'])} per second, {process}".rstrip(", ")
    if any(natures.kind(row.technique) == "poll" for row in rows) and settings.get("poll_interval_s"):
        said.append(f"a poll every {style.seconds(settings['poll_interval_s'])}")
    if all(row.timed for row in rows):  # of the way to somebody else's server nothing is known
        said += [f"one transit {style.ms(one_way_ms(run))}"] if one_way_ms(run) > 0 else ["no delay injected"]
    said += [thinned(rows)] if thinned(rows) else []
    changed = dict.fromkeys(name for change in settings.get("changes", ()) for name in change if name != "t_s")
    names = style.joined(DIALS[name].label if name in DIALS else name for name in changed)
    said = [", ".join(said), *([f"{names} changed during the run"] if changed else [])]
    failed = [f"{natures.short(technique)} failed: {why}"[:70] for technique, why in (run.failures or {}).items()]
    return "; ".join([*said, *failed])


def identity(frame: pd.DataFrame) -> list[list[Any]]:
    return [list(row) for row in zip(frame["event_id"], frame["technique"], frame["subscriber"], strict=True)]
