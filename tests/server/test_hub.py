"""The hub by itself, without sockets: topics and their epochs, slow subscribers, publishing from many threads."""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from conftest import UNIT
from labkit import loop
from labkit.errors import EventTooLarge, LabClosed
from labkit.lab.server import Server
from labkit.server.encoding import Item, Once
from labkit.server.hub import Hub, TooManyTopics
from labkit.server.limits import check_data
from labkit.server.subscriber import BLOCK_BYTES, SLOW_POLICIES, Subscriber
from labkit.wire.envelope import Closing, Start, encode
from labkit.wire.events import Cursor, Event, Gap, now_ns

TIMEOUT_S = 10 * UNIT


def on_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a coroutine test on a loop of its own, for a bounded time."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), TIMEOUT_S))

    return run


def hub_of(loop: asyncio.AbstractEventLoop | None, **options: Any) -> Hub:
    """A hub as a lab's server makes it, but for *options*."""
    asked = {name: of.default for name, of in inspect.signature(Server).parameters.items()}
    taken = [name for name, of in inspect.signature(Hub).parameters.items() if of.kind is of.KEYWORD_ONLY]
    return Hub(loop, **{name: asked[name] for name in taken} | options)  # type: ignore[arg-type]


@asynccontextmanager
async def a_hub(**options: Any) -> AsyncIterator[Hub]:
    hub = hub_of(asyncio.get_running_loop(), **options)
    try:
        yield hub
    finally:
        hub.close()


def put(hub: Hub, *data: str | bytes, topic: str = "") -> list[Event]:
    return [hub.publish(each, topic, now_ns()) for each in data]


def plain(item: Item, _: str) -> bytes:
    return encode(item).encode() + b"\n"


def ids(items: list[Item]) -> list[int]:
    return [item.id for item in items if isinstance(item, Event)]


def gaps(items: list[Item]) -> list[Gap]:
    return [item for item in items if isinstance(item, Gap)]


def taken(subscriber: Subscriber) -> list[Item]:
    """Everything that is ready."""
    items: list[Item] = []
    while new := subscriber.pull():
        items += new
    return items


class Socket:
    """A way straight out: *takes* says whether the system takes all of the bytes, or none."""

    def __init__(self, takes: Callable[[bytes], object]) -> None:
        self.takes = takes

    def send(self, data: bytes) -> int:
        if not self.takes(data):
            raise BlockingIOError
        return len(data)

    def free(self) -> bool:
        return True

    def rest(self, data: memoryview) -> None:
        raise AssertionError("all or nothing")

    def refused(self, error: OSError) -> None:
        pass


async def read(subscriber: Subscriber, upto: int) -> list[Item]:
    """Items as a handler gets them, until event *upto*."""
    items: list[Item] = []
    async for batch in subscriber.batches():
        items += batch
        if items and isinstance(items[-1], Event) and items[-1].id >= upto:
            break
    return items


# -- topics and epochs ------------------------------------------------------------------------------------------------


@on_loop
async def test_neither_subscribing_nor_polling_makes_a_log() -> None:
    async with a_hub() as hub:
        subscriber = hub.subscribe("jobs", None, plain)
        page = hub.since("polled", None)
        assert hub.topics == 0
        assert page.events == [] and page.gap is None and page.cursor == f"0@{hub.epoch}"
        assert subscriber.start() == Start(f"0@{hub.epoch}")
        subscriber.close()
        assert not hub._topics


@on_loop
async def test_a_topic_takes_the_labs_epoch_at_its_first_event() -> None:
    async with a_hub() as hub:
        before = hub.cursor("jobs")
        put(hub, "a", topic="jobs")
        assert before == Cursor(0, hub.epoch)
        assert hub.cursor("jobs") == Cursor(1, hub.epoch)
        assert hub.since("jobs", before).gap is None
        assert [e.data for e in hub.since("jobs", before).events] == ["a"]


