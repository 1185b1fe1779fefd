"""What the latency charts read from a run: one row per technique, what theory expects of it, the axis for all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from labkit import style

DRAWN = 1500  # dots a technique; more add ink and megabytes, not sight
LINEAR_UP_TO = 5.0  # slowest over fastest


@dataclass(frozen=True)
class Row:
    """One technique of a run: its scheduled deliveries with a latency, and what theory expects (ms)."""

    technique: str
    deliveries: pd.DataFrame
    low_ms: float | None = None
    expected_ms: float | None = None
    high_ms: float | None = None
    trouble: str = ""

    @property
    def latency_ms(self) -> pd.Series[float]:
        return self.deliveries["latency_ms"]

    @property
    def mean_ms(self) -> float:
        return float(self.latency_ms.mean())


def rows_of(run: Any) -> list[Row]:
    frame = run.deliveries
    frame = frame[frame["scheduled"].astype(bool) & frame["latency_ms"].notna()]
    frame = frame.assign(technique=frame["technique"].where(frame["client"] != "browser", frame["technique"] + style.BROWSER))
    seen = list(dict.fromkeys(frame["technique"]))
    order = [t for t in run.settings.get("techniques", ()) if t in seen or _failure(run, t)]
    rows = []
    for technique in order + [t for t in seen if t not in order]:
        mine = frame[frame["technique"] == technique]
        low, mean, high = _expected(run, technique)
        rows.append(Row(technique, mine, low, mean, high, _trouble(run, technique)))
    return rows


def _failure(run: Any, technique: str) -> str:
    return str((getattr(run, "failures", None) or {}).get(technique, ""))


def _trouble(run: Any, technique: str) -> str:
    summary = run.summary()
    summary = summary.set_index("technique") if "technique" in summary else summary
    if technique not in summary.index:
        return _failure(run, technique)
    row = summary.loc[technique]
    counts = [f"{int(row[key])} {word}" for key, word in (("lost", "lost"), ("duplicated", "twice")) if row.get(key, 0)]
    return ", ".join(counts + ([f"failed: {_failure(run, technique)}"] if _failure(run, technique) else []))


def _expected(run: Any, technique: str) -> tuple[float | None, float | None, float | None]:
    """Least, mean and greatest latency that theory expects, in ms; None where there is no theory."""
    from labkit import models

    settings = run.settings
    schedule = settings.get("schedule") or {}
    schedule = {**schedule, **(schedule.get("settings") or {})}
    poisson = schedule.get("poisson", schedule.get("name") == "poisson")
    theory = models.expect(
        technique.removesuffix(style.BROWSER),
        one_way_s=settings.get("one_way_s") or 0.0,
        poll_interval_s=settings.get("poll_interval_s") or 1.0,
        rate_per_s=schedule.get("rate_per_s") if poisson else None,
        hold_s=settings.get("hold_s") or 30.0,
        fresh_connections=not settings.get("keep_alive", True),
    )
    if theory is None:
        return None, None, None
    low, mean, high = (None if v is None else v * 1e3 for v in (theory.min_s, theory.mean_s, theory.max_s))
    return low, mean, high


def one_way_ms(run: Any) -> float:
    return float(run.settings.get("one_way_s") or 0.0) * 1e3


def latency_axis(rows: Sequence[Row], *, most_ticks: int = 9, more: Sequence[float] = ()) -> dict[str, Any]:
    """Range and ticks that hold every delivery, every expectation and *more*; logarithmic where that is needed."""
    values = [v for row in rows for v in (row.latency_ms.min(), row.latency_ms.max(), row.low_ms, row.high_ms)]
    values += more
    values = [v for v in values if v is not None and math.isfinite(v) and v > 0] or [1.0, 10.0]
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


def drawn_of(frame: pd.DataFrame) -> pd.DataFrame:
    """At most DRAWN deliveries: every k-th, and the slowest whatever its place."""
    if len(frame) <= DRAWN:
        return frame
    kept = frame.iloc[:: math.ceil(len(frame) / DRAWN)]
    slowest = frame.loc[[frame["latency_ms"].idxmax()]]
    return pd.concat([kept, slowest]).drop_duplicates(["event_id", "subscriber"]).sort_index()


def thinned(rows: Sequence[Row]) -> str:
    total, shown = sum(len(r.deliveries) for r in rows), sum(len(drawn_of(r.deliveries)) for r in rows)
    return "" if shown == total else f"{style.number(shown)} of {style.number(total)} deliveries drawn"


def conditions(run: Any, rows: Sequence[Row]) -> str:
    """Under what the run was made, and what of it is drawn."""
    settings = run.settings
    events = max((int(row.deliveries["event_id"].nunique()) for row in rows), default=0)
    said = [f"{style.number(events)} events"]
    schedule = settings.get("schedule") or {}
    rate = {**schedule, **(schedule.get("settings") or {})}.get("rate_per_s")
    said[0] += f" at {style.number(rate)} per second ({schedule.get('name', 'in all')})" if rate else ""
    if any(row.technique.startswith("polling") for row in rows) and settings.get("poll_interval_s"):
        said.append(f"a poll every {style.seconds(settings['poll_interval_s'])}")
    said += [f"one transit {style.ms(one_way_ms(run))}"] if one_way_ms(run) > 0 else ["no delay injected"]
    return ", ".join(said + ([thinned(rows)] if thinned(rows) else []))


def identity(frame: pd.DataFrame) -> list[list[Any]]:
    return frame[["event_id", "technique", "subscriber"]].to_numpy().tolist()
