"""A TCP relay that counts what passes, and cuts.

Of threads and blocking sockets: it shares nothing with the rest of the kit but the bytes, so that what it has counted
can be held against what a client says.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import Counter
from collections.abc import Callable

from labkit.sockets import RESET


class CountingRelay:
    """Relays to a port of this machine, from ``port``.

    Args:
        port: where to relay to.
        cut_after: how many bytes towards the client the n-th connection carries before both sides are reset.

    Attributes:
        up, down: what came from and went to each client, by the client's port.
    """

    def __init__(self, port: int, cut_after: Callable[[int], int | None] = lambda n: None) -> None:
        self._target = ("127.0.0.1", port)
        self._cut_after = cut_after
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.up: dict[int, bytes] = {}
        self.down: dict[int, bytes] = {}
        self._pumps_ended: Counter[int] = Counter()
        self._threads = [threading.Thread(target=self._accept)]
        self._sockets: list[socket.socket] = []
        self._threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, (_, client) = self._listener.accept()
                far = socket.create_connection(self._target)
                self._sockets += [near, far]
                budget = self._cut_after(len(self.up))
                self.up[client] = self.down[client] = b""
                pumps = [
                    threading.Thread(target=self._pump, args=(near, far, self.up, client, None)),
                    threading.Thread(target=self._pump, args=(far, near, self.down, client, budget)),
                ]
                self._threads += pumps
                for pump in pumps:
                    pump.start()

    def _pump(
        self, source: socket.socket, sink: socket.socket, seen: dict[int, bytes], client: int, budget: int | None
    ) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                data = data if budget is None else data[: budget - len(seen[client])]
                seen[client] += data
                sink.sendall(data)
                if len(seen[client]) == budget:
                    for sock in (sink, source):
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                        sock.shutdown(socket.SHUT_RD)
                        sock.close()
                    break
            else:
                sink.shutdown(socket.SHUT_WR)
        self._pumps_ended[client] += 1

    def ended(self, client: int) -> bool:
        """Whether both directions of that client's connection are over."""
        return self._pumps_ended[client] == 2

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join()
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for sock in self._sockets:
            sock.close()

    def __enter__(self) -> CountingRelay:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
