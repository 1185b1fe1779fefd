"""The checks of 04_server_sent_events: E1-E3, E5, E6.

The standard is written for browsers. What only the kit's own client shows is *illustrated* where client and rules are
by the same hands (E1, E3), *refined* where it was measured (E2), and *not run* where the claim is about a page (E6).
No check takes a slow machine for a broken rule: what came too late is undecided, what came and should not have come
refutes.
"""

from __future__ import annotations

from typing import Any

from labkit.claims import confidence
from labkit.claims.confidence import Interval, Verdict
from labkit.claims.finding import Finding, NoVerdict
from labkit.claims.judging import TOLERANCE, Part, ends, finding, refined, said, together
from labkit.claims.values import shown
from labkit.course.background import quantile
from labkit.course.sse.beats import Beats, Heartbeats
from labkit.course.sse.decoders import Conformance
from labkit.course.sse.event_bytes import Framing
from labkit.course.sse.giving_up import Ending, Endings
from labkit.course.sse.reconnections import Resumption, Returns
from labkit.course.sse.with_page import BROWSER, OURS
from labkit.measuring.rounding import counted
from labkit.webpage.settings import NO_PAGE

CLAIMED_BYTES = 5.0
EXCEPTIONS = 0.1
"""Share of the rules that a browser may break and still be said to keep them, but for those."""
LEAST_BEATS = 8
APART = 0.25
"""Share of a reconnection time that must be told apart."""


# E1


def every_rule(seen: Conformance) -> Finding:
    """E1. ``measured``: how many of the rules the page's EventSource keeps; without a page, labkit's decoder."""
    n = len(seen.rules)
    kept = {name: n - len(seen.wrong(name)) for name in seen.outcomes}
    others = [f"{name} {count} of {n}" for name, count in kept.items() if name not in (OURS, BROWSER)]
    others += [f"{name}: not run ({why})" for name, why in seen.missing.items() if name != BROWSER]
    judged = BROWSER if BROWSER in kept else OURS
    verdict, reason = _rules(seen, judged)
    holds = tuple(others)
    if verdict == "refined":
        holds = ("labkit's decoder keeps each rule", *others)
    elif verdict in ("refuted", "undecided"):
        reason, holds = "\n".join([reason, *others]), ()
    return Finding(float(n), float(kept[judged]), None, n, verdict, reason, "rules", holds)


def _rules(seen: Conformance, judged: str) -> tuple[Verdict, str]:
    if wrong := seen.wrong(OURS):
        return "refuted", f"labkit's decoder breaks {_listed(wrong)}"
    if judged == OURS:
        why = f"{BROWSER}: not run ({seen.missing.get(BROWSER, NO_PAGE)})"
        return "illustrated", f"labkit's decoder keeps each rule however the bytes are cut; {why}"
    wrong, name = seen.wrong(BROWSER), seen.settings.get("browser", "the browser")
    untold = [rule for rule in seen.rules if seen.outcomes[BROWSER][rule.key].whole is None]
    if untold:
        return "undecided", f"{name} did not tell in time about {_listed(untold)}"
    if not wrong:
        return "confirmed", f"{name} and labkit's decoder keep each rule however the bytes are cut"
    found = "\n".join(f"{rule.title} ({seen.outcomes[BROWSER][rule.key]})" for rule in wrong)
    verdict: Verdict = "refined" if len(wrong) <= EXCEPTIONS * len(seen.rules) else "refuted"
    return verdict, f"{name} keeps all but {len(wrong)}:\n{found}"


def _listed(rules: Any) -> str:
    return "; ".join(f"{rule.clause}: {rule.title}" for rule in rules)


# E2