@on_loop
async def test_a_subscriber_from_before_the_first_event_gets_it() -> None:
    async with a_hub() as hub:
        subscriber = hub.subscribe("jobs", None, plain)
        begin = subscriber.start()
        put(hub, "a", topic="jobs")
        hub.drain()
        assert begin == Start(f"0@{hub.epoch}")
        assert ids(taken(subscriber)) == [1] and subscriber.cursor == f"1@{hub.epoch}"


@on_loop
async def test_beyond_max_topics_the_one_longest_idle_is_forgotten() -> None:
    async with a_hub(max_topics=2) as hub:
        put(hub, "a", topic="old")
        put(hub, "b", topic="newer")
        put(hub, "a2", topic="old")  # now the other one is idle for longer
        put(hub, "c", topic="newest")
        assert hub.topics == 2
        assert [e.data for e in hub.since("old", Cursor(0)).events] == ["a", "a2"]
        assert hub.since("newer", Cursor(0)).events == []


@on_loop
async def test_a_topic_is_not_idle_from_when_its_subscriber_left_but_since_then() -> None:
    async with a_hub(max_topics=2) as hub:
        put(hub, "a", topic="watched")
        subscriber = hub.subscribe("watched", None, plain)
        put(hub, "b", topic="other")
        subscriber.close()  # later than the last event of "other"
        put(hub, "c", topic="third")
        assert hub.cursor("watched").n == 1 and hub.cursor("other").n == 0


@on_loop
async def test_a_cursor_of_a_forgotten_log_is_a_gap_and_never_a_silent_match() -> None:
    async with a_hub(max_topics=1) as hub:
        put(hub, "a", "b", topic="first")
        old = hub.cursor("first")
        put(hub, "x", topic="second")
        put(hub, "c", "d", "e", topic="first")  # forgets "second", makes "first" anew
        page = hub.since("first", old)
        assert hub.cursor("first").epoch != old.epoch
        assert page.gap == Gap(str(old), 1, f"0@{hub.cursor('first').epoch}")
        assert [e.id for e in page.events] == [1, 2, 3]


@on_loop
async def test_a_cursor_of_a_forgotten_topic_that_has_no_log_now_is_a_gap() -> None:
    async with a_hub(max_topics=1) as hub:
        put(hub, "a", topic="first")
        old = hub.cursor("first")
        put(hub, "x", topic="second")
        page = hub.since("first", old)
        assert page.gap == Gap(str(old), 1, f"0@{hub.epoch}") and page.events == []


@on_loop
async def test_what_a_subscriber_without_events_was_told_stays_true_when_another_topic_is_forgotten() -> None:
    async with a_hub(max_topics=1) as hub:
        subscriber = hub.subscribe("quiet", None, plain)
        start = subscriber.start()
        put(hub, "a", topic="one")
        put(hub, "b", topic="two")  # forgets "one": a new epoch for logs made later
        put(hub, "c", topic="quiet")  # forgets "two"
        hub.drain()
        assert isinstance(start, Start) and hub.since("quiet", Cursor.parse(start.cursor)).gap is None
        assert ids(taken(subscriber)) == [1] and gaps(taken(subscriber)) == []


@on_loop
async def test_when_no_topic_is_idle_publishing_raises_and_the_others_go_on() -> None:
    async with a_hub(max_topics=2) as hub:
        put(hub, "a", topic="one")
        put(hub, "b", topic="two")
        subscribers = [hub.subscribe(name, None, plain) for name in ("one", "two")]
        with pytest.raises(TooManyTopics, match="max_topics"):
            put(hub, "c", topic="three")
        assert put(hub, "a2", topic="one")[0].id == 2
        hub.drain()
        assert ids(taken(subscribers[0])) == [2]
        assert hub.counts.published == 3
        subscribers[1].close()
        assert put(hub, "c", topic="three")[0].id == 1


@on_loop
async def test_topics_of_subscribers_that_left_are_not_kept() -> None:
    async with a_hub() as hub:
        for number in range(100):
            hub.subscribe(f"topic {number}", Cursor(0), plain).close()
        assert not hub._topics


