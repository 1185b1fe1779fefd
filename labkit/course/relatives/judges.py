"""The checks of 06_plugins_and_relatives: X1 to X3.

What is shown there are emulations of the wire, made for this kit, so nothing about them can be *confirmed* but what a
program does that nobody here wrote, such as the page's browser (X2). The parts are judged all the same: an emulation
that does not do what its specification says refutes.
"""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from typing import Any

from labkit import theory
from labkit.claims import confidence
from labkit.claims.confidence import Verdict
from labkit.claims.finding import Finding, NoVerdict
from labkit.claims.judging import Part, listed
from labkit.claims.seen import lost_part, mean_part, range_part, see


@dataclass(frozen=True)
class Exchange:
    """Bytes of one conversation: what the client sent, what the server sent back, and how it ended."""

    title: str
    sent: bytes
    received: bytes
    ended: bool


@dataclass(frozen=True)
class Socket:
    """What was seen of the plugin socket: its exchanges, and whether an event went each way."""

    exchanges: tuple[Exchange, ...]
    delivered: bool
    published: bool
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class Page:
    """What the real browser reported: the ids that arrived, in order, by technique. ``why`` it was not there."""

    wanted: tuple[int, ...] = ()
    arrived: dict[str, tuple[int, ...]] = field(default_factory=dict)
    browser: str = ""
    why: str = ""

    def __str__(self) -> str:
        came = (f"{len(ids)} of {len(self.wanted)} events by {name}" for name, ids in self.arrived.items())
        return f"{self.browser}: {'; '.join(came)}" if self.arrived else self.why

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(str(self))}</p>"


@dataclass(frozen=True)
class Old:
    """Forever frame and JSONP polling: a run of the kit's own clients, and what the page reported."""

    run: Any
    page: Page

    @property
    def settings(self) -> dict[str, Any]:
        return dict(self.run.settings)


@dataclass(frozen=True)
class Manners:
    """Bayeux and BOSH: a run beside long polling, one with advice to pause, and BOSH's second request.

    ``released_s``: how long after the second request was sent the first one was answered; ``wait_s`` what it would
    have waited by itself.
    """

    run: Any
    advised: Any
    advised_interval_s: float
    released_s: float
    wait_s: float

    @property
    def settings(self) -> dict[str, Any]:
        return dict(self.run.settings)


def plugins_pushed(seen: Socket) -> Finding:
    """X1: the policy file is answered and the connection ended; then events go both ways; HTTP gets nothing."""
    by_title = {exchange.title: exchange for exchange in seen.exchanges}
    policy, http = by_title["policy file"], by_title["an HTTP request"]
    parts = [
        _said(
            b"<allow-access-from" in policy.received and policy.received.endswith(b"\0"), "a policy file, with a NUL"
        ),
        _said(policy.ended, "the end after the policy file"),
        _said(seen.delivered, "an event from the server, ended by a NUL"),
        _said(seen.published, "an event from the client on the same connection"),
        _said(http.ended and not http.received, "no answer to HTTP, so that a page cannot speak to it"),
    ]
    return _illustrated(parts, len(seen.exchanges), "an emulation of Flash's wire, whose player is gone")


def old_tricks_worked(seen: Old) -> Finding:
    """X2: the kit's own clients get everything at the latency of their kind; the page, if there is one, too."""
    paged = [_came(name, ids, seen.page) for name, ids in sorted(seen.page.arrived.items())]
    if confidence.combine(part.verdict for part in paged) == "refuted":  # whatever the latencies
        return Finding(None, None, None, len(seen.page.wanted), "refuted", _texts(paged), "")
    frame, script = see(seen.run, "forever-frame"), see(seen.run, "jsonp-polling")
    d = frame.one_way_s
    parts = [range_part(frame, d, 2 * d), lost_part(frame), range_part(script, d, 3 * d), lost_part(script)]
    if not paged:
        return _illustrated(parts, frame.n, f"emulations of the wire, read by the kit's own clients ({seen.page.why})")
    parts += paged
    verdict = confidence.combine(part.verdict for part in parts)
    reason = f"in this page's browser ({seen.page.browser}) they work; those of their time are gone; " + _texts(parts)
    return Finding(None, None, None, frame.n, "refined" if verdict == "confirmed" else verdict, reason, "")


def _came(name: str, ids: tuple[int, ...], page: Page) -> Part:
    return _said(ids == page.wanted, f"{len(ids)} of {len(page.wanted)} events by {name}, in order")


def manners(seen: Manners) -> Finding:
    """X3: both have the latency of long polling; an advised pause is obeyed; a second request frees the first.

    ``measured``: BOSH's mean latency.
    """
    rate_per_s = float(seen.run.settings["schedule"]["rate_per_s"])
    parts = []
    for technique, run, pause_s in (
        ("bayeux", seen.run, 0.0),
        ("bosh", seen.run, 0.0),
        ("bayeux", seen.advised, seen.advised_interval_s),
    ):
        saw = see(run, technique)
        gap_s = theory.request_gap(saw.one_way_s) + pause_s
        expected = theory.long_polling_latency(rate_per_s, saw.one_way_s, 30.0, gap_s)
        mean = confidence.mean_interval(
            listed(saw.latency_s), groups=listed(saw.event), least_error=expected.std_s / saw.n**0.5
        )
        named = technique if not pause_s else f"{technique}, told to pause {pause_s:g} s"
        if technique == "bosh":
            bosh, expected_s = mean, expected.mean_s
        parts += [
            _named(named, mean_part(saw, mean, expected, max(saw.one_way_s / 2, gap_s / 4))),
            _named(named, range_part(saw, expected.min_s, expected.max_s)),
            _named(named, lost_part(saw)),
        ]
    freed = seen.released_s < seen.wait_s / 4
    parts.append(_said(freed, f"BOSH's first request answered {seen.released_s:.2f} s after the second was sent"))
    found = _illustrated(parts, saw.n, "emulations of the wire")
    return Finding(expected_s, bosh.value, bosh, found.n, found.verdict, found.reason, "s")


def _said(is_so: bool, text: str) -> Part:
    return Part("confirmed", text) if is_so else Part("refuted", f"missing: {text}")


def _named(technique: str, part: Part) -> Part:
    return Part(part.verdict, f"{technique}: {part.text}")


def _texts(parts: list[Part]) -> str:
    guilty = [part.text for part in parts if part.verdict != "confirmed"]
    return "; ".join(guilty or [part.text for part in parts])


def _illustrated(parts: list[Part], n: int, why: str) -> Finding:
    verdict: Verdict = confidence.combine(part.verdict for part in parts)
    if verdict == "not run":
        raise NoVerdict("not run", _texts(parts))
    shown: Verdict = "illustrated" if verdict == "confirmed" else verdict
    return Finding(None, None, None, n, shown, f"{why}; {_texts(parts)}", "")
