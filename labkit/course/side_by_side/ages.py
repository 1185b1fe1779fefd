"""How old is the newest value (A9): event rates swept across what a link can carry, with and without conflation."""

from __future__ import annotations

from collections.abc import Sequence

from labkit.course.side_by_side.seen_ages import AgePoint, Ages, age_blocks, expected_age_s
from labkit.errors import LabkitError
from labkit.lab.lab import Lab
from labkit.measuring import schedules
from labkit.measuring.measurement import measure
from labkit.measuring.run import Run
from labkit.network.link import Link
from labkit.techniques import Technique, find

STREAMS = ("sse", "websocket")
NEWEST = ", newest only"
ENVELOPE_BYTES = 45
BLOCKS = 24
SETTLE_S = 8.0
SEND_BUFFER_BYTES = 64 << 10
"""Of each connection of the server: what a kernel has taken can no longer be conflated, and grows by itself to 4 MB."""


def ages(
    loads: Sequence[float] = (0.6, 1.4, 2.0),
    *,
    rate_bytes_per_s: float = 1e6,
    payload_bytes: int = 25_000,
    duration_s: float = 2.0,
    one_way_s: float = 0.05,
    poll_interval_s: float = 0.5,
    seed: int = 8,
    progress: bool = True,
) -> Ages:
    """One run for each event rate, in a lab of its own that keeps every event for a slow subscriber.

    Args:
        loads: event rates, as multiples of what the link can carry.
        rate_bytes_per_s: of the link, for each subscriber.

    Raises:
        LabkitError: a parameter that is not above 0.
    """
    if not loads or min(*loads, rate_bytes_per_s, payload_bytes, duration_s, poll_interval_s) <= 0 or one_way_s < 0:
        raise LabkitError(
            f"loads={tuple(loads)}, rate_bytes_per_s={rate_bytes_per_s:g}, payload_bytes={payload_bytes}, "
            f"duration_s={duration_s:g}, poll_interval_s={poll_interval_s:g}: expected numbers above 0"
        )
    event_bytes = float(payload_bytes + ENVELOPE_BYTES)
    points: list[AgePoint] = []
    with Lab("newest value", slow="unbounded", history_bytes=64 << 20, send_buffer_bytes=SEND_BUFFER_BYTES) as lab:
        for load in loads:
            rate_per_s = round(load * rate_bytes_per_s / event_bytes, 1)
            schedule = schedules.poisson(rate_per_s, duration_s, payload_bytes, seed)
            run = measure(
                lab,
                _everyone(),
                schedule,
                through=Link(one_way_s=one_way_s, rate_bytes_per_s=rate_bytes_per_s),
                poll_interval_s=poll_interval_s,
                settle_s=SETTLE_S + duration_s * max(loads),
                keep_bytes=0,
                progress=progress,
            )
            points += _points(run, rate_per_s, rate_bytes_per_s / event_bytes, duration_s)
    settings = {**run.settings, "loads": list(loads), "duration_s": duration_s, "payload_bytes": payload_bytes}
    return Ages(tuple(points), rate_bytes_per_s, event_bytes, one_way_s, settings)


def _everyone() -> list[Technique]:
    streams = [find(name) for name in STREAMS]
    return [*streams, *(stream.variant(stream.name + NEWEST, conflate=True) for stream in streams), find("polling")]


def _points(run: Run, rate_per_s: float, capacity_per_s: float, duration_s: float) -> list[AgePoint]:
    summary, found = run.summary(), []
    stop_ns = run.started_ns + int(duration_s * 1e9)
    due_ns = [due for due, _ in run.published.values()]
    theory_s = expected_age_s(due_ns, capacity_per_s, run.settings["one_way_s"], run.started_ns, stop_ns)
    for name in run.settings["techniques"]:
        frame = run.deliveries[(run.deliveries["technique"] == name) & run.deliveries["scheduled"]]
        arrivals = list(zip(frame["received_ns"].tolist(), frame["due_ns"].tolist(), strict=True))
        row, technique = summary.loc[name], name.removesuffix(NEWEST)
        found.append(
            AgePoint(
                technique,
                technique != name,
                rate_per_s,
                age_blocks(arrivals, run.started_ns, stop_ns, BLOCKS),
                theory_s if name in STREAMS else float("nan"),
                sum(record.bytes_total for record in run.ledger.of(name)) / duration_s,
                int(row["events"]),
                int(row["conflated"]),
                int(row["lost"]),
            )
        )
    return found
