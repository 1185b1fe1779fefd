"""What each technique's clients cost a server: CPU and memory of a process of its own, the clients in another."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labkit.claims import confidence
from labkit.claims.confidence import Interval
from labkit.course.alone import started_now
from labkit.course.held import cpu_s, rss_bytes
from labkit.course.shown import Shown, as_table
from labkit.course.side_by_side.crowd import Crowd
from labkit.errors import LabkitError
from labkit.lab.lab import Lab
from labkit.progress import Progress
from labkit.techniques import TECHNIQUES, find

if TYPE_CHECKING:
    import pandas as pd

BATCHES = 8
FIRST = 6  # clients that come before the count: the first of each kind fill caches
SETTLE_S = 0.15


@dataclass(frozen=True, repr=False)
class ServerCosts(Shown):
    """What each technique's clients cost a server in a process of its own, its clients in another.

    Attributes:
        memory_kib: growth of the server's resident memory per client held, one value for each batch of clients.
        cpu_us: CPU of the server per client and second, in µs, one value for each round.
        missed: deliveries that did not come.
        why: why it was not run; empty if it was.
    """

    memory_kib: dict[str, tuple[float, ...]] = field(default_factory=dict)
    cpu_us: dict[str, tuple[float, ...]] = field(default_factory=dict)
    missed: dict[str, int] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    why: str = ""

    @property
    def caption(self) -> str:
        if self.why:
            return f"Not run: {self.why}."
        told = self.settings
        return (
            f"{told['clients']} clients of each technique, {told['rate_per_s']:g} events/s; this kit's implementation "
            "in a process of its own, clients in another; give or take: at 99.8 %, over the rounds."
        )

    def memory(self, technique: str) -> Interval:
        return confidence.mean_interval(self.memory_kib.get(technique, ()))

    def cpu(self, technique: str) -> Interval:
        return confidence.mean_interval(self.cpu_us.get(technique, ()))

    def table(self) -> pd.DataFrame:
        rows = [
            {
                "technique": technique,
                "memory_kib_per_client": self.memory(technique).value,
                "memory_give_or_take": self.memory(technique).half_width,
                "cpu_us_per_client_s": self.cpu(technique).value,
                "cpu_give_or_take": self.cpu(technique).half_width,
                "missed": self.missed.get(technique, 0),
            }
            for technique in self.cpu_us
        ]
        return as_table(rows, None if rows else ["technique"]).set_index("technique")


def server_costs(
    techniques: Sequence[str] | None = None,
    *,
    clients: int = 60,
    rate_per_s: float = 8.0,
    rounds: int = 8,
    round_s: float = 0.6,
    poll_interval_s: float = 1.0,
    payload_bytes: int = 20,
    seed: int = 8,
    progress: bool = True,
) -> ServerCosts:
    """The same trace to one server for each technique, all of them at once, so that what else runs falls on all alike.

    Args:
        clients: of each technique, in eight batches that differ by one at the most.
        rounds: each gives one value of the CPU.

    Raises:
        LabkitError: fewer than 16 clients, 2 rounds, or a rate or length that is not above 0.
    """
    if clients < 2 * BATCHES or rounds < 2 or not (rate_per_s >= 0 and round_s > 0):
        raise LabkitError(
            f"clients={clients}, rounds={rounds}, rate_per_s={rate_per_s:g}, round_s={round_s:g}: expected at least "
            f"{2 * BATCHES} clients, 2 rounds, a rate of 0 or more and a length above 0"
        )
    names = [find(t).name for t in techniques] if techniques else [t.name for t in TECHNIQUES if not t.exhibit]
    line = Progress(enabled=progress)
    started = started_now(clients=clients, rate_per_s=rate_per_s, poll_interval_s=poll_interval_s)
    with contextlib.ExitStack() as stack:
        labs = {}
        for name in names:
            line.show(f"starting a server for {name}")
            labs[name] = stack.enter_context(Lab(f"cost of {name}", process=True))
        crowd = stack.enter_context(Crowd())
        load = _Load(labs, crowd, poll_interval_s, "x" * payload_bytes)
        memory = load.gather(_batches(clients), line)
        cpu = load.publish(rate_per_s, rounds, round_s, random.Random(seed), line)
        missed = load.missed(clients + FIRST)
    line.done()
    settings = {"rounds": rounds, "round_s": round_s, "payload_bytes": payload_bytes, "seed": seed}
    return ServerCosts(memory, cpu, missed, started | settings | {"published": load.published})


def _batches(clients: int) -> list[int]:
    """So many clients in batches, as equal as they can be."""
    return [clients * (n + 1) // BATCHES - clients * n // BATCHES for n in range(BATCHES)]


class _Load:
    def __init__(self, labs: dict[str, Lab], crowd: Crowd, poll_interval_s: float, data: str) -> None:
        self.labs = labs
        self.crowd = crowd
        self.poll_interval_s = poll_interval_s
        self.data = data
        self.published = 0
        self.held = 0

    def gather(self, batches: Sequence[int], line: Progress) -> dict[str, tuple[float, ...]]:
        """Let the clients come, batch by batch; the growth of each server's memory per client, in KiB."""
        grown: dict[str, list[float]] = {name: [] for name in self.labs}
        self._open(FIRST)
        for lab in self.labs.values():
            lab.publish(self.data)
        self.published += 1
        time.sleep(2 * SETTLE_S)
        for number, batch in enumerate(batches):
            line.show(f"clients come: batch {number + 1} of {len(batches)}")
            before = {name: rss_bytes(lab) for name, lab in self.labs.items()}
            self._open(batch)
            time.sleep(SETTLE_S)
            for name, lab in self.labs.items():
                grown[name].append((rss_bytes(lab) - before[name]) / batch / 1024)
        return {name: tuple(values) for name, values in grown.items()}

    def _open(self, count: int) -> None:
        for name, lab in self.labs.items():
            self.crowd.open(name, lab.url_of(name), lab.cursor(), count, interval_s=self.poll_interval_s)
        self.held += count

    def publish(
        self, rate_per_s: float, rounds: int, round_s: float, rng: random.Random, line: Progress
    ) -> dict[str, tuple[float, ...]]:
        """A Poisson trace to all servers alike; the CPU of each per client and second, round by round, in µs."""
        spent: dict[str, list[float]] = {name: [] for name in self.labs}
        for number in range(rounds):
            line.show(f"publishing: round {number + 1} of {rounds}")
            began_s = time.perf_counter()
            before = {name: cpu_s(lab) for name, lab in self.labs.items()}
            for _ in range(round(rate_per_s * round_s)):
                time.sleep(max(0.0, round_s / max(1.0, rate_per_s * round_s) * rng.random()))
                for lab in self.labs.values():
                    lab.publish(self.data)
                self.published += 1
            time.sleep(max(0.0, began_s + round_s - time.perf_counter()))
            lasted_s = time.perf_counter() - began_s
            for name, lab in self.labs.items():
                spent[name].append((cpu_s(lab) - before[name]) / self.held / lasted_s * 1e6)
        return {name: tuple(values) for name, values in spent.items()}

    def missed(self, clients: int) -> dict[str, int]:
        """What has not come, once there was time for it; the first event was published for the first few only."""
        wanted = (self.published - 1) * clients + FIRST
        deadline_s = time.monotonic() + 2 * self.poll_interval_s + 2
        while min((got := self.crowd.received())[name] for name in self.labs) < wanted:
            if time.monotonic() > deadline_s:
                break
            time.sleep(0.05)
        return {name: wanted - got[name] for name in self.labs}
