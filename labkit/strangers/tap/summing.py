"""What a tap has seen, in a table and a few sentences, for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from labkit.measuring.quantiles import quantile
from labkit.measuring.rounding import counted, rounded
from labkit.strangers.tap.exchanges import OTHER, TUNNEL, Seen, by_route, reconnections
from labkit.strangers.tap.named import EVENTS, POLLS, SOCKET
from labkit.strangers.tap.reading import READ
from labkit.strangers.tap.telling import HOW, OTHER_SIDE, ending, seconds
from labkit.wire.codings import brought_by
from labkit.wire.http1 import printable
from labkit.wire.spans import MAX_HELD_BYTES

HEADS = ("technique", "path", "exchanges", "connections", "events", "first ms", "p50 ms", "max ms", "heartbeats",
         "payload B", "other B", "sent")  # fmt: skip
STALLED_S = 10.0
STALLED_TIMES = 5
TOGETHER_NS = 100_000_000
MOST_OTHERS = 4
_MOST = 8


def rows(found: Sequence[Seen]) -> list[tuple[str, ...]]:
    """A row for each technique and path, other requests last and in one row where they are many: see :data:`HEADS`.

    ``first`` is the median from a request to its first event, ``p50`` and ``max`` are between events.
    """
    routes = by_route(found)
    others = [path for technique, path in routes if technique in (OTHER, TUNNEL)]
    if len(others) > MOST_OTHERS:
        for name in (OTHER, TUNNEL):
            alike = [seen for (technique, _), each in routes.items() if technique == name for seen in each]
            paths = len({seen.path for seen in alike})
            routes = {key: each for key, each in routes.items() if key[0] != name}
            if alike:
                routes[name, f"({counted(paths, 'path')})" if name == OTHER else f"({counted(paths, 'server')})"] = (
                    alike
                )
    ordered = sorted(routes.items(), key=lambda item: item[0][0] in (OTHER, TUNNEL))
    return [_row(technique, path, alike) for (technique, path), alike in ordered]


def _row(technique: str, path: str, alike: list[Seen]) -> tuple[str, ...]:
    firsts = sorted((s.events[0]["t_ns"] - s.asked_ns) / 1e6 for s in alike if s.events and s.asked_ns >= 0)
    if technique in POLLS:
        times = [[entry["t_ns"] for seen in alike for entry in seen.events]]
    else:
        times = [[entry["t_ns"] for entry in seen.events] for seen in alike]
    between = sorted((b - a) / 1e6 for each in times for a, b in pairwise(sorted(each)))
    payload = sum(seen.sizes.get("payload", 0) for seen in alike)
    other = sum(sum(seen.sizes.values()) for seen in alike) - payload
    figures = [quantile(firsts, 0.5), quantile(between, 0.5), between[-1] if between else float("nan")]
    counts = [len(alike), len({seen.connection for seen in alike}), sum(len(seen.events) for seen in alike)]
    ends = [
        sum(len(seen.beats) + len(seen.pings) for seen in alike),
        payload,
        other,
        sum(len(seen.sent) for seen in alike),
    ]
    told = ["-" if figure != figure else rounded(figure) for figure in figures]
    return technique, printable(path, 40), *map(str, counts), *told, *map(str, ends)


def table(heads: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """For a terminal: the first two columns to the left."""
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    lines = [[text.ljust(w) if i < 2 else text.rjust(w) for i, (text, w) in enumerate(zip(row, widths, strict=True))]
             for row in [heads, *cells]]  # fmt: skip
    return "\n".join("  ".join(line).rstrip() for line in lines)


def notes(found: Sequence[Seen], now_ns: int) -> list[str]:
    """What to know beside the table: ends, returns, silences.

    Args:
        now_ns: until when it was seen, from the beginning.
    """
    return [
        *_ends(found),
        *_half_ended(found, now_ns),
        *_returns(found),
        *_jumps(found),
        *_silences(found, now_ns),
        *_unread(found),
    ]


def _streams(found: Iterable[Seen]) -> list[Seen]:
    return [seen for seen in found if seen.technique not in (OTHER, TUNNEL, *POLLS)]


def _some(said: list[str]) -> list[str]:
    more = len(said) - _MOST
    return [*said[:_MOST], f"... and {more} more like these."] if more > 0 else said


def _ends(found: Sequence[Seen]) -> list[str]:
    said = [
        f"#{seen.number} {printable(seen.path, 40)}: {ending(seen)}." for seen in _streams(found) if not seen.is_open
    ]
    lost = [f"#{seen.number} {seen.method} {printable(seen.path, 40)}: no answer; {ending(seen)}."
            for seen in found if not seen.is_open and not seen.status]  # fmt: skip
    return _some(said) + _some(lost)


def _half_ended(found: Sequence[Seen], now_ns: int) -> list[str]:
    said = [
        f"#{seen.number} {printable(seen.path, 40)}: open; {HOW[seen.fin_by]} {seconds(now_ns - seen.fin_ns)} ago, "
        f"and the {OTHER_SIDE[seen.fin_by]} has not ended its side."
        for seen in found
        if seen.is_open and seen.fin_by
    ]
    return _some(said)


def _returns(found: Sequence[Seen]) -> list[str]:
    pairs = reconnections(found)
    said = []
    for before, after in pairs:
        text = f"#{after.number} comes back for #{before.number}, {seconds(after.asked_ns - before.ended_ns)} later"
        if EVENTS in (before.technique, after.technique):
            text += f", {_resumed(before, after)}"
        if after.status >= 400 or (after.status and after.status not in (200, 101)):
            text += f"; answered {after.status}"
        said.append(text + ".")
    starts = sorted(after.asked_ns for _, after in pairs)
    together = max((sum(0 <= t - one < TOGETHER_NS for t in starts) for one in starts), default=0)
    if together >= 3 and together > len(pairs) / 2:
        said.append(f"{together} of {len(pairs)} came back within {TOGETHER_NS // 1_000_000} ms of each other.")
    return _some(said)


def _resumed(before: Seen, after: Seen) -> str:
    held, sent = before.newest_id, after.last_event_id
    if held is None and sent is None:
        return "without a Last-Event-ID: no event had an id"
    if sent is None:
        return f"without a Last-Event-ID, though {printable(str(held), 40)} had come"
    first = next((entry["id"] for entry in after.events if entry.get("id")), None)
    then = f", and the first event then was {printable(first, 40)}" if first else ""
    differs = f" (the newest that had come: {printable(held, 40)})" if held is not None and held != sent else ""
    return f"with Last-Event-ID {printable(sent, 40)}{differs}{then}"


def _jumps(found: Sequence[Seen]) -> list[str]:
    """Where ids that else count by one leave some out, or come again."""
    said = []
    for seen in _streams(found):
        numbers = [(entry.get("id") or "").partition("@")[0] for entry in seen.events]
        if not all(number.isascii() and number.isdigit() and len(number) < 19 for number in numbers):
            continue
        steps = [(int(a), int(b)) for a, b in pairwise(numbers)]
        odd = [(a, b) for a, b in steps if b != a + 1]
        if odd and 2 * len(odd) < len(steps):
            jumps = ", ".join(f"from {a} to {b}" for a, b in odd[:3]) + (", ..." if len(odd) > 3 else "")
            said.append(f"#{seen.number} {printable(seen.path, 40)}: ids jump {jumps}.")
    return _some(said)


def _silences(found: Sequence[Seen], now_ns: int) -> list[str]:
    said = []
    for seen in _streams(found):
        until = now_ns if seen.is_open else seen.ended_ns
        silent = until - seen.heard_ns if seen.heard_ns >= 0 else 0
        between = sorted(b["t_ns"] - a["t_ns"] for a, b in pairwise(seen.events))
        usual = between[len(between) // 2] if between else 0
        if seen.is_open and silent > max(STALLED_S * 1e9, STALLED_TIMES * usual):
            said.append(f"#{seen.number} {printable(seen.path, 40)}: open, and nothing has come for {seconds(silent)}.")
        elif seen.longest_ns > max(STALLED_S * 1e9, STALLED_TIMES * usual):
            said.append(
                f"#{seen.number} {printable(seen.path, 40)}: stalled for {seconds(seen.longest_ns)}, then went on."
            )
    return _some(said)


def _unread(found: Sequence[Seen]) -> list[str]:
    said = []
    for seen in found:
        name, passed = f"#{seen.number} {printable(seen.path, 40)}", sum(entry["bytes"] for entry in seen.pieces)
        if seen.unread:
            said.append(
                f"{name}: coded in {printable(seen.unread, 20)}, which is not read here{brought_by(seen.unread)}."
            )
        elif passed and (seen.kind in READ or seen.technique == SOCKET):
            said.append(
                f"{name}: {passed} B were of items over {MAX_HELD_BYTES >> 20} MiB, and are not read as events."
            )
    return _some(said)
