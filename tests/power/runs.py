"""Worlds of 00, and of every run like it: one client of each of three techniques."""

from __future__ import annotations

from typing import Any

from power.worlds import Client, D, Rng, long_polled, poisson, polled, run_of, streamed

T = 1.0


# 00, and every run like it


def one_poller(rng: Rng, planted: bool) -> Any:
    due = poisson(rng, 8.0, 12.0)
    latency, _ = polled(rng, due, T, phase=rng.uniform())
    schedule = {"schedule": {"name": "poisson", "rate_per_s": 8.0}, "poll_interval_s": T}
    return run_of([Client("polling", "", 0, due, latency + T / 4 * planted)], **schedule)


def one_long_poller(rng: Rng, planted: bool) -> Any:
    due = poisson(rng, 8.0, 12.0)
    latency, answers = long_polled(rng, due)
    schedule = {"schedule": {"name": "poisson", "rate_per_s": 8.0}, "hold_s": 30.0}
    return run_of([Client("long-polling", "", 0, due, streamed(rng, due) if planted else latency, answers)], **schedule)


def one_stream(rng: Rng, planted: bool) -> Any:
    due = poisson(rng, 8.0, 12.0)
    latency = streamed(rng, due) + D / 2 * planted
    return run_of([Client("http-streaming", "", 0, due, latency)], schedule={"name": "poisson", "rate_per_s": 8.0})


def late_ones(rng: Rng, planted: bool) -> Any:
    run = one_stream(rng, False)
    late = rng.permutation(len(run.deliveries))[: len(run.deliveries) // 3] if planted else []
    run.deliveries.loc[late, "latency_ms"] += 3e3 * D
    run.deliveries.loc[late, "received_ns"] += int(3e9 * D)
    return run
