"""Each option of each technique, and each thing that a path is: theory is as simulated, or says why there is none.

A row of ``ROWS`` sets some of them. The worlds below say what a client with these options does; they know no formula.
Options and what a path is are read from the descriptors and from :class:`labkit.theory.Path`: a new one without a row
fails.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import pytest

from labkit.techniques import TECHNIQUES, Technique, find
from labkit.techniques.exhibits import EXHIBITS
from labkit.theory import Expectation, Path, Silent
from simulations import (
    World,
    poisson_times,
    simulate_long_polling,
    simulate_polling,
    simulate_recycled,
    simulate_streaming,
)

EVERY = (*TECHNIQUES, *EXHIBITS)
BASE = Path(one_way_s=0.05, rate_per_s=6.0, poisson=True)
Options = Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """Options of a technique, what is other than usual on the path, and a clause of why there is no theory, if so."""

    technique: str
    options: dict[str, Any] = field(default_factory=dict)
    path: dict[str, Any] = field(default_factory=dict)
    silent: str = ""

    def __str__(self) -> str:
        return f"{self.technique} {self.options | self.path}"


ROWS = [
    Row("polling"),
    Row("polling", {"interval_s": 0.2}),
    Row("polling", {"interval_s": 0.05}),
    Row("polling", {"wait_after_answer": True, "interval_s": 0.3}),
    Row("polling", {"start_delay_s": 0.4, "interval_s": 0.7}),
    Row("polling", {"etag": True}),
    Row("polling", {"conflate": True}),
    Row("polling", {"conflate": True, "wait_after_answer": True, "interval_s": 0.2}),
    Row("polling", {"conflate": True, "keep_alive": False, "interval_s": 0.1}),
    Row("polling", {"keep_alive": False, "interval_s": 0.1}),
    Row("polling", {"http_version": "1.0", "wait_after_answer": True, "interval_s": 0.1}),
    Row("polling", {}, {"one_way_s": 0.7}),
    Row("polling", {}, {"jitter_s": 0.1}),
    Row("polling", {"wait_after_answer": True}, {"jitter_s": 0.1}),
    Row("polling", {"interval_s": 0.05}, {"jitter_s": 0.1}),
    Row("polling", {"interval_s": 0.2}, {"jitter_s": 0.1}, "before the next poll is due"),
    Row("polling", {"conflate": True}, {"jitter_s": 0.1}, "conflated, with jitter"),
    Row("polling", {"keep_alive": False}, {"jitter_s": 0.1}, "hide the jitter"),
    Row("polling", {"interval_s": 0.1}, {"fresh_connections": True}),
    Row("polling", {"keep_alive": False, "interval_s": 0.1}, {"handshake_s": 0.0}),
    Row("polling", {"keep_alive": False, "interval_s": 0.1}, {"handshake_s": 0.04}),
    Row("polling", {}, {"hold_s": 0.1}),
    Row("polling", {}, {"rate_per_s": None}),
    Row("polling", {}, {"poisson": False}),
    Row("polling", {"conflate": True}, {"poisson": False}, "Poisson"),
    Row("polling", {}, {"gateway": True}),
    Row("polling", {}, {"idle_timeout_s": 0.5}, "quiet for 0.5 s"),
    Row("polling", {"keep_alive": False}, {"idle_timeout_s": 0.5}),
    Row("polling", {}, {"heartbeat_s": 0.1}),
    Row("polling", {}, {"obstacle": "a link of limited rate"}, "limited rate"),
    Row("long-polling"),
    Row("long-polling", {"hold_s": 0.1}),
    Row("long-polling", {"hold_s": 0.3}, {"hold_s": 0.1}),
    Row("long-polling", {"pipelined": True}),
    Row("long-polling", {"pipelined": True, "hold_s": 0.15}),
    Row("long-polling", {"pipelined": True, "hold_s": 0.05}, silent="so briefly"),
    Row("long-polling", {"pipelined": True, "http_version": "1.0"}),
    Row("long-polling", {"pipelined": True, "conflate": True}, silent="one of the two"),
    Row("long-polling", {"pipelined": True}, {"jitter_s": 0.1}, "without jitter"),
    Row("long-polling", {"pipelined": True}, {"gateway": True}, "one poll on at a time"),
    Row("long-polling", {"conflate": True}),
    Row("long-polling", {"conflate": True, "hold_s": 0.1, "keep_alive": False}),
    Row("long-polling", {"conflate": True}, {"jitter_s": 0.1}, "without jitter"),
    Row("long-polling", {"keep_alive": False}),
    Row("long-polling", {"http_version": "1.0"}),
    Row("long-polling", {}, {"one_way_s": 0.2}),
    Row("long-polling", {"hold_s": 0.2}, {"jitter_s": 0.1}),
    Row("long-polling", {"keep_alive": False}, {"jitter_s": 0.1}, "hide the jitter"),
    Row("long-polling", {}, {"fresh_connections": True}),
    Row("long-polling", {}, {"hold_s": 0.1}),
    Row("long-polling", {"keep_alive": False}, {"handshake_s": 0.04}),
    Row("long-polling", {}, {"rate_per_s": 30.0}),
    Row("long-polling", {}, {"rate_per_s": None}, "Poisson"),
    Row("long-polling", {}, {"poisson": False}, "Poisson"),
    Row("long-polling", {}, {"gateway": True}),
    Row("long-polling", {}, {"idle_timeout_s": 10.0}, "quiet for 10 s"),
    Row("long-polling", {"hold_s": 0.2}, {"idle_timeout_s": 10.0}),
    Row("long-polling", {}, {"heartbeat_s": 0.1}),
    Row("long-polling", {}, {"obstacle": "a setting was changed"}, "changed"),
    Row("http-streaming"),
    Row("http-streaming", {"http_version": "1.0"}),
    Row("http-streaming", {"framing": "eof"}),
    Row("http-streaming", {"format": "multipart"}),
    Row("http-streaming", {"boundary": "leading"}),
    Row("http-streaming", {"format": "multipart", "boundary": "leading"}, silent="when the next begins"),
    Row("http-streaming", {"conflate": True}),
    Row("http-streaming", {"recycle": 1}),
    Row("http-streaming", {"recycle": 3}),
    Row("http-streaming", {"recycle": 3, "framing": "eof"}),
    Row("http-streaming", {"recycle": 2, "http_version": "1.0"}, {"handshake_s": 0.04}),
    Row("http-streaming", {"recycle": 3, "conflate": True}, silent="every event"),
    Row("http-streaming", {"recycle": 3}, {"jitter_s": 0.1}, "without jitter"),
    Row("http-streaming", {"recycle": 3}, {"poisson": False}, "Poisson"),
    Row("http-streaming", {"recycle": 3}, {"gateway": True}),
    Row("http-streaming", {"recycle": 3, "framing": "eof"}, {"gateway": True}, "closes only the connection behind"),
    Row("http-streaming", {"format": "multipart"}, {"idle_timeout_s": 60.0}),
    Row("sse"),
    Row("sse", {"retry_s": 0.1}),
    Row("sse", {"give_up_s": 0.1}),
    Row("sse", {"conflate": True}),
    Row("sse", {"http_version": "1.0"}),
    Row("sse", {}, {"one_way_s": 0.2}),
    Row("sse", {}, {"jitter_s": 0.1}),
    Row("sse", {}, {"jitter_s": 0.1, "rate_per_s": 60.0}),
    Row("sse", {}, {"jitter_s": 0.1, "poisson": False}, "Poisson"),
    Row("sse", {}, {"jitter_s": 0.1, "rate_per_s": None}, "Poisson"),
    Row("sse", {}, {"fresh_connections": True}),
    Row("sse", {}, {"hold_s": 0.1}),
    Row("sse", {}, {"handshake_s": 0.0}),
    Row("sse", {}, {"gateway": True}),
    Row("sse", {}, {"idle_timeout_s": 10.0}, "quiet for 10 s"),
    Row("sse", {}, {"idle_timeout_s": 10.0, "heartbeat_s": 2.0}),
    Row("sse", {}, {"obstacle": "what is behind it is unknown"}, "unknown"),
    Row("websocket"),
    Row("websocket", {"binary": True}),
    Row("websocket", {"deflate": True}, {"jitter_s": 0.1}),
    Row("websocket", {"conflate": True}),
    Row("websocket", {}, {"idle_timeout_s": 10.0}, "quiet for 10 s"),
    Row("plugin-socket"),
    Row("plugin-socket", {}, {"jitter_s": 0.1}),
    Row("forever-frame"),
    Row("forever-frame", {}, {"idle_timeout_s": 60.0}, "quiet for 60 s"),
    Row("jsonp-polling"),
    Row("jsonp-polling", {"hold_s": 0.1}),
    Row("bayeux"),
    Row("bayeux", {"hold_s": 0.1}),
    Row("bayeux", {"advised_interval_s": 0.3}),
    Row("bosh"),
    Row("bosh", {"hold_s": 0.1}),
    Row("bosh", {"hold_s": 30.0}, {"hold_s": 0.1}),  # the server's own is shorter
]


def closes(options: Options, path: Path) -> bool:
    """Whether each request takes a connection of its own."""
    kept = options.get("keep_alive", True) and options.get("framing") != "eof" and options.get("http_version") != "1.0"
    return path.fresh_connections or not kept


def polls(options: Options, path: Path, times: list[float], transits: float) -> World:
    delay_s = options["start_delay_s"]
    return simulate_polling(
        [at - delay_s for at in times if at > delay_s], path.one_way_s, options["interval_s"],
        waiting=options["wait_after_answer"], request_transits=transits, jitter_s=path.jitter_s,
        conflate=options["conflate"],
    )  # fmt: skip


def held(options: Options, path: Path, times: list[float], transits: float) -> World:
    hold_s = path.hold_s if options["hold_s"] is None else options["hold_s"]
    return simulate_long_polling(
        times, path.one_way_s, hold_s, request_transits=transits, jitter_s=path.jitter_s,
        pause_s=options.get("advised_interval_s") or 0.0, conflate=options.get("conflate", False),
        ahead=1 if options.get("pipelined") and not closes(options, path) else 0,
    )  # fmt: skip


def streamed(options: Options, path: Path, times: list[float], transits: float) -> World:
    if options.get("recycle"):
        return simulate_recycled(times, path.one_way_s, options["recycle"], request_transits=transits)
    return simulate_streaming(times, path.one_way_s, jitter_s=path.jitter_s)


WORLDS: dict[str, Callable[[Options, Path, list[float], float], World]] = {
    "poll": polls,
    "hold": held,
    "stream": streamed,
}


def simulated(technique: Technique, options: Options, path: Path) -> World:
    """What clients with these options see on that path."""
    chosen = {**technique.options, **options}
    if technique.name == "bosh" and chosen["hold_s"] is not None:
        chosen["hold_s"] = min(chosen["hold_s"], path.hold_s)  # a session waits no longer than its server does
    handshake_s = 2 * path.one_way_s if path.handshake_s is None else path.handshake_s
    transits = 1 + handshake_s / path.one_way_s * closes(chosen, path)
    rate = path.rate_per_s or 4.0
    times = poisson_times(rate, 11)
    if not path.poisson:  # periodic, and dithered by a period
        times = [(n + at) / rate for n, at in enumerate(np.random.default_rng(11).random(20_000))]
    return WORLDS[technique.kind](chosen, path, times, transits)


def named(name: str) -> Technique:
    return find(name, EVERY)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_theory_is_as_simulated_or_says_why_there_is_none(row: Row) -> None:
    technique, path = named(row.technique), replace(BASE, **row.path)
    expected = technique.expect(row.options, path)
    if row.silent:
        assert isinstance(expected, Silent) and row.silent in expected.why
        return
    assert isinstance(expected, Expectation), expected
    world = simulated(technique, row.options, path)
    latencies = np.array(world.latencies[:-1])
    _, error = world.mean_and_error()
    blocks = latencies[: len(latencies) // 100 * 100].reshape(100, -1).mean(axis=1)  # what is late together counts once
    error = max(error, blocks.std() / 10, expected.std_s / len(latencies) ** 0.5)
    assert abs(latencies.mean() - expected.mean_s) <= 4 * error + 1e-9
    assert expected.min_s - 1e-9 <= latencies.min() and latencies.max() <= expected.max_s + 1e-9


@pytest.mark.parametrize("technique", EVERY, ids=lambda t: t.name)
def test_no_option_of_a_technique_is_left_out(technique: Technique) -> None:
    usual, rows = technique.options, [r.options for r in ROWS if r.technique == technique.name]
    left_out = {name for name in usual if not any(row.get(name, usual[name]) != usual[name] for row in rows)}
    assert not left_out, f"options of {technique.name} without a row: {left_out}"
    assert any(not r.options and not r.path for r in ROWS if r.technique == technique.name)


@pytest.mark.parametrize("kind", ["poll", "hold", "stream"])
def test_nothing_that_a_path_is_is_left_out(kind: str) -> None:
    told = {name for r in ROWS if named(r.technique).kind == kind for name in r.path}
    assert not {each.name for each in fields(Path)} - told
