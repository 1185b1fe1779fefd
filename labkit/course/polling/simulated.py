"""A world for a polling client: a server with a log, a network, and a clock that moves only when somebody waits.

So ten seconds of polling take no time, and every wrong moment is exact.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from labkit.claims.coding import NotKept
from labkit.course import coding_child
from labkit.course.coding_child import told
from labkit.measuring.rounding import counted
from labkit.subscribing.contract.waiting import UNIT_S

STILL = 1000
"""So many looks at a clock that stands still are a loop that waits by looking."""
TICK_S = 1e-12
"""What a look at the clock takes: no two are of one moment, and in what is said of a world they do not show."""
STUBBORN = 50
"""So often the end is told to a client before it counts as one that catches even that."""


WATCH_S = 2 * UNIT_S
"""A simulated world that takes so long has a client that waits elsewhere, by the clock on the wall."""
WALL = {"monotonic", "perf_counter", "time", "time_ns", "monotonic_ns", "perf_counter_ns", "datetime"}
GIVEN = "use the clock and the sleep that you are given: the simulated world has a time of its own."
EVENT = "an event is a dict, `{'id': 3, 'data': ...}`: its id is event['id']."


class Over(BaseException):
    """The time is over: nothing that a client should catch."""


@dataclass
class Asked:
    """One question: when, with which cursor, what the answer held, and when that was there."""

    at_s: float
    cursor: Any
    ids: list[int] = field(default_factory=list)
    more: bool = False
    is_lost: bool = False
    until_s: float = 0.0

    def __str__(self) -> str:
        answered = (
            "the answer was lost" if self.is_lost else f"answered events {self.ids}" if self.ids else "answered none"
        )
        return f"at {self.at_s:.3g} s asked with {self.cursor!r}, {answered}"


class World:
    """What a client is given: ``ask``, ``deliver``, ``clock`` and ``sleep``.

    Args:
        events_s: when each event is published.
        until_s: when it ends.
        one_way_s: one network transit.
        takes_s: how long handing on what an answer brought takes.
        slow: how long the answer to the n-th question takes, from 0.
        lost: the questions whose answer is lost.
        carries: how many events one answer carries.
    """

    is_simulated = True

    def __init__(
        self,
        events_s: Collection[float],
        *,
        until_s: float,
        one_way_s: float = 0.05,
        takes_s: float = 0.0,
        slow: Mapping[int, float] | None = None,
        lost: Collection[int] = (),
        carries: int = 1000,
    ) -> None:
        self.events_s, self.until_s, self.one_way_s, self.takes_s = sorted(events_s), until_s, one_way_s, takes_s
        self.slow, self.lost, self.carries = slow or {}, lost, carries
        self.asked: list[Asked] = []
        self.given: set[Any] = {None}
        self.handed_on: list[Any] = []
        self.newest_told = 0
        self.now_s = 0.0
        self.fault: NotKept | None = None
        self.ended = threading.Event()
        self._still = self._told = 0

    # -- what the client is given -----------------------------------------------------------------------------------

    def clock(self) -> float:
        self._still += 1
        if self._still > STILL:
            self.fault = NotKept(
                "it looks at the clock again and again, and never sleeps",
                "sleep(seconds) waits; a loop that looks at the clock burns the time of everybody else.",
            )
            self.end()
        self.now_s += TICK_S
        return self.now_s

    def sleep(self, duration_s: float) -> None:
        if duration_s < 0:
            raise ValueError("sleep length must be non-negative")
        if duration_s == 0:
            self.clock()
        self._pass(duration_s)

    def deliver(self, event: Any) -> None:
        self.handed_on.append(event)
        self._pass(self.takes_s)

    def ask(self, cursor: str | None) -> tuple[list[dict[str, Any]], str, bool]:
        number, asked = len(self.asked), Asked(round(self.now_s, 9), cursor)
        if self.now_s >= self.until_s:
            self.end()
        self.asked.append(asked)
        after = self._after(cursor)
        self._pass(self.slow.get(number, 2 * self.one_way_s) - self.one_way_s)
        held = sum(at_s <= self.now_s for at_s in self.events_s)
        after = held if after is None else after
        upto = min(held, after + self.carries)
        asked.ids, asked.more = list(range(after + 1, upto + 1)), upto < held
        self._pass(self.one_way_s)
        asked.until_s = round(self.now_s, 9)
        if number in self.lost:
            asked.is_lost = True
            raise ConnectionError("the answer was lost")
        self.newest_told = max(self.newest_told, upto)
        self.given.add(newest := f"{upto}@lab")
        return [{"id": n, "data": f"event {n}"} for n in asked.ids], newest, asked.more

    def _after(self, cursor: Any) -> int | None:
        if not isinstance(cursor, str | None) or cursor not in self.given:
            raise TypeError(f"ask takes the cursor that it gave, or None, and not {cursor!r:.40}")
        return None if cursor is None else int(cursor.partition("@")[0])

    # -- time ---------------------------------------------------------------------------------------------------------

    def _pass(self, duration_s: float) -> None:
        if duration_s > 0:
            self.now_s += duration_s
            self._still = 0

    def end(self) -> None:
        """Tell the client that the time is over; for good, if it does not want to hear it."""
        self._told += 1
        if self._told > STUBBORN:
            self.fault = self.fault or NotKept(
                "it goes on when its program is to end: it catches that as well",
                "catch ConnectionError, and nothing else; a bare except: catches all that there is.",
            )
            self.ended.set()
            threading.Event().wait()  # its thread is of a process that is ended
        raise Over

    # -- what is to be said of it -------------------------------------------------------------------------------------

    @property
    def apart_s(self) -> list[float]:
        """From the start of each question to the start of the next."""
        return [other.at_s - one.at_s for one, other in zip(self.asked, self.asked[1:], strict=False)]

    def question_of(self, event: int, *, last: bool = False) -> str:
        """The first question, or the last, that was answered with an event; else the one that should have been."""
        found = [asked for asked in self.asked if event in asked.ids and not asked.is_lost]
        if found:
            return str(found[-1 if last else 0])
        began = [asked for asked in self.asked if asked.cursor is None][1:]
        return str(began[0]) if began else f"no answer brought it in {len(self.asked)} questions"


def go(poll: Callable[..., object], world: World, interval_s: float) -> World:
    """Let the client run in a world until that ends.

    Raises:
        NotKept: it raised something, it came back by itself, it waits elsewhere, or it will not end.
    """
    raised: list[BaseException] = []

    def run() -> None:
        try:
            poll(world.ask, world.deliver, interval_s, world.clock, world.sleep)
            asked = counted(len(world.asked), "question")
            world.fault = world.fault or NotKept(
                f"it came back after {asked}", "a poller goes on until it is ended: while True."
            )
        except Over:
            pass
        except BaseException as error:
            raised.append(error)
        world.ended.set()

    threading.Thread(target=run, daemon=True).start()
    if not world.ended.wait(WATCH_S if world.is_simulated else None) and takes_time_of_its_own(poll):
        raise NotKept("it waits by the clock on the wall", GIVEN)
    world.ended.wait()
    if raised:
        raise NotKept(f"It raised {told(raised[0])}.", hint_of(raised[0]))
    if world.fault is not None:
        raise world.fault
    return world


def takes_time_of_its_own(poll: Callable[..., object]) -> bool:
    """Whether it names a clock, or a sleep, that is not what it was given."""
    return not WALL.isdisjoint(getattr(poll, "__code__", go.__code__).co_names)


def hint_of(error: BaseException) -> str:
    """What to look at where a client raised this."""
    said = str(error)
    if isinstance(error, NameError | SystemExit):
        return coding_child.hint_of(error)
    if isinstance(error, RecursionError):
        return "a call for each question is one more that waits, and Python ends that at a thousand: while True."
    if isinstance(error, ConnectionError):
        return "ask raises ConnectionError where the answer was lost: catch that, wherever you call it, and go on."
    if "the cursor that it gave" in said:
        return "ask with None at the beginning, and then with the second of the three values that ask gives."
    if "to unpack" in said:
        return "ask gives three values: the events, the cursor to ask with next, and more."
    if "non-negative" in said:
        return "what is left of T may be less than nothing: max(0, ...)."
    return EVENT if "dict" in said else coding_child.LINE
