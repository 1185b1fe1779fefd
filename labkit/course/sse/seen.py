"""What the experiments of 04_server_sent_events give: plain values, with their tables."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

from labkit.webpage.settings import NO_PAGE

if TYPE_CHECKING:
    import pandas as pd

Dispatched = tuple[str, str, str]
"""Type, data and last event id of one dispatched event."""

OURS = "labkit"
BROWSER = "EventSource of this page"


class _Shown:
    """A value whose text is its table."""

    def table(self) -> pd.DataFrame:
        raise NotImplementedError

    def __repr__(self) -> str:
        return str(self.table().to_string())


# E1


@dataclass(frozen=True)
class Rule:
    """One rule of the event stream: bytes, and what has to come of them."""

    key: str
    clause: str
    title: str
    wire: bytes
    events: tuple[Dispatched, ...]
    retry_ms: int | None = None
    """The reconnection time in force afterwards; None where the rule is not about it."""


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
class Conformance(_Shown):
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

    def table(self) -> pd.DataFrame:
        """One row for each rule, one column for each implementation: ✓, or ✗ and what came instead."""
        import pandas as pd

        rows = [
            [rule.clause, rule.title, repr(rule.wire)[2:-1], *(str(of[rule.key]) for of in self.outcomes.values())]
            for rule in self.rules
        ]
        return pd.DataFrame(rows, columns=["clause", "rule", "bytes", *self.outcomes]).set_index("clause")

    def _repr_html_(self) -> str:
        names = ["clause", "rule", "bytes", *self.outcomes]
        rows = []
        for rule in self.rules:
            found = "".join(_cell(str(of[rule.key])) for of in self.outcomes.values())
            shown = f"<code>{html.escape(repr(rule.wire)[2:-1])}</code>"
            rows.append(f"{_cell(rule.clause)}{_cell(rule.title)}<td style='text-align:left'>{shown}</td>{found}")
        named = {BROWSER: f"{BROWSER} ({self.settings.get('browser')})"}
        kept = [
            f"{named.get(name, name)}: {len(self.rules) - len(self.wrong(name))} of {len(self.rules)}"
            for name in self.outcomes
        ]
        kept += [f"{name}: not run ({why})" for name, why in self.missing.items()]
        return _table(names, rows) + f"<p>{html.escape('; '.join(kept))}</p>"


# E2


@dataclass(frozen=True, repr=False)
class Returns(_Shown):
    """How long clients stayed away after their stream had ended: seconds, by client and ``retry`` in seconds."""

    gaps_s: Mapping[str, Mapping[float, tuple[float, ...]]]
    resumed: Mapping[str, bool]
    """Whether each reconnection brought the last event id that had been sent."""
    late_s: tuple[float, ...]
    """By how much bare timers on the same loop were late: the machine's own part."""
    why: str = NO_PAGE
    """Why the page is not among the clients."""
    browser: str = ""
    settings: dict[str, Any] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        """One row for each client and ``retry``."""
        import pandas as pd

        columns = ["client", "retry (ms)", "reconnections", "median (ms)", "shortest (ms)", "longest (ms)", "resumed"]
        return pd.DataFrame([list(row) for row in self._rows()], columns=columns).set_index(["client", "retry (ms)"])

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        for client, by_retry in self.gaps_s.items():
            for retry_s, gaps_s in by_retry.items():
                shown = [round(1e3 * s, 1) for s in (median(gaps_s), min(gaps_s), max(gaps_s))]
                yield client, round(retry_s * 1e3), len(gaps_s), *shown, "yes" if self.resumed[client] else "no"

    def _repr_html_(self) -> str:
        names = [
            "client",
            "retry (ms)",
            "reconnections",
            "median (ms)",
            "shortest",
            "longest",
            "with its last event id",
        ]
        rows = ["".join(map(_cell, row)) for row in self._rows()]
        return _table(names, rows) + _absent(self.gaps_s, self.why)


@dataclass(frozen=True)
class Resumption:
    """The reconnections, and a run whose link was cut in the middle."""

    returns: Returns
    run: Any

    @property
    def settings(self) -> dict[str, Any]:
        return dict(self.run.settings)


# E3


@dataclass(frozen=True)
class Ending:
    """What one client did with one kind of answer."""

    answer: str
    requests: int
    events: int
    given_up: bool


@dataclass(frozen=True, repr=False)
class Endings(_Shown):
    """What each client did with each kind of answer."""

    clients: Mapping[str, tuple[Ending, ...]]
    watched_s: float
    why: str = NO_PAGE
    browser: str = ""
    settings: dict[str, Any] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        """One row for each answer and client."""
        import pandas as pd

        columns = ["answer", "client", "requests", "events", "afterwards"]
        return pd.DataFrame(list(self._rows()), columns=columns).set_index(["answer", "client"])

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        for client, endings in self.clients.items():
            for e in endings:
                yield e.answer, client, e.requests, e.events, "gives up" if e.given_up else "goes on"

    def _repr_html_(self) -> str:
        names = ["answer", "client", f"requests in {self.watched_s:g} s", "events", "afterwards"]
        rows = ["".join(map(_cell, row)) for row in self._rows()]
        return _table(names, rows) + _absent(self.clients, self.why)