@on_loop
async def test_a_subscriber_that_changes_to_the_direct_way_never_leaves_its_topic_idle() -> None:
    async with a_hub(max_topics=1) as hub:
        put(hub, "a", topic="watched")
        subscriber = hub.subscribe("watched", None, plain)
        topic, found_empty = subscriber.topic, []

        class Watching(dict):  # type: ignore[type-arg]
            def pop(self, *args: Any) -> Any:
                found_empty.append(not any(g.subscribers for g in self.values()))
                return super().pop(*args)

        topic.groups = Watching(topic.groups)
        subscriber.attach(bytes.upper, Socket(lambda data: True))
        assert found_empty == [False]
        assert [g.wrap for g in topic.groups.values()] == [bytes.upper]
        subscriber.close()
        assert not topic.groups


# -- where a subscriber begins ----------------------------------------------------------------------------------------


@on_loop
async def test_without_a_cursor_a_subscriber_begins_after_what_was_published_before() -> None:
    async with a_hub() as hub:
        put(hub, "a", "b")  # not fanned out yet
        subscriber = hub.subscribe("", None, plain)
        put(hub, "c")
        hub.drain()
        assert subscriber.start() == Start(f"2@{hub.epoch}")
        assert ids(taken(subscriber)) == [3]


@on_loop
async def test_a_bare_zero_is_everything_held_and_never_a_gap() -> None:
    async with a_hub(history_events=3) as hub:
        put(hub, *"abcde")
        subscriber = hub.subscribe("", Cursor(0), plain)
        assert subscriber.start() == Start(f"2@{hub.epoch}")
        assert ids(taken(subscriber)) == [3, 4, 5] and hub.counts.dropped == 0


@pytest.mark.parametrize("after", ["1", "9", "0@zzzz", "5@zzzz", "18446744"])
@on_loop
async def test_a_cursor_that_cannot_be_continued_from_is_a_gap_before_anything_else(after: str) -> None:
    async with a_hub(history_events=3) as hub:
        put(hub, *"abcde")
        subscriber = hub.subscribe("", Cursor.parse(after), plain)
        assert subscriber.ready()
        assert subscriber.start() == Gap(after, 3, f"2@{hub.epoch}")
        assert ids(taken(subscriber)) == [3, 4, 5]


@on_loop
async def test_history_is_replayed_whole_whatever_the_queue() -> None:
    async with a_hub(queue=2, slow="drop-oldest") as hub:
        put(hub, *map(str, range(50)))
        subscriber = hub.subscribe("", Cursor(0), plain)
        put(hub, "new")
        hub.drain()
        assert ids(taken(subscriber)) == list(range(1, 52)) and hub.counts.dropped == 0


# -- slow subscribers -------------------------------------------------------------------------------------------------


@on_loop
async def test_drop_oldest_keeps_the_newest_and_tells_the_gap_just_before_them() -> None:
    async with a_hub(slow="drop-oldest", queue=3) as hub:
        subscriber = hub.subscribe("", None, plain)
        put(hub, "a")
        hub.drain()
        first = taken(subscriber)
        for data in "bcdefgh":
            put(hub, data)
            hub.drain()
        items = taken(subscriber)
        assert ids(first) == [1]
        assert items[0] == Gap(f"1@{hub.epoch}", 6, f"5@{hub.epoch}")
        assert ids(items) == [6, 7, 8] and len(items) == 4
        assert hub.counts.dropped == 4


@on_loop
async def test_drop_newest_keeps_what_was_queued_and_tells_the_gap_before_the_next() -> None:
    async with a_hub(slow="drop-newest", queue=3) as hub:
        subscriber = hub.subscribe("", None, plain)
        for data in "abcdefg":
            put(hub, data)
            hub.drain()
        queued = taken(subscriber)
        put(hub, "h")
        hub.drain()
        assert ids(queued) == [1, 2, 3] and not gaps(queued)
        items = taken(subscriber)
        assert items[0] == Gap(f"3@{hub.epoch}", 8, f"7@{hub.epoch}")
        assert ids(items) == [8] and hub.counts.dropped == 4


