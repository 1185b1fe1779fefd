"""What the experiments of 02_long_polling give: values that the checks judge and the charts draw."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from labkit import models
from labkit.checks.common import Seen, see

if TYPE_CHECKING:
    import pandas as pd

    from labkit.ledger import ConnectionRecord
    from labkit.runs import Run

LONG = "long-polling"
KEPT, FRESH = "kept alive", "opened anew"
ENDLESS_S = 30.0


def topic_of(record: ConnectionRecord) -> str:
    """The topic that a client's connection asked for, read from its first request."""
    line = b"".join(t.data for t in islice(record.transfers, 4) if t.direction == "out").partition(b"\r\n")[0]
    query = line.split(b" ")[1].partition(b"?")[2].decode() if line.count(b" ") == 2 else ""
    return parse_qs(query).get("topic", [""])[0]


def requests_by_topic(run: Run, technique: str) -> dict[str, int]:
    """How many requests a technique's clients sent, by topic."""
    found: dict[str, int] = {}
    for record in run.ledger.of():
        if record.technique == technique:
            found[topic_of(record)] = found.get(topic_of(record), 0) + record.requests
    return found


@dataclass(frozen=True)
class Rates:
    """Long polling at several event rates at once, each rate in topics of its own.

    Attributes:
        rates: topic -> events a second, Poisson.
        sizes: topic -> payload, bytes.
    """

    run: Run
    rates: dict[str, float]
    sizes: dict[str, int]
    duration_s: float

    @property
    def settings(self) -> dict[str, Any]:
        return self.run.settings

    @property
    def one_way_s(self) -> float:
        return float(self.run.settings["one_way_s"])

    def table(self, size: int = 20) -> pd.DataFrame:
        """One row for each rate: latency, events per answer, requests, bytes per event; measured, and theory's."""
        import pandas as pd

        rows = [self._row(rate, size) for rate in sorted({r for t, r in self.rates.items() if self.sizes[t] == size})]
        return pd.DataFrame(rows).set_index("rate_per_s")

    def topics(self, rate: float, size: int) -> list[str]:
        return [topic for topic, r in self.rates.items() if r == rate and self.sizes[topic] == size]

    def _row(self, rate: float, size: int) -> dict[str, float]:
        d, mine = self.one_way_s, self.topics(rate, size)
        frame = self.run.deliveries
        frame = frame[(frame["technique"] == LONG) & frame["topic"].isin(mine) & frame["scheduled"].astype(bool)]
        asked = requests_by_topic(self.run, LONG)
        requests = sum(asked.get(topic, 0) for topic in mine) - len(mine)  # one of each is still held
        gap_s, events = models.request_gap(d), len(frame)
        return {
            "rate_per_s": rate,
            "events": events,
            "mean_ms": float(frame["latency_ms"].mean()),
            "theory_ms": models.long_polling_mean(rate, d, ENDLESS_S, gap_s) * 1e3,
            "requests": requests,
            "events_per_answer": events / max(1, requests),
            "theory_events_per_answer": models.long_polling_events_per_answer(rate, ENDLESS_S, gap_s),
            "requests_per_s": requests / self.duration_s / max(1, len(mine)),
            "theory_requests_per_s": models.long_polling_requests_per_s(rate, d, ENDLESS_S),
            "bytes_per_event": float(frame["bytes"].sum()) / max(1, events),
        }

    def seen(self) -> Seen:
        """What the checks look at, the machine's noise included."""
        return see(self.run, LONG)

    def _repr_html_(self) -> str:
        return str(self.table().round(2).to_html())


@dataclass(frozen=True)
class Equal:
    """Long polling and interval polling that ask equally often, at a low and at a high event rate.

    Attributes:
        pairs: topic -> the technique of the poller whose interval was made for it.
    """

    run: Run
    rates: dict[str, float]
    pairs: dict[str, str]

    @property
    def settings(self) -> dict[str, Any]:
        return self.run.settings

    def table(self) -> pd.DataFrame:
        """One row for each rate: requests and mean latency of both."""
        import pandas as pd

        frame, rows = self.run.deliveries, []
        for topic, rate in self.rates.items():
            for name in (LONG, self.pairs[topic]):
                mine = frame[(frame["technique"] == name) & (frame["topic"] == topic)]
                asked = requests_by_topic(self.run, name).get(topic, 0)
                rows.append((rate, name, asked, float(mine["latency_ms"].mean())))
        return pd.DataFrame(rows, columns=["rate_per_s", "technique", "requests", "mean_ms"]).set_index("rate_per_s")

    def _repr_html_(self) -> str:
        return str(self.table().round(1).to_html())


