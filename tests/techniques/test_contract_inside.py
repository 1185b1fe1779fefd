"""What of the contract only the server's insides, or the bytes of one technique, can say.

What can be asked from outside is in the promises of ``labkit.subscribing.contract``, which test_contract.py tries.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket

import pytest

from conftest import UNIT, tasks
from labkit import loop
from labkit.errors import Refused
from labkit.lab.lab import Lab
from labkit.lab.server import Server
from labkit.subscribing.contract.beginning import NO_CURSORS_OF_IT
from labkit.subscribing.contract.end import ending, three
from labkit.subscribing.contract.leaving import WAYS, first_bytes, raw_client
from labkit.subscribing.contract.promise import BOTH, FOREVER_S, Trial, epoch_of, is_held, publish, streams
from labkit.subscribing.contract.receiver import Receiver
from labkit.subscribing.contract.slow import SIZE, check_gaps, stalled
from labkit.techniques import TECHNIQUES, Technique
from wait import dial, get, read_until, until

every_technique = pytest.mark.parametrize("technique", TECHNIQUES, ids=lambda t: t.name)
every_stream = pytest.mark.parametrize("technique", [t for t in TECHNIQUES if streams(t) is None], ids=lambda t: t.name)
every_held = pytest.mark.parametrize("technique", [t for t in TECHNIQUES if is_held(t) is None], ids=lambda t: t.name)
both_fanouts = pytest.mark.parametrize("fanout", BOTH)


def server_of(lab: Lab) -> Server:
    assert isinstance(lab._server, Server)
    return lab._server


def nothing_attached(lab: Lab) -> bool:
    stats = lab.stats()
    return stats["subscribers"] == 0 and stats["connections"] == 0


def buffered_bytes(lab: Lab) -> int:
    """What the server holds for its connections beside the history."""
    server = server_of(lab)
    return sum(len(stream._write_buffer) for stream in (*server.http.streams, *server.plugin.streams))


# -- on the wire -----------------------------------------------------------------------------------------------------


def wire_gap(technique: Technique, after: str, next: int, cursor: str) -> bytes:
    gap = f'"gap":{{"after":"{after}","next":{next}}}'
    if technique.name in ("polling", "long-polling"):
        return gap.encode()
    whole = f'{{{gap},"cursor":"{cursor}"}}'
    if technique.name == "sse":
        return f"event: gap\nid: {cursor}\ndata: {whole}\n\n".encode()
    return whole.encode()


@every_technique
def test_a_gap_on_the_wire(technique: Technique) -> None:
    trial = Trial(technique)
    with trial.lab(history_events=5) as lab:
        publish(lab, 20)
        for after in (one.format(epoch=epoch_of(lab)) for one in NO_CURSORS_OF_IT):
            with trial.attach(lab, after=after) as receiver:
                receiver.wait_until(20)
                assert wire_gap(technique, after, 16, f"15@{epoch_of(lab)}") in receiver.received


@every_stream
def test_where_a_stream_begins_on_the_wire(technique: Technique) -> None:
    trial = Trial(technique)
    with trial.lab() as lab:
        publish(lab, 3)
        with trial.attach(lab, after=None) as receiver:
            receiver.wait(lambda: receiver.begins)
            said = f"id: {lab.cursor()}\n\n" if technique.name == "sse" else f'{{"cursor":"{lab.cursor()}"}}'
            assert said.encode() in receiver.received


@every_stream
def test_a_disconnected_reader_is_told_why(technique: Technique) -> None:
    trial = Trial(technique)
    with trial.lab(slow="disconnect", queue=16) as lab, stalled(trial, lab, retry_s=FOREVER_S) as receiver:
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


# -- nothing is held for who is not there ----------------------------------------------------------------------------


@every_technique
def test_listening_to_an_unknown_topic_leaves_nothing_in_the_hub(technique: Technique) -> None:
    trial = Trial(technique)
    with trial.lab() as lab:
        with trial.attach(lab, after=None, topic="unheard of", hold_s=0.05 * UNIT) as receiver:
            receiver.wait(lambda: receiver.begins)
        until(lambda: nothing_attached(lab))
        assert server_of(lab).hub._topics == {}


@every_held
@both_fanouts
def test_of_a_subscriber_that_leaves_no_task_stays_of_whatever_kind(technique: Technique, fanout: str) -> None:
    trial = Trial(technique, fanout)
    with trial.lab() as lab:
        publish(lab, 1)
        before = sorted(tasks().elements())
        with trial.attach(lab, after="0") as receiver:
            receiver.wait_for(1)
            until(lambda: lab.stats()["subscribers"] == 1)
        until(lambda: nothing_attached(lab), timeout_s=UNIT)
        until(lambda: sorted(tasks().elements()) == before, "the tasks that there were before", UNIT)


@pytest.mark.parametrize("how", range(len(WAYS)), ids=["closes", "resets", "half-closes"])
@pytest.mark.parametrize("route", ["/long-polling", "/http-streaming", "/sse"])
@pytest.mark.parametrize("more", [0, 3])
def test_a_client_that_pipelined_another_request_and_left_is_forgotten_at_once(route: str, how: int, more: int) -> None:
    with Lab("inside") as lab:
        with dial(lab.port, get(route) + get("/polling")) as sock:
            until(lambda: lab.stats()["subscribers"] == 1)
            (stream,) = server_of(lab).http.streams
            for _ in range(more):
                held_bytes = stream._read_buffer_size
                sock.sendall(get("/polling"))
                until(lambda held_bytes=held_bytes: stream._read_buffer_size > held_bytes)
            WAYS[how](sock)
            until(lambda: nothing_attached(lab), timeout_s=UNIT)


def test_a_request_pipelined_behind_a_parked_one_is_answered_after_it() -> None:
    with Lab("inside") as lab, dial(lab.port, get("/long-polling") + get("/polling?after=0")) as sock:
        until(lambda: lab.stats()["subscribers"] == 1)
        lab.publish("both")
        for _ in range(2):
            head = read_until(sock, b"\r\n\r\n")
            size = int(re.search(rb"Content-Length: (\d+)", head)[1])  # type: ignore[index]
            assert json.loads(sock.recv(size, socket.MSG_WAITALL))["events"] == [{"id": 1, "data": "both"}]


# -- slow subscribers ------------------------------------------------------------------------------------------------


@every_stream
@pytest.mark.parametrize("slow", ["drop-oldest", "conflate"])
def test_the_server_holds_little_for_a_stalled_reader_beside_the_history(technique: Technique, slow: str) -> None:
    for fanout in BOTH if slow == "drop-oldest" else BOTH[:1]:
        trial = Trial(technique, fanout)
        with trial.lab(slow=slow, queue=16) as lab, stalled(trial, lab):
            assert buffered_bytes(lab) < 200_000


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
            publish(lab, hub.commons.queue + 1, SIZE)
            hub.drain()
        receiver.resume()
        return subscriber.full_at

    return loop.run(fill())


@every_stream
@both_fanouts
@pytest.mark.parametrize("history", [64, 10_000])
def test_drop_newest_keeps_what_there_was_when_it_was_full(technique: Technique, fanout: str, history: int) -> None:
    trial = Trial(technique, fanout)
    with trial.lab(slow="drop-newest", queue=16, history_events=history, history_bytes=1 << 30) as lab:
        with stalled(trial, lab) as receiver:
            assert buffered_bytes(lab) < 200_000
            kept = resume_when_full(lab, receiver)
            (subscriber,) = server_of(lab).hub._topics[""].subscribers
            until(lambda: subscriber.idle)
            after = lab.publish("after the stall")
            receiver.wait_until(after)
            lost = check_gaps(lab, receiver)
            assert receiver.gaps[-1].next == after and lost > 100 and lost == lab.stats()["dropped"]
            if history > after:
                assert receiver.ids[-2] == kept
            else:
                assert receiver.ids[-2] <= kept


@every_stream
def test_an_event_does_not_overtake_what_the_socket_has_not_taken(technique: Technique) -> None:
    large = 12 << 20
    trial = Trial(technique)
    with trial.lab(max_event_bytes=2 * large, mss=None) as lab:
        with raw_client(trial, lab, first_bytes(trial, lab)) as sock:
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


# -- the end ---------------------------------------------------------------------------------------------------------


def test_closing_a_lab_ends_the_clients_of_all_techniques_together() -> None:
    with Lab("inside") as lab, contextlib.ExitStack() as stack:
        receivers = [r for t in TECHNIQUES for r in three(Trial(t), lab, stack)]
        until(lambda: lab.stats()["subscribers"] == 3 * (len(TECHNIQUES) - 1))
        ending(Trial(TECHNIQUES[0]), lab, receivers)
