"""A choice as a decision record in Markdown."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol

from labkit.charts import style
from labkit.choosing.figures import Figures
from labkit.choosing.flips import Flips
from labkit.choosing.formulas import FORMULAS, measured_in, stands_on
from labkit.choosing.needs import Needs
from labkit.choosing.options import Option
from labkit.measuring.rounding import counted, rounded
from labkit.techniques import find

NOT_RUN = (
    "loss, retransmission and slow start: the network here is a relay that loses nothing",
    "requests with a browser's own headers and cookies, which are several times as long as this kit's",
    "several server processes at once: what was measured is one",
    "HTTP/3; and over HTTP/2 the server's own work, which is taken to be HTTP/1's",
    "the sockets' memory in the operating system, and TCP/IP headers",
)


class Chosen(Protocol):
    """What a record is made of: a :class:`labkit.choosing.Choice`."""

    @property
    def needs(self) -> Needs: ...

    @property
    def options(self) -> list[Option]: ...

    @property
    def run(self) -> Any: ...

    @property
    def note(self) -> str: ...

    @property
    def sentence(self) -> str: ...

    @property
    def reasons(self) -> list[str]: ...

    @property
    def unknown(self) -> list[str]: ...

    @property
    def figures(self) -> Mapping[str, Figures]: ...

    def flips(self) -> Flips: ...


def record(choice: Chosen) -> str:
    """Context, options, decision, consequences, evidence, what was not run."""
    return "\n".join(_lines(choice)) + "\n"


def _lines(choice: Chosen) -> Iterator[str]:
    needs, options = choice.needs, choice.options
    best = options[0]
    title = find(best.technique).short if best.feasible else "none of the techniques"
    yield from (f"# How events get to the clients: {title}", "", "Status: proposed", "", "## Context", "")
    yield f"- events: {needs.rate_per_s:g} a second to every client, {needs.payload_bytes:g} bytes each"
    wanted = "the newest only" if needs.latest_only else "every event"
    yield f"- tolerated: {needs.staleness_s:g} s at the worst; {wanted}"
    yield f"- clients: {needs.clients:,.0f}, one network transit {needs.one_way_s * 1e3:g} ms away"
    yield f"- upstream: {needs.upstream_per_s:g} messages a second from each client"
    if needs.held_per_browser > 1:
        yield f"- one browser: {needs.held_per_browser:g} streams or held requests at a time"
    yield f"- on the path: {', '.join(needs.path)}; TLS: {'yes' if needs.tls else 'no'}"
    given = "as many as it takes" if needs.servers is None else f"{needs.servers:g} at the most"
    yield f"- servers: {given}, one core and 20 000 connections each"
    yield from (f"- {text}" for applies, text in _switches(needs) if applies)
    yield from ("", "## Options", "", choice.note, "")
    yield "| technique | can it | mean | worst | servers | requests/h | MB/h | connections | cost (from to) |"
    yield "|---|---|---|---|---|---|---|---|---|"
    yield from (_row(option) for option in options)
    yield from ("", "## Decision", "", choice.sentence, "")
    yield from (f"- {reason}" for reason in choice.reasons)
    yield from ("", "## Consequences", "")
    yield from (f"- {line}" for line in _consequences(best, needs))
    yield from ("", "The answer changes where:", "")
    yield from (f"- {flip}" for flip in choice.flips()) if choice.flips() else ("- no single input changes it",)
    yield from ("", "## Evidence", "")
    yield from (f"- {line}" for line in _evidence(choice, best))
    if choice.unknown:
        yield from ("", "Not in the arithmetic, and it could change the decision:", "")
        yield from (f"- {each}" for each in choice.unknown)
    yield from ("", "Not run:", "")
    yield from (f"- {line}" for line in NOT_RUN)


def _switches(needs: Needs) -> tuple[tuple[bool, str], ...]:
    return (
        (needs.ordered, "messages upstream have to arrive in order"),
        (needs.finite, "a POST begins each stream, and it ends"),
        (needs.mobile, "the clients are phones"),
    )


def _row(option: Option) -> str:
    can = option.why_not or (f"yes, but: {option.burden}" if option.burden else "yes")
    cells = (
        find(option.technique).short, can, style.seconds(option.mean_s), style.seconds(option.worst_s),
        f"{option.servers:,.0f}", f"{option.requests_per_h:,.0f}", style.number(option.bytes_per_h / 1e6),
        f"{option.connections:,.0f}", _cost(option),
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def _cost(option: Option) -> str:
    cost, *ends = (rounded(value) for value in (option.cost, option.cost_low, option.cost_high))
    return cost if {cost} == set(ends) else f"{cost} ({' to '.join(ends)})"


def _consequences(best: Option, needs: Needs) -> Iterator[str]:
    if not best.feasible:
        yield "the needs have to change: see where the answer does"
        return
    technique = find(best.technique)
    if technique.kind == "poll":
        connection = "on a connection that is kept" if best.kept else "on a new connection each time"
        yield f"each client polls every {style.seconds(best.every_s)} {connection}, at a phase of its own"
        yield "an event waits half an interval on average; a client that is cut off needs nothing but its next poll"
    elif technique.kind == "hold":
        yield f"the server holds each request for at most {style.seconds(best.every_s)}"
    else:
        beat = style.seconds(best.every_s)
        held = counted(best.connections, "connection", f"{best.connections:,.0f}")
        yield f"the server holds {held}, and says something at least every {beat}"
    if technique.kind != "poll" and "Upgrade" not in technique.http1_only and not needs.http2:
        yield "a browser has six connections to a host in HTTP/1.1, over all tabs; each held answer takes one"
    yield "events carry ids, and clients come back with a cursor: otherwise every reconnection loses events"


def _evidence(choice: Chosen, best: Option) -> Iterator[str]:
    for figure, formula in FORMULAS[best.technique].items():
        whose = stands_on(best.technique, figure, choice.figures[best.technique])
        yield f"{figure}: {formula} ({measured_in(best.technique, figure)}; {whose})"
    found = {"python": platform.python_version()}
    for name in ("labkit", "tornado"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    run: Any = getattr(choice.run, "run", choice.run)
    if run is not None:
        found |= dict(run.versions)
        schedule = run.settings.get("schedule") or {}
        seed = (schedule.get("settings") or {}).get("seed", "none")
        yield f"run: {schedule.get('name', '?')} of {schedule.get('rate_per_s', '?')} events/s, seed {seed}"
    else:
        yield "no run of one's own: the kit's figures"
    yield "versions: " + ", ".join(f"{name} {value}" for name, value in found.items())