@dataclass(frozen=True)
class Sizes:
    """Long polling with events of several sizes, one an answer. ``sizes``: topic -> payload, bytes."""

    run: Run
    sizes: dict[str, int]

    @property
    def settings(self) -> dict[str, Any]:
        return self.run.settings

    def table(self) -> pd.DataFrame:
        """One row for each size: bytes of an exchange by category, the share of headers, the answer's own size."""
        import pandas as pd

        return pd.DataFrame(list(self._rows())).set_index("payload_bytes")

    def _rows(self) -> Iterator[dict[str, float]]:
        for topic, size in self.sizes.items():
            records = [r for r in self.run.ledger.of() if r.technique == LONG and topic_of(r) == topic]
            answered = sum(r.responses for r in records)
            total = {
                name: sum(r.by_category[name] for r in records) / answered
                for name in ("payload", "envelope", "headers")
            }
            per_request = sum(r.bytes_out for r in records) / sum(r.requests for r in records)
            # one request more than answers is held: its head is no part of an exchange
            held = per_request * (sum(r.requests for r in records) - answered) / answered
            headers = total["headers"] - held
            whole = total["payload"] + total["envelope"] + headers
            answer = sum(r.bytes_in for r in records) / answered
            yield {
                "payload_bytes": size, "answers": answered, "headers": headers, "envelope": total["envelope"],
                "share_of_headers": headers / whole, "answer_bytes": answer, "segments": -(-answer // 1460),
            }  # fmt: skip

    def _repr_html_(self) -> str:
        return str(self.table().round(2).to_html())


@dataclass(frozen=True)
class Unaware:
    """A client that polls without a cursor beside one with: what was published while each listened, and what came."""

    published: tuple[int, ...]
    without: tuple[int, ...]
    with_cursor: tuple[int, ...]
    rate_per_s: float
    one_way_s: float
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def lost(self) -> int:
        return len(set(self.published) - set(self.without))

    @property
    def expected_share(self) -> float:
        """The share of events that fall into a gap: a / (1 + a), a = lambda g.

        A cycle is a gap, in which a events are lost on average, and then one event that finds the poll parked: what
        came in the gap is not there to be fetched, so a poll always waits.
        """
        a = self.rate_per_s * models.request_gap(self.one_way_s)
        return a / (1 + a)

    def table(self) -> pd.DataFrame:
        import pandas as pd

        rows = [
            ("without a cursor", len(self.published), len(self.without), self.lost, _twice(self.without)),
            ("with a cursor", len(self.published), len(self.with_cursor),
             len(set(self.published) - set(self.with_cursor)), _twice(self.with_cursor)),
        ]  # fmt: skip
        return pd.DataFrame(rows, columns=["client", "published", "arrived", "lost", "twice"]).set_index("client")

    def _repr_html_(self) -> str:
        return str(self.table().to_html())


def _twice(ids: tuple[int, ...]) -> int:
    return len(ids) - len(set(ids))


@dataclass(frozen=True)
class Pipelined:
    """Pipelined long polls: a run with topics ``pairs`` and ``poisson``, and a GET behind a parked poll.

    ``behind_s``: how long a plain GET took behind a poll held for ``hold_s``; ``beside_s``: on a connection of its own.
    """

    run: Run
    behind_s: float
    beside_s: float
    hold_s: float

    @property
    def settings(self) -> dict[str, Any]:
        return self.run.settings


@dataclass(frozen=True)
class Valley:
    """Held requests through an intermediary that ends idle connections, for several hold time-outs."""

    idle_timeout_s: float
    rows: tuple[dict[str, float], ...]
    settings: dict[str, Any] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        """One row for each hold time-out: requests and broken connections a minute, the share of time deaf."""
        import pandas as pd

        return pd.DataFrame(list(self.rows)).set_index("hold_s")

    def _repr_html_(self) -> str:
        return str(self.table().round(2).to_html())


@dataclass(frozen=True)
class Held:
    """What each held client adds to a server in a process of its own, batch by batch: KiB and descriptors."""

    memory_kib: dict[str, tuple[float, ...]] = field(default_factory=dict)
    descriptors: dict[str, tuple[float, ...]] = field(default_factory=dict)
    why: str = ""
    settings: dict[str, Any] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        import pandas as pd

        rows = [
            (name, sum(kib) / len(kib), min(kib), max(kib), sum(self.descriptors[name]) / len(kib))
            for name, kib in self.memory_kib.items()
        ]
        columns = ["technique", "KiB per client", "least", "most", "descriptors per client"]
        return pd.DataFrame(rows, columns=columns).set_index("technique")

    def _repr_html_(self) -> str:
        return f"<p>{self.why}</p>" if self.why else str(self.table().round(1).to_html())


@dataclass(frozen=True)
class Threads:
    """A server with a bounded number of threads beside the lab: when the one client too many was answered.

    ``poll_s``: seconds until a long poll that came when all threads were held got its event; ``get_s``: until a plain
    poll was answered. By server.
    """

    threads: int
    hold_s: float
    poll_s: dict[str, float]
    get_s: dict[str, float]
    settings: dict[str, Any] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        import pandas as pd

        rows = [(name, self.poll_s[name], self.get_s[name]) for name in self.poll_s]
        columns = ["server", "a long poll more (s)", "a plain poll (s)"]
        return pd.DataFrame(rows, columns=columns).set_index("server")

    def _repr_html_(self) -> str:
        return str(self.table().round(3).to_html())


@dataclass(frozen=True)
class Tabs:
    """What a real browser did with many tabs: when each request was answered, and what a shared connection lost.

    ``answered_s``: by request, in the order of asking; each was held ``hold_s``. ``shared``: by tab, the ids it got
    from the one connection, over the closing of the tab that held it.
    """

    answered_s: tuple[float, ...] = ()
    hold_s: float = 0.0
    published: tuple[int, ...] = ()
    shared: dict[str, tuple[int, ...]] = field(default_factory=dict)
    browser: str = ""
    why: str = ""
    settings: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        if self.why:
            return self.why
        answered = ", ".join(f"{s:.1f}" for s in self.answered_s)
        return f"{self.browser}: {len(self.answered_s)} requests held {self.hold_s:g} s, answered after {answered} s"

    def _repr_html_(self) -> str:
        return f"<p>{self}</p>"
