"""``labkit tap --compare A B``: what the proxy between two taps did, A on the client's side and B on the server's.

Not here: what it did to events that neither side could read, as in a coding that is unknown here; such a pair says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import Any

from labkit.measuring.quantiles import quantile
from labkit.measuring.rounding import counted
from labkit.strangers.tap.exchanges import OTHER, Seen
from labkit.strangers.tap.log import Entry
from labkit.strangers.tap.pairing import Pair, Side, in_order, pairs, sides
from labkit.strangers.tap.telling import seconds
from labkit.wire.codings import brought_by
from labkit.wire.http1 import printable

LATE_NS = 50_000_000
"""What a proxy on the same machine or network takes is below this; more is told as late."""
CLOSE_NS = 20_000_000
"""Two things that come within this are taken for one."""
_EXPECTED = frozenset(
    "host via date server keep-alive transfer-encoding forwarded x-forwarded-for x-forwarded-host x-forwarded-proto "
    "x-forwarded-port x-forwarded-server x-real-ip x-request-id x-envoy-upstream-service-time "
    "x-envoy-expected-rq-timeout-ms".split()
)
"""Fields that every proxy adds or changes, or that are of one hop alone."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that is otherwise on the two sides.

    Attributes:
        kind: ``late``, ``one late``, ``merged``, ``missing``, ``added``, ``unlike``, ``heartbeats``, ``end``,
            ``request``, ``answer``, ``never reached``, ``not read``.
        near, far: numbers of its exchanges; 0 where there is none.
    """

    kind: str
    text: str
    near: int
    far: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two taps saw of one conversation.

    Attributes:
        differences: in the order of the exchanges.
        pairs: how many exchanges were seen by both.
        notes: how it was compared.
        lines: all of it, for people.
    """

    differences: tuple[Difference, ...]
    pairs: int
    notes: tuple[str, ...]
    lines: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(self.lines)

    def _repr_html_(self) -> str:
        style = (
            "white-space:pre-wrap; word-break:normal; overflow-wrap:anywhere"  # JupyterLab breaks a pre inside words
        )
        return f"<pre style='{style}'>{escape(str(self))}</pre>"


def compare(a: tuple[dict[str, Any], list[Entry]], b: tuple[dict[str, Any], list[Entry]]) -> Comparison:
    """What came in at one tap and went out at the other.

    Args:
        a, b: settings and entries of each, as :func:`labkit.strangers.tap.log.read` gives them.
    """
    first, second, is_one = sides(a, b)
    near, far, turned = in_order(first, second)
    notes = [f"{near.name} is the client's side, {far.name} the server's."]
    if turned:
        notes[0] = f"{near.name} is the client's side, by its times, and {far.name} the server's."
    if not is_one:
        notes.append("Two clocks: by the time of day of each machine, so that lateness is told as well as these agree.")
    found, near_alone, far_alone = pairs(near, far)
    lines, differences = [*notes], list[Difference]()
    for pair in found:
        told = [Difference(kind, text, pair.near.number, pair.far.number) for kind, text in _told(near, far, pair)]
        differences += told
        lines += [_titled(near, far, pair), *(f"  {one.kind}: {one.text}" for one in told or ())]
        lines += [] if told else ["  as it went in, so it came out"]
        lines += [f"  {remark}" for remark in _remarks(near, far, pair)]
    for seen in near_alone:
        status = f"answered {seen.status}" if seen.status else "not answered"
        text = f"#{seen.number} {seen.method} {printable(seen.path, 60)} was {status} before the server's side"
        differences.append(Difference("never reached", text, seen.number, 0))
        lines.append(f"never reached: {text}")
    if far_alone:
        lines.append(
            f"{counted(len(far_alone), 'exchange')} of {far.name} alone: of other clients, or the proxy's own."
        )
    if not found and not near_alone:
        empty = [side.name for side in (near, far) if not side.exchanges]
        lines.append(f"{' and '.join(empty)} saw no exchange." if empty else "There is none that both have seen.")
    return Comparison(tuple(differences), len(found), tuple(notes), tuple(map(_shown, lines)))


def _shown(line: str) -> str:
    """A line as a terminal can have it: a file may say anything."""
    indent = len(line) - len(line.lstrip(" "))
    return line[:indent] + printable(line, 1000)


def _titled(near: Side, far: Side, pair: Pair) -> str:
    seen, other = pair.near, pair.far
    kind = seen.technique if seen.technique != OTHER else other.technique
    lag = f", {seconds(_median(pair.lags_ns))} between" if pair.lags_ns else ""
    spoken = seen.versions.get("request", ""), other.versions.get("request", "")
    lag += f"; {spoken[0]} in front, {spoken[1]} behind" if all(spoken) and spoken[0] != spoken[1] else ""
    return (
        f"{near.name} #{seen.number} = {far.name} #{other.number} {seen.method} {printable(seen.path, 60)} ({kind}): "
        f"{counted(len(other.events), 'event')} in, {len(seen.events)} out{lag}"
    )


