"""A lab behind the hop, and events of the probe's own: rows 1 and 7 are decided by one address."""

from __future__ import annotations

from labkit.strangers.probe.finding import Finding, Note
from labkit.strangers.probe.observation import Seen
from labkit.strangers.probe.remedies import UNBUFFER, lines
from labkit.strangers.probe.rules.compared import LEAST_S


def latencies_s(seen: Seen) -> list[float]:
    """From each POST to its event, of those that came."""
    found = list[float]()
    for event in seen.first.events:
        posted = [t_s for said, t_s in seen.published.items() if f'{said}"' in f'{event.said}"']
        found += [event.t_s - t_s for t_s in posted]
    return found


def held_on_the_way(seen: Seen) -> Finding | None:
    """Row 1: the lab has sent at once, and it came late, in lumps, or not at all."""
    if len(seen.published) < 3:
        return None
    first, latencies = seen.first, latencies_s(seen)
    due = [t_s for t_s in seen.published.values() if t_s < first.end_s - LEAST_S]
    if not latencies and len(due) > 2 and first.status in (0, 101, 200):
        how = "not even a head" if first.head_s is None else f"a head after {first.head_s:.2f} s and no event"
        return Finding(1, "seen", f"a hop before the lab holds the stream: {len(due)} events published, none came",
                       (f"{len(due)} POSTs were answered by the lab behind it; {how} within {first.end_s:.1f} s",),
                       remedy=lines(UNBUFFER, first))  # fmt: skip
    if not latencies or sorted(latencies)[len(latencies) // 2] < LEAST_S:
        return None
    if len(first.groups) * 2 > len(latencies):
        return None
    return Finding(
        1, "seen", "a hop before the lab holds the stream, and lets it go in lumps",
        (f"{len(latencies)} events of {len(seen.published)} published came in {len(first.groups)} lumps, "
         f"{1000 * min(latencies):.0f} to {1000 * max(latencies):.0f} ms after their own POST",),
        remedy=lines(UNBUFFER, first),
    )  # fmt: skip


def exact(seen: Seen) -> Note | None:
    """What each event took."""
    latencies = sorted(latencies_s(seen))
    if not latencies:
        return None
    middle, most = 1000 * latencies[len(latencies) // 2], 1000 * latencies[-1]
    return Note(0, f"{len(seen.published)} events published through it, {len(latencies)} came: {middle:.1f} ms after "
                f"their own POST (median), {most:.1f} ms at most")  # fmt: skip
