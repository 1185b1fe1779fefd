"""The same stream asked in two ways at once: by another address (rows 1 and 2), with another Accept (row 5).

The same event is known by its id, else by what it says. Of a stream that is made anew for each request the time since
the request is compared, of one that all share the clock.
"""

from __future__ import annotations

from labkit.strangers.probe.finding import Finding
from labkit.strangers.probe.observation import TOGETHER_S, Event, Observation, Seen
from labkit.strangers.probe.remedies import UNBUFFER, lines
from labkit.strangers.probe.rules.at_once import came_at_once

FLOWING = 3
"""Arrivals of a stream that flows, at least."""
LEAST_S = 0.2
"""What a hop adds before it is called held."""


SMALL_WRITE_S = 0.25
"""For so long Linux holds a write that is said to have more behind it (MSG_MORE: 200 ms), or that is small (Nagle)."""


def matched(one: Observation, other: Observation) -> list[tuple[Event, Event]]:
    """The events that both have, once each."""
    theirs: dict[str, Event] = {}
    for event in other.events:
        theirs.setdefault(event.key, event)
    found, used = list[tuple[Event, Event]](), set[str]()
    for event in one.events:
        if event.key in theirs and event.key not in used:
            used.add(event.key)
            found.append((event, theirs[event.key]))
    return found


def delays_s(held: Observation, direct: Observation) -> list[float]:
    """How much later each event of both came in *held*.

    Where both begin with the same event, the stream is made anew for each request, and its time counts from there.
    """
    pairs = matched(held, direct)
    if not pairs:
        return []
    is_made_anew = held.events[0].key == direct.events[0].key
    later_s = 0.0 if is_made_anew else held.started_s - direct.started_s
    return [mine.t_s - theirs.t_s + later_s for mine, theirs in pairs]


def is_held(held: Observation, direct: Observation) -> tuple[bool, str]:
    """Whether one has nothing where the other flows, or has it late and in lumps; and the sentence that says so."""
    if direct.head_s is None or len(direct.groups) < FLOWING or came_at_once(direct):  # it does not flow either
        return False, ""
    since_s = held.started_s - direct.started_s
    times = [event.t_s for event in direct.events if since_s <= event.t_s <= since_s + held.end_s]
    meanwhile, count = len({round(t_s / TOGETHER_S) for t_s in times}) >= FLOWING, len(times)
    if held.head_s is None and held.end == "silent":
        return meanwhile, f"no head within {held.end_s:.1f} s, where the other had {count} events by then"
    if held.kind != direct.kind:  # another answer, and none that is held
        return False, ""
    if not held.events and held.status == 200:
        return meanwhile, f"no event within {held.end_s:.1f} s, where the other had {count}"
    delays = delays_s(held, direct)
    if len(delays) < 2:
        return False, ""
    most, least = max(delays), min(delays)
    spread = held.events[-1].t_s - held.events[0].t_s
    if most >= LEAST_S and (came_at_once(held) or len(held.groups) * 2 <= len(direct.groups)):
        return True, (f"{len(delays)} events matched: {1000 * least:.0f} to {1000 * most:.0f} ms later, in "
                      f"{len(held.groups)} lumps over {spread:.1f} s and not in {len(direct.groups)}")  # fmt: skip
    return False, ""


def other_type(seen: Seen) -> Finding | None:
    """Row 15: an event stream behind the hop, and something else here."""
    first, also = seen.first, seen.others.get("also")
    if also is None or also.kind != "event-stream" or (first.status, first.kind) != (200, "whole"):
        return None
    kind = first.headers.get("content-type", "(none)")
    return Finding(
        15, "seen", f"{also.address} answers with an event stream, and {first.address} with {kind}: an EventSource "
        "refuses that for good", (f"Content-Type: {kind}", f"it begins {first.words[:60]!r}"),
        remedy=("pass this path on to the server of the stream, its Content-Type as it is",),
    )  # fmt: skip


def other_hop_holds(seen: Seen) -> Finding | None:
    """Rows 1 and 2, decided by --also."""
    first, also = seen.first, seen.others.get("also")
    if also is None:
        return None
    held, how = is_held(first, also)
    if not held:
        return None
    delays = sorted(delays_s(first, also))
    if first.head_s is not None and delays and delays[int(0.9 * len(delays))] <= SMALL_WRITE_S:
        return Finding(
            23, "consistent with", f"a hop between {first.address} and {also.address} lets events wait, none for "
            "longer than a small write may", (how,),
            ("a hop that lets small writes wait for an acknowledgement or for 200 ms (row 23): HAProxy by default",
             "a small buffer (row 1)"),
            ("haproxy.cfg, defaults:  option http-no-delay;   elsewhere TCP_NODELAY", *lines(UNBUFFER, first)),
        )  # fmt: skip
    obeyed = "x-accel-buffering" in also.headers
    asked = ("the address behind says X-Accel-Buffering: no, and it is held all the same: another hop between does not "
             "see it, as behind an nginx that obeys it and removes it (row 2: proxy_pass_header X-Accel-Buffering)",
             ) if obeyed else ()  # fmt: skip
    coded = first.is_coded and not also.is_coded
    row = 3 if coded else 2 if obeyed else 1
    bytes_ = f"{sum(p.size for p in first.pieces)} bytes here, {sum(p.size for p in also.pieces)} there"
    same = _same_type(first, also)
    remedy = lines(UNBUFFER, first)
    if obeyed:
        remedy = ("the inner nginx:  proxy_pass_header X-Accel-Buffering;", *remedy)
    who = f"a hop between {first.proxy or first.address} and {also.address}"
    if first.proxy and first.address == also.address:
        who = f"the proxy {first.proxy}, or a hop that is on its way alone,"
    return Finding(
        row, "seen", f"{who} holds the stream back",
        (how, bytes_, f"{also.address}: head after {also.head_s:.2f} s, first event after {also.events[0].t_s:.2f} s",
         *same, *asked),
        remedy=remedy,
    )  # fmt: skip


def _same_type(first: Observation, also: Observation) -> tuple[str, ...]:
    """A type with a parameter is none that is compared as a whole string (row 5)."""
    kind = also.headers.get("content-type", "")
    if ";" in kind:
        return (f"its Content-Type is {kind!r}: a hop that compares types as whole strings takes it for no event "
                "stream (row 5)",)  # fmt: skip
    return ()


def held_by_accept(seen: Seen) -> Finding | None:
    """Row 5: another Accept, and it flows."""
    asked, other = seen.others.get("beside", seen.first), seen.others.get("accept")
    if other is None:
        return None
    for held, flows in ((asked, other), (other, asked)):
        is_so, how = is_held(held, flows)
        if is_so:
            return Finding(
                5, "seen", f"held with Accept: {held.request.get('Accept')}, not with "
                f"{flows.request.get('Accept')}", (how,),
                remedy=("send exactly  Accept: text/event-stream  (EventSource does), or make the hop stream whatever "
                        "type it is",),
            )  # fmt: skip
    return None
