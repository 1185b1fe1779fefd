"""The checks of 06_plugins_and_relatives: X1 to X3.

What is shown there are emulations of the wire, made for this kit, so nothing about them can be *confirmed* but what a
program does that nobody here wrote; and the page's browser (X2) is a single one, of today. The parts are judged all the
same: an emulation that does not do what its specification says refutes.
"""

from __future__ import annotations

from dataclasses import replace

from labkit import theory
from labkit.claims import confidence
from labkit.claims.finding import Finding, NoVerdict
from labkit.claims.judging import Part, finding, guilty, listed, named, refined, said
from labkit.claims.seen import mean_part, range_part, see, skipped_part
from labkit.claims.values import shown
from labkit.course.asking import at_rate
from labkit.course.relatives.manners import Manners
from labkit.course.relatives.plugin_socket import Conversation
from labkit.course.relatives.tricks import Old, Page
from labkit.techniques import find
from labkit.techniques.exhibits import EXHIBITS

OF_ANSWERS = 0.5
"""Share of late answers that must be told from none: a client that pauses has few of them."""


def plugins_pushed(seen: Conversation) -> Finding:
    """X1: the policy file is answered and the connection ended; then events go both ways; HTTP gets nothing."""
    by_title = {exchange.title: exchange for exchange in seen.exchanges}
    policy, http = by_title["policy file"], by_title["an HTTP request"]
    parts = [
        _there(
            b"<allow-access-from" in policy.received and policy.received.endswith(b"\0"), "a policy file, with a NUL"
        ),
        _there(policy.ended, "the end after the policy file"),
        _there(seen.delivered, "an event from the server, ended by a NUL"),
        _there(seen.published, "an event from the client on the same connection"),
        _there(http.ended and not http.received, "no answer to HTTP, so that a page cannot speak to it"),
    ]
    return _illustrated(parts, len(seen.exchanges), "an emulation of Flash's wire, whose player is gone")


def old_tricks_worked(seen: Old) -> Finding:
    """X2: the kit's own clients get everything at the latency of their kind; the page, if there is one, too."""
    paged = [_came(name, ids, seen.page) for name, ids in sorted(seen.page.arrived.items())]
    if confidence.combine(part.verdict for part in paged) == "refuted":  # whatever the latencies
        return replace(finding(paged, len(seen.page.wanted), unit=""), reason=guilty(paged))
    frame, script = see(seen.run, "forever-frame"), see(seen.run, "jsonp-polling")
    rate_per_s, parts = float(seen.run.settings["schedule"]["rate_per_s"]), list[Part]()
    for title, name, saw in (("forever frame", "forever-frame", frame), ("JSONP polling", "jsonp-polling", script)):
        expected = at_rate(find(name, EXHIBITS), rate_per_s, saw.one_way_s)
        parts += [named(title, range_part(saw, expected.min_s, expected.max_s)), named(title, skipped_part(saw))]
    if not paged:
        return _illustrated(parts, frame.n, f"emulations of the wire, read by the kit's own clients ({seen.page.why})")
    parts += paged
    why = f"in this page's browser ({seen.page.browser}) they work; those of their time are gone"
    return _illustrated(parts, frame.n, why)


def _came(name: str, ids: tuple[int, ...], page: Page) -> Part:
    return _there(ids == page.wanted, f"{len(ids)} of {len(page.wanted)} events by {name}, in order")


def manners(seen: Manners) -> Finding:
    """X3: both have the latency of long polling; an advised pause is obeyed; a second request frees the first.

    Each mean must be told from d, a stream's, and from that of a gap twice as long. ``measured``: BOSH's mean latency.
    """
    rate_per_s = float(seen.run.settings["schedule"]["rate_per_s"])
    parts = []
    for technique, run, pause_s in (
        ("bayeux", seen.run, 0.0),
        ("bosh", seen.run, 0.0),
        ("bayeux", seen.advised, seen.advised_interval_s),
    ):
        saw = see(run, technique)
        gap_s, told = theory.request_gap(saw.one_way_s) + pause_s, {"advised_interval_s": pause_s} if pause_s else {}
        expected = at_rate(find(technique, EXHIBITS), rate_per_s, saw.one_way_s, **told)
        mean = confidence.mean_interval(
            listed(saw.latency_s), groups=listed(saw.event), least_error=expected.std_s / saw.n**0.5
        )
        name = technique if not pause_s else f"{technique}, told to pause {pause_s:g} s"
        if technique == "bosh":
            bosh, expected_s, n = mean, expected.mean_s, saw.n
        parts += [
            named(name, mean_part(saw, mean, expected.mean_s, saw.one_way_s, _twice(rate_per_s, saw.one_way_s, gap_s))),
            named(name, range_part(saw, expected.min_s, expected.max_s, OF_ANSWERS)),
            named(name, skipped_part(saw)),
        ]
    freed = seen.released_s < seen.wait_s / 4
    parts.append(_there(freed, f"BOSH's first request answered {seen.released_s:.2f} s after the second was sent"))
    lead = f"by emulations of the wire, on average {shown(bosh.value, 's')} by BOSH, theory of long polling "
    found = _illustrated(parts, n, lead + shown(expected_s, "s"))
    return replace(found, expected=expected_s, measured=bosh.value, interval=bosh, unit="s")


def _twice(rate_per_s: float, one_way_s: float, gap_s: float) -> float:
    """The mean of long polls with a gap twice as long."""
    return theory.long_polling_mean(rate_per_s, one_way_s, 30.0, 2 * gap_s)


def _there(is_so: bool, text: str) -> Part:
    return said(is_so, text, f"missing: {text}")


def _illustrated(parts: list[Part], n: int, why: str) -> Finding:
    found = finding(parts, n, unit="")
    if found.verdict == "not run":
        raise NoVerdict("not run", found.reason)
    if found.verdict == "confirmed":
        return refined(found, why, "illustrated")
    return replace(found, reason=f"{why}\n{found.reason}")
