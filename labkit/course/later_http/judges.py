"""The checks of 14_later_http: S7, S9, L11b, H1 to H7."""

from __future__ import annotations

from labkit.claims import confidence
from labkit.claims.confidence import Verdict
from labkit.claims.finding import Finding, NoVerdict
from labkit.claims.judging import EARLY, LEAST_EVENTS, TOLERANCE, Part, ends, finding, refined, said
from labkit.claims.values import shown
from labkit.course.later_http.both_versions import SameStream
from labkit.course.later_http.ends import Endings
from labkit.course.later_http.marks import NEW, OLD
from labkit.course.later_http.not_run import of_what_ran
from labkit.course.later_http.page_streams import SIX, ManyStreams, Page
from labkit.course.later_http.price import BROWSER, KIT, Price
from labkit.course.later_http.settings_said import FirstWords
from labkit.course.later_http.standing_still import STREAMS, Stalled
from labkit.course.later_http.tabs_sharing import LEADER, OWN, SharedTabs
from labkit.course.later_http.windows import EVENTS, PATIENCE_S, Windows, starves

SLACK = 2
"""Polls: a cursor that grows by a digit fills the table sooner."""
LITTLE = 0.25
"""Of HTTP/1.1's bytes of headers: more than that is not next to nothing."""


@of_what_ran
def later_versions_stream(seen: SameStream) -> Finding:
    """S7: over HTTP/2 every event comes, in order, after one transit, told from half of one more or less.

    ``measured``: the median latency over HTTP/2.
    """
    n, d = len(seen.published), seen.one_way_s
    if n < LEAST_EVENTS:
        raise NoVerdict("undecided", f"{n} events are too few", n)
    parts = []
    for name, ids in seen.got.items():
        lost, twice = len(set(seen.published) - set(ids)), len(ids) - len(set(ids))
        whole = list(ids) == list(seen.published)
        parts.append(said(whole, f"{name}: {n} events in order", f"{name}: {lost} lost, {twice} twice or out of order"))
    chunked = seen.fields[NEW].get("transfer-encoding", "")
    parts.append(said(not chunked, "no chunks over HTTP/2", f"over HTTP/2: transfer-encoding: {chunked}"))
    if not seen.latency_s[NEW]:
        return finding([*parts, Part("undecided", f"{NEW}: no event has a latency")], n, d)
    median = confidence.median_interval(list(seen.latency_s[NEW]))
    text = f"{NEW}: median {shown(median.value, 's')}, {ends(median)} at 99.8 %, theory {shown(d, 's')}"
    low, high = (1 - EARLY) * d, (1 + TOLERANCE) * d + seen.timers_s
    busy = seen.timers_s > d / 5
    verdict = "undecided" if busy else confidence.agrees(median, low, high, d / 2, 1.5 * d)
    parts.append(Part(verdict, text, f"this machine is too busy: timers are {shown(seen.timers_s, 's')} late" * busy))
    found = finding(parts, n, d, median)
    return refined(found, "in HTTP/2, as the DATA frames of one stream: neither EOF nor chunks exist there")


@of_what_ran
def the_seventh_waits(seen: ManyStreams) -> Finding:
    """S9: six streams of a page begin over HTTP/1.1 and the next when one ends; over HTTP/2 a hundred begin.

    ``measured``: how many of the hundred began over HTTP/2.
    """
    if seen.recorded or not seen.pages:
        raise NoVerdict("not run", seen.why)
    old, new = seen.pages[OLD], seen.pages[NEW]
    if (old.protocol, new.protocol) != ("http/1.1", "h2"):
        raise NoVerdict("not run", f"the browser spoke {old.protocol!r} and {new.protocol!r}")
    begun = {name: len(page.began_s) for name, page in seen.pages.items()}
    parts = [
        _begun(old, OLD, SIX, least=0),
        said(old.next_s is not None, "another one when one has ended", "none when one had ended"),
        _begun(new, NEW, new.asked, least=SIX + 1),
    ]
    lead = (
        f"{seen.browser}: {begun[OLD]} of {old.asked} streams begin over {OLD}, {begun[NEW]} of {new.asked} over {NEW}"
    )
    return finding(parts, old.asked + new.asked, new.asked, begun[NEW], "streams", lead=lead)


