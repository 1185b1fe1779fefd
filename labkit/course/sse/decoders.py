"""E1: the rules of the event stream put to decoders: ours, a page's, other people's.

Each rule is fed whole, byte by byte, and cut in two at every place. Decoders that want a connection, a page's
EventSource among them, get it from a server that writes the parts 3 ms apart; whether two parts are then read apart is
not in anybody's hands. Reconnection times show only in what such a client does next: it has to be back after the time
that the rule leaves in force, give or take what the window below allows.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from labkit.course.alone import started_now
from labkit.course.case_server import APART_S, Asked, CaseServer, page_runs, shown
from labkit.course.shown import Code, Shown, as_table, sentence, text_table
from labkit.course.sse.rules import RETRY_MS, RULES, Dispatched, Rule, cuts, over_http
from labkit.course.sse.with_page import BROWSER, OURS
from labkit.wire.event_stream import EventStreamDecoder

if TYPE_CHECKING:
    import pandas as pd

Fed = tuple[list[Dispatched], int | None]
"""What was dispatched, and the reconnection time at the end, in ms."""
Feed = Callable[[Sequence[bytes]], Fed]

RETRY_WINDOW_MS = (0.9 * RETRY_MS, 6 * RETRY_MS)
"""When a client is back that kept 300 ms: not at once, and well before the three seconds that browsers begin with."""
CASE_MS = 7000


@dataclass(frozen=True)
class Outcome:
    """How one implementation did on one rule, by the way in which it was fed; None where it was not."""

    whole: bool | None
    bytewise: bool | None
    split: bool | None
    got: str = ""
    """What the first wrong way gave."""

    @property
    def right(self) -> bool:
        return False not in (self.whole, self.bytewise, self.split)

    def __str__(self) -> str:
        if self.right:
            return "✓"
        ways = {"whole": self.whole, "byte by byte": self.bytewise, "split": self.split}
        wrong = [way for way, right in ways.items() if right is False]
        where = "" if self.whole is False else f" {', '.join(wrong)}:"
        return f"✗{where} {self.got}"


@dataclass(frozen=True, repr=False)
class Conformance(Shown):
    """Every rule against every implementation; ``missing`` says which were not run, and why."""

    rules: tuple[Rule, ...]
    outcomes: Mapping[str, Mapping[str, Outcome]]
    """By implementation and rule."""
    missing: Mapping[str, str]
    settings: dict[str, Any] = field(default_factory=dict)

    def wrong(self, implementation: str) -> list[Rule]:
        """The rules that an implementation does not keep."""
        outcomes = self.outcomes[implementation]
        return [rule for rule in self.rules if not outcomes[rule.key].right]

    @property
    def note(self) -> str:
        named = {BROWSER: f"{BROWSER} ({self.settings.get('browser')})"}
        kept = [
            f"{named.get(name, name)}: {len(self.rules) - len(self.wrong(name))} of {len(self.rules)}"
            for name in self.outcomes
        ]
        return "; ".join([*kept, *(f"{name}: not run ({why})" for name, why in self.missing.items())])

    def _rows(self) -> list[tuple[str, ...]]:
        outcomes = self.outcomes.values()
        return [
            (rule.clause, rule.title, Code(repr(rule.wire)[2:-1]), *(str(of[rule.key]) for of in outcomes))
            for rule in self.rules
        ]

    def table(self) -> pd.DataFrame:
        """One row for each rule, one column for each implementation: ✓, or ✗ and what came instead."""
        return as_table(self._rows(), columns=["clause", "rule", "bytes", *self.outcomes]).set_index("clause")

    def _repr_html_(self) -> str:
        return text_table(["clause", "rule", "bytes", *self.outcomes], self._rows()) + sentence(self.note)


# Decoders that take bytes


def ours(reads: Sequence[bytes]) -> Fed:
    """labkit's own decoder."""
    decoder = EventStreamDecoder()
    events = [event for read in reads for event in decoder.feed(read)]
    return [(event.type, event.data, event.last_event_id) for event in events], decoder.retry_ms


def httpx_sse(reads: Sequence[bytes]) -> Fed:
    import httpx  # type: ignore[import-not-found, unused-ignore]
    from httpx_sse import EventSource  # type: ignore[import-not-found, unused-ignore]

    response = httpx.Response(200, headers={"Content-Type": "text/event-stream"}, content=iter(reads))
    events = list(EventSource(response).iter_sse())
    return [(e.event, e.data, e.id) for e in events], next((e.retry for e in events[::-1] if e.retry is not None), None)


def sseclient_py(reads: Sequence[bytes]) -> Fed:
    import sseclient  # type: ignore[import-not-found, unused-ignore]

    events = list(sseclient.SSEClient(iter(reads)).events())
    digits = [e.retry for e in events if e.retry and e.retry.isdigit()]  # it leaves the number to its caller
    return [(e.event, e.data, e.id or "") for e in events], int(digits[-1]) if digits else None


CLIENTS: dict[str, Feed] = {"httpx-sse": httpx_sse, "sseclient-py": sseclient_py}
AIOHTTP = "aiohttp-sse-client"


def fed(rule: Rule, feed: Feed) -> Outcome:
    """What a decoder makes of one rule, fed in every way. An exception is something it made of it, too."""
    tried = []
    for name, reads in cuts(rule.wire):
        try:
            events, retry_ms = feed(reads)
            right = tuple(events) == rule.events and (rule.retry_ms is None or retry_ms == rule.retry_ms)
            tried.append((name, right, _words(events, None if rule.retry_ms is None else f"retry {retry_ms}")))
        except Exception as error:
            tried.append((name, False, type(error).__name__))
    return _outcome(tried)