@on_loop
async def test_drop_newest_goes_on_when_history_no_longer_holds_what_was_queued() -> None:
    async with a_hub(slow="drop-newest", queue=5, history_events=2) as hub:
        subscriber = hub.subscribe("", None, plain)
        for number in range(20):
            put(hub, str(number))
            hub.drain()
        hub.loop.call_soon(put, hub, "last")
        items = await read(subscriber, 21)
        assert ids(items) == [21] and [g.next for g in gaps(items)] == [21]


@on_loop
async def test_disconnect_says_why_and_history_still_holds_the_rest() -> None:
    async with a_hub(slow="disconnect", queue=3) as hub:
        subscriber = hub.subscribe("", None, plain)
        for data in "abcde":
            put(hub, data)
            hub.drain()
        batches = [batch async for batch in subscriber.batches()]
        assert batches == [[Closing("slow subscriber")]]
        assert hub.counts.disconnected == 1
        again = hub.subscribe("", Cursor.parse(subscriber.cursor), plain)
        assert ids(taken(again)) == [1, 2, 3, 4, 5]


@on_loop
async def test_conflate_gives_the_newest_without_a_gap_and_counts_the_rest() -> None:
    async with a_hub(slow="conflate") as hub:
        subscriber = hub.subscribe("", None, plain)
        put(hub, *"abcde")
        hub.drain()
        items = taken(subscriber)
        assert ids(items) == [5] and not gaps(items)
        assert (hub.counts.conflated, hub.counts.dropped) == (4, 0)


@on_loop
async def test_a_subscriber_may_ask_to_be_conflated_whatever_the_labs_policy() -> None:
    async with a_hub(slow="disconnect", queue=1) as hub:
        subscriber = hub.subscribe("", None, plain, conflate=True)
        put(hub, *"abcde")
        hub.drain()
        assert ids(taken(subscriber)) == [5]
        page = hub.since("", Cursor(2), conflate=True)
        assert [e.id for e in page.events] == [5] and page.cursor == f"5@{hub.epoch}"


@on_loop
async def test_conflating_does_not_hide_that_the_cursor_was_of_another_log() -> None:
    async with a_hub() as hub:
        put(hub, *"abc")
        subscriber = hub.subscribe("", Cursor(2, "zzzz"), plain, conflate=True)
        assert isinstance(subscriber.start(), Gap)
        assert ids(taken(subscriber)) == [3]


@on_loop
async def test_unbounded_loses_nothing_even_beyond_the_history() -> None:
    async with a_hub(slow="unbounded", queue=1, history_events=2) as hub:
        subscriber = hub.subscribe("", None, plain)
        put(hub, *map(str, range(50)))  # before fan-out has a chance
        hub.drain()
        put(hub, *map(str, range(50)))
        hub.drain()
        items = taken(subscriber)
        assert ids(items) == list(range(1, 101)) and not gaps(items)


