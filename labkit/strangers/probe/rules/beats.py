"""Heartbeats that are sent and do not come: row 11. Decided by ``--also``."""

from __future__ import annotations

from collections.abc import Sequence

from labkit.strangers.probe.finding import Finding
from labkit.strangers.probe.observation import TOGETHER_S, Observation, Seen
from labkit.strangers.probe.remedies import UNBUFFER, lines
from labkit.strangers.probe.rules.compared import LEAST_S, matched

FEWEST = 3


def heartbeats_kept(seen: Seen) -> Finding | None:
    """Row 11: events cross the hop, and heartbeats stay in it, or come with the next event."""
    first, also = seen.first, seen.others.get("also")
    if also is None or first.kind != also.kind or not matched(first, also):
        return None
    until_s = first.end_s + first.started_s - also.started_s - LEAST_S
    sent = [t for t in also.heartbeats if t < until_s]
    alone, came = _alone(also, sent), _alone(first, first.heartbeats)
    if len(alone) < FEWEST or len(alone) * 2 < len(sent) or came:
        return None
    how = "none came here" if not first.heartbeats else f"{len(first.heartbeats)} came here, each with the next event"
    return Finding(
        11, "seen", f"events cross the hop between {first.address} and {also.address}, heartbeats do not",
        (f"{len(sent)} heartbeats came from {also.address} within {until_s:.1f} s; {how}",
         f"here {len(first.events)} events, and a silence of {max(first.gaps_s, default=0.0):.1f} s"),
        remedy=("send larger heartbeats (a comment of some kilobytes), or events in their place", *lines(
            UNBUFFER, first)),
    )  # fmt: skip


def _alone(one: Observation, beats: Sequence[float]) -> list[float]:
    """Those that did not arrive together with an event."""
    return [t for t in beats if all(abs(event.t_s - t) > TOGETHER_S for event in one.events)]
