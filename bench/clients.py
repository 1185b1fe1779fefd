"""The clients of ``figures.py``, as the process that measures has them: what they do costs the server so much.

``Rows`` keeps what was measured. The far ends, in processes of their own, are ``sink`` and ``asking``; the server is
``serving``.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import linear_regression, median
from typing import Any

from costs import on_core, path_of, sink_on_core
from roles import Role
from serving import Served

DATA = "x" * 20
FIRST, BATCHES = 200, 5  # connections that are made before it counts; in how many steps the rest is


def get(path: str) -> str:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


PARKED = get("/long-polling?topic=long&timeout=600")


@dataclass
class Rows:
    """What was measured, by what it is."""

    values: dict[tuple[str, str, str, str], list[float]] = field(default_factory=dict)

    def add(self, part: str, figure: str, of: str, how: str, *values: float) -> None:
        self.values.setdefault((part, figure, of, how), []).extend(values)

    def line(self, part: str, of: str, how: str, cost_us: dict[int, float]) -> None:
        """The first event of a write or an answer, and each further one, in µs: least squares over *cost_us*."""
        slope, intercept = linear_regression(list(cost_us), list(cost_us.values()))
        self.add(part, "first event, us", of, how, intercept + slope)
        self.add(part, "further event, us", of, how, slope)

    def table(self, part: str) -> Iterator[str]:
        yield f"| {part} | of | how | median | least | most | rounds |"
        yield "|---|---|---|---|---|---|---|"
        for (of_part, figure, of, how), values in self.values.items():
            if of_part == part:
                ends = (median(values), min(values), max(values))
                yield f"| {figure} | {of} | {how} | {' | '.join(f'{value:.4g}' for value in ends)} | {len(values)} |"


class Streams:
    """Subscribers of one technique on one server."""

    def __init__(self, stack: contextlib.ExitStack, server: Served, technique: str, way: str) -> None:
        self.server, self.technique, self.way = server, technique, way
        self.sink = sink_on_core(stack, technique, cafile=server.cafile)

    def open(self, rows: Rows, count: int) -> None:
        """Make them; keep what one that is begun costs, and what one that is held does."""
        path, each = path_of(self.technique, self.technique, ""), max(1, (count - FIRST) // BATCHES)
        self.sink.ask("open", self.server.port, path, max(1, count - BATCHES * each))
        before = self.server.cpu_us(), self.server.resident_bytes()
        for _ in range(BATCHES):
            self.sink.ask("open", self.server.port, path, each)
            after = self.server.cpu_us(), self.server.resident_bytes()
            rows.add("fanout", f"begun, of {count}, us", self.technique, self.way, (after[0] - before[0]) / each)
            before = after[0], before[1]
        grown = (after[1] - before[1]) / BATCHES / each / 1024
        rows.add("fanout", f"held, of {count}, KiB", self.technique, self.way, grown)

    def write(self, together: int, times: int) -> tuple[float, int, float, float]:
        """CPU of one write, µs; to how many; and its span as the server and as the clients saw it, ms."""
        before_us, spans = self.server.cpu_us(), []
        for _ in range(times):
            first = self.server.published.get(self.technique, 0) + 1
            data = [DATA] * together
            self.sink.say(json.dumps(["expect_several", first, data, self.way != "direct"]))
            _, began_ns, written_ns = self.server.publish(self.technique, data)
            count, arrived_ns = self.sink.answer()
            spans.append(((written_ns - began_ns) / 1e6, (arrived_ns - began_ns) / 1e6))
        cost_us = (self.server.cpu_us() - before_us) / times / count
        return cost_us, count, median(span[0] for span in spans), median(span[1] for span in spans)

    def round(self, rows: Rows, events: int, together: Sequence[int]) -> None:
        """Write as many events together as *together* says, so many times each."""
        cost_us = {}
        for number in together:
            cost_us[number], count, written_ms, arrived_ms = self.write(number, events)
            if number == 1:
                rows.add("fanout", f"delivery to {count}, us", self.technique, self.way, cost_us[1])
                rows.add("fanout", f"span to {count}, server, ms", self.technique, self.way, written_ms)
                rows.add("fanout", f"span to {count}, clients, ms", self.technique, self.way, arrived_ms)
        if len(cost_us) > 1:
            rows.line("fanout", self.technique, self.way, cost_us)


class Askers:
    """Clients that ask one server."""

    def __init__(self, stack: contextlib.ExitStack, server: Served, count: int) -> None:
        self.server, self.count = server, count
        with on_core(1):
            self.role = Role("asker", server.cafile or "")
        stack.callback(self.role.end)
        self.role.ask("open", server.port, count)

    def cost_us(self, *commands: Sequence[Any]) -> float:
        """The server's CPU for one client."""
        before_us = self.server.cpu_us()
        for command in commands:
            self.role.ask(*command)
        return (self.server.cpu_us() - before_us) / self.count

    def long_poll(self, together: int, beside: int, apart_s: float = 0.0) -> float:
        """The same for a poll that is parked until so many events come at once; others are subscribers *beside* it."""
        before_us = self.server.cpu_us()
        self.role.ask("send", PARKED, apart_s)
        self.server.wait_for(beside + self.count)
        self.server.publish("long", [DATA] * together)
        self.role.ask("read", '"id"', together)
        return (self.server.cpu_us() - before_us) / self.count
