"""All histories within one bound: what is counted, which topic lets go first, and what is never let go."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from typing import Any
from urllib.request import urlopen

import pytest
from test_hub import Socket, a_hub, ids, on_loop, plain, put, read, taken

from labkit.lab.lab import Lab
from labkit.server.commons import Histories
from labkit.server.hub import Hub
from labkit.server.subscriber import Subscriber
from labkit.server.topic import Topic
from labkit.wire.events import EVENT_BYTES, Cursor, Event, Gap
from wait import until

SIZE = 1000
COST = SIZE + EVENT_BYTES


async def turn() -> None:
    """Let fan-out happen, and then what it has made necessary."""
    for _ in range(3):
        await asyncio.sleep(0)


async def fill(hub: Hub, *topics: str, count: int = 1) -> None:
    for topic in topics:
        put(hub, *["x" * SIZE] * count, topic=topic)
        await turn()


def held(hub: Hub, topic: str) -> list[int]:
    return [event.id for event in hub.since(topic, Cursor(0)).events]


def really_held(hub: Hub) -> int:
    """The same sum from scratch."""
    total = 0
    for topic in hub._topics.values():
        if topic.log is not None:
            total += sum(event.size_bytes + EVENT_BYTES for event in topic.log.after(0))
        onces: list[Any] = [topic.json, *(group.once for group in topic.groups.values())]
        total += sum(sys.getsizeof(kept) for once in onces for kept in once._kept.values())
    return total


# -- who lets go --------------------------------------------------------------------------------------------------


@on_loop
async def test_the_topic_longest_without_an_event_lets_go_first_its_oldest_event_first() -> None:
    async with a_hub(history_total_bytes=6 * COST) as hub:
        await fill(hub, "a", "b", "c", count=2)
        await fill(hub, "a")  # now b has been without one for longest
        assert [held(hub, topic) for topic in "abc"] == [[1, 2, 3], [2], [1, 2]]
        await fill(hub, "a")
        assert [held(hub, topic) for topic in "abc"] == [[1, 2, 3, 4], [], [1, 2]]
        await fill(hub, "a")
        assert [held(hub, topic) for topic in "abc"] == [[1, 2, 3, 4, 5], [], [2]]


@on_loop
async def test_a_topic_that_let_go_of_everything_goes_on_with_its_ids_and_an_old_cursor_is_a_gap() -> None:
    async with a_hub(history_total_bytes=COST) as hub:
        await fill(hub, "old", count=1)
        before, epoch = hub.cursor("old"), hub.cursor("old").epoch
        await fill(hub, "new")
        assert held(hub, "old") == [] and hub.cursor("old") == before
        assert hub.since("old", before).gap is None
        put(hub, "y", topic="old")
        assert hub.since("old", Cursor(0, epoch)).gap == Gap(f"0@{epoch}", 2, f"1@{epoch}")
        assert held(hub, "old") == [2] and hub.cursor("old") == Cursor(2, epoch)


@on_loop
async def test_a_topic_that_somebody_listens_to_lets_go_only_when_no_other_holds_anything() -> None:
    async with a_hub(history_total_bytes=3 * COST) as hub:
        await fill(hub, "heard")
        subscriber = hub.subscribe("heard", None, plain)
        await fill(hub, "b", "c", "d")
        assert [held(hub, topic) for topic in ("heard", "b", "c", "d")] == [[1], [], [1], [1]]
        await fill(hub, "heard", count=4)
        assert [held(hub, topic) for topic in ("heard", "c", "d")] == [[3, 4, 5], [], []]
        subscriber.close()
        await fill(hub, "b")
        assert [held(hub, topic) for topic in ("heard", "b")] == [[4, 5], [2]]


@on_loop
async def test_a_topic_is_not_idle_from_when_its_subscriber_left_but_since_then() -> None:
    async with a_hub(history_total_bytes=2 * COST) as hub:
        await fill(hub, "heard")
        subscriber = hub.subscribe("heard", None, plain)
        await fill(hub, "b")
        subscriber.close()  # later than the event of b
        await fill(hub, "c")
        assert [held(hub, topic) for topic in ("heard", "b", "c")] == [[1], [], [1]]


# -- what is never let go -----------------------------------------------------------------------------------------


@on_loop
async def test_what_fan_out_has_not_reached_is_held_whatever_the_bound() -> None:
    async with a_hub(history_total_bytes=1) as hub:
        subscriber = hub.subscribe("", None, plain)
        hub.subscribe("other", None, plain)
        put(hub, "a")
        put(hub, "x" * SIZE, topic="other")
        hub.drain()
        assert ids(taken(subscriber)) == [1]
        put(hub, *"bcdef")
        hub.commons.histories._trim()  # all that was counted is to go, and more than the first event of this topic
        assert held(hub, "") == [2, 3, 4, 5, 6]
        hub.drain()
        assert ids(taken(subscriber)) == [2, 3, 4, 5, 6]
        await turn()
        assert held(hub, "") == []


@on_loop
async def test_a_parked_subscriber_gets_what_is_let_go_right_after() -> None:
    async with a_hub(history_total_bytes=1) as hub:
        sent: list[bytes] = []
        direct = hub.subscribe("", None, plain)
        direct.attach(None, Socket(lambda data: sent.append(data) or True))
        watching = asyncio.ensure_future(read(direct, 1 << 30))
        subscriber = hub.subscribe("", None, lambda item, _: plain(item, _))
        reading = asyncio.ensure_future(read(subscriber, 3))
        await asyncio.sleep(0)
        for data in "abc":
            put(hub, data)
            await turn()
        items = await reading
        assert ids(items) == [1, 2, 3] and len(items) == 3 and held(hub, "") == [] and len(sent) == 3
        direct.close()
        await watching


@on_loop
async def test_what_an_unbounded_subscriber_has_not_been_given_is_held_and_goes_when_it_has_it() -> None:
    async with a_hub(slow="unbounded", history_total_bytes=2 * COST) as hub:
        slow = hub.subscribe("heard", None, plain)
        await fill(hub, "heard", count=10)
        await fill(hub, "b", count=3)
        assert held(hub, "heard") == list(range(1, 11)) and held(hub, "b") == []
        assert hub.commons.histories.held_bytes == 10 * COST
        items = slow.pull(max_bytes=4 * SIZE)
        await turn()
        assert ids(items) == [1, 2, 3, 4] and held(hub, "heard") == list(range(5, 11))
        items += taken(slow)
        await turn()
        assert ids(items) == list(range(1, 11)) and len(items) == 10
        assert held(hub, "heard") == [9, 10]


# -- what is counted ----------------------------------------------------------------------------------------------


@on_loop
async def test_what_is_kept_encoded_counts_and_goes_before_the_events_it_was_made_of() -> None:
    async with a_hub(history_total_bytes=5 * COST) as hub:
        await fill(hub, "a", count=3)
        assert hub.commons.histories.held_bytes == 3 * COST
        hub.answer("a", hub.since("a", Cursor(0)))
        assert hub.commons.histories.held_bytes > 6 * COST - 3 * EVENT_BYTES
        await turn()
        assert hub.commons.histories.held_bytes == 3 * COST == really_held(hub) and held(hub, "a") == [1, 2, 3]


@on_loop
async def test_what_went_straight_out_to_all_is_not_kept_encoded_only_for_who_is_behind() -> None:
    async with a_hub() as hub:
        direct = hub.subscribe("", None, plain)
        direct.attach(None, Socket(lambda _: True))
        watching = asyncio.ensure_future(read(direct, 1 << 30))
        await asyncio.sleep(0)
        await fill(hub, "")
        assert hub.commons.histories.held_bytes == COST == really_held(hub)
        hub.subscribe("", None, plain)
        await fill(hub, "")
        assert hub.commons.histories.held_bytes == really_held(hub) > 2 * COST + SIZE
        direct.close()
        await watching


@on_loop
async def test_what_leaves_is_counted_no_more() -> None:
    async with a_hub(max_topics=2) as hub:
        subscriber = hub.subscribe("a", None, plain)
        await fill(hub, "a", count=3)
        taken(subscriber)
        for event in hub.since("a", Cursor(0)).events:
            subscriber.encoded(event)
        assert hub.commons.histories.held_bytes == really_held(hub) > 6 * COST - 3 * EVENT_BYTES
        subscriber.close()
        assert hub.commons.histories.held_bytes == 3 * COST
        subscriber.encoded(Event(3, "x" * SIZE, 0))  # it was in the middle of a batch
        assert hub.commons.histories.held_bytes == 3 * COST
        hub.answer("a", hub.since("a", Cursor(0)))
        await fill(hub, "b", "c")  # forgets a
        assert hub.commons.histories.held_bytes == 2 * COST == really_held(hub)


@on_loop
async def test_a_topic_without_a_log_leaves_nothing_when_its_subscriber_has_left() -> None:
    async with a_hub() as hub:
        hub.subscribe("quiet", None, plain).close()
        assert not hub.commons.histories._idle and not hub.commons.histories._in_use


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("slow", ["drop-oldest", "unbounded"])
def test_the_count_is_what_is_held_whatever_happened(seed: int, slow: str) -> None:
    chance = random.Random(seed)

    @on_loop
    async def happen() -> None:
        async with a_hub(
            slow=slow, queue=4, history_events=20, history_bytes=9000, history_total_bytes=40_000, max_topics=12
        ) as hub:
            present: list[Subscriber] = []
            for _ in range(600):
                topic = f"t{min(chance.randrange(18), chance.randrange(18))}"
                match chance.randrange(8):
                    case 0:
                        present.append(hub.subscribe(topic, chance.choice([None, Cursor(0)]), plain))
                    case 1 if present:
                        present.pop(chance.randrange(len(present))).close()
                    case 2 if present:
                        subscriber = chance.choice(present)
                        for item in subscriber.pull(2000):
                            subscriber.encoded(item)
                    case 3:
                        hub.answer(topic, hub.since(topic, Cursor(0)))
                    case 4 if present:
                        subscriber = chance.choice(present)
                        subscriber.attach(None, Socket(lambda _: True))
                    case _ if sum(1 for t in hub._topics.values() if t.groups) < 10:
                        put(hub, "é" * chance.randrange(1500), topic=topic)
                await turn()
                assert hub.commons.histories.held_bytes == really_held(hub)
                assert slow == "unbounded" or hub.commons.histories.held_bytes <= 40_000
            for subscriber in present:
                subscriber.close()
            put(hub, "é", topic="t0")
            await turn()
            assert hub.commons.histories.held_bytes == really_held(hub) <= 40_000

    happen()


# -- what it costs ------------------------------------------------------------------------------------------------


class Stingy:
    """A topic whose events may not go."""

    cost_bytes = 10

    def __init__(self) -> None:
        self.asked = 0

    def let_go(self, size: int) -> None:
        self.asked += 1


@on_loop
async def test_who_has_nothing_to_give_is_not_asked_again_before_it_was_used() -> None:
    histories = Histories(asyncio.get_running_loop(), 10)
    topics = [Stingy() for _ in range(100)]
    histories.used(topics[0], 10, in_use=True)
    for topic in topics:
        histories.used(topic, 0, in_use=True)
    for _ in range(50):
        histories.used(topics[0], 10, in_use=True)
        await turn()
    assert [topic.asked for topic in topics] == [50, *[1] * 99]


@on_loop
async def test_every_event_is_let_go_of_once_and_a_turn_asks_only_whom_it_must(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    let_go = Topic.let_go
    monkeypatch.setattr(Topic, "let_go", lambda self, size: (asked.append(self.name), let_go(self, size))[1])
    async with a_hub(history_total_bytes=200 * COST) as hub:
        for n in range(600):
            await fill(hub, f"t{n}")
        assert len(asked) <= 2 * 400 and sum(len(held(hub, f"t{n}")) for n in range(600)) == 200


# -- the option ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("process", [False, True])
def test_a_lab_holds_no_more_than_its_bound(process: bool) -> None:
    with Lab("bounded", process=process, history_total_bytes=3 * COST) as lab:
        for n in range(5):
            lab.publish("x" * SIZE, topic=str(n))
        until(lambda: polled(lab, "0") == [])
        assert len(polled(lab, "4")) == 1 and lab.cursor("0").startswith("1@")


def polled(lab: Lab, topic: str) -> list[dict[str, Any]]:
    with urlopen(f"{lab.url}/polling?topic={topic}&after=0") as answer:
        return json.load(answer)["events"]  # type: ignore[no-any-return]
