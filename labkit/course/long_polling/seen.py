"""What the experiments of 02_long_polling that are whole runs give: what the checks judge and the charts draw."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from labkit import theory
from labkit.claims.seen import Seen, see

if TYPE_CHECKING:
    import pandas as pd

    from labkit.client.ledger import ConnectionRecord
    from labkit.measuring.run import Run

LONG, STREAM = "long-polling", "http-streaming"
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
    """Long polling at several event rates at once, each rate in topics of its own, beside a stream of the same.

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
        frame = frame[frame["topic"].isin(mine) & frame["scheduled"].astype(bool)]
        streamed = frame[frame["technique"] == STREAM]
        frame = frame[frame["technique"] == LONG]
        asked = requests_by_topic(self.run, LONG)
        requests = sum(asked.get(topic, 0) for topic in mine) - len(mine)  # one of each is still held
        gap_s, events = theory.request_gap(d), len(frame)
        return {
            "rate_per_s": rate,
            "events": events,
            "mean_ms": float(frame["latency_ms"].mean()),
            "theory_ms": theory.long_polling_mean(rate, d, ENDLESS_S, gap_s) * 1e3,
            "requests": requests,
            "events_per_answer": events / max(1, requests),
            "theory_events_per_answer": theory.long_polling_events_per_answer(rate, ENDLESS_S, gap_s),
            "requests_per_s": requests / self.duration_s / max(1, len(mine)),
            "theory_requests_per_s": theory.long_polling_requests_per_s(rate, d, ENDLESS_S),
            "bytes_per_event": float(frame["bytes"].sum()) / max(1, events),
            "stream_ms": float(streamed["latency_ms"].mean()),
        }

    def seen(self) -> Seen:
        """What the checks look at, the machine's noise included."""
        return see(self.run, LONG)

    def _repr_html_(self) -> str:
        return str(self.table().round(2).to_html())


@dataclass(frozen=True)
class Holds:
    """Long polling held for different times, all at the same event rate. ``holds_s``: technique -> hold, seconds."""

    run: Run
    holds_s: dict[str, float]
    rate_per_s: float
    duration_s: float

    @property
    def settings(self) -> dict[str, Any]:
        return self.run.settings

    @property
    def one_way_s(self) -> float:
        return float(self.run.settings["one_way_s"])

    def table(self) -> pd.DataFrame:
        """One row for each hold: mean latency and requests a second, measured and theory's."""
        import pandas as pd

        return pd.DataFrame([self._row(*pair) for pair in self.holds_s.items()]).set_index("hold_s")

    def _row(self, name: str, hold_s: float) -> dict[str, float]:
        d, rate, frame = self.one_way_s, self.rate_per_s, self.run.deliveries
        mine = frame[(frame["technique"] == name) & frame["scheduled"].astype(bool)]
        topics = max(1, mine["topic"].nunique())
        requests = sum(requests_by_topic(self.run, name).values()) - topics  # one of each is still held
        return {
            "hold_s": hold_s,
            "events": len(mine),
            "mean_ms": float(mine["latency_ms"].mean()),
            "theory_ms": theory.long_polling_mean(rate, d, hold_s, theory.request_gap(d)) * 1e3,
            "requests_per_s": requests / topics / self.duration_s,
            "theory_requests_per_s": theory.long_polling_requests_per_s(rate, d, hold_s),
        }

    def _repr_html_(self) -> str:
        return str(self.table().round(2).to_html())


@dataclass(frozen=True)
class Equal:
    """Long polling and interval polling that ask equally often, at a low and at a high event rate.

    Attributes:
        rates: topic -> events a second.
        pairs: events a second -> the technique of the poller whose interval was made for it.
    """

    run: Run
    rates: dict[str, float]
    pairs: dict[float, str]

    @property
    def settings(self) -> dict[str, Any]:
        return self.run.settings

    def topics(self, rate: float) -> list[str]:
        return [topic for topic, r in self.rates.items() if r == rate]

    def requests(self, technique: str, rate: float) -> int:
        """How many requests a technique's clients sent for the topics of one rate, from the first event to the last.

        Each is one write. A poller asks before and after as well, and a long poll waits.
        """
        topics, frame = self.topics(rate), self.run.deliveries
        due_ns = frame["due_ns"][frame["topic"].isin(topics)]
        first_ns, last_ns = int(due_ns.min()), int(due_ns.max())
        return sum(
            transfer.direction == "out" and first_ns <= transfer.t_ns <= last_ns
            for record in self.run.ledger.of(technique)
            if topic_of(record) in topics
            for transfer in record.transfers
        )

    def table(self) -> pd.DataFrame:
        """One row for each rate: requests and mean latency of both."""
        import pandas as pd

        frame, rows = self.run.deliveries, []
        for rate, poller in self.pairs.items():
            for name in (LONG, poller):
                mine = frame[(frame["technique"] == name) & frame["topic"].isin(self.topics(rate))]
                rows.append((rate, name, self.requests(name, rate), float(mine["latency_ms"].mean())))
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

    def table(self) -> pd.DataFrame:
        """One row for each kind of event, and for the GET on either connection: ms."""
        import pandas as pd

        latency = self.run.deliveries.groupby("topic")["latency_ms"]
        rows = {f"{topic} events": (each.median(), each.max()) for topic, each in latency}
        rows["a GET beside the poll"] = (self.beside_s * 1e3,) * 2
        rows["a GET behind the poll"] = (self.behind_s * 1e3,) * 2
        return pd.DataFrame.from_dict(rows, orient="index", columns=["median (ms)", "longest (ms)"])

    def _repr_html_(self) -> str:
        return str(self.table().round(0).to_html())