# E5


@dataclass(frozen=True, repr=False)
class Framing(_Shown):
    """What an event costs besides its payload, in bytes: in the barest stream, and in one of this lab."""

    bare: Mapping[str, float]
    """Bytes per event by part, of a stream of ``data:`` and blank lines that nothing frames."""
    lab: Mapping[str, float]
    """The same of a lab's own stream."""
    payload_bytes: float
    events: int
    """In each of the two streams."""
    shorter: Mapping[bytes, int]
    """Blocks with less framing, and how many events came of them."""
    run: Any = None
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def bare_bytes(self) -> float:
        return sum(self.bare.values())

    @property
    def lab_bytes(self) -> float:
        return sum(self.lab.values())

    def table(self) -> pd.DataFrame:
        """Bytes per event by part, one column for each stream."""
        import pandas as pd

        frame = pd.DataFrame({"barest stream": dict(self.bare), "this lab": dict(self.lab)}).fillna(0.0)
        frame = frame.reindex(list(self.lab))
        frame.loc["all but the payload"] = frame.sum()
        return frame.round(2)

    def _repr_html_(self) -> str:
        rows = [
            "".join(map(_cell, (name, *(f"{value:g}" for value in row)))) for name, *row in self.table().itertuples()
        ]
        less = ", ".join(f"<code>{html.escape(repr(raw)[2:-1])}</code>: {n} events" for raw, n in self.shorter.items())
        return _table(["bytes per event", "barest stream", "this lab"], rows) + f"<p>With less framing: {less}</p>"


# E6


@dataclass(frozen=True)
class Beats:
    """One stream of heartbeats at one client. Times in ns on the lab's clock."""

    client: str
    kind: str
    """``comment`` or ``named event``."""
    sent_ns: tuple[int, ...]
    seen_ns: tuple[int, ...]
    """When the client's code was called."""
    alarms_ns: tuple[int, ...]
    """When its watchdog went off."""
    errors_ns: tuple[int, ...] = ()
    """When the client was told of an error."""


@dataclass(frozen=True, repr=False)
class Heartbeats(_Shown):
    """Heartbeats of both kinds through a link that stalls several times."""

    streams: tuple[Beats, ...]
    stalls_ns: tuple[tuple[int, int], ...]
    beat_s: float
    watchdog_s: float
    one_way_s: float
    started_ns: int
    late_s: tuple[float, ...] = ()
    why: str = NO_PAGE
    browser: str = ""
    settings: dict[str, Any] = field(default_factory=dict)

    def noticed_s(self, stream: Beats) -> list[float | None]:
        """After how many seconds of each stall the stream's watchdog went off, or its client saw an error."""
        told = sorted(stream.alarms_ns + stream.errors_ns)
        return [next(((t - a) / 1e9 for t in told if a < t <= b), None) for a, b in self.stalls_ns]

    def false_alarms(self, stream: Beats) -> int:
        """How often its watchdog went off while the link was well."""
        return sum(not any(a < t <= b for a, b in self.stalls_ns) for t in stream.alarms_ns)

    def table(self) -> pd.DataFrame:
        """One row for each stream."""
        import pandas as pd

        columns = ["client", "heartbeat", "sent", "seen by its code", "false alarms", "stalls noticed", "after (ms)"]
        return pd.DataFrame(list(self._rows()), columns=columns).set_index(["client", "heartbeat"])

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        for s in self.streams:
            after_s = [t for t in self.noticed_s(s) if t is not None]
            mean = f"{1e3 * sum(after_s) / len(after_s):.0f}" if after_s else "-"
            noticed = f"{len(after_s)} of {len(self.stalls_ns)}"
            yield s.client, s.kind, len(s.sent_ns), len(s.seen_ns), self.false_alarms(s), noticed, mean

    def _repr_html_(self) -> str:
        names = ["client", "heartbeat", "sent", "seen by its code", "false alarms", "stalls noticed", "after (ms)"]
        rows = ["".join(map(_cell, row)) for row in self._rows()]
        return _table(names, rows) + _absent({s.client: None for s in self.streams}, self.why)


def _cell(value: Any) -> str:
    return f"<td style='text-align:left'>{html.escape(str(value))}</td>"


def _table(names: list[str], rows: list[str]) -> str:
    head = "".join(f"<th style='text-align:left'>{html.escape(name)}</th>" for name in names)
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def _absent(clients: Mapping[str, Any], why: str) -> str:
    return "" if BROWSER in clients else f"<p>{BROWSER}: not run ({html.escape(why)})</p>"
