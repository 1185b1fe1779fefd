"""Which exchange before a proxy is which one behind it, and which event which: two taps' logs on one clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from labkit.strangers.tap.exchanges import Seen, exchanges_of
from labkit.strangers.tap.log import Entry

EARLIER_NS = 50_000_000
LATER_NS = 10_000_000_000
"""A request of the same name is taken for the other one if it was seen behind no earlier, and no later, than this."""


@dataclass(slots=True, eq=False)
class Side:
    """One tap's log.

    Attributes:
        origin_ns: what is added to its times to have both sides' on one clock.
        until_ns: its last happening.
    """

    name: str
    head: dict[str, Any]
    exchanges: list[Seen]
    origin_ns: int
    until_ns: int

    def at(self, t_ns: int) -> int:
        return self.origin_ns + t_ns


@dataclass(slots=True, eq=False)
class Pair:
    """One exchange on both sides, and its events: on the client's side and on the server's.

    Attributes:
        lags_ns: of each event that is on both, from the server's side to the client's, in order.
        missing: those that never came out.
        added: those that only the client's side has.
    """

    near: Seen
    far: Seen
    both: list[tuple[Entry, Entry]]
    missing: list[Entry]
    added: list[Entry]
    lags_ns: list[int]


def sides(a: tuple[dict[str, Any], list[Entry]], b: tuple[dict[str, Any], list[Entry]]) -> tuple[Side, Side, bool]:
    """Both logs, and whether they are on one clock: else they are brought together by the time of day."""
    clocks = a[0].get("clock"), b[0].get("clock")
    is_one = bool(clocks[0]) and clocks[0] == clocks[1]
    found = []
    for name, (head, entries) in zip("AB", (a, b), strict=True):
        started = (
            head["started_ns"] if is_one else round(datetime.fromisoformat(head["started"]).timestamp() * 1e6) * 1000
        )
        until_ns = max((entry["t_ns"] for entry in entries), default=0)
        found.append(Side(name, head, exchanges_of(entries), started, until_ns))
    return found[0], found[1], is_one


def pairs(near: Side, far: Side) -> tuple[list[Pair], list[Seen], list[Seen]]:
    """The exchanges of both, and those of either alone."""
    left = deque(far.exchanges)
    found: list[Pair] = []
    alone: list[Seen] = []
    for seen in near.exchanges:
        best = max(left, key=lambda other: _alike(near, seen, far, other), default=None)
        if best is None or not _alike(near, seen, far, best)[0]:
            alone.append(seen)
            continue
        left.remove(best)
        found.append(matched(near, seen, far, best))
    return found, alone, [*left]


def _alike(near: Side, seen: Seen, far: Side, other: Seen) -> tuple[bool, int, bool, bool, int]:
    later_ns = far.at(other.asked_ns) - near.at(seen.asked_ns)
    common = len({_key(entry) for entry in seen.events} & {_key(entry) for entry in other.events})
    named = seen.method == other.method and seen.path == other.path
    in_time = -EARLIER_NS <= later_ns <= LATER_NS
    possible = seen.method == other.method and in_time and (named or common > 0)
    return possible, common, seen.target == other.target, named, -abs(later_ns)


def _key(entry: Entry) -> tuple[Any, ...]:
    return entry.get("id"), entry.get("digest", entry["bytes"])


def matched(near: Side, seen: Seen, far: Side, other: Seen) -> Pair:
    """The pair of these two: each event of the one with the first like it of the other."""
    waiting: dict[tuple[Any, ...], deque[Entry]] = {}
    for entry in seen.events:
        waiting.setdefault(_key(entry), deque()).append(entry)
    both: list[tuple[Entry, Entry]] = []
    missing: list[Entry] = []
    for entry in other.events:
        alike = waiting.get(_key(entry))
        if alike:
            both.append((alike.popleft(), entry))
        else:
            missing.append(entry)
    lags = [near.at(out["t_ns"]) - far.at(went_in["t_ns"]) for out, went_in in both]
    added = [entry for alike in waiting.values() for entry in alike]
    return Pair(seen, other, both, missing, added, lags)


def in_order(a: Side, b: Side) -> tuple[Side, Side, bool]:
    """The client's side first: there events are later and requests earlier. True where they were given otherwise."""
    there, back = (_sense(one, other) for one, other in ((a, b), (b, a)))
    return (b, a, True) if back > there else (a, b, False)


def _sense(near: Side, far: Side) -> int:
    """How much says that *near* is the client's side."""
    found = pairs(near, far)[0]
    events: Sequence[int] = [lag for pair in found for lag in pair.lags_ns]
    asked = [far.at(pair.far.asked_ns) - near.at(pair.near.asked_ns) for pair in found]
    return sum(lag > 0 for lag in events) - sum(lag < 0 for lag in events) + sum((t > 0) - (t < 0) for t in asked)