def _outcome(tried: Iterable[tuple[str, bool, str]]) -> Outcome:
    """Of each cut: its name, whether what came was right, and what it was."""
    found: dict[str, bool] = {}
    got = ""
    for name, right, said in tried:
        way = name.rstrip("0123456789")
        found[way] = found.get(way, True) and right
        got = got or ("" if right else said)
    return Outcome(found.get("whole"), found.get("bytewise"), found.get("split"), got)


def _words(events: Sequence[Dispatched], retry: str | None) -> str:
    words = [repr(data) + (f" as {type}" if type != "message" else "") + (f" id {id}" if id else "")
             for type, data, id in events]  # fmt: skip
    return "; ".join([", ".join(words) or "nothing", *([retry] if retry else [])])


# Clients that want a connection


async def _answer(asked: Asked) -> None:
    """A rule's bytes, cut as the path says; a client that comes back is told to stop."""
    if asked.number > 1:
        await asked.head("204 No Content", "")
        return
    _, key, cut = asked.path.split("/")[:3]
    rule = next(rule for rule in RULES if rule.key == key)
    await asked.head()
    for read in dict(cuts(rule.wire))[cut]:
        await asyncio.sleep(APART_S)
        await asked.write(read)


def _judged(rule: Rule, told: dict[str, list[Dispatched]], server: CaseServer, client: str) -> Outcome:
    """From what one client dispatched, by cut, and from when it came back."""
    tried = []
    for name in told:
        right, said = tuple(told[name]) == rule.events, None
        if rule.retry_ms is not None:
            asked = server.of(f"rules/{rule.key}/{name}/{client}")
            away_ms = (asked[1].began_ns - asked[0].ended_ns) / 1e6 if len(asked) > 1 else None
            right = right and away_ms is not None and RETRY_WINDOW_MS[0] <= away_ms <= RETRY_WINDOW_MS[1]
            said = "did not come back" if away_ms is None else f"back after {away_ms:.0f} ms"
        tried.append((name, right, _words(told[name], said)))
    return _outcome(tried)


async def _aiohttp(server: CaseServer, rule: Rule) -> Outcome:
    from aiohttp_sse_client.client import EventSource  # type: ignore[import-not-found, unused-ignore]

    async def one(name: str) -> None:
        with contextlib.suppress(Exception):  # it reports the 204, which ends each case, as an error
            async with (
                asyncio.timeout(CASE_MS / 1e3),
                EventSource(server.url(f"rules/{rule.key}/{name}/aiohttp"), reconnection_time=timedelta(0)) as source,
            ):
                async for e in source:
                    told[name].append((e.type or "message", e.data, e.last_event_id))

    logging.getLogger("aiohttp_sse_client.client").setLevel(logging.CRITICAL)
    told: dict[str, list[Dispatched]] = {name: [] for name, _ in over_http(rule)}
    await asyncio.gather(*map(one, told))
    return _judged(rule, told, server, "aiohttp")


async def _connected(conformance: Conformance) -> Conformance:
    """Add what needs connections: aiohttp-sse-client if it is installed, and the page."""
    outcomes, missing = dict(conformance.outcomes), dict(conformance.missing)
    browser = ""
    async with CaseServer({"rules": _answer}) as server:
        if AIOHTTP not in missing:
            outcomes[_named(AIOHTTP)] = {rule.key: await _aiohttp(server, rule) for rule in RULES}
        told, browser, why = await page_runs(server, _jobs(), parallel=5)
        if why:
            missing[BROWSER] = why
        else:
            outcomes[BROWSER] = {rule.key: _judged(rule, _of_page(rule, told), server, "page") for rule in RULES}
    return Conformance(RULES, outcomes, missing, {**conformance.settings, "browser": browser})


def _jobs() -> list[dict[str, Any]]:
    jobs = []
    for rule in sorted(RULES, key=lambda rule: rule.retry_ms is None):  # those that wait go first
        for name, _ in over_http(rule):
            path = f"rules/{rule.key}/{name}/page"
            until = "error" if rule.retry_ms is None else "closed"
            types = sorted({"message", "add", "x", *(type for type, _, _ in rule.events)})
            jobs.append({"key": f"{rule.key}/{name}", "path": path, "types": types, "until": until, "wait_ms": CASE_MS})
    return jobs


def _of_page(rule: Rule, told: dict[str, dict[str, Any]]) -> dict[str, list[Dispatched]]:
    found = {}
    for name, _ in over_http(rule):
        done = told.get(f"{rule.key}/{name}", {"errors": 0})
        if done["errors"]:  # else its time was over before its stream was
            found[name] = [(type, data, id) for type, data, id in done["events"]]
    return found


def _named(distribution: str) -> str:
    return f"{distribution} {version(distribution)}"


def conformance() -> Conformance:
    """Put every rule to labkit's decoder, to the page's EventSource if there is a page, and to what is installed of
    httpx-sse, sseclient-py and aiohttp-sse-client, in every way of cutting the bytes.

    Returns:
        A table of rules by implementations. What was not run is named with the reason.
    """
    outcomes = {OURS: {rule.key: fed(rule, ours) for rule in RULES}}
    missing: dict[str, str] = {}
    for name in (*CLIENTS, AIOHTTP):
        try:
            if name in CLIENTS:
                outcomes[_named(name)] = {rule.key: fed(rule, CLIENTS[name]) for rule in RULES}
            else:
                _named(name)
        except PackageNotFoundError:
            missing[name] = "not installed"
    conformance = Conformance(RULES, outcomes, missing, started_now())
    return shown(_connected(conformance), "putting the rules to clients")
