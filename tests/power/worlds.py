"""Simulated worlds for the claims' checks: clients' habits, true and planted, as the rows of a run.

Nothing here knows a closed form: an event is due, a request is on its way, a server answers, and each transit takes d
and what a machine adds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from labkit.client.ledger import Ledger
from labkit.measuring.recording import COLUMNS
from labkit.measuring.run import Run

D, START_NS = 0.05, 10**12
NOISE_S = 0.0005
"""What a machine adds to a transit on average, exponentially distributed."""
FLOOR_MS = [0.2, 0.3, 0.4, 1.5] * 25
Rng = np.random.Generator


@dataclass
class Client:
    """What one subscriber to one topic saw, and how often it asked."""

    technique: str
    topic: str
    subscriber: int
    due_s: np.ndarray
    latency_s: np.ndarray
    requests: int = 1
    connections: int = 1
    bytes: np.ndarray | int = 100
    ids: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=int))

    def __post_init__(self) -> None:
        self.ids = self.ids if len(self.ids) else np.arange(1, len(self.due_s) + 1)


class Rows(Run):
    """A run of ready columns: what reading rows one by one would cost is no part of a judge's time."""

    def __init__(self, frame: pd.DataFrame, *given: Any) -> None:
        super().__init__([], *given)
        self.deliveries = frame  # type: ignore[misc]


def run_of(clients: Sequence[Client], published: Mapping[str, int] | None = None, **settings: Any) -> Run:
    """The run that these clients saw. *published*: how many events, by topic; as many as came by default."""
    lengths = [len(client.due_s) for client in clients]
    due_ns = START_NS + (np.concatenate([c.due_s for c in clients]) * 1e9).astype("int64")
    came_s = [np.maximum.accumulate(c.due_s + c.latency_s) for c in clients]  # none overtakes another
    latency_s = np.concatenate([came - c.due_s for came, c in zip(came_s, clients, strict=True)])
    columns: dict[str, Any] = {
        "technique": np.repeat([c.technique for c in clients], lengths),
        "client": "kernel",
        "topic": np.repeat([c.topic for c in clients], lengths),
        "subscriber": np.repeat([c.subscriber for c in clients], lengths),
        "event_id": np.concatenate([c.ids for c in clients]),
        "due_ns": due_ns,
        "published_ns": due_ns,
        "received_ns": START_NS + (np.concatenate(came_s) * 1e9).astype("int64"),
        "latency_ms": latency_s * 1e3,
        "bytes": np.concatenate([np.broadcast_to(c.bytes, n) for c, n in zip(clients, lengths, strict=True)]),
        "scheduled": True,
        "conflated": 0,
    }
    frame = pd.DataFrame(columns).astype({name: COLUMNS[name] for name in columns})
    frame = frame.sort_values("received_ns", kind="stable", ignore_index=True)
    counts = {c.topic: len(c.due_s) for c in clients} if published is None else published
    events = {(topic, event_id): None for topic, count in counts.items() for event_id in range(1, count + 1)}
    techniques = list(dict.fromkeys(c.technique for c in clients))
    given = {
        "techniques": techniques, "one_way_s": D, "started": "2026-01-01T00:00:00+00:00",
        "duration_s": float(max(c.due_s[-1] for c in clients)), "subscribers": 1 + max(c.subscriber for c in clients),
    }  # fmt: skip
    return Rows(frame, events, _ledger(clients), {**given, **settings}, FLOOR_MS)


def _ledger(clients: Iterable[Client]) -> Ledger:
    """A connection for each client, or several, and what it asked for first."""
    ledger = Ledger()
    for client in clients:
        request = f"GET /{client.technique}?topic={client.topic} HTTP/1.1\r\n\r\n".replace(
            " every", "%20every"
        ).encode()
        for number in range(client.connections):
            record = ledger.opened(client.technique, client.subscriber, local=("", 0), remote=("", 0), t_ns=START_NS)
            record.transferred("out", request, START_NS)
            record.requests = client.requests if number == 0 else 0
    return ledger


def poisson(rng: Rng, rate_per_s: float, span_s: float) -> np.ndarray:
    """When events are due within a span: a Poisson number of them, at random."""
    return np.sort(rng.uniform(0.0, span_s, max(1, rng.poisson(rate_per_s * span_s))))


def noisy(rng: Rng, count: int, transits: int = 1) -> np.ndarray:
    return rng.gamma(transits, NOISE_S, count)


def streamed(rng: Rng, due_s: np.ndarray, one_way_s: float = D) -> np.ndarray:
    return one_way_s + noisy(rng, len(due_s))


def polled(
    rng: Rng, due_s: np.ndarray, interval_s: float, *, phase: float = 0.0, waiting: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Latencies, and when each poll reached the server: it leaves every interval, or so long after the answer."""
    period_s, span_s = interval_s + 2 * D * waiting, due_s[-1] + 2 * interval_s + 1
    there_s = (phase - 1) * period_s + np.arange(int(span_s / period_s) + 2) * period_s
    there_s = there_s + (np.cumsum(noisy(rng, len(there_s), 2)) if waiting else noisy(rng, len(there_s)))
    which = np.searchsorted(there_s, due_s)
    return there_s[which] + D + noisy(rng, len(there_s))[which] - due_s, there_s


def long_polled(
    rng: Rng, due_s: np.ndarray, hold_s: float = 30.0, *, gap_s: float = 2 * D, one_each: bool = False
) -> tuple[np.ndarray, int]:
    """Latencies, and how many answers there were. *one_each*: an answer takes one event along, and leaves the rest."""
    due, latency_s, noise = due_s.tolist(), [], iter(noisy(rng, 2 * len(due_s) + 400, 2).tolist())
    there_s, i, answers = D, 0, 0
    while i < len(due):
        leaves_s = max(there_s, min(due[i], there_s + hold_s))
        late_s, answers = next(noise), answers + 1
        while i < len(due) and due[i] <= leaves_s:
            latency_s.append(leaves_s + D + late_s / 2 - due[i])
            i += 1
            if one_each:
                break
        there_s = leaves_s + gap_s + late_s
    return np.array(latency_s), answers
