"""One subscriber of a run: follows a technique, and turns what arrived into rows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import aclosing
from itertools import groupby
from typing import Any

from labkit.client.ledger import ConnectionRecord, Ledger
from labkit.errors import LabkitError
from labkit.lab.attached import Published
from labkit.subscribing.following import follow
from labkit.techniques import Delivery, Technique
from labkit.wire.events import Gap, size_bytes


class Subscription:
    """A subscriber on the lab loop.

    Attributes:
        opened: set once it is attached, or has failed.
        items: what arrived, each with the bytes that its connections had carried by then.
        newest: the highest event id so far.
        cursor: where it is.
        failure: why it ended before its time; None if it did not.
        lost: why the newest attempt came to nothing; None since the server has been heard.
        attached: whether it was, since it began or was renewed.
        awaited_s: how long it was waited for in vain, if it was.
    """

    def __init__(
        self, technique: Technique, number: int, topic: str, options: Mapping[str, Any], keep_bytes: int
    ) -> None:
        self.technique = technique
        self.number = number
        self.topic = topic
        self.options = dict(options)
        self.ledger = Ledger(keep_bytes)
        self.opened = asyncio.Event()
        self.items: list[tuple[Delivery | Gap, int]] = []
        self.newest = 0
        self.cursor: str | None = None
        self.carried_bytes = 0  # before the first of the items
        self.failure: str | None = None
        self.lost: str | None = None
        self.attached = False
        self.awaited_s: float | None = None

    def begins(self, cursor: str) -> None:
        """It is to receive what comes after this."""
        self.cursor = cursor
        self.newest = int(cursor.partition("@")[0])

    def renewed(self) -> None:
        """Get ready to subscribe again from the cursor."""
        self.opened, self.attached = asyncio.Event(), False
        self.failure = None

    async def receive(
        self, url: str, after: str | None, on_delivery: Callable[[Subscription, Delivery], None] | None = None
    ) -> None:
        """Put down what arrives until cancelled. A failure is kept with its reason: others go on."""
        try:
            items = follow(
                self.technique,
                url,
                after=after,
                topic=self.topic,
                ledger=self.ledger,
                subscriber=self.number,
                on_open=lambda _: self._attach(),
                on_lost=self._is_lost,
                **self.options,
            )
            async with aclosing(items) as arriving:
                async for item in arriving:
                    if not self.attached:  # asked at each event: without a call
                        self._attach()
                    self.lost = None
                    self.put(item)
                    if isinstance(item, Delivery) and on_delivery is not None:
                        on_delivery(self, item)
        except LabkitError as error:
            self.failure = str(error)
        except Exception as error:  # a learner's own technique may do anything; the run goes on and says so
            self.failure = f"{type(error).__name__}: {error}"
        except (SystemExit, KeyboardInterrupt) as error:  # no signal is raised on this thread: it was the technique
            self.failure = f"the technique's own code raised {error!r}, which ends this subscriber and nothing else"
        finally:
            self.opened.set()
            for record in self.ledger.connections:
                record.technique = self.technique.name

    def _attach(self) -> None:
        self.attached = True
        self.opened.set()

    @property
    def trouble(self) -> str | None:
        """Why it did not receive, or not to the end; None if it did."""
        if self.failure is not None or self.attached or self.awaited_s is None:
            return self.failure
        return f"it never attached: {self.lost or 'the server has not answered'} (waited {self.awaited_s:.3g} s)"

    def _is_lost(self, error: LabkitError) -> None:
        self.lost = str(error)

    def put(self, item: Delivery | Gap) -> None:
        """Keep what arrived."""
        self.cursor, spent = item.cursor, 0
        for record in self.ledger.connections:  # asked at each event: without a call
            spent += record.bytes_in + record.bytes_out
        self.items.append((item, spent))
        if isinstance(item, Delivery):
            self.newest = max(self.newest, item.event_id)

    def _payload_bytes(self, item: Delivery) -> int:
        return size_bytes(item.data)

    def rows(self, published: Published) -> Iterator[dict[str, Any]]:
        """One row per delivery, as ``Run.deliveries`` has them.

        ``bytes`` is what the subscriber's connections carried, both ways, since the delivery before: empty polls,
        headers and heartbeats are in it. Deliveries of one read share what it took.
        """
        deliveries = [(item, spent) for item, spent in self.items if isinstance(item, Delivery)]
        before, last_id = self.carried_bytes, 0
        is_conflated, version = bool(self._asked.get("conflate")), self._http_version
        for spent, together in groupby(deliveries, key=lambda pair: pair[1]):
            group = [item for item, _ in together]
            each, rest = divmod(spent - before, len(group))
            before = spent
            for index, item in enumerate(group):
                skipped = max(0, item.event_id - last_id - 1) if is_conflated and last_id else 0
                last_id = item.event_id
                times = published.get((self.topic, item.event_id))
                yield self._row(item, version, each + (index < rest), skipped, times)

    def _row(
        self, item: Delivery, http_version: str, spent: int, skipped: int, times: tuple[int, int] | None
    ) -> dict[str, Any]:
        due_ns, published_ns = times if times is not None else (None, None)
        return {
            "technique": self.technique.name,
            "client": "kernel",
            "http_version": http_version,
            "topic": self.topic,
            "subscriber": self.number,
            "event_id": item.event_id,
            "wire_id": item.wire_id,
            "due_ns": due_ns,
            "published_ns": published_ns,
            "received_ns": item.received_ns,
            "latency_ms": None if due_ns is None else (item.received_ns - due_ns) / 1e6,
            "transit_ms": None if published_ns is None else (item.received_ns - published_ns) / 1e6,
            "clock_error_ms": 0.0,
            "bytes": None if any(record.shared for record in self.ledger.connections) else spent,
            "payload_bytes": self._payload_bytes(item),
            "scheduled": times is not None,
            "conflated": skipped,
        }

    @property
    def _http_version(self) -> str:
        """That was asked for by name, unless its newest connection has agreed on another."""
        agreed = next((r.http_version for r in reversed(self.ledger.connections) if r.http_version), "")
        return "2" if agreed == "2" else str(self._asked.get("http_version", self.technique.http_version))

    @property
    def _asked(self) -> dict[str, Any]:
        """All that it asked for, what its technique always has included."""
        return {**self.options, **self.technique.fixed}

    def records(self, first_id: int | None) -> Iterator[ConnectionRecord]:
        """Its connections; *first_id* is the oldest event that is kept, if any was let go."""
        yield from self.ledger.connections

    def gaps(self) -> Iterator[dict[str, Any]]:
        """The gaps that it was told."""
        for item, _ in self.items:
            if isinstance(item, Gap):
                yield {
                    "technique": self.technique.name,
                    "subscriber": self.number,
                    "topic": self.topic,
                    "after": item.after,
                    "next": item.next,
                    "cursor": item.cursor,
                }
