"""What refutes a claim whatever it is about: a run whose own subscribers were not told each event once, in order.

A duplicate, an event out of order, one that was lost and of which no gap was told, one that came when it cannot have or
in an answer that nobody asked for, a subscriber that failed. Nothing of that is the machine's doing, however busy it
is. Where an experiment provokes one of them on purpose, its claim says so (``Claim.provokes``).

Of a page only what it told counts: whoever shows it may leave at any time, and what it missed then is not lost.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from labkit.claims.judging import Part
from labkit.measuring.rounding import counted

if TYPE_CHECKING:
    from labkit.measuring.run import Run
    from labkit.measuring.tallies import Group

DUPLICATED, OUT_OF_ORDER, LOST, IMPOSSIBLE, FAILED = "twice", "out of order", "lost", "impossible", "failed"
KINDS = (DUPLICATED, OUT_OF_ORDER, LOST, IMPOSSIBLE, FAILED)
SOONER = 0.02
"""Share of d by which timers may be too fast: no transit is shorter than that."""
CLOCK_MS = 1.0
"""What a stamp may be before its time by rounding."""
_TIMES = ("technique", "client", "due_ns", "published_ns", "received_ns", "clock_error_ms")


def faults(seen: Any, provoked: frozenset[str] = frozenset()) -> list[Part]:
    """A part that refutes for each kind of fault and technique in the runs that an experiment gave.

    Args:
        seen: a run, or what holds runs in its fields.
        provoked: the kinds that the experiment provokes on purpose.
    """
    found = [fault for run in runs(seen) for kind, fault in _of(run) if kind not in provoked]
    return [Part("refuted", text) for text in dict.fromkeys(found)]


def runs(seen: Any) -> Iterator[Run]:
    """The runs in what an experiment gave, however deep they lie."""
    from labkit.measuring.run import Run

    if isinstance(seen, Run):
        yield seen
    elif is_dataclass(seen) and not isinstance(seen, type):
        for each in fields(seen):
            yield from runs(getattr(seen, each.name))
    elif isinstance(seen, tuple | list):
        for item in seen:
            yield from runs(item)
    elif isinstance(seen, Mapping):
        yield from runs(list(seen.values()))


def _of(run: Run) -> Iterator[tuple[str, str]]:
    from labkit.measuring.tallies import BROWSER, groups

    if run.foreign:
        return  # which events there were at somebody else's server is unknown
    for who, why in run.failures.items():
        if not why.startswith("not run"):
            yield FAILED, f"{who} failed: {why}"
    published = set(run.published)
    for group in groups(run):
        name = group.technique + (BROWSER if group.browser else "")
        tallies = group.tallied(published)
        if twice := sum(each.duplicated for each in tallies):
            yield DUPLICATED, f"{name}: {counted(twice, 'event')} came twice"
        if swapped := sum(each.out_of_order for each in tallies):
            yield OUT_OF_ORDER, f"{name}: {counted(swapped, 'event')} out of order"
        if lost := _lost(run, group, published):
            yield LOST, f"{name}: {counted(lost, 'event')} lost, and no gap told"
    yield from _impossible(run)
    yield from _unasked(run)


def lost_untold(run: Run, technique: str) -> int:
    """How many events the technique's own subscribers lost of which no gap told; none where nobody could tell."""
    from labkit.measuring.tallies import groups

    published = set(run.published)
    return sum(_lost(run, group, published) for group in groups(run, technique))


def _lost(run: Run, group: Group, published: set[tuple[str, int]]) -> int:
    """How many of what was published never came, was not conflated, and lies in no gap that was told."""
    never_ran = group.technique in run.failures and not (group.connections or any(group.subscribers.values()))
    if group.browser or run.interrupted or never_ran:
        return 0
    lost = 0
    for number, arrivals in group.subscribers.items():
        left = published - {(a.topic, a.event_id - i) for a in arrivals for i in range(a.conflated + 1)}
        told = [gap for gap in run.missing if (gap["technique"], gap.get("subscriber", 0)) == (group.technique, number)]
        lost += sum(not any(_in_gap(gap, *event) for gap in told) for event in left)
    return lost


def _in_gap(gap: Mapping[str, Any], topic: str, event_id: int) -> bool:
    """Whether a gap told that this event is missing; of another epoch it tells of everything before its next."""
    after, _, epoch = str(gap.get("after", "")).partition("@")
    is_of_this = after.isdigit() and (not epoch or str(gap.get("cursor", "")).endswith(f"@{epoch}"))
    first = int(after) + 1 if is_of_this else 0
    return bool(gap.get("topic", "") == topic and first <= event_id < gap["next"])


def _impossible(run: Run) -> Iterator[tuple[str, str]]:
    """What cannot have been: sooner than one transit after it was published, before it was due, after the run."""
    from labkit.measuring.tallies import BROWSER

    is_steady = run.settings.get("steady", True)  # else d was another one for some of them
    transit_ns = float(run.settings.get("one_way_s") or 0.0) * 1e9 * (1 - SOONER) * is_steady
    ended_ns = run.started_ns + float(run.settings.get("duration_s") or math.inf) * 1e9
    found = Counter[tuple[str, str]]()
    for technique, client, due_ns, published_ns, received_ns, error_ms in _rows(run, *_TIMES):
        page, error_ns = client == "browser", (CLOCK_MS + (error_ms or 0.0)) * 1e6
        least_ns = -error_ns if page else transit_ns  # a page need not come through the link
        name = technique + BROWSER * page
        found[name, "that came too early to be true"] += received_ns - published_ns < least_ns
        found[name, "published before being due"] += published_ns < due_ns - CLOCK_MS * 1e6
        found[name, "that came after the run was over"] += page and received_ns > ended_ns + error_ns
    for (name, what), count in found.items():
        if count:
            yield IMPOSSIBLE, f"{name}: {counted(count, 'event')} {what}"


def _rows(run: Run, *names: str) -> Iterator[Any]:
    """Those columns of what the run itself published."""
    frame = run.deliveries
    frame = frame[frame["scheduled"].astype(bool) & frame["published_ns"].notna()]
    given = (frame[name].tolist() if name in frame else [0.0] * len(frame) for name in names)
    return zip(*given, strict=True)


def _unasked(run: Run) -> Iterator[tuple[str, str]]:
    """More answers with events than requests, of techniques that get events by asking."""
    from labkit.measuring.natures import Natures

    natures, frame = Natures(run.settings), run.deliveries
    frame = frame[frame["client"] != "browser"].drop_duplicates(["technique", "subscriber", "topic", "received_ns"])
    for technique, answers in frame["technique"].value_counts().items():
        asked = sum(record.requests for record in run.ledger.of(str(technique)))
        if natures.kind(str(technique)) in ("poll", "hold") and asked < answers:
            yield IMPOSSIBLE, f"{technique}: {counted(answers, 'answer')} with events to {counted(asked, 'request')}"