def _median(values: list[int]) -> int:
    return int(quantile(sorted(values), 0.5))


def _told(near: Side, far: Side, pair: Pair) -> Iterator[tuple[str, str]]:
    yield from _fields(pair)
    unread = pair.near.unread or pair.far.unread
    if unread:
        said = f"one side has the coding {printable(unread, 20)}, whose events cannot be read here"
        yield "not read", said + brought_by(unread)
    else:
        yield from _times(near, far, pair)
        yield from _events(near, far, pair)
    yield from _ends(near, far, pair)


# -- heads -----------------------------------------------------------------------------------------------------------


def _fields(pair: Pair) -> Iterator[tuple[str, str]]:
    sent, arrived = pair.near.request, pair.far.request
    if changes := _changes(sent, arrived, "did not go on", "was added"):
        yield "request", "; ".join(changes)
    if pair.near.status != pair.far.status and pair.far.status:
        (how, left_ns), asked_ns = pair.near.left, pair.near.asked_ns
        left = (
            f" in the {seconds(left_ns - asked_ns)} until the client left"
            if how.startswith("client") and not pair.near.status
            else ""
        )
        yield "answer", f"{pair.far.status} went in and {pair.near.status or 'nothing'} came out{left}"
    if changes := _changes(pair.far.response, pair.near.response, "did not come out", "was added"):
        yield "answer", "; ".join(changes)


def _changes(before: dict[str, str], after: dict[str, str], lost: str, added: str) -> list[str]:
    if not before or not after:
        return []
    found = []
    for name in sorted((before.keys() | after.keys()) - _EXPECTED):
        old, new, title = before.get(name), after.get(name), name.title()
        if name == "connection" and "upgrade" not in f"{old} {new}".lower():
            continue  # it is of one hop (RFC 9110 section 7.6.1), and only what asks for a change of protocol matters
        if new is None:
            found.append(f"{title} ({printable(old or '', 40)}) {lost}")
        elif old is None:
            found.append(f"{title} ({printable(new, 40)}) {added}")
        elif old != new:
            found.append(f"{title} was {printable(old, 40)}, and became {printable(new, 40)}")
    return found


# -- times -----------------------------------------------------------------------------------------------------------


def _times(near: Side, far: Side, pair: Pair) -> Iterator[tuple[str, str]]:
    seen, other = pair.near, pair.far
    if seen.answered_ns >= 0 and other.answered_ns >= 0:
        head_ns = near.at(seen.answered_ns) - far.at(other.answered_ns)
        if head_ns > LATE_NS:
            yield "late", f"the head came out {seconds(head_ns)} after it had gone in"
    if not pair.lags_ns:
        return
    if _is_one_late(near, far, pair):
        yield "one late", f"each event came out when the next one went in, {seconds(_median(pair.lags_ns))} later"
    elif max(pair.lags_ns) > LATE_NS:
        late = sum(lag > LATE_NS for lag in pair.lags_ns)
        median, most = seconds(_median(pair.lags_ns)), seconds(max(pair.lags_ns))
        yield "late", f"{late} of {counted(len(pair.lags_ns), 'event')}: in the median {median}, at most {most}"
    went_in = len({entry["t_ns"] for _, entry in pair.both})
    came_out = len({entry["t_ns"] for entry, _ in pair.both})
    if came_out < went_in and max(pair.lags_ns) > LATE_NS:
        yield "merged", f"what went in in {counted(went_in, 'read')} came out in {came_out}"


def _is_one_late(near: Side, far: Side, pair: Pair) -> bool:
    """Whether event n came out as n + 1 went in, for all that have a next one."""
    if len(pair.both) < 3 or min(pair.lags_ns[:-1]) <= LATE_NS:
        return False
    following = zip(pair.both, pair.both[1:], strict=False)
    return all(abs(near.at(out["t_ns"]) - far.at(then["t_ns"])) < LATE_NS for (out, _), (_, then) in following)


# -- events ----------------------------------------------------------------------------------------------------------