def _begun(page: Page, version: str, wanted: int, least: int) -> Part:
    """Fewer than are wanted may be a slow machine's; more, or hardly any, are not."""
    count = len(page.began_s)
    verdict: Verdict = "confirmed" if count == wanted else "undecided" if least <= count < wanted else "refuted"
    return Part(verdict, f"{count} of {page.asked} streams begin over {version}")


@of_what_ran
def tabs_share(seen: SharedTabs) -> Finding:
    """L11b: tabs that share lose nothing when the one that leads is closed; over HTTP/2 they share by themselves.

    ``measured``: connections of three tabs over HTTP/2.
    """
    if not seen.ways:
        raise NoVerdict("not run", seen.why)
    parts = []
    for name, way in seen.ways.items():
        for tab, ids in way.got.items():
            lost, twice = len(set(way.published) - set(ids)), len(ids) - len(set(ids))
            parts.append(said(ids == way.published, f"{tab}: {len(ids)} events", f"{tab}: {lost} lost, {twice} twice"))
        parts.append(said(len(way.got) == 2, f"{name}: two tabs stayed"))
    leaders, shared = seen.ways[LEADER].leaders, seen.ways[OWN]
    parts.append(said(leaders == 2, "the next tab led when the first was closed", f"{leaders} tabs led"))
    parts.append(said(shared.protocol == "h2", "over HTTP/2", f"over {shared.protocol}"))
    count = shared.connections
    if count is None:
        parts.append(Part("undecided", "nobody can say how many connections there were"))
    else:
        parts.append(said(count == 1, f"{count} connection of all tabs", f"{count} connections of all tabs"))
    lead = "with a leader over HTTP/1.1, and by the browser itself over HTTP/2: none lost when a tab is closed"
    return finding(parts, sum(len(way.got) for way in seen.ways.values()), 1, count, "connections", lead=lead)


@of_what_ran
def an_end_is_an_end(seen: Endings) -> Finding:
    """H1: over HTTP/2 a body that ended is silent and one that broke off is not, to every client; a server that gives
    up a body keeps the connection.

    ``measured``: endings that were tried over HTTP/2.
    """
    parts = []
    for how, silent in (("end", True), ("give up", False), ("cut", False)):
        cases = seen.of("HTTP/2", how)  # type: ignore[arg-type]
        parts += [] if cases else [Part("undecided", f"over HTTP/2 nobody was tried on this: {how}")]
        for case in cases:
            text = f"{case.client}, {how}: {case.said or 'silent'}"
            parts.append(said(bool(case.said) is not silent, text, text))
            if case.again is not None and how != "cut":
                parts.append(said(case.again, f"{case.client}, {how}: the connection goes on"))
    fooled = [case for case in seen.of("EOF", "cut") if not case.said]
    parts.append(said(bool(fooled), "by EOF a cut is taken for the end", "by EOF a cut was told"))
    kept = " and leaves the connection" * any(case.again is not None for case in seen.of("HTTP/2", "give up"))
    lead = f"END_STREAM ends a body, RST_STREAM breaks it off{kept}: by EOF both look alike"
    tried = sum(case.framing == "HTTP/2" for case in seen.cases)
    return finding(parts, len(seen.cases), None, tried, "endings", lead=lead)


