"""What the version of HTTP costs the server, and what TLS does: Server-Sent Events, everything in one run.

CPU for each subscriber begun and for each delivery in fan-out, memory for each subscriber held. Over HTTP/2 as many
streams share a connection as a server lets them, or each has one of its own. Events go through each handler's own flush
there and under TLS, as with ``fanout="plain"``, which is therefore what the rest is compared with.
"""

from __future__ import annotations

import contextlib
from collections import deque
from dataclasses import dataclass
from typing import Any

from costs import Settings, Subject, cpu_s, fan_out_row, lab_on_core, path_of, publisher, resident_bytes, sink_on_core

SSE = "sse"
SHARED = 100  # streams of a connection: what a lab lets a client have
REFERENCE = "HTTP/1.1, plain"


@dataclass(frozen=True, slots=True)
class Version:
    """One way to carry the same events; *streams* of a connection, none where it is HTTP/1.1's."""

    name: str
    streams: int = 0
    tls: bool = False
    fanout: str = "plain"


VERSIONS = (
    Version("HTTP/1.1, direct", fanout="direct"),
    Version(REFERENCE),
    Version("HTTP/2, 100 a connection", SHARED),
    Version("HTTP/2, 1 a connection", 1),
    Version("HTTP/1.1 over TLS", tls=True),
    Version("HTTP/2 over TLS, 100", SHARED, tls=True),
    Version("HTTP/2 over TLS, 1", 1, tls=True),
)


def versions(settings: Settings) -> list[dict[str, Any]]:
    """A row for each: µs of the server's CPU for a subscriber begun and for a delivery, KiB for a subscriber held."""
    count = min(settings.subscribers, settings.held)
    with contextlib.ExitStack() as stack:
        begun: dict[str, dict[str, float]] = {}
        subjects = []
        for version in VERSIONS:
            http = (1, 2) if version.streams else (1,)
            lab = stack.enter_context(lab_on_core(f"bench {version.name}", version.fanout, http=http, tls=version.tls))
            assert lab.pid is not None
            sink = sink_on_core(stack, SSE, version.streams, lab.cafile)
            path = path_of(SSE, SSE, lab.cursor(SSE))
            first = min(settings.first, count)  # what is made once is not theirs
            sink.ask("open", lab.port, path, first)
            before_bytes, before_s = resident_bytes(lab, first), cpu_s(lab.pid)
            sink.ask("open", lab.port, path, count)
            after_bytes = resident_bytes(lab, first + count)
            begun[version.name] = {
                "begin_us": (cpu_s(lab.pid) - before_s) / count * 1e6,
                "kib_per_subscriber": (after_bytes - before_bytes) / count / 1024,
            }
            subjects.append(Subject(version.name, SSE, REFERENCE, lab.pid, publisher(lab, SSE), sink))
        turns = deque(subjects)
        for number in range(settings.rounds + 1):
            for subject in turns:
                subject.round(settings.events, settings.payload_bytes)
                if number == 0:  # everything is done once before it counts
                    subject.cpu_us.clear()
            turns.rotate(1)
        for subject in subjects:
            subject.sink.ask("close")
    return [fan_out_row(subject, subjects) | begun[subject.name] for subject in subjects]
