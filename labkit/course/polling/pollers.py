"""Pollers with an interval of their own, what is expected of them, and their requests one by one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import wraps
from typing import Any

from labkit import theory
from labkit.client.ledger import ConnectionRecord
from labkit.course.asking import expected
from labkit.techniques import Delivery, Opening, Technique, find
from labkit.wire.events import Gap

ONE_WAY_S = 0.05
POLLING = find("polling")


@dataclass(frozen=True)
class Poller:
    """One kind of poller in a run: its name there, its interval, whether it counts that from the answer."""

    name: str
    interval_s: float
    waiting: bool = False

    def theory(self, one_way_s: float) -> theory.Expectation:
        options = {"interval_s": self.interval_s, "wait_after_answer": self.waiting}
        return expected(POLLING, options, theory.Path(one_way_s))


def poller(
    interval_s: float, *, phase: Callable[[int], float] = lambda _: 0.0, waiting: bool = False, name: str = ""
) -> Technique:
    """Interval polling with an interval of its own, so that one run can hold several.

    Args:
        phase: share of the interval by which the n-th subscriber starts later.
        waiting: count the interval from the answer.

    Raises:
        ValueError: the interval is not above 0.
    """
    if not interval_s > 0:
        raise ValueError(f"interval_s={interval_s!r}, expected a number of seconds above 0")

    @wraps(POLLING.client)
    def client(opening: Opening, **given: Any) -> AsyncGenerator[Delivery | Gap, None]:
        return POLLING.client(opening, **{**given, "start_delay_s": phase(opening.subscriber) * interval_s})

    title = name or f"every {interval_s:g} s" + (" after the answer" if waiting else "")
    return POLLING.variant(title, client, interval_s=interval_s, wait_after_answer=waiting)


@dataclass(frozen=True)
class Exchange:
    """One request and its answer: when it was sent, when the answer was whole, the bytes of both."""

    asked_ns: int
    answered_ns: int
    bytes: int


def exchanges(records: Iterable[ConnectionRecord]) -> Iterator[Exchange]:
    """The exchanges of connections that ask and are answered in turn, oldest first; unanswered ones are left out."""
    for record in records:
        asked_ns = answered_ns = size = 0
        for transfer in record.transfers:
            if transfer.direction == "out" and answered_ns:
                yield Exchange(asked_ns, answered_ns, size)
                asked_ns = answered_ns = size = 0
            asked_ns = asked_ns or transfer.t_ns
            answered_ns = transfer.t_ns if transfer.direction == "in" else answered_ns
            size += len(transfer.data)
        if answered_ns:
            yield Exchange(asked_ns, answered_ns, size)