@on_loop
async def test_a_burst_leaves_in_blocks_and_one_event_whole() -> None:
    async with a_hub() as hub:
        subscriber, sent = hub.subscribe("", None, plain), list[int]()
        subscriber.attach(None, Socket(lambda data: not sent.append(len(data))))
        reading = asyncio.ensure_future(read(subscriber, 1 << 30))
        await asyncio.sleep(0)
        put(hub, *["x" * (BLOCK_BYTES // 2)] * 6)
        hub.drain()
        put(hub, "x" * (3 * BLOCK_BYTES))
        hub.drain()
        assert [size // BLOCK_BYTES for size in sent] == [1, 1, 1, 3]
        subscriber.close()
        await reading


@on_loop
async def test_unbounded_keeps_nothing_for_those_that_keep_up_or_have_left() -> None:
    async with a_hub(slow="unbounded", history_events=2) as hub:
        slow, quick = hub.subscribe("", None, plain), hub.subscribe("", None, plain)
        quick.attach(None, Socket(lambda data: True))
        reading = asyncio.ensure_future(read(quick, 1 << 30))
        put(hub, *map(str, range(10)))
        hub.drain()
        log = slow.topic.log
        assert log is not None and log.oldest == 1
        taken(slow)
        await asyncio.sleep(0)
        assert log.oldest == 9
        slow.close()
        for _ in range(10):  # sent directly: nobody pulls
            await asyncio.sleep(0)
            put(hub, "x")
            hub.drain()
        assert log.oldest == 19
        quick.close()
        await reading


@on_loop
async def test_a_slow_subscriber_takes_nothing_from_another_one() -> None:
    for slow in SLOW_POLICIES:
        async with a_hub(slow=slow, queue=2) as hub:
            hub.subscribe("", None, plain)  # never reads
            quick = hub.subscribe("", None, plain)
            got: list[Item] = []
            for data in "abcdefgh":
                put(hub, data)
                hub.drain()
                got += taken(quick)
            assert ids(got) == list(range(1, 9)), slow


def test_an_unknown_policy_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="drop-oldest"):
        hub_of(None, slow="drop")


@pytest.mark.parametrize("name", ["queue", "history_events", "history_bytes", "max_topics"])
def test_a_bound_below_one_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        hub_of(None, **{name: 0})


# -- fan-out ----------------------------------------------------------------------------------------------------------


@on_loop
async def test_many_threads_publish_at_once_and_every_subscriber_gets_every_id_in_order() -> None:
    count, threads = 200, 8
    async with a_hub(queue=count * threads) as hub:
        parked, direct, sent = hub.subscribe("", None, plain), hub.subscribe("", None, plain), []
        direct.attach(None, Socket(lambda data: not sent.append(data)))
        got: dict[int, list[int]] = {}

        def publish(thread: int) -> None:
            got[thread] = [put(hub, f"{thread} {n}")[0].id for n in range(count)]

        workers = [threading.Thread(target=publish, args=(n,)) for n in range(threads)]
        both = asyncio.gather(read(parked, count * threads), read(direct, 1 << 30))
        await asyncio.sleep(0)
        for worker in workers:
            worker.start()
        while not parked.cursor.startswith(f"{count * threads}@"):  # noqa: ASYNC110  that is the event
            await asyncio.sleep(0)
        for worker in workers:
            worker.join()
        direct.close()
        items, through_handler = await both
        everything = list(range(1, count * threads + 1))
        assert sorted(id for own in got.values() for id in own) == everything, "no holes, nothing twice"
        assert all(own == sorted(own) for own in got.values()), "in the order of its publisher"
        assert ids(items) == everything
        lines = b"".join(sent).splitlines() + [plain(item, "").strip() for item in through_handler]
        assert sorted(int(line[6:].split(b",")[0]) for line in lines) == everything
        assert [int(line[6:].split(b",")[0]) for line in b"".join(sent).splitlines()] == sorted(
            int(line[6:].split(b",")[0]) for line in b"".join(sent).splitlines()
        )


@on_loop
async def test_a_publisher_that_never_rests_does_not_keep_the_loop_from_others() -> None:
    async with a_hub(queue=1 << 30) as hub:
        stop = threading.Event()
        count = 0

        def endless(data: bytes) -> bool:
            nonlocal count
            count += 1
            if count < 10_000:  # as a busy thread would, while fan-out is at work
                put(hub, "more")
            return True

        subscriber = hub.subscribe("", None, plain)
        subscriber.attach(None, Socket(endless))
        reading = asyncio.ensure_future(read(subscriber, 1 << 30))
        await asyncio.sleep(0)
        put(hub, "first")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        seen = count
        stop.set()
        assert 1 <= seen < 10
        subscriber.close()
        await reading


@on_loop
async def test_an_event_is_encoded_once_for_all_subscribers_of_a_group() -> None:
    calls: list[int] = []

    def counted(item: Item, epoch: str) -> bytes:
        calls.append(item.id if isinstance(item, Event) else 0)
        return plain(item, epoch)

    async with a_hub() as hub:
        subscribers = [hub.subscribe("", None, counted) for _ in range(20)]
        other = hub.subscribe("", None, plain)
        sent: list[bytes] = []
        for subscriber in subscribers[:10]:
            subscriber.attach(None, Socket(lambda data: not sent.append(data)))
        reading = [asyncio.ensure_future(read(s, 3)) for s in (*subscribers, other)]
        await asyncio.sleep(0)
        for data in "abc":
            put(hub, data)
            hub.drain()
        await asyncio.sleep(0)
        for subscriber in subscribers:
            taken(subscriber)
        assert len(sent) == 30 and len({id(data) for data in sent}) == 3
        for subscriber in (*subscribers, other):
            for event in hub.since("", Cursor(0)).events:
                subscriber.encoded(event)
            subscriber.close()
        await asyncio.gather(*reading)
        assert sorted(calls) == [1, 2, 3]


@on_loop
async def test_each_group_has_its_own_bytes() -> None:
    async with a_hub() as hub:
        sent: dict[str, list[bytes]] = {"plain": [], "wrapped": []}
        one, two = hub.subscribe("", None, plain), hub.subscribe("", None, plain)
        one.attach(None, Socket(lambda data: not sent["plain"].append(data)))
        two.attach(lambda data: b"<" + data + b">", Socket(lambda data: not sent["wrapped"].append(data)))
        reading = [asyncio.ensure_future(read(s, 1 << 30)) for s in (one, two)]
        await asyncio.sleep(0)
        put(hub, "a", "b")
        hub.drain()
        for subscriber in (one, two):
            subscriber.close()
        await asyncio.gather(*reading)
        assert sent["plain"] == [b'{"id":1,"data":"a"}\n{"id":2,"data":"b"}\n']
        assert sent["wrapped"] == [b'<{"id":1,"data":"a"}\n><{"id":2,"data":"b"}\n>']


@on_loop
async def test_an_event_that_the_socket_refused_goes_the_ordinary_way_once() -> None:
    async with a_hub() as hub:
        takes = iter([True, False, False, True])
        sent: list[bytes] = []
        subscriber = hub.subscribe("", None, plain)
        subscriber.attach(None, Socket(lambda data: next(takes) and not sent.append(data)))
        reading = asyncio.ensure_future(read(subscriber, 3))
        for data in "abc":
            await asyncio.sleep(0)
            put(hub, data)
            hub.drain()
        items = await reading
        assert sent == [b'{"id":1,"data":"a"}\n'] and ids(items) == [2, 3]


@on_loop
async def test_an_event_does_not_overtake_one_that_the_socket_refused_just_before() -> None:
    async with a_hub() as hub:
        takes = iter([False, True, True])
        sent: list[bytes] = []
        subscriber = hub.subscribe("", None, plain)
        subscriber.attach(None, Socket(lambda data: next(takes) and not sent.append(data)))
        reading = asyncio.ensure_future(read(subscriber, 2))
        await asyncio.sleep(0)
        for data in "ab":  # the handler has no turn in between
            put(hub, data)
            hub.drain()
        assert ids(await reading) == [1, 2] and sent == []


@on_loop
async def test_pulls_are_bounded_in_bytes_and_an_event_beyond_the_bound_comes_alone() -> None:
    async with a_hub() as hub:
        subscriber = hub.subscribe("", None, plain)
        put(hub, "a" * 600, "b" * 600, "c" * 5000, "d")
        hub.drain()
        pulls = []
        while items := subscriber.pull(max_bytes=1000):
            pulls.append(ids(items))
        assert pulls == [[1, 2], [3], [4]]


@on_loop
async def test_an_idle_subscriber_is_woken_for_a_heartbeat() -> None:
    async with a_hub(heartbeat_s=0.02) as hub:
        subscriber = hub.subscribe("", None, plain)
        async for block in subscriber.blocks(heartbeat=b":\n"):
            assert block == b":\n"
            break


# -- waiting for subscribers ------------------------------------------------------------------------------------------


@on_loop
async def test_all_taken_waits_for_the_slowest_and_not_for_those_that_leave() -> None:
    async with a_hub() as hub:
        one, two, three = (hub.subscribe("", None, plain) for _ in range(3))
        event = put(hub, "a")[0]
        waiting = asyncio.ensure_future(hub.all_taken("", event.id))
        hub.drain()
        taken(one)
        await asyncio.sleep(0)
        assert not waiting.done() and not hub.taken("", event.id)
        taken(two)
        await asyncio.sleep(0)
        assert not waiting.done()
        three.close()
        await waiting
        assert hub.taken("", event.id)


@on_loop
async def test_all_taken_ends_at_once_without_subscribers_and_for_an_unknown_topic() -> None:
    async with a_hub() as hub:
        await hub.all_taken("", put(hub, "a")[0].id)
        await hub.all_taken("nowhere", 5)
        assert hub.taken("nowhere", 5)


@on_loop
async def test_all_taken_is_told_when_the_hub_closes() -> None:
    async with a_hub() as hub:
        hub.subscribe("", None, plain)
        event = put(hub, "a")[0]
        hub.drain()
        waiting = asyncio.ensure_future(hub.all_taken("", event.id))
        await asyncio.sleep(0)
        hub.close()
        with pytest.raises(LabClosed):
            await waiting


# -- a closed hub -----------------------------------------------------------------------------------------------------


@on_loop
async def test_a_closed_hub_takes_no_event_and_its_subscribers_end() -> None:
    async with a_hub() as hub:
        parked = asyncio.ensure_future(read(hub.subscribe("", None, plain), 1))
        await asyncio.sleep(0)
        hub.close()
        assert await parked == []
        with pytest.raises(LabClosed):
            put(hub, "a")
        late = hub.subscribe("", None, plain)
        assert late.closed and [batch async for batch in late.batches()] == []
        assert hub.subscribers == 0
        hub.close()


# -- data that no subscriber could be given ---------------------------------------------------------------------------


def test_the_limit_counts_bytes_of_utf8() -> None:
    check_data("한" * 3, 9)
    check_data(b"x" * 9, 9)
    with pytest.raises(EventTooLarge, match="max_event_bytes"):
        check_data("한" * 3 + "x", 9)


def test_a_lone_surrogate_is_one_clear_error() -> None:
    with pytest.raises(ValueError, match="lone surrogate") as caught:
        check_data("fine so far \ud83d", 100)
    assert "12" in str(caught.value)


def test_what_is_kept_encoded_is_bounded_in_events_and_bytes() -> None:
    made: list[int] = []

    def encode(event: Event) -> bytes:
        made.append(event.id)
        return b"x" * event.size_bytes

    once = Once(encode)
    small = [Event(n, "a", 0) for n in range(1, 400)]
    for event in small * 2:
        once(event)
    assert len(made) == 2 * len(small)  # the oldest had gone when they were asked for again
    assert [once(event) for event in small[-100:]] and len(made) == 2 * len(small)
    for n in range(1000, 1010):
        once(Event(n, "b" * 600_000, 0))
    assert sum(map(len, once._kept.values())) <= 1 << 20


def test_polls_share_what_was_encoded_once() -> None:
    async def two_polls() -> tuple[str, str, int]:
        hub = hub_of(asyncio.get_running_loop())
        try:
            hub.publish("héllo", "", now_ns())
            answers = [hub.answer("", hub.since("", Cursor(0))) for _ in range(2)]
            return (*answers, len(hub._topics[""].json._kept))
        finally:
            hub.close()

    first, second, kept = loop.run(two_polls())
    assert first == second and '"data":"héllo"' in first and kept == 1
