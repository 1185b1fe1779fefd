"""Many clients in a process of their own: ``Crowd``, and the program that it starts.

Each line to the child is a command in JSON, each line back its answer. The clients are the kit's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections import Counter
from contextlib import aclosing
from typing import Any

from labkit.course.background import cancelled
from labkit.course.child import start
from labkit.errors import LabkitError
from labkit.loop import run_main
from labkit.techniques import Delivery, find

OPEN_TIMEOUT_S = 20.0


class Crowd:
    """The parent's end. Use it with ``with``; what it holds ends with it."""

    def __init__(self) -> None:
        self._child = start(play)

    def open(self, technique: str, url: str, after: str, count: int, **options: Any) -> None:
        """Add so many clients; returns when each is there.

        Raises:
            LabkitError: one could not connect.
        """
        self._ask("open", technique=technique, url=url, after=after, count=count, options=options)

    def received(self) -> Counter[str]:
        """Deliveries so far, by technique."""
        return Counter(self._ask("received"))

    def _ask(self, name: str, **arguments: Any) -> Any:
        assert self._child.stdin is not None and self._child.stdout is not None
        self._child.stdin.write(json.dumps([name, arguments]) + "\n")
        self._child.stdin.flush()
        answer = json.loads(self._child.stdout.readline() or '{"error": "the clients\' process has ended"}')
        if "error" in answer:
            raise LabkitError(answer["error"])
        return answer["value"]

    def close(self) -> None:
        """End the child, and with it every client."""
        assert self._child.stdin is not None and self._child.stdout is not None
        with contextlib.suppress(OSError):
            self._child.stdin.close()
        try:
            self._child.wait(5)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._child.stdout.close()

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Clients:
    """The child's end."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.tasks: list[asyncio.Task[None]] = []

    async def open(self, technique: str, url: str, after: str, count: int, options: dict[str, Any]) -> None:
        spread_s, there = options.get("interval_s", 1.0) / 4, [asyncio.Event() for _ in range(count)]
        new = [
            asyncio.ensure_future(
                self._receive(technique, url, after, here, {"start_delay_s": spread_s * n / count, **options})
            )
            for n, here in enumerate(there)
        ]
        self.tasks += new
        arrived = asyncio.gather(*(here.wait() for here in there))
        waited: list[asyncio.Future[Any]] = [arrived, *new]
        await asyncio.wait(waited, timeout=OPEN_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        for task in new:
            if task.done() and not task.cancelled() and (error := task.exception()):
                arrived.cancel()
                raise error
        if not arrived.done():
            arrived.cancel()
            raise LabkitError(f"{technique}: not all clients were there within {OPEN_TIMEOUT_S:g} s")

    async def received(self) -> dict[str, int]:
        return dict(self.counts)

    async def _receive(
        self, technique: str, url: str, after: str, here: asyncio.Event, options: dict[str, Any]
    ) -> None:
        found = find(technique)
        items = found.connect(url, after=after, on_open=lambda _: here.set(), **found.taken_of(options))
        async with aclosing(items) as arriving:
            async for item in arriving:
                self.counts[technique] += isinstance(item, Delivery)


async def _main() -> None:
    clients = _Clients()
    while line := await asyncio.to_thread(sys.stdin.readline):
        name, arguments = json.loads(line)
        try:
            answer = {"value": await getattr(clients, name)(**arguments)}
        except Exception as error:  # the parent raises it
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)
    await cancelled(*clients.tasks)


def play() -> None:
    """The child's end: be the clients that the parent asks for."""
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        run_main(_main())
