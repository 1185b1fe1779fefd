"""``python bench/intermediaries.py [--idle S] [PROGRAM ...]``: what real intermediaries do to each technique.

50 events at 10/s go to a lab's own clients, directly and through each program that is installed, in its default and in
its recommended configuration. Then everything is quiet, without heartbeats, until the program ends the connection.
Installs nothing; says what is missing. The table is Markdown.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count, islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, get_args

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import labkit
from labkit.network.programs import PROGRAMS
from labkit.network.real_intermediary import Configuration, RealIntermediary
from labkit.techniques import find

if TYPE_CHECKING:
    from labkit.measuring.run import Run

EVENTS, RATE_PER_S = 50, 10.0
POLL_INTERVAL_S = 0.2
DELAYED_MS = 1e3 / RATE_PER_S
"""A technique whose median is that much above what it is directly is delayed: the next event is already due."""
TOGETHER_NS = 20_000_000
"""Events published 100 ms apart that arrive within so much of each other came as one."""
LATE = {"delayed", "batched"}
TRIES = 3
"""So often a path is measured on which something is late: a program is so each time, a busy machine is not."""
IDLE_S = 20.0

STREAMING = find("http-streaming")
TECHNIQUES = [
    *("polling", "long-polling", "http-streaming"),
    STREAMING.variant("ended by close", framing="eof"),
    STREAMING.variant("HTTP/1.0", http_version="1.0"),
    STREAMING.variant("multipart", format="multipart"),
    *("sse", "websocket"),
]
NAMES = [each if isinstance(each, str) else each.name for each in TECHNIQUES]
QUIET = {
    "SSE": "GET /sse HTTP/1.1\r\n",
    "long poll": "GET /long-polling?timeout=600 HTTP/1.1\r\n",
    "WebSocket": "GET /websocket HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """What came of one technique on one path.

    Attributes:
        delivered: events, each counted once.
        p50_ms: the median of their latencies; NaN where there were none.
        together: how many of them arrived as one with the event before.
        failure: why it failed; empty if it did not.
        disorder: what came twice or out of order, as a clause.
    """

    delivered: int
    p50_ms: float
    together: int
    failure: str = ""
    disorder: str = ""

    def word(self, direct: Cell, *, polls: bool) -> str:
        """through, delayed, batched or broken; nothing where nothing came; refused, with the status."""
        if not self.delivered:
            status = re.search(r"answered (\d{3})", self.failure)
            return f"refused ({status[1]})" if status else "nothing"
        batched = not polls and 3 * self.together >= self.delivered  # two at a time, at least
        if self.delivered < direct.delivered or self.disorder:
            return "batched, broken" if batched else "broken"
        if batched:
            return "batched"
        return "delayed" if self.p50_ms > direct.p50_ms + DELAYED_MS else "through"


def cells(run: Run) -> dict[str, Cell]:
    """The cells of one run, by technique."""
    summary, found = run.summary(), {}
    for name in NAMES:
        row, rows = summary.loc[name], run.deliveries
        arrived = sorted(rows[rows["technique"] == name]["received_ns"].tolist())
        together = sum(b - a < TOGETHER_NS for a, b in pairwise(arrived))
        counts = {"twice": int(row["duplicated"]), "out of order": int(row["out_of_order"])}
        disorder = ", ".join(f"{n} {what}" for what, n in counts.items() if n)
        found[name] = Cell(int(row["events"]), float(row["p50_ms"]), together, run.failures.get(name, ""), disorder)
    return found


def measured(lab: labkit.Lab, through: RealIntermediary | None = None) -> dict[str, Cell]:
    schedule = labkit.periodic(RATE_PER_S, EVENTS / RATE_PER_S)
    return cells(labkit.measure(lab, TECHNIQUES, schedule, poll_interval_s=POLL_INTERVAL_S, through=through))


def least_late(runs: Iterator[dict[str, Cell]], direct: dict[str, Cell]) -> dict[str, Cell]:
    """The first of *runs* in which nothing is late, or that of :data:`TRIES` in which the least is."""
    tried: list[tuple[int, dict[str, Cell]]] = []
    for found in islice(runs, TRIES):
        tried.append((sum(word in LATE for word in words(found, direct).values()), found))
        if not tried[-1][0]:
            break
    return min(tried, key=lambda each: each[0])[1]


def words(found: dict[str, Cell], direct: dict[str, Cell]) -> dict[str, str]:
    return {name: cell.word(direct[name], polls=name == "polling") for name, cell in found.items()}


def row(path: str, version: str, found: dict[str, Cell], direct: dict[str, Cell], idle: str) -> str:
    """One path as a line of the table."""
    line = [path, version]
    for name, word in words(found, direct).items():
        cell = found[name]
        latency = f", {cell.p50_ms:.0f} ms" if cell.delivered else ""
        line.append(f"{cell.delivered}{latency}, {word}{f' ({cell.disorder})' if cell.disorder else ''}")
    return f"| {' | '.join([*line, idle])} |"


# -- quiet ------------------------------------------------------------------------------------------------------------


async def quiet(address: tuple[str, int], request: str, limit_s: float) -> str:
    """How a connection on which nothing happens ends, as a word: ``60 s``, ``60 s (504)``, ``none`` or the refusal."""
    reader, writer = await asyncio.open_connection(*address)
    begun_s, data = time.monotonic(), b""
    try:
        writer.write(f"{request}Host: {address[0]}:{address[1]}\r\n\r\n".encode())
        async with asyncio.timeout(limit_s):
            while read := await reader.read(65536):
                data += read
                if re.match(rb"HTTP/1.1 [45]", data):
                    break
    except TimeoutError:
        return "none"
    except OSError:
        pass
    finally:
        writer.close()
    passed_s, status = time.monotonic() - begun_s, re.match(rb"HTTP/1.1 ([45]\d\d)", data)
    if passed_s < 1.0:
        return f"refused ({status[1].decode()})" if status else "ended at once"
    return f"{passed_s:.0f} s{f' ({status[1].decode()})' if status else ''}"


async def all_quiet(addresses: Iterable[tuple[str, int]], limit_s: float) -> list[str]:
    """For each address what each kind of quiet connection came to."""

    async def at(address: tuple[str, int]) -> str:
        words = await asyncio.gather(*(quiet(address, request, limit_s) for request in QUIET.values()))
        if set(words) == {"none"}:
            return "none"
        return ", ".join(f"{name} {word}" for name, word in zip(QUIET, words, strict=True))

    return await asyncio.gather(*map(at, addresses))


def idle_limits(programs: Sequence[RealIntermediary], limit_s: float) -> list[str]:
    """What becomes of quiet connections to a lab without heartbeats, through each program; all at the same time."""
    if not limit_s:
        return ["" for _ in programs]
    with labkit.Lab("quiet", heartbeat_s=3600.0) as lab, ExitStack() as stack:
        for program in programs:
            stack.enter_context(program.bind(lab))
        found = labkit.run(all_quiet([program.address for program in programs], limit_s))
    for program in programs:
        program.bind(None)
    return found


# -- the command ------------------------------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print the table, line by line."""
    parser = argparse.ArgumentParser(prog="bench/intermediaries.py", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("programs", nargs="*", metavar="PROGRAM", help=f"{', '.join(PROGRAMS)} (default: all)")
    parser.add_argument("--idle", type=float, default=IDLE_S, metavar="S", help="how long to be quiet (%(default)s s)")
    arguments = parser.parse_args(argv)
    names = arguments.programs or list(PROGRAMS)
    chosen = [labkit.real_intermediary(name, config=config) for name in names for config in get_args(Configuration)]
    missing = dict.fromkeys(each.missing for each in chosen if each.missing)
    present = [each for each in chosen if not each.missing]
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, labkit {labkit.__version__}, {platform.platform()}, {os.cpu_count()} cores, "
        f"load average {os.getloadavg()[0]:.0f}."
    )
    print(f"{EVENTS} events at {RATE_PER_S:g}/s, polls every {POLL_INTERVAL_S:g} s. Delivered, median, verdict:\n")
    limits = idle_limits(present, arguments.idle)
    print(f"| through | version | {' | '.join(NAMES)} | idle limit, {arguments.idle:g} s tried |")
    print("|---" * (len(NAMES) + 3) + "|", flush=True)
    with labkit.Lab("intermediaries") as lab:
        direct = min((measured(lab) for _ in range(TRIES)), key=lambda found: found["sse"].p50_ms)
        print(row("nothing", "", direct, direct, ""), flush=True)
        for program, limit in zip(present, limits, strict=True):
            path = f"{program.name}, {program.config}"
            found = least_late((measured(lab, program) for _ in count()), direct)
            print(row(path, program.version, found, direct, limit), flush=True)
    print()
    for sentence in missing:
        print(f"Missing: {sentence}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