def _events(near: Side, far: Side, pair: Pair) -> Iterator[tuple[str, str]]:
    seen, other = pair.near, pair.far
    left_ns = seen.left[1]
    until_ns = near.at(left_ns if left_ns >= 0 else near.until_ns)
    if seen.events and other.events and not pair.both:
        both = f"{counted(len(other.events), 'event')} went in and {len(seen.events)} came out"
        yield "unlike", f"{both}, none of them alike: changed, or two conversations"
        return
    in_time = [entry for entry in pair.missing if far.at(entry["t_ns"]) < until_ns - CLOSE_NS]
    if in_time:
        yield "missing", f"{counted(len(in_time), 'event')} went in and never came out: {_named(in_time)}"
    if pair.added:
        yield "added", f"{counted(len(pair.added), 'event')} came out and had not gone in: {_named(pair.added)}"
    beats = [entry for entry in other.beats if far.at(entry["t_ns"]) < until_ns - CLOSE_NS]
    pings = [entry for entry in other.pings if far.at(entry["t_ns"]) < until_ns - CLOSE_NS]
    for went_in, out, noun in ((len(beats), len(seen.beats), "heartbeat"), (len(pings), len(seen.pings), "ping")):
        if out < went_in:
            yield "heartbeats", f"{counted(went_in, noun)} went in, {out} came out"


def _named(entries: list[Entry]) -> str:
    names = [printable(entry["id"], 30) if entry.get("id") else f"one of {entry['bytes']} B" for entry in entries[:5]]
    return ", ".join(names) + (", ..." if len(entries) > 5 else "")


# -- ends ------------------------------------------------------------------------------------------------------------


def _ends(near: Side, far: Side, pair: Pair) -> Iterator[tuple[str, str]]:
    seen, other = pair.near, pair.far
    (how, out_ns), (far_how, in_ns) = seen.left, other.left
    if out_ns < 0 and in_ns < 0:
        return
    later_ns = near.at(out_ns) - far.at(in_ns)
    by_client = how.startswith("client")
    if out_ns < 0:
        if near.at(near.until_ns) - far.at(in_ns) > LATE_NS:
            yield "end", f"{_side(other, 'proxy', 'server')}, and the client was not told"
    elif in_ns < 0:
        if far.at(far.until_ns) - near.at(out_ns) > LATE_NS:
            yield "end", f"{_side(seen, 'client', 'proxy')}, and the server was not told: the connection to it stayed"
    elif by_client:
        if -later_ns > 20 * LATE_NS:
            yield "end", f"the client left, and the server was told {seconds(-later_ns)} later"
    elif far_how.startswith("client") and how != "whole":
        yield "end", f"the proxy ended both sides{_clocks(seen)}"
    else:
        yield from _ends_by_server(seen, other, later_ns)


def _ends_by_server(seen: Seen, other: Seen, later_ns: int) -> Iterator[tuple[str, str]]:
    if seen.how == "whole" and other.how == "server" and _ends_by_close(other):
        yield "end", "what only a FIN ended came out as a whole answer: so would one that was cut"
    elif seen.whole and not other.whole:
        yield "end", f"{_side(other, 'proxy', 'server')} before the answer was whole, and it came out as a whole one"
    elif other.whole and not seen.whole:
        yield "end", f"a whole answer came out cut: {_side(seen, 'client', 'proxy')}"
    elif seen.left[0] != other.left[0]:
        yield "end", f"{_side(other, 'proxy', 'server')}; {_side(seen, 'client', 'proxy')}"
    if later_ns > LATE_NS:
        yield "end", f"it came out {seconds(later_ns)} after it had gone in"


def _remarks(near: Side, far: Side, pair: Pair) -> Iterator[str]:
    """What is to be known of it that is none of the proxy's doing."""
    (how, out_ns), other = pair.near.left, pair.far
    if other.is_open and other.fin_by == "client":
        later_ns = far.at(other.fin_ns) - near.at(out_ns)
        lag = f" {seconds(max(later_ns, 0))} later" if how.startswith("client") else ""
        since = seconds(far.until_ns - other.fin_ns)
        yield f"open: the proxy sent FIN to the server{lag}, which has not ended its side in the {since} since"


def _ends_by_close(seen: Seen) -> bool:
    return not {"content-length", "transfer-encoding"} & seen.response.keys()


def _side(seen: Seen, client: str, server: str) -> str:
    """Who ended it, as one tap saw it: to it one side is the proxy."""
    ended = seen.left[0]
    if ended == "whole":
        return f"the {server} ended it whole"
    who, _, how = ended.partition(" ")
    name = {"client": client, "server": server}.get(who)
    return f"the {name} sent {'RST' if how == 'reset' else 'FIN'}" if name else f"a tap ended it ({ended})"


def _clocks(seen: Seen) -> str:
    ended_ns = seen.left[1]
    idle = f", {seconds(ended_ns - seen.heard_ns)} after the last that came" if seen.heard_ns >= 0 else ""
    return f"{idle}, {seconds(ended_ns - seen.asked_ns)} after the request"
