"""L7: what a held client costs a server in a process of its own."""

from __future__ import annotations

import socket
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labkit.course.alone import started_now
from labkit.course.held import NOT_LINUX, READ_TIMEOUT_S, UPGRADE, growth
from labkit.course.shown import Shown, as_table
from labkit.lab.lab import Lab
from labkit.lab.listening import available_connections
from labkit.progress import Progress
from labkit.sockets import dial, kernel_bytes

if TYPE_CHECKING:
    import pandas as pd


QUIET_S = 600
REQUESTS = {
    "long-polling": (f"/long-polling?timeout={QUIET_S}", ""),
    "sse": ("/sse", ""),
    "websocket": ("/websocket", UPGRADE),
}


@dataclass(frozen=True, repr=False)
class Held(Shown):
    """What each held client adds to a server in a process of its own, batch by batch: KiB and descriptors.

    ``kernel_bytes``: what the kernel keeps for the server's end of an idle connection, beside the process's own
    memory; None where it does not say.
    """

    memory_kib: dict[str, tuple[float, ...]] = field(default_factory=dict)
    descriptors: dict[str, tuple[float, ...]] = field(default_factory=dict)
    why: str = ""
    kernel_bytes: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        if self.why:
            return as_table({"not run": [self.why]})
        rows = [
            (name, sum(kib) / len(kib), min(kib), max(kib), sum(self.descriptors[name]) / len(kib))
            for name, kib in self.memory_kib.items()
        ]
        columns = ["technique", "KiB per client", "least", "most", "descriptors per client"]
        return as_table(rows, columns=columns).set_index("technique")


def held_clients(*, batch: int = 75, batches: int = 11) -> Held:
    """Memory and descriptors of a server in a process of its own, for each held client of three techniques.

    The clients are plain sockets here; they are added in batches, and what each batch adds is read.
    """
    settings = started_now(batch=batch, batches=batches)
    if sys.platform != "linux":
        return Held(why=NOT_LINUX, settings=settings)
    available_connections()
    progress, memory, descriptors = Progress(), {}, {}
    for technique in REQUESTS:
        progress.show(f"holding {batch * (batches + 1)} clients of {technique}")
        with Lab(f"held-{technique}", process=True, heartbeat_s=QUIET_S) as lab:
            with _Holding(lab, technique) as holding:
                memory[technique], descriptors[technique] = growth(lab, holding.add, batch, batches)
    progress.done()
    return Held(memory, descriptors, kernel_bytes=kernel_bytes(), settings=settings)


class _Holding:
    """Plain sockets that subscribe to a lab and then only listen."""

    def __init__(self, lab: Lab, technique: str) -> None:
        self._lab = lab
        self._held: list[socket.socket] = []
        path, fields = REQUESTS[technique]
        self._request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{lab.port}\r\n{fields}\r\n".encode()

    def __enter__(self) -> _Holding:
        return self

    def __exit__(self, *_: object) -> None:
        for sock in self._held:
            sock.close()

    def add(self, count: int) -> None:
        """So many more; waits until the lab has them."""
        for _ in range(count):
            sock = dial(self._lab.port, READ_TIMEOUT_S)
            self._held.append(sock)
            sock.sendall(self._request)
        deadline_s = time.monotonic() + READ_TIMEOUT_S
        while self._lab.stats()["subscribers"] < len(self._held) and time.monotonic() < deadline_s:
            time.sleep(0.01)
