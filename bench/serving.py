"""The server of ``figures.py``: labkit's own, in a process that publishes several events in one turn of its loop.

A command a line, an answer a line, both JSON. ``Served`` is the parent's end.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from costs import cpu_s, on_core
from labkit.lab.listening import available_connections
from labkit.lab.server import Server
from labkit.server.tls import forget, throw_away
from labkit.wire.events import now_ns
from roles import Role
from sink import GIVE_UP_S, Void

PAGE_BYTES = 4096


async def serve(options: dict[str, Any]) -> None:
    """Serve as the options of :class:`labkit.lab.server.Server` say; ``tls`` is true or false."""
    available_connections()
    identity = throw_away() if options.pop("tls", False) else None
    cafile = identity.publish_authority() if identity is not None else None
    server = Server(**options, tls=identity)
    server.start()
    lines = asyncio.StreamReader(1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    print(json.dumps({"value": [server.ports["http"], cafile]}), flush=True)
    try:
        while line := await lines.readline():
            name, *arguments = json.loads(line)
            value = await publish(server, *arguments) if name == "publish" else server.stats()[name]
            print(json.dumps({"value": value}), flush=True)
    finally:
        forget(cafile)


async def publish(server: Server, topic: str, data: Sequence[str]) -> tuple[str, int, int]:
    """Publish all of *data* in one turn: the cursor before it, the time then, and when all of it was written.

    The first turn fans out, and sends what goes directly; in the second the handlers write that were woken by it.
    """
    before, began_ns = str(server.hub.cursor(topic)), time.monotonic_ns()
    for one in data:
        server.hub.publish(one, topic, now_ns())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return before, began_ns, time.monotonic_ns()


class Served:
    """A server that is served by another process."""

    def __init__(self, role: Role) -> None:
        self.role = role
        self.port, self.cafile = role.answer()
        self.pid = role.process.pid
        self.published: dict[str, int] = {}

    def publish(self, topic: str, data: Sequence[str]) -> tuple[str, int, int]:
        """As :func:`publish`, there."""
        self.published[topic] = self.published.get(topic, 0) + len(data)
        cursor, began_ns, ended_ns = self.role.ask("publish", topic, data)
        return cursor, began_ns, ended_ns

    def wait_for(self, subscribers: int) -> None:
        """Wait until it holds so many. Raises Void if it never does."""
        give_up_s = time.monotonic() + GIVE_UP_S
        while (held := self.role.ask("subscribers")) != subscribers:
            if time.monotonic() > give_up_s:
                raise Void(f"the server holds {held} subscribers, not {subscribers}")
            time.sleep(0.01)

    def cpu_us(self) -> float:
        return cpu_s(self.pid) * 1e6

    def resident_bytes(self) -> int:
        return int(Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1]) * PAGE_BYTES


@contextlib.contextmanager
def served(**options: Any) -> Iterator[Served]:
    """A server on the first core."""
    with on_core(0):
        role = Role("serve", json.dumps(options))
    try:
        yield Served(role)
    finally:
        role.end()