@of_what_ran
def headers_nearly_vanish(seen: Price) -> Finding:
    """H2: from the second poll on a request costs what theory says, and headers together a quarter at the most.

    ``measured``: bytes of headers of the last poll over HTTP/2, both ways, with a browser's fields.
    """
    parts, n = [], 0
    for fields in (KIT, BROWSER):
        later = seen.polls[fields, NEW][1:]
        usual = [one for one in later if one.request == one.theory]
        n, again, due = n + len(later) + 1, seen.resent(fields), seen.forgets_at[fields]
        text = f"{fields}: {later[-1].request} bytes of a later request, theory {later[-1].theory}"
        parts.append(said(len(usual) + len(again) == len(later), text, f"{text}; some cost less"))
        text = f"{fields}: sent again by polls {', '.join(map(str, again)) or 'none'}; theory: from poll {due} on"
        rare = len(again) <= len(later) // (due - SLACK) and all(number >= due - SLACK for number in again)
        parts.append(said(rare and (bool(again) or due + SLACK > len(later)), text, text))
    first, last, old = seen.polls[BROWSER, NEW][0], seen.polls[BROWSER, NEW][-1], seen.polls[BROWSER, OLD][-1]
    left = seen.share_left(BROWSER)
    parts.append(said(left < LITTLE, f"{left:.0%} of HTTP/1.1's headers are left"))
    found = finding(parts, n, None, last.both, "bytes")
    return refined(
        found,
        f"from the second poll on, and with many fields: of {old.both} bytes {last.both} are left, of this kit's few "
        f"fields {seen.share_left(KIT):.0%}; the first poll costs {first.both}",
    )


@of_what_ran
def windows_keep_streams_apart(seen: Windows) -> Finding:
    """H3: a stream starves exactly where its unread siblings hold the whole window of the connection.

    ``measured``: connections in which it starved.
    """
    if seen.late_s > PATIENCE_S / 2:
        raise NoVerdict("undecided", f"this machine is too busy: timers are {shown(seen.late_s, 's')} late")
    parts = []
    for one in seen.siblings:
        text = f"{one.server}, {one.unread} not read, window {one.windows}: {one.held} of {EVENTS} events in time"
        parts.append(said(one.starved is starves(one.unread, one.windows, one.server), text, text))
        came = len(one.late_s)
        parts.append(said(came == EVENTS, f"all {EVENTS} in the end", f"{text}, {EVENTS - came} never came"))
    hungry = sum(one.starved for one in seen.siblings)
    expected = sum(starves(one.unread, one.windows, one.server) for one in seen.siblings)
    found = finding(parts, len(seen.siblings), expected, hungry, "connections")
    return refined(found, "where the window of the connection is larger than what unread streams can hold of it")


@of_what_ran
def one_loss_stops_all(seen: Stalled) -> Finding:
    """H4: a connection that stands still holds up all of its streams: one of ten over HTTP/1.1, ten over HTTP/2.

    ``measured``: streams held up, by version.
    """
    if seen.why:
        raise NoVerdict("not run", seen.why)
    if seen.timers_s > 0.4 * (seen.stuck_s - seen.one_way_s):
        raise NoVerdict("undecided", f"this machine is too busy: timers are {shown(seen.timers_s, 's')} late")
    stuck = {name: seen.stuck(name) for name in seen.late_s}
    parts = [
        said(stuck[NEW] == STREAMS, f"{stuck[NEW]} of {STREAMS} streams of one connection held up"),
        said(stuck[OLD] == 1, f"{stuck[OLD]} of {STREAMS} on connections of their own"),
    ]
    found = finding(parts, 2 * STREAMS, {OLD: 1, NEW: STREAMS}, stuck, "streams")
    if seen.real:
        return found
    return refined(
        found, "a relay made the connection stand still, which is what a lost packet looks like", "illustrated"
    )


@of_what_ran
def push_reaches_no_page(seen: FirstWords) -> Finding:
    """H5: refuted by a browser that refuses promises in its first frame.

    ``measured``: ENABLE_PUSH, by client.
    """
    said_by = {words.client: float(words.value("ENABLE_PUSH") or 0) for words in seen.heard}
    browser = [words for words in seen.heard if "Chrome" in words.client]
    if not browser:
        raise NoVerdict("not run", seen.missing.get("Chrome", "no browser was asked"))
    refuses = browser[0].value("ENABLE_PUSH") == 0
    text = f"{browser[0].client} says ENABLE_PUSH = {browser[0].value('ENABLE_PUSH')}"
    verdict: Verdict = "refuted" if refuses else "undecided"
    return finding([Part(verdict, text)], len(seen.heard), None, said_by, "")
