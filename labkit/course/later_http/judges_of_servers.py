"""The checks of 14_later_http about real servers: H6, a reload, and H7, the version at the edge."""

from __future__ import annotations

from labkit.claims.finding import Finding, NoVerdict
from labkit.claims.judging import Part, finding, refined, said
from labkit.course.later_http.fronts import EVENTS, STREAMS, Front, Fronts
from labkit.course.later_http.marks import NEW, OLD
from labkit.course.later_http.not_run import of_what_ran
from labkit.course.later_http.reloading import Drain, Drained


@of_what_ran
def goaway_drains(seen: Drained) -> Finding:
    """H6: an HTTP/2 client is told of a reload and moves, and nothing is lost; over HTTP/1.1 it is told nothing.

    ``measured``: from the reload until the stream went on over the new connection.
    """
    if not seen.clients:
        raise NoVerdict("not run", seen.why)
    old, new = seen.clients[OLD], seen.clients[NEW]
    parts = [
        said(bool(new.told), f"{NEW}: {new.told}", f"{NEW}: nothing was said"),
        *(_whole(name, one) for name, one in seen.clients.items()),
        _worker(f"{NEW}: the old worker has ended", new.gone, True),
        _worker(f"{OLD}: told {old.told or 'nothing'}, its old worker lives on", old.gone, False),
    ]
    lead = f"{seen.server}: told by GOAWAY the client moved, none lost and none twice, and the old worker ended"
    return finding(parts, len(new.published), None, new.moved_s, lead=lead)


def _whole(name: str, one: Drain) -> Part:
    lost, twice = len(set(one.published) - set(one.got)), len(one.got) - len(set(one.got))
    return said(one.got == one.published, f"{name}: {len(one.got)} in order", f"{name}: {lost} lost, {twice} twice")


def _worker(text: str, gone: bool | None, wanted: bool) -> Part:
    return Part("undecided", f"{text}: nobody can say") if gone is None else said(gone is wanted, text)


@of_what_ran
def the_edge_is_not_the_path(seen: Fronts) -> Finding:
    """H7: at the edge many streams share a connection; behind it each has its own, and a buffer stays a buffer.

    ``measured``: connections to the lab for twenty streams, by program.
    """
    if not seen.fronts:
        raise NoVerdict("not run", "; ".join(seen.missing.values()) or "no program was tried")
    parts = [part for front in seen.fronts for part in _front(front)]
    up = {front.name: float(front.up) for front in seen.fronts if front.up is not None}
    found = finding(parts, len(seen.fronts), STREAMS, up, "connections")
    return refined(found, f"for the browser's six; behind the edge {STREAMS} streams are as many connections as "
                          "before, and what held a stream back still does")  # fmt: skip


def _front(front: Front) -> list[Part]:
    text = f"{front.name}: {front.carried} of {STREAMS} streams on one connection"
    parts = [said(front.carried == STREAMS, text, text)]
    if front.up is None:
        parts.append(Part("undecided", f"{front.name}: nobody can say how many connections it had to the lab"))
    else:
        text = f"{front.name}: {front.up} connections to the lab"
        parts.append(said(front.up == STREAMS, text, text))
    flows = {http: came > 0 for http, came in front.held.items()}
    text = f"{front.name} by default: {front.held[1]} of {EVENTS} in time over {OLD}, {front.held[2]} over {NEW}"
    return [*parts, said(flows[1] is flows[2], text, text)]
