"""``python -m labkit serve``: a push server in the foreground, until SIGINT or SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import threading
from typing import TYPE_CHECKING

from labkit.commands.publishing import add_source, schedule_of
from labkit.errors import LabkitError
from labkit.wire.events import now_ns

if TYPE_CHECKING:
    from labkit.lab.server import Server
    from labkit.measuring.schedules import Schedule

HELP = "run a push server in the foreground, without a notebook"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=0, help="HTTP port on 127.0.0.1 (default: a free one)")
    parser.add_argument("--plugin-port", type=int, default=0, help="plugin socket's port (default: a free one)")
    add_source(parser, "publish by itself: ")


def run(arguments: argparse.Namespace) -> int:
    """As :func:`serve`."""
    schedule = schedule_of(arguments, 1000.0) if arguments.source else None
    return serve(port=arguments.port, plugin_port=arguments.plugin_port, schedule=schedule)


def serve(*, port: int = 0, plugin_port: int = 0, schedule: Schedule | None = None) -> int:
    """Serve until told to stop; returns the exit status.

    Args:
        port, plugin_port: on 127.0.0.1; 0 takes free ones.
        schedule: published over and over; None publishes nothing: the ids belong to whoever POSTs.

    Raises:
        LabkitError: a port is in use; the message names it.
    """
    with contextlib.suppress(KeyboardInterrupt):  # where signals cannot be handled by the loop
        asyncio.run(_serve(port, plugin_port, schedule))
    return 0


async def _serve(port: int, plugin_port: int, schedule: Schedule | None) -> None:
    from labkit.lab.server import Server

    stopped = asyncio.Event()
    for name in ("SIGINT", "SIGTERM"):
        with contextlib.suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(getattr(signal, name), stopped.set)
    server = Server()
    server.start(port=port, plugin_port=plugin_port)
    _announce(server)
    ended = threading.Event()
    publisher = threading.Thread(target=_publish, args=(server, schedule, ended), daemon=True)
    if schedule is not None:
        publisher.start()
    try:
        await stopped.wait()
    finally:
        ended.set()
        await server.close()
        print("stopped", flush=True)


def _announce(server: Server) -> None:
    base = f"http://127.0.0.1:{server.ports['http']}"
    print(f"labkit serves at {base}  (open it in a browser to see every technique live)")
    for technique in server.techniques:
        print(f"  {technique.name:<16}{technique.url('127.0.0.1', server.ports)}")
    print(f"publish with:  curl -d 'hello' {base}/events")
    print("Ctrl-C stops it", flush=True)


def _publish(server: Server, schedule: Schedule, ended: threading.Event) -> None:
    while not ended.is_set():
        started_ns = now_ns()
        for event in schedule.plan():
            if ended.wait(max(0.0, event.offset_s - (now_ns() - started_ns) / 1e9)):
                return
            data = event.data() if callable(event.data) else event.data
            try:
                server.hub.publish(data, event.topic, now_ns())
            except LabkitError as error:
                print(f"not published: {error}", flush=True)
        if ended.wait(max(0.1, schedule.duration_s - (now_ns() - started_ns) / 1e9)):
            return
