"""A technique's client on the lab loop, seen from a thread: what it brings, where it began, how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from contextlib import aclosing
from functools import partial
from typing import Any

from labkit import loop
from labkit.client.ledger import ConnectionRecord, Ledger
from labkit.errors import LabkitError
from labkit.subscribing.contract.waiting import PATIENCE_S, UNIT_S, Broken, require
from labkit.techniques import Delivery, Technique
from labkit.wire.events import Gap
from labkit.wire.spans import Direction


class Receiver:
    """A technique's client on the lab loop; what it brings is in ``items``, in order.

    Args:
        url: the technique's address.
        stop_after: leave after this many items, in the middle of nothing.
        pause_after: read nothing more after this many items, until :meth:`resume`.
        resumes: connect again from the cursor of the newest item when the connection is lost.
        patience_s: how long whatever is waited for may take.
    """

    def __init__(
        self,
        technique: Technique,
        url: str,
        *,
        stop_after: int | None = None,
        pause_after: int | None = None,
        resumes: bool = False,
        patience_s: float = PATIENCE_S,
        **options: Any,
    ) -> None:
        self.technique, self.url, self.options = technique, url, options
        self.after: str | None = options.pop("after", None)
        self.stop_after, self.pause_after, self.resumes = stop_after, pause_after, resumes
        self.patience_s = patience_s
        self.items: list[Delivery | Gap] = []
        self.begins: list[str] = []
        self.ledger = Ledger(64 << 20)
        self.error: Exception | None = None
        self.ended = False
        self.lost = 0
        self._changed = threading.Condition()
        self._gate = asyncio.Event()
        self._task = loop.run(self._start())

    async def _start(self) -> asyncio.Task[None]:
        task = asyncio.ensure_future(self._receive())
        task.add_done_callback(lambda _: self._change(lambda: setattr(self, "ended", True)))
        return task

    async def _receive(self) -> None:
        try:
            while True:
                try:
                    await self._connect(self.items[-1].cursor if self.items else self.after)
                    if not self.resumes or self.technique.resumes:
                        return
                except LabkitError as error:
                    if not self.resumes:
                        raise
                    self.error = error
                self.lost += 1
                await asyncio.sleep(0.001)  # so that one that ends at once leaves the loop to others
        except Exception as error:  # whatever a client raises is told by whoever waits for what it should bring
            self.error = error

    async def _connect(self, after: str | None) -> None:
        items = self.technique.connect(self.url, after=after, ledger=self.ledger, on_open=self._opened, **self.options)
        async with aclosing(items) as arriving:
            async for item in arriving:
                self._change(partial(self.items.append, item))
                if len(self.items) == self.stop_after:
                    return
                if len(self.items) == self.pause_after:
                    await self._gate.wait()

    def _opened(self, cursor: str) -> None:
        self._change(partial(self.begins.append, cursor))

    def _change(self, how: Callable[[], Any]) -> None:
        with self._changed:
            how()
            self._changed.notify_all()

    def wait(self, condition: Callable[[], Any], what: str = "", timeout_s: float | None = None) -> None:
        """Wait until *condition* holds; it is asked again whenever something has arrived.

        Raises:
            Broken: that takes longer than *timeout_s* seconds (by default ``patience_s``), or the client has ended.
        """
        limit_s = self.patience_s if timeout_s is None else timeout_s
        with self._changed:
            in_time = self._changed.wait_for(lambda: condition() or self.ended, limit_s)
            if not condition():
                why = (
                    f"not within {limit_s:g} s" if not in_time else f"the client has ended ({self.error or 'no error'})"
                )
                raise Broken(f"{what or 'what was waited for'}: {why}; {self!r}")

    def wait_for(self, count: int) -> list[Delivery | Gap]:
        """Wait until *count* items have come."""
        self.wait(lambda: len(self.items) >= count, f"{count} items")
        return self.items

    def wait_until(self, event_id: int) -> None:
        """Wait until the event of that id, or a later one, has come."""
        self.wait(lambda: self.last_id >= event_id, f"event {event_id}")

    def wait_end(self, timeout_s: float | None = None) -> None:
        self.wait(lambda: self.ended, "the client's end", timeout_s)

    def resume(self) -> None:
        loop.get_loop().call_soon_threadsafe(self._gate.set)

    @property
    def deliveries(self) -> list[Delivery]:
        return [item for item in self.items if isinstance(item, Delivery)]

    @property
    def ids(self) -> list[int]:
        return [item.event_id for item in self.deliveries]

    @property
    def last_id(self) -> int:
        """The id of the newest delivery; 0 before the first."""
        newest = next((item for item in reversed(self.items) if isinstance(item, Delivery)), None)
        return newest.event_id if newest is not None else 0

    @property
    def gaps(self) -> list[Gap]:
        return [item for item in self.items if isinstance(item, Gap)]

    @property
    def held_back(self) -> int:
        """How many events came again and were not handed over."""
        return sum(record.duplicates for record in self.ledger.connections)

    @property
    def received(self) -> bytes:
        """Every byte that came in, over all connections."""
        return b"".join(bytes_of(record, "in") for record in self.ledger.connections)

    def close(self) -> None:
        """Leave, as a client that was cancelled does.

        Raises:
            Broken: it does not end. It is cancelled once more, so that it does not stay.
        """
        loop.get_loop().call_soon_threadsafe(self._task.cancel)
        try:
            self.wait_end()
        except Broken:
            loop.get_loop().call_soon_threadsafe(self._task.cancel)
            with contextlib.suppress(Broken):
                self.wait_end(UNIT_S)
            raise Broken(f"a client that is left does not end within {self.patience_s:g} s") from None

    def __enter__(self) -> Receiver:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        with contextlib.suppress(*([Broken] if kind is not None else [])):  # what was found first is what is told
            self.close()

    def __repr__(self) -> str:
        tail = ", ".join(map(str, self.items[-2:]))[:200]
        return f"<Receiver {self.technique.name}: {len(self.items)} items, ended={self.ended}, {self.error!r}, {tail}>"


def bytes_of(record: ConnectionRecord, direction: Direction) -> bytes:
    """What one direction of a connection carried."""
    return b"".join(transfer.data for transfer in record.transfers if transfer.direction == direction)


def check_marks(record: ConnectionRecord) -> None:
    """Every byte of each direction is marked exactly once, and the counters say the same.

    Raises:
        Broken: one is not, or is twice.
    """
    totals: dict[Direction, int] = {"in": record.carried_in, "out": record.carried_out}
    for direction, total in totals.items():
        at = 0
        for mark in sorted((m for m in record.marks if m.direction == direction), key=lambda m: m.start):
            require(mark.start == at, f"ledger, {direction}: bytes {at} to {mark.start} unmarked or twice; {mark}")
            at = mark.stop
        around = bytes_of(record, direction)[max(0, at - 20) : at + 60]
        require(at == total, f"ledger, {direction}: {at} of {total} bytes are marked; {around!r}")
    require(
        sum(record.by_category.values()) == record.bytes_total, "the ledger's categories do not add up to its bytes"
    )
