"""``python bench/figures.py [--quick] [--only PART ...]``: the figures that ``labkit.choose`` reckons with.

Server CPU in µs, by the clock of the server's process, and what its resident memory grows by in KiB; the time from the
publish of an event to its last subscriber, in ms. Plain and over TLS. Median, least and most over the rounds.

- ``fanout``: a write to a subscriber, by how many subscribers and by how many events of 20 bytes are in it, as a line:
  the first event and each further one; the span of an event, as the server and as the clients see it; a stream begun
  and held, of which each value is a batch of connections.
- ``asking``: a poll, a long poll, a POST, a message on a WebSocket (whose sender is sent its event too), each on a
  kept connection, all clients at once or one after another; each further event of an answer.
- ``heartbeats``: one, with the pong where there is one.
- ``held``: a connection kept between polls, or with a long poll parked on it.

HTTP/2 is in ``python bench``. Servers are on one core, clients on another: Linux, with two.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import labkit
from clients import BATCHES, DATA, PARKED, Askers, Rows, Streams, get
from command import processor
from labkit.errors import LabkitError
from labkit.lab.listening import available_connections
from serving import served
from sink import Void

TOGETHER = (1, 2, 5, 10, 30)
"""How many events share a write."""
IN_ANSWER = (1, 2, 5, 10, 30, 100)
AGAIN = 4  # one further event is little beside an answer: a mean of so many
POST = f"POST /events?topic=up HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(DATA)}\r\n\r\n{DATA}"
MESSAGE = json.dumps({"publish": DATA, "ref": 1})
STREAMS = ("sse", "websocket", "http-streaming")
WAYS: dict[str, dict[str, Any]] = {
    "direct": {"fanout": "direct"},
    "ordinary": {"fanout": "plain"},
    "TLS": {"fanout": "plain", "tls": True},
}
QUIET_S = 600.0  # a heartbeat that nobody waits for


@dataclass(frozen=True, slots=True)
class Settings:
    """How much is measured: *counts* of subscribers, the largest for one technique at a time."""

    counts: tuple[int, ...] = (1000, 5000)
    most: int = 19_500
    most_tls: int = 10_000
    rounds: int = 7
    events: int = 8
    askers: int = 200
    apart_s: float = 0.002
    heartbeat_s: float = 1.0
    held: int = 3000


QUICK = Settings((10, 15), 20, 20, rounds=2, events=2, askers=10, apart_s=0.001, held=40)


def fanout(rows: Rows, settings: Settings) -> None:
    """Few of each technique in every way, several events in a write; then more of them, with one."""
    for count in settings.counts:
        together = TOGETHER if count == settings.counts[0] else (1,)
        techniques = STREAMS if count == settings.counts[0] else STREAMS[:2]
        streams_of(rows, settings, [(way, techniques) for way in WAYS], count, together)
    for technique in ("sse", "websocket"):
        streams_of(rows, settings, [("direct", (technique,))], settings.most, (1,))
        streams_of(rows, settings, [("TLS", (technique,))], settings.most_tls, (1,))


def rotated(things: Sequence[Any], by: int) -> Sequence[Any]:
    """Another one first each time."""
    by %= len(things)
    return [*things[by:], *things[:by]]


def streams_of(
    rows: Rows, settings: Settings, ways: list[tuple[str, Sequence[str]]], count: int, together: tuple[int, ...]
) -> None:
    with contextlib.ExitStack() as stack:
        subjects = []
        for way, techniques in ways:
            server = stack.enter_context(served(**WAYS[way], heartbeat_s=QUIET_S))
            subjects += [Streams(stack, server, technique, way) for technique in techniques]
        for subject in subjects:
            subject.open(rows, count)
            subject.write(1, 2)  # once before it counts
        for number in range(settings.rounds):
            for subject in rotated(subjects, number):
                subject.round(rows, settings.events, rotated(together, number))


def asking(rows: Rows, settings: Settings) -> None:
    """What clients ask, on connections that are kept."""
    with contextlib.ExitStack() as stack:
        pairs = []
        for how in ("direct", "TLS"):
            server = stack.enter_context(served(**WAYS[how], heartbeat_s=QUIET_S))
            http, sockets = (Askers(stack, server, settings.askers) for _ in range(2))
            sockets.role.ask("upgrade", "/websocket?topic=own")
            pairs.append(("plain" if how == "direct" else how, http, sockets))
        for number in range(-1, settings.rounds):
            for how, http, sockets in pairs:
                ask_round(Rows() if number < 0 else rows, settings, how, http, sockets)


def ask_round(rows: Rows, settings: Settings, how: str, http: Askers, sockets: Askers) -> None:
    for figure, asker, command in (
        ("a poll", http, ("ask", get("/polling?topic=none"))),
        ("a POST", http, ("ask", POST)),
        ("a message", sockets, ("message", MESSAGE)),
    ):
        rows.add("asking", "at once, us", figure, how, asker.cost_us(*[command] * 3) / 3)
        rows.add("asking", "one by one, us", figure, how, asker.cost_us((*command, settings.apart_s)))
    cost_us = http.long_poll(1, sockets.count, settings.apart_s)
    rows.add("asking", "asked one by one, us", "a long poll and its answer", how, cost_us)
    polls, held = {}, {}
    for together in IN_ANSWER:
        cursor, _, _ = http.server.publish("poll", [DATA] * together)
        again = [("send", get(f"/polling?topic=poll&after={cursor}")), ("read", '"id"', together)] * AGAIN
        polls[together] = http.cost_us(*again) / AGAIN
        held[together] = fmean(http.long_poll(together, sockets.count) for _ in range(AGAIN))
    rows.line("asking", "a poll's answer", how, polls)
    rows.line("asking", "a long poll and its answer", how, held)


def heartbeats(rows: Rows, settings: Settings) -> None:
    """Nothing but heartbeats, to the smallest number of subscribers."""
    for way in WAYS:
        with served(**WAYS[way], heartbeat_s=settings.heartbeat_s) as server:
            for technique in STREAMS:
                with contextlib.ExitStack() as stack:
                    subject = Streams(stack, server, technique, way)
                    subject.open(Rows(), settings.counts[0])
                    for _ in range(max(1, settings.rounds // 2)):
                        before_us, before = server.cpu_us(), subject.sink.ask("beaten")
                        time.sleep(2 * settings.heartbeat_s)
                        cost_us = (server.cpu_us() - before_us) / (subject.sink.ask("beaten") - before)
                        rows.add("heartbeats", "a heartbeat, us", technique, way, cost_us)
                server.wait_for(0)


def held(rows: Rows, settings: Settings) -> None:
    """What a connection that is kept takes of the server's resident memory."""
    each = settings.held // BATCHES
    for how in ("direct", "TLS"):
        for figure, request in (("between polls", get("/polling?topic=none")), ("a long poll", PARKED)):
            with served(**WAYS[how]) as server, contextlib.ExitStack() as stack:
                asked = Askers(stack, server, 0)
                sizes = []
                for number in range(BATCHES + 1):
                    asked.role.ask("open", server.port, each)
                    asked.role.ask("send_new", request)
                    if figure == "a long poll":
                        server.wait_for((number + 1) * each)
                    else:
                        asked.role.ask("read_new")
                    sizes.append(server.resident_bytes())
                grown = (sizes[-1] - sizes[0]) / BATCHES / each / 1024
                rows.add("held", "held, KiB", figure, "plain" if how == "direct" else how, grown)


PARTS: dict[str, Callable[[Rows, Settings], None]] = {
    "fanout": fanout,
    "asking": asking,
    "heartbeats": heartbeats,
    "held": held,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table, and return 0; 1 if a run is void, 2 if this machine cannot."""
    parser = argparse.ArgumentParser(
        prog="python bench/figures.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="only see that it runs: few subscribers, few rounds")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--json", type=Path, metavar="OUT", help="write every round to this file")
    arguments = parser.parse_args(argv)
    settings, rows = QUICK if arguments.quick else Settings(), Rows()
    if settings.most > available_connections():
        print(f"{settings.most} connections are more than this machine lets a process have", file=sys.stderr)
        return 2
    print(f"labkit {labkit.__version__}, Python {platform.python_version()}, {processor()}, {os.cpu_count()} cores")
    for part in arguments.only:
        try:
            PARTS[part](rows, settings)
        except (Void, LabkitError) as error:
            print(f"void: {part}: {error}", file=sys.stderr)
            return 1
        print("\n".join(rows.table(part)), flush=True)
    if arguments.json:
        found = [[*key, values] for key, values in rows.values.items()]
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
