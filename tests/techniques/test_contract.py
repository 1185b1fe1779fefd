"""The contract that every technique keeps, over the registry: a technique that is added is tested by being named there.

Order, nothing lost and nothing twice, gaps told first, subscribers forgotten at once, bounded memory, clean shutdown.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from conftest import UNIT, tasks
from labkit import loop
from labkit.errors import Refused
from labkit.lab.lab import Lab
from labkit.lab.server import Server
from labkit.techniques import TECHNIQUES, Technique
from labkit.wire.events import Gap
from wait import CountingRelay, Receiver, check_marks, dial, get, read_until, reset, until

# a text, or bytes, that some carrier, parser or terminal has tripped over
AWKWARD: tuple[str | bytes, ...] = (
    "plain",
    "",
    "한국어, naïve, Ωmega, 𝄞",
    "a\nb",
    "a\rb",
    "a\r\nb\n\n",
    "\n",
    "\r",
    " leading blank",
    "line\u2028separator\u2029",
    "nul \0 inside",
    "</script><!-- & \" ' \\ -->",
    '{"id":1,"data":"not an envelope"}',
    "data: x\nid: 9\n\nevent: gap",
    "--labkit-event\r\n",
    "\ufeffbom",
    ":",
    b"\0\x01\xff\xfe\r\n\x80",
    b"",
    b"ascii bytes",
    "x" * 5000,
)
NUMBER = 200
DATA = [AWKWARD[n % len(AWKWARD)] for n in range(NUMBER)]
QUICK = {"interval_s": 0.02 * UNIT, "retry_s": 0.01 * UNIT}
FOREVER_S = 600 * UNIT

every_technique = pytest.mark.parametrize("technique", TECHNIQUES, ids=lambda t: t.name)
streams = pytest.mark.parametrize(
    "technique", [t for t in TECHNIQUES if t.name not in ("polling", "long-polling")], ids=lambda t: t.name
)
held = pytest.mark.parametrize("technique", [t for t in TECHNIQUES if t.name != "polling"], ids=lambda t: t.name)
both_fanouts = pytest.mark.parametrize("fanout", ["direct", "plain"])


@contextlib.contextmanager
def a_lab(**options: Any) -> Iterator[Lab]:
    with Lab("contract", **options) as lab:
        yield lab


def attach(lab: Lab, technique: Technique, **options: Any) -> Receiver:
    """A subscriber from now on, in place before anything else is published."""
    options.setdefault("after", lab.cursor(options.get("topic", "")))
    return Receiver(technique, lab.url_of(technique.name), **{**technique.taken_of(QUICK), **options})


def epoch_of(lab: Lab) -> str:
    return lab.cursor().partition("@")[2]


def publish(lab: Lab, count: int, size: int = 0) -> None:
    """Events that say which they are, padded to *size*."""
    for _ in range(count):
        lab.publish("x" * size)


def server_of(lab: Lab) -> Server:
    assert isinstance(lab._server, Server)
    return lab._server


def nothing_attached(lab: Lab) -> bool:
    stats = lab.stats()
    return stats["subscribers"] == 0 and stats["connections"] == 0


# -- order, once ---------------------------------------------------------------------------------------------------


def check_all(receiver: Receiver, expected: list[str | bytes]) -> None:
    assert receiver.ids == list(range(1, len(expected) + 1))
    assert receiver.gaps == []
    assert [d.data for d in receiver.deliveries] == expected
    assert len({d.cursor for d in receiver.deliveries}) == len(expected)


@every_technique
@both_fanouts
def test_every_event_arrives_once_in_order_and_unchanged(technique: Technique, fanout: str) -> None:
    with a_lab(fanout=fanout) as lab, attach(lab, technique) as receiver:
        for data in DATA[:50]:
            lab.publish(data)
        receiver.wait_for(50)
        for data in DATA[50:]:
            lab.publish(data)
        check_all_of = receiver.wait_for(NUMBER)
        assert len(check_all_of) == NUMBER
        check_all(receiver, DATA)


@every_technique
def test_every_event_arrives_from_a_lab_in_a_process_of_its_own(technique: Technique, process_lab: Lab) -> None:
    topic = f"order {technique.name}"
    with attach(process_lab, technique, topic=topic) as receiver:
        for data in DATA:
            process_lab.publish(data, topic)
        receiver.wait_for(NUMBER)
        check_all(receiver, DATA)
    until(lambda: process_lab.stats()["subscribers"] == 0)


@pytest.fixture(scope="module")
def process_lab() -> Iterator[Lab]:
    with Lab("contract-process", process=True) as lab:
        lab.stats()  # the thread that talks to the child starts with the first call
        yield lab


@every_technique
def test_a_burst_over_the_queue_loses_nothing_for_a_subscriber_that_reads(technique: Technique) -> None:
    for fanout in ("direct", "plain"):
        with a_lab(queue=8, slow="disconnect", fanout=fanout) as lab, attach(lab, technique) as receiver:
            until(lambda: lab.stats()["connections"] == 1)
            if technique.name != "polling":
                until(lambda: [s.idle for t in lab._server.hub._topics.values() for s in t.subscribers] == [True])

            async def burst(lab: Lab = lab) -> None:
                publish(lab, 100)  # on the lab loop: nobody has a turn until the last of them

            loop.run(burst())
            receiver.wait_for(100)
            assert receiver.ids == list(range(1, 101)) and receiver.gaps == []
            assert lab.stats()["disconnected"] == 0


@every_technique
def test_topics_are_apart(technique: Technique) -> None:
    with a_lab() as lab, attach(lab, technique, topic="a&b ü") as one, attach(lab, technique, topic="c") as other:
        lab.publish("1", "a&b ü")
        lab.publish("2", "c")
        lab.publish("3", "a&b ü")
        one.wait_for(2)
        other.wait_for(1)
        assert [d.data for d in one.deliveries] == ["1", "3"] and one.ids == [1, 2]
        assert [d.data for d in other.deliveries] == ["2"] and other.ids == [1]


# -- resuming ------------------------------------------------------------------------------------------------------


@every_technique
def test_a_cut_link_loses_nothing_and_brings_nothing_twice(technique: Technique) -> None:
    with a_lab() as lab:
        first = lab.cursor()
        for data in DATA[:100]:
            lab.publish(data)
        # in the middle of whatever the 600th byte is in, later and later
        with CountingRelay(lab.ports[technique.port], cut_after=lambda n: 600 * (n + 1)) as relay:
            url = technique.url("127.0.0.1", {technique.port: relay.port})
            with Receiver(technique, url, after=first, resumes=True, **technique.taken_of(QUICK)) as receiver:
                receiver.wait_for(100)
                for data in DATA[100:]:
                    lab.publish(data)
                receiver.wait_for(NUMBER)
                check_all(receiver, DATA)
                assert len(receiver.ledger.connections) > 3
            for record in receiver.ledger.connections:
                check_marks(record)
        until(lambda: nothing_attached(lab))


@every_technique
def test_the_cursor_of_one_technique_is_good_for_any_other(technique: Technique) -> None:
    with a_lab() as lab:
        publish(lab, 10)
        with attach(lab, technique, after="0", stop_after=4) as receiver:
            receiver.wait_end()
        for other in TECHNIQUES:
            with attach(lab, other, after=receiver.items[-1].cursor) as going_on:
                going_on.wait_for(6)
                assert going_on.ids == [5, 6, 7, 8, 9, 10] and going_on.gaps == []


# -- where it begins, gaps -----------------------------------------------------------------------------------------


def wire_gap(technique: Technique, after: str, next: int, cursor: str) -> bytes:
    gap = f'"gap":{{"after":"{after}","next":{next}}}'
    if technique.name in ("polling", "long-polling"):
        return gap.encode()
    whole = f'{{{gap},"cursor":"{cursor}"}}'
    if technique.name == "sse":
        return f"event: gap\nid: {cursor}\ndata: {whole}\n\n".encode()
    return whole.encode()


@every_technique
@pytest.mark.parametrize("after", ["3@{epoch}", "3", "0@{epoch}", "999@{epoch}", "999", "18@zzzz", "0@zzzz"])
def test_a_cursor_that_cannot_be_continued_from_is_a_gap_told_first_and_at_once(
    technique: Technique, after: str
) -> None:
    with a_lab(history_events=5) as lab:
        publish(lab, 20)
        after = after.format(epoch=epoch_of(lab))
        with attach(lab, technique, after=after) as receiver:
            receiver.wait_for(6)
            assert receiver.items[0] == Gap(after, 16, f"15@{epoch_of(lab)}")
            assert receiver.ids == [16, 17, 18, 19, 20] and len(receiver.gaps) == 1
            assert wire_gap(technique, after, 16, f"15@{epoch_of(lab)}") in receiver.received
            lab.publish("and on")
            receiver.wait_for(7)
            assert receiver.ids[-1] == 21 and len(receiver.gaps) == 1


@every_technique
def test_a_gap_with_nothing_held_is_told_at_once_too(technique: Technique) -> None:
    with a_lab() as lab, attach(lab, technique, after="7@zzzz", topic="unheard of") as receiver:
        receiver.wait_for(1)
        assert receiver.items == [Gap("7@zzzz", 1, f"0@{epoch_of(lab)}")]
        lab.publish("first", "unheard of")
        receiver.wait_for(2)
        assert receiver.ids == [1] and len(receiver.gaps) == 1


@every_technique
def test_a_bare_0_is_everything_held_and_never_a_gap(technique: Technique) -> None:
    with a_lab(history_events=5) as lab:
        publish(lab, 20)
        with attach(lab, technique, after="0") as receiver:
            receiver.wait_for(5)
            assert receiver.ids == [16, 17, 18, 19, 20] and receiver.gaps == []


@every_technique
def test_a_cursor_at_the_newest_event_is_no_gap(technique: Technique) -> None:
    with a_lab(history_events=5) as lab:
        publish(lab, 20)
        with attach(lab, technique, after=lab.cursor()) as receiver:
            lab.publish("next")
            receiver.wait_for(1)
            assert receiver.ids == [21] and receiver.gaps == []


@streams
def test_a_stream_says_where_it_begins_before_anything_else(technique: Technique) -> None:
    with a_lab() as lab:
        publish(lab, 3)
        with attach(lab, technique, after=None) as receiver:
            receiver.wait(lambda: receiver.begins)
            cursor = f"3@{epoch_of(lab)}"
            assert receiver.begins == [cursor] and receiver.items == []
            said = f"id: {cursor}\n\n" if technique.name == "sse" else f'{{"cursor":"{cursor}"}}'
            assert said.encode() in receiver.received
            lab.publish("4")
            receiver.wait_for(1)
            assert receiver.ids == [4]


@every_technique
def test_an_unknown_topic_has_cursor_0_and_listening_to_it_makes_no_log(technique: Technique) -> None:
    with a_lab() as lab:
        cursor = f"0@{epoch_of(lab)}"
        with attach(
            lab, technique, after=None, topic="unheard of", **technique.taken_of({"hold_s": 0.05 * UNIT})
        ) as receiver:
            receiver.wait(lambda: receiver.begins)
            assert receiver.begins == [cursor] and lab.stats()["topics"] == 0
        until(lambda: nothing_attached(lab))
        assert server_of(lab).hub._topics == {}
        assert lab.cursor("unheard of") == cursor


# -- leaving -------------------------------------------------------------------------------------------------------


@held
@both_fanouts
def test_a_subscriber_that_leaves_is_forgotten_at_once(technique: Technique, fanout: str) -> None:
    with a_lab(fanout=fanout) as lab:
        publish(lab, 1)
        before = sorted(tasks().elements())
        with attach(lab, technique, after="0") as receiver:
            receiver.wait_for(1)
            until(lambda: lab.stats()["subscribers"] == 1)
        until(lambda: nothing_attached(lab), timeout_s=UNIT)
        until(lambda: sorted(tasks().elements()) == before, "the tasks that there were before", UNIT)


def greeting(lab: Lab, technique: Technique) -> bytes:
    """What a client sends to subscribe, byte for byte."""
    if technique.name == "plugin-socket":
        return b'{"subscribe":{}}\0'
    if technique.name == "websocket":
        key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
        return get(technique.route, "Upgrade: websocket", "Connection: Upgrade", key, "Sec-WebSocket-Version: 13")
    return get(technique.route)


@held
@both_fanouts
@pytest.mark.parametrize("how", ["closes", "resets", "half-closes"])
def test_a_raw_client_that_goes_is_forgotten_at_once(technique: Technique, fanout: str, how: str) -> None:
    with a_lab(fanout=fanout) as lab:
        with dial(lab.ports[technique.port], greeting(lab, technique)) as sock:
            until(lambda: lab.stats()["subscribers"] == 1)
            if how == "half-closes":
                sock.shutdown(socket.SHUT_WR)
            elif how == "resets":
                reset(sock)
            else:
                sock.close()
            until(lambda: nothing_attached(lab), timeout_s=UNIT)


@pytest.mark.parametrize("how", ["closes", "resets", "half-closes"])
@pytest.mark.parametrize("route", ["/long-polling", "/http-streaming", "/sse"])
@pytest.mark.parametrize("more", [0, 3])
def test_a_client_that_pipelined_another_request_and_left_is_forgotten_at_once(route: str, how: str, more: int) -> None:
    with a_lab() as lab:
        with dial(lab.port, get(route) + get("/polling")) as sock:
            until(lambda: lab.stats()["subscribers"] == 1)
            (stream,) = server_of(lab).http.streams
            for _ in range(more):
                held_bytes = stream._read_buffer_size
                sock.sendall(get("/polling"))
                until(lambda held_bytes=held_bytes: stream._read_buffer_size > held_bytes)
            if how == "half-closes":
                sock.shutdown(socket.SHUT_WR)
            elif how == "resets":
                reset(sock)
            else:
                sock.close()
            until(lambda: nothing_attached(lab), timeout_s=UNIT)


def test_a_request_pipelined_behind_a_parked_one_is_answered_after_it() -> None:
    with a_lab() as lab, dial(lab.port, get("/long-polling") + get("/polling?after=0")) as sock:
        until(lambda: lab.stats()["subscribers"] == 1)
        lab.publish("both")
        for _ in range(2):
            head = read_until(sock, b"\r\n\r\n")
            size = int(re.search(rb"Content-Length: (\d+)", head)[1])  # type: ignore[index]
            assert json.loads(sock.recv(size, socket.MSG_WAITALL))["events"] == [{"id": 1, "data": "both"}]


# -- slow subscribers ----------------------------------------------------------------------------------------------

SIZE = 20_000
MANY = 900  # 18 MB: more than the kernel's buffers of one connection take


def stalled(lab: Lab, technique: Technique, **options: Any) -> Receiver:
    """A subscriber that has read the first event, reads no more, and has been sent more than it can take."""
    receiver = attach(lab, technique, pause_after=1, **options)
    publish(lab, 1, SIZE)
    receiver.wait_for(1)
    for count in (49,) + (50,) * (MANY // 50 - 1):
        publish(lab, count, SIZE)
        until(lambda: not server_of(lab).hub._dirty)
        loop.run(asyncio.sleep(0))  # a turn for whom this has woken
    return receiver


def buffered_bytes(lab: Lab) -> int:
    """What the server holds for its connections beside the history."""
    server = server_of(lab)
    return sum(len(stream._write_buffer) for stream in (*server.http.streams, *server.plugin.streams))


def check_gaps(lab: Lab, receiver: Receiver) -> int:
    """Every hole in the ids has its gap just before it, and there is no other gap. Returns how many ids it has lost."""
    last, lost, told = 0, 0, None
    for item in receiver.items:
        if isinstance(item, Gap):
            told = item
            continue
        if item.event_id != last + 1:
            epoch = epoch_of(lab)
            assert told == Gap(f"{last}@{epoch}", item.event_id, f"{item.event_id - 1}@{epoch}")
            lost += item.event_id - last - 1
        else:
            assert told is None
        last, told = item.event_id, None
    assert told is None
    return lost


@streams
@both_fanouts
def test_drop_oldest_keeps_the_newest_and_tells_the_gap(technique: Technique, fanout: str) -> None:
    with a_lab(slow="drop-oldest", queue=16, history_bytes=1 << 30, fanout=fanout) as lab:
        with stalled(lab, technique) as receiver:
            assert buffered_bytes(lab) < 200_000
            receiver.resume()
            receiver.wait(lambda: receiver.ids[-1] == MANY)
            lost = check_gaps(lab, receiver)
            assert lost > 100 and lost == lab.stats()["dropped"]
            assert set(range(MANY - 15, MANY + 1)) <= set(receiver.ids)
            assert lab.stats()["delivered"] == len(receiver.ids)


def resume_when_full(lab: Lab, receiver: Receiver) -> int:
    """Let a reader under drop-newest go on when it is full. Returns the id up to which all that is held is kept for it.

    The kernel of a stalled reader takes some more at times of its own; then the subscriber goes on from the newest and
    is not full. So this publishes until it is, and nothing once it is: that the next is lost to it is then certain.
    """
    hub = server_of(lab).hub

    async def fill() -> int:
        (subscriber,) = hub._topics[""].subscribers
        while subscriber.full_at is None:
            await asyncio.sleep(0)
            publish(lab, hub.queue + 1, SIZE)
            hub.drain()
        receiver.resume()
        return subscriber.full_at

    return loop.run(fill())


@streams
@both_fanouts
@pytest.mark.parametrize("history", [64, 10_000])
def test_drop_newest_keeps_the_oldest_and_tells_the_gap(technique: Technique, fanout: str, history: int) -> None:
    with a_lab(slow="drop-newest", queue=16, history_events=history, history_bytes=1 << 30, fanout=fanout) as lab:
        with stalled(lab, technique) as receiver:
            assert buffered_bytes(lab) < 200_000
            kept = resume_when_full(lab, receiver)
            hub = server_of(lab).hub
            (subscriber,) = hub._topics[""].subscribers
            until(lambda: subscriber.idle)
            after = lab.publish("after the stall")
            receiver.wait(lambda: receiver.ids[-1] == after)
            lost = check_gaps(lab, receiver)
            assert receiver.gaps[-1].next == after and lost > 100 and lost == lab.stats()["dropped"]
            if history > after:
                assert receiver.ids[-2] == kept
            else:
                assert receiver.ids[-2] <= kept


@streams
def test_disconnect_says_why_and_ends_and_resuming_finds_what_is_held(technique: Technique) -> None:
    with a_lab(slow="disconnect", queue=16, history_events=64) as lab:
        with stalled(lab, technique, **technique.taken_of({"retry_s": FOREVER_S})) as receiver:
            assert buffered_bytes(lab) < 200_000
            receiver.resume()
            if technique.resumes:
                until(lambda: receiver.ledger.connections[0].closed_ns is not None)
            else:
                receiver.wait_end()
            assert b'{"closing":"slow subscriber"}' in receiver.received
            if technique.name == "websocket":
                assert isinstance(receiver.error, Refused) and receiver.error.status == 1013
                assert "slow subscriber" in str(receiver.error)
            else:
                assert receiver.error is None, receiver
            assert check_gaps(lab, receiver) == 0 and lab.stats()["disconnected"] == 1
            last = receiver.deliveries[-1]
        assert last.event_id < MANY
        with attach(lab, technique, after=last.cursor) as again:
            again.wait(lambda: again.ids and again.ids[-1] == MANY)
            assert again.ids == list(range(MANY - 63, MANY + 1))
            assert again.gaps == [Gap(last.cursor, MANY - 63, f"{MANY - 64}@{epoch_of(lab)}")]


@streams
@pytest.mark.parametrize("asked", [False, True], ids=["lab", "?conflate=1"])
def test_conflate_goes_on_with_the_newest_and_tells_no_gap(technique: Technique, asked: bool) -> None:
    if asked and technique.name == "plugin-socket":
        pytest.skip("only routes take ?conflate=1")
    options = {"conflate": True} if asked else {}
    with a_lab(slow="drop-oldest" if asked else "conflate", history_events=64) as lab:
        with stalled(lab, technique, **options) as receiver:
            assert buffered_bytes(lab) < 200_000
            receiver.resume()
            receiver.wait(lambda: receiver.ids[-1] == MANY)
            assert receiver.gaps == [] and receiver.ids == sorted(set(receiver.ids))
            stats = lab.stats()
            assert stats["conflated"] == MANY - len(receiver.ids) and stats["dropped"] == 0


@streams
def test_unbounded_loses_nothing_and_lets_go_when_the_reader_has_caught_up(technique: Technique) -> None:
    with a_lab(slow="unbounded", queue=16, history_events=64) as lab:
        with stalled(lab, technique) as receiver:
            log = server_of(lab).hub._topics[""].log
            assert log is not None and log.held_bytes > 100 * SIZE
            receiver.resume()
            receiver.wait(lambda: receiver.ids[-1] == MANY)
            assert receiver.ids == list(range(1, MANY + 1)) and receiver.gaps == []
            publish(lab, 200)
            receiver.wait(lambda: receiver.ids[-1] == MANY + 200)
            lab.publish("one more")
            until(lambda: log.newest - log.oldest < 2 * 64, "the bounds rule again")


@every_technique
def test_polls_share_one_answer_after_a_stall_and_conflate_on_request(technique: Technique) -> None:
    if technique.name not in ("polling", "long-polling"):
        pytest.skip("a stream")
    with a_lab() as lab:
        publish(lab, 10)
        with attach(lab, technique, after=f"0@{epoch_of(lab)}") as plain:
            plain.wait_for(10)
            assert plain.ledger.connections[0].responses <= 2
        with attach(lab, technique, after=f"0@{epoch_of(lab)}", conflate=True) as conflating:
            conflating.wait_for(1)
            assert conflating.ids == [10] and conflating.gaps == []


@streams
def test_a_stalled_subscriber_does_not_slow_another(technique: Technique) -> None:
    with a_lab(slow="drop-oldest") as lab:
        with attach(lab, technique, pause_after=1) as slow, attach(lab, technique) as well:
            publish(lab, 1, SIZE)
            slow.wait_for(1)
            for batch in range(10):
                publish(lab, 90, SIZE)
                well.wait_for(1 + 90 * (batch + 1))
            assert well.ids == list(range(1, 902)) and well.gaps == []
            assert len(slow.ids) == 1
            assert buffered_bytes(lab) < 200_000


@held
@both_fanouts
def test_a_peer_that_never_reads_is_let_go(technique: Technique, fanout: str) -> None:
    with a_lab(write_timeout_s=0.1 * UNIT, fanout=fanout, max_event_bytes=MANY * SIZE) as lab:
        sock = dial(lab.ports[technique.port], greeting(lab, technique), receive_buffer_bytes=4096)
        with sock:
            until(lambda: lab.stats()["subscribers"] == 1)
            if technique.name == "long-polling":  # one answer: only a large event is more than its connection takes
                publish(lab, 1, MANY * SIZE)
            publish(lab, MANY, SIZE)
            until(lambda: nothing_attached(lab))


@streams
def test_a_peer_that_leaves_one_event_unread_is_let_go(technique: Technique) -> None:
    large = 20 << 20
    with a_lab(write_timeout_s=0.1 * UNIT, heartbeat_s=0.2 * UNIT, max_event_bytes=2 * large, mss=None) as lab:
        with dial(lab.ports[technique.port], greeting(lab, technique), receive_buffer_bytes=4096):
            until(lambda: lab.stats()["subscribers"] == 1)
            until(lambda: next(iter(server_of(lab).hub._topics[""].subscribers)).idle)
            publish(lab, 1, large)
            until(lambda: nothing_attached(lab))


@streams
def test_an_event_does_not_overtake_what_the_socket_has_not_taken(technique: Technique) -> None:
    large = 12 << 20
    with a_lab(max_event_bytes=2 * large, mss=None) as lab:
        with dial(lab.ports[technique.port], greeting(lab, technique)) as sock:
            until(lambda: lab.stats()["subscribers"] == 1)
            until(lambda: next(iter(server_of(lab).hub._topics[""].subscribers)).idle)
            data = bytearray()

            async def both() -> None:
                lab.publish("x" * large)
                server_of(lab).hub.drain()
                sock.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    while True:
                        data.extend(sock.recv(1 << 20))  # there is room in the socket again, before anybody has a turn
                lab.publish("small")
                server_of(lab).hub.drain()

            loop.run(both())
            assert buffered_bytes(lab) > 0 or len(data) > large
            sock.settimeout(10 * UNIT)
            while b"small" not in data[-100:]:
                data.extend(sock.recv(1 << 20))
            assert b"x" * large in data


# -- the end -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"fanout": "plain"}, {"process": True}], ids=["direct", "plain", "process"])
def test_closing_a_lab_ends_every_client_within_a_second(options: dict[str, Any]) -> None:
    with a_lab(**options) as lab, contextlib.ExitStack() as stack:
        patient = {"retry_s": FOREVER_S}
        receivers = [stack.enter_context(attach(lab, t, **t.taken_of(patient))) for t in TECHNIQUES for _ in range(3)]
        publish(lab, 5)
        for receiver in receivers:
            receiver.wait_for(5)
        until(lambda: lab.stats()["subscribers"] == 3 * (len(TECHNIQUES) - 1))
        began = time.monotonic()
        lab.close()
        assert time.monotonic() - began < UNIT
        for receiver in receivers:
            until(lambda r=receiver: all(c.closed_ns is not None for c in r.ledger.connections), repr(receiver), UNIT)
            if not receiver.technique.resumes:
                receiver.wait_end(UNIT)
            assert receiver.ids == [1, 2, 3, 4, 5]


@held
def test_closing_a_lab_does_not_wait_for_a_stalled_reader(technique: Technique) -> None:
    with a_lab(slow="drop-oldest") as lab, stalled(lab, technique):
        began = time.monotonic()
        lab.close()
        assert time.monotonic() - began < UNIT