def comes_back(seen: Resumption) -> Finding:
    """E2. ``measured``: the median time away, in seconds, for the middle one of the reconnection times."""
    returns, page = seen.returns, "sse (browser)" in seen.run.summary().index
    ours_s = returns.gaps_s[OURS]
    parts = [_gap(returns, retry_s, gaps_s) for retry_s, gaps_s in ours_s.items()]
    for client, resumed in returns.resumed.items():
        parts.append(said(resumed, f"{client}: each reconnection brought the last event id"))
    parts += [_replayed(seen.run, client) for client in ("sse", *(["sse (browser)"] if page else []))]
    told = f"{{}}\n{_of_browser(returns)}" if BROWSER in returns.gaps_s else "{}"
    retry_s = sorted(ours_s)[len(ours_s) // 2]
    found = finding(
        parts, sum(map(len, ours_s.values())), retry_s, confidence.median_interval(ours_s[retry_s]), reason=told
    )
    why = f"by the kit's own client; {BROWSER}: not run ({returns.why or NO_PAGE})"
    return found if page else refined(found, why)


def _gap(returns: Returns, retry_s: float, gaps_s: tuple[float, ...]) -> Part:
    median = confidence.median_interval(gaps_s)
    low_s, high_s = (1 - TOLERANCE) * retry_s, (1 + TOLERANCE) * retry_s
    verdict = confidence.agrees(median, low_s, high_s, (1 - APART) * retry_s, (1 + APART) * retry_s)
    text = f"retry {shown(retry_s, 's')}: back after {shown(median.value, 's')}, {ends(median)} at 99.8 %"
    late_s = quantile(returns.late_s, 0.95)
    if verdict == "refuted" and median.value > retry_s and late_s > TOLERANCE / 2 * retry_s:
        return Part("undecided", f"{text}; this machine is too busy: bare timers were {shown(late_s, 's')} late")
    return Part(verdict, f"{text}; too close to the edge to say" if verdict == "undecided" else text)


def _of_browser(returns: Returns) -> str:
    each = [
        f"{shown(confidence.median_interval(gaps_s).value, 's')} for {shown(retry_s, 's')}"
        for retry_s, gaps_s in returns.gaps_s[BROWSER].items()
        if gaps_s
    ]
    return f"{returns.browser}: {', '.join(each)}"


def _replayed(run: Any, client: str) -> Part:
    """All came over a cut that did break the connection.

    What came twice, or never came and of which no gap told, is a fault of any run; but not what a page missed.
    """
    row = run.summary().loc[client]
    page = client.endswith("(browser)")
    states = [state for told in run.settings.get("pages", ()) for state, _ in told["streams"].values()] if page else []
    text = f"{client}: {counted(row['events'], 'event')} over a cut link" + f", {row['lost']} lost" * page
    if run.interrupted or any(state != "subscribed" for state in states):
        return Part("undecided", f"{text}; the client was not back when the run ended")
    if not page and row["connections"] < 2:
        return Part("undecided", f"{text}; no connection was cut")
    return Part("refuted" if page and row["lost"] else "confirmed", text)


# E3

EXPECTED = {
    "204 at once": (1, 0),
    "200, then 204": (2, 1),
    "200 as text/plain": (1, 0),
    "500": (1, 0),
}
"""Requests and events, by the answer; any other is to go on."""
GOES_ON = 3
"""Requests by which a client shows that it would have asked again."""


def stops(seen: Endings) -> Finding:
    """E3. ``measured``: the most requests that any client made where it is to make one."""
    parts = [_ending(client, ending) for client, endings in seen.clients.items() for ending in endings]
    once = [e.requests for endings in seen.clients.values() for e in endings if EXPECTED.get(e.answer, (0, 0))[0] == 1]
    told = f"{seen.browser}: {{}}" if seen.browser else "{}"
    found = finding(parts, len(parts), 1.0, float(max(once)), "requests", told)
    why = f"by the kit's own client; {BROWSER}: not run ({seen.why})"
    return found if BROWSER in seen.clients else refined(found, why, "illustrated")


def _ending(client: str, ending: Ending) -> Part:
    text = f"{client}, {ending.answer}: {shown(ending.requests, 'requests')}, {shown(ending.events, 'events')}"
    if ending.answer not in EXPECTED:
        on = ending.requests >= GOES_ON and ending.events and not ending.given_up
        return Part("confirmed" if on else "undecided", f"{text}, {'goes on' if on else 'to go on'}")
    requests, events = EXPECTED[ending.answer]
    if ending.requests > requests or ending.events > events:
        return Part("refuted", f"{text}; expected {requests} and {events}")
    done = ending.given_up and (ending.requests, ending.events) == (requests, events)
    return Part("confirmed" if done else "undecided", text + ("" if done else "; it was not done in time"))


# E5


def five_bytes(seen: Framing) -> Finding:
    """E5. ``measured``: framing bytes per event of the barest stream whose events are dispatched."""
    least = [raw for raw, events in seen.shorter.items() if events]
    bare = ", ".join(f"{part} {count:g}" for part, count in seen.bare.items())
    lab = ", ".join(f"{part} {count:.3g}" for part, count in seen.lab.items())
    reason = f"the barest stream that is dispatched has {seen.bare_bytes:g} bytes of framing ({bare})"
    reason += f"\na lab's own has {seen.lab_bytes:.3g}, ids and chunks included ({lab})"
    if least:
        reason = f"an event comes of {least[0]!r} too\n{reason}"
    enough = bool(least) or seen.bare_bytes <= CLAIMED_BYTES
    exact = Interval(seen.bare_bytes, seen.bare_bytes, seen.bare_bytes, seen.events)
    return finding([said(enough, reason, reason)], seen.events, CLAIMED_BYTES, exact, "bytes")


# E6


def tells_nothing(seen: Heartbeats) -> Finding:
    """E6. ``measured``: mean time until a page's watchdog on named heartbeats notices a stalled link, in seconds."""
    page = {stream.kind: stream for stream in seen.streams if stream.client == BROWSER}
    kernel = {stream.kind: stream for stream in seen.streams if stream.client == OURS}
    if not page:
        raise NoVerdict("not run", f"{seen.why}\nan emulation in the kernel: {together(_parts(seen, kernel)).text}")
    noticed_s = [t for t in seen.noticed_s(page["named event"]) if t is not None]
    mean = confidence.mean_interval(noticed_s) if noticed_s else None
    expected_s = seen.watchdog_s - seen.beat_s / 2
    return finding(_parts(seen, page), len(seen.stalls_ns), expected_s, mean, reason=f"{seen.browser}: {{}}")


def _parts(seen: Heartbeats, of: dict[str, Beats]) -> list[Part]:
    comment, named = of["comment"], of["named event"]
    return [_silent(seen, comment), _audible(named), _noticed(seen, named)]


def _silent(seen: Heartbeats, stream: Beats) -> Part:
    noticed = sum(t is not None for t in seen.noticed_s(stream))
    text = f"{len(stream.seen_ns)} of {len(stream.sent_ns)} comments seen, {noticed} of {len(seen.stalls_ns)} stalls"
    if stream.seen_ns or noticed:
        return Part("refuted", text)
    return Part("confirmed" if len(stream.sent_ns) >= LEAST_BEATS else "undecided", text)


def _audible(stream: Beats) -> Part:
    text = f"{len(stream.seen_ns)} of {len(stream.sent_ns)} named heartbeats seen"
    if len(stream.sent_ns) >= LEAST_BEATS and not stream.seen_ns:
        return Part("refuted", text)
    enough = len(stream.sent_ns) >= LEAST_BEATS and len(stream.seen_ns) >= (1 - TOLERANCE) * len(stream.sent_ns)
    return Part("confirmed" if enough else "undecided", text)


def _noticed(seen: Heartbeats, stream: Beats) -> Part:
    """From two intervals after the stall's beginning to three: the last heartbeat came up to one interval before."""
    all_s = seen.noticed_s(stream)
    noticed_s = [t for t in all_s if t is not None]
    slack_s = TOLERANCE * seen.watchdog_s + quantile(seen.late_s, 0.95) + seen.one_way_s
    low_s, high_s = seen.watchdog_s - seen.beat_s - slack_s, seen.watchdog_s + slack_s
    text = f"{len(noticed_s)} of {len(all_s)} stalls noticed by their absence"
    if 2 * len(noticed_s) < len(all_s):
        return Part("refuted" if len(stream.sent_ns) >= LEAST_BEATS else "undecided", text)
    text += f", after {shown(min(noticed_s), 's')} to {shown(max(noticed_s), 's')}"
    inside = len(noticed_s) == len(all_s) and low_s <= min(noticed_s) and max(noticed_s) <= high_s
    return Part("confirmed" if inside else "undecided", text)
