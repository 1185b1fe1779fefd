"""The charts say what the run holds: theory beside it, units on every axis, titles computed from it."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import plotly.io as pio
import pytest

from labkit import charts, claims, models, style
from labkit.charts import pictures
from labkit.charts.conversation import conversation, server_side
from labkit.errors import LabkitError
from labkit.ledger import CATEGORIES, Ledger

TECHNIQUES = ("polling", "long-polling", "http-streaming", "sse", "websocket", "plugin-socket")
FRAMING_BYTES = {"http-streaming": 6, "sse": 32, "websocket": 2, "plugin-socket": 1}
UNITS = ("(ms", "(s)", "(B)", "(d = ")
S = 1_000_000_000


@pytest.fixture(autouse=True)
def no_predictions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "prediction", lambda name: None)


# A simulated run: the same Poisson events through every technique, over a link of one_way_s


class Wire:
    """A simulated connection: what the client, and both sides of a link, put down."""

    def __init__(self, ledger: Ledger, technique: str, port: int, d_s: float, link: bool) -> None:
        self.d_s = d_s
        where = {"local": ("127.0.0.1", port), "remote": ("127.0.0.1", 9000)}
        self.client = ledger.opened(technique, 0, t_ns=0, **where)
        self.client.segments_out = self.client.segments_in = 3
        self.far = None
        if link:
            ledger.opened("", port, local=where["remote"], remote=where["local"], t_ns=1, hop="link.near")
            far_end = {"local": ("127.0.0.1", port + 500), "remote": ("127.0.0.1", 8000)}
            self.far = ledger.opened("", port, t_ns=2, hop="link.far", **far_end)

    def out(self, t_s: float, label: str, size: int = 120) -> float:
        self.client.mark("out", self.client.bytes_out, self.client.bytes_out + size, "headers", label)
        self.client.transferred("out", b"x" * size, round(t_s * S))
        if self.far is not None:
            self.far.transferred("out", b"x" * size, round((t_s + self.d_s) * S))
        self.client.requests += 1
        self.client.segments_out += 1
        return t_s + self.d_s

    def back(self, t_s: float, parts: list[tuple[int, str, str, int | None]], lag_s: float) -> float:
        start = stop = self.client.bytes_in
        for size, category, label, event_id in parts:
            self.client.mark("in", stop, stop + size, category, label, event_id)
            stop += size
        self.client.transferred("in", b"x" * (stop - start), round((t_s + self.d_s + lag_s) * S))
        if self.far is not None:
            self.far.transferred("in", b"x" * (stop - start), round(t_s * S))
        self.client.segments_in += 1
        self.client.segments_out += 1
        return t_s + self.d_s + lag_s


def event_parts(ids: list[int], framing: int, payload: int) -> list[tuple[int, str, str, int | None]]:
    parts: list[tuple[int, str, str, int | None]] = []
    for i in ids:
        parts += [(18, "envelope", f"event {i}", i), (payload, "payload", f"event {i}", i)]
    return parts + ([(framing, "framing", "chunk", None)] if framing else [])


def arrivals(
    technique: str, wire: Wire, due_s: list[float], rng: random.Random, T: float, payload: int
) -> Iterator[tuple[int, float]]:
    """The simulated conversation: yields (event id, received)."""
    head, n, d = (140, "headers", "200, headers", None), len(due_s), wire.d_s

    def lag() -> float:
        return 0.0004 + rng.expovariate(1 / 0.0006)

    if technique == "polling":
        done, t = 0, 0.13
        while done < n:
            at = wire.out(t, "GET /polling")
            ids = [i + 1 for i in range(done, n) if due_s[i] <= at]
            end = [(30, "envelope", "JSON", None)]
            got = wire.back(at + 0.0002, [head, *event_parts(ids, 0, payload), *end], lag())
            yield from ((i, got) for i in ids)
            done, t = done + len(ids), t + T
    elif technique == "long-polling":
        done, t = 0, 0.0
        while done < n:
            at = wire.out(t, "GET /long-polling")
            at = max(at, due_s[done])
            ids = [i + 1 for i in range(done, n) if due_s[i] <= at]
            t = wire.back(at + 0.0002, [head, *event_parts(ids, 0, payload), (30, "envelope", "JSON", None)], lag())
            yield from ((i, t) for i in ids)
            done += len(ids)
    else:
        at = wire.out(0.0, f"GET /{technique}")
        wire.back(at, [head], lag())
        for i, due in enumerate(due_s, 1):
            yield i, wire.back(max(due, at), event_parts([i], FRAMING_BYTES[technique], payload), lag())


def make_run(
    *, techniques: tuple[str, ...] = TECHNIQUES, d_s: float = 0.05, link: bool = True, rate: float = 5.0,
    duration_s: float = 8.0, T: float = 1.0, payload: int = 20, seed: int = 3,
) -> Any:  # fmt: skip
    rng = random.Random(seed)
    due_s, t = [], 0.3
    while (t := t + rng.expovariate(rate)) < duration_s + 0.3:
        due_s.append(t)
    ledger, rows = Ledger(), []
    for number, technique in enumerate(techniques):
        wire = Wire(ledger, technique, 40_000 + number, d_s, link)
        for i, got in arrivals(technique, wire, due_s, rng, T, payload):
            due, received = round(due_s[i - 1] * S), round(got * S)
            rows.append(
                {"technique": technique, "client": "python", "subscriber": 0, "event_id": i, "due_ns": due,
                 "published_ns": due + 60_000, "received_ns": received, "latency_ms": (received - due) / 1e6,
                 "payload_bytes": payload, "scheduled": True}
            )  # fmt: skip
    frame = pd.DataFrame(rows).astype({"due_ns": "Int64", "published_ns": "Int64", "technique": "string"})
    return SimpleNamespace(
        deliveries=frame, ledger=ledger, failures={}, summary=lambda: summary_of(frame, ledger),
        settings={"techniques": list(techniques), "one_way_s": d_s, "poll_interval_s": T, "hold_s": 30.0,
                  "schedule": {"name": "poisson", "settings": {"rate_per_s": rate}}},
    )  # fmt: skip


def summary_of(frame: pd.DataFrame, ledger: Ledger) -> pd.DataFrame:
    rows = {}
    for c in ledger.of():
        events = int((frame["technique"] == c.technique).sum())
        per_event = {name: c.by_category[name] / events for name in CATEGORIES}
        rows[c.technique] = {"events": events, "lost": 0, "tcp_ip": c.tcp_ip_bytes / events, **per_event}
    return pd.DataFrame.from_dict(rows, orient="index")


@pytest.fixture(scope="module")
def run() -> Any:
    return make_run()
