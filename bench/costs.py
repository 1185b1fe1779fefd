"""What the bench measures: server CPU per delivery in fan-out, and server memory per subscriber held.

Each server is a process on one core, the sinks are on another. Rounds are interleaved and ratios taken within a round,
so that what else the machine does falls on all alike. One event is in flight at a time: the next is published when
every subscriber has the last.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from labkit.lab.lab import Lab
from labkit.techniques import find
from roles import Role
from sink import GIVE_UP_S, Void

BROADCAST = "websockets broadcast()"
TORNADO = "Tornado's own loop"
HOLD_S = 600.0  # a parked poll is held until the end


@dataclass(frozen=True, slots=True)
class Settings:
    """How much is measured: fan-out rounds of some events each, a trickle of one event a second to a few subscribers,
    and subscribers held, beyond a first few."""

    subscribers: int = 1000
    rounds: int = 12
    events: int = 40
    payload_bytes: int = 20
    few: int = 100
    trickle_s: int = 32
    held: int = 5000
    first: int = 500


@dataclass
class Subject:
    """One server, with subscribers of one technique, and what its rounds have cost."""

    name: str
    technique: str
    reference: str
    pid: int
    publish: Callable[[int, str], object]
    sink: Role
    published: int = 0
    deliveries: int = 0
    cpu_us: list[float] = field(default_factory=list)

    def round(self, events: int, payload_bytes: int) -> None:
        """Publish so many events, one after another has arrived everywhere; keep the CPU per delivery."""
        delivered, before_s = 0, cpu_s(self.pid)
        for event_id in range(self.published + 1, self.published + events + 1):
            data = f"{event_id:0{payload_bytes}d}"
            self.sink.say(json.dumps(["expect", event_id, data]))
            self.publish(event_id, data)
            delivered += self.sink.answer()
        self.cpu_us.append((cpu_s(self.pid) - before_s) / delivered * 1e6)
        self.published += events
        self.deliveries += delivered


def cpu_s(pid: int) -> float:
    """CPU seconds so far, user and system, of another process: Linux has a clock for each, to the nanosecond."""
    return time.clock_gettime(~pid << 3 | 2)


@contextlib.contextmanager
def on_core(number: int) -> Iterator[None]:
    """What is started meanwhile stays on one core, where there are two."""
    before = os.sched_getaffinity(0)
    cores = sorted(before)
    os.sched_setaffinity(0, {cores[number % len(cores)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def lab_on_core(name: str, fanout: str = "direct", **options: Any) -> Iterator[Lab]:
    with on_core(0):
        lab = Lab(name, process=True, fanout=fanout, **options)
    with lab:
        yield lab


def subscribers(stack: contextlib.ExitStack, technique: str, port: int, path: str, count: int, epoch: str = "") -> Role:
    """A sink with *count* connections."""
    sink = sink_on_core(stack, technique, epoch=epoch)
    sink.ask("open", port, path, count)
    return sink


def sink_on_core(
    stack: contextlib.ExitStack, technique: str, streams: int = 0, cafile: str | None = None, epoch: str = ""
) -> Role:
    """A sink without connections yet: of HTTP/2 with so many streams each, over TLS if it is told whom to believe."""
    with on_core(1):
        sink = Role("sink", technique, epoch, str(streams), cafile or "")
    stack.callback(sink.end)
    return sink


def path_of(technique: str, topic: str, after: str) -> str:
    return f"{find(technique).route}?topic={topic}&after={after}&timeout={HOLD_S:.0f}"


def fan_out(settings: Settings) -> list[dict[str, Any]]:
    """CPU per delivery of every subject, in µs, and its ratios to its reference round by round."""
    with contextlib.ExitStack() as stack:
        subjects = list(start_subjects(stack, settings.subscribers))
        turns = deque(subjects)
        for number in range(settings.rounds + 1):
            for subject in turns:
                subject.round(settings.events, settings.payload_bytes)
                if number == 0:  # everything is done once before it counts
                    subject.cpu_us.clear()
            turns.rotate(1)
        for subject in subjects:
            subject.sink.ask("close")
    return [fan_out_row(subject, subjects) for subject in subjects]


def trickle(settings: Settings) -> list[dict[str, Any]]:
    """The same at one event a second, where pings and heartbeats come between the events."""
    with contextlib.ExitStack() as stack:
        subjects = list(start_subjects(stack, min(settings.few, settings.subscribers)))
        due_s = time.monotonic()
        for _ in range(settings.trickle_s):
            due_s += 1
            time.sleep(max(0.0, due_s - time.monotonic()))
            for subject in subjects:
                subject.round(1, settings.payload_bytes)
        for subject in subjects:
            subject.sink.ask("close")
            subject.cpu_us = [fmean(subject.cpu_us)]  # one slow second counts as much as it takes
    return [fan_out_row(subject, subjects) for subject in subjects]


def publisher(lab: Lab, topic: str) -> Callable[[int, str], object]:
    """What publishes the n-th event of a round."""
    return lambda n, data: lab.publish(data, topic)


def start_subjects(stack: contextlib.ExitStack, count: int) -> Iterator[Subject]:
    """The references, then labkit in both ways with both techniques."""
    for name, role in ((BROADCAST, "broadcast"), ("a loop of send()", "bare")):
        with on_core(0):
            peer = Role(role)
        stack.callback(peer.end)
        sink = subscribers(stack, "websocket", peer.answer(), "/", count)
        yield Subject(name, "websocket", BROADCAST, peer.process.pid, peer.publish, sink)
    for technique, reference in (("websocket", BROADCAST), ("sse", TORNADO)):
        with on_core(0):
            peer = Role("tornado", technique)
        stack.callback(peer.end)
        sink = subscribers(stack, technique, peer.answer(), find(technique).route, count)
        yield Subject(TORNADO, technique, reference, peer.process.pid, peer.publish, sink)
    for fanout in ("direct", "plain"):
        lab = stack.enter_context(lab_on_core(f"bench {fanout}", fanout))
        assert lab.pid is not None
        for technique in ("websocket", "sse"):
            reference = BROADCAST if (fanout, technique) == ("direct", "websocket") else TORNADO
            sink = subscribers(stack, technique, lab.port, path_of(technique, technique, lab.cursor(technique)), count)
            yield Subject(f"labkit {fanout}", technique, reference, lab.pid, publisher(lab, technique), sink)


def fan_out_row(subject: Subject, among: list[Subject]) -> dict[str, Any]:
    reference = next(s for s in among if (s.name, s.technique) == (subject.reference, subject.technique))
    return {
        "server": subject.name,
        "technique": subject.technique,
        "deliveries": subject.deliveries,
        "cpu_us": subject.cpu_us,
        "reference": subject.reference,
        "ratios": [cost / other for cost, other in zip(subject.cpu_us, reference.cpu_us, strict=True)],
    }


def memory(technique: str, settings: Settings) -> dict[str, Any]:
    """Growth of the server's resident memory per subscriber of one technique, in KiB."""
    with contextlib.ExitStack() as stack:
        lab = stack.enter_context(lab_on_core(f"bench memory {technique}"))
        cursor = lab.cursor(technique)
        path = path_of(technique, technique, cursor)
        sink = subscribers(stack, technique, lab.port, path, settings.first, cursor.partition("@")[2])
        before_bytes = resident_bytes(lab, settings.first)
        held = sink.ask("open", lab.port, path, settings.held)
        after_bytes = resident_bytes(lab, held)
        data = "x" * settings.payload_bytes
        sink.say(json.dumps(["expect", 1, data]))
        lab.publish(data, technique)
        reached = sink.answer()
        sink.ask("close")
    kib = (after_bytes - before_bytes) / settings.held / 1024
    return {"technique": technique, "held": settings.held, "reached": reached, "kib_per_subscriber": kib}


def resident_bytes(lab: Lab, subscribers: int) -> float:
    """Resident memory once so many subscribers are held."""
    give_up_s = time.monotonic() + GIVE_UP_S
    while (held := lab.stats()["subscribers"]) != subscribers:
        if time.monotonic() > give_up_s:
            raise Void(f"the server holds {held} subscribers, not {subscribers}")
        time.sleep(0.01)
    usage = lab.usage()
    assert usage is not None
    return usage["rss_bytes"]
