"""The link over real sockets: times are compared with the injected transit, bytes with what both ends sent."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import numpy as np
import pytest

from conftest import UNIT
from labkit import loop as lab_loop
from labkit.client.ledger import Ledger
from labkit.errors import LabkitError
from labkit.network import relay_wire
from labkit.network.intermediary import Intermediary
from labkit.network.link import Link
from labkit.network.relay import Relay
from labkit.network.relay_chain import chain
from labkit.network.relay_wire import Flow, Wire

D = 0.05 * UNIT
TIMEOUT_S = 10 * UNIT


class Server:
    """A TCP server on a thread: *serve* gets each accepted socket, the last of them is in ``accepted``."""

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self._serve = serve
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(TIMEOUT_S)
        self._threads: list[threading.Thread] = []
        self.address = self._listener.getsockname()
        self.accepted: list[float] = []
        self.received = bytearray()
        self.ended: list[float] = []
        self.how: list[str] = []
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def _accept(self) -> None:
        while True:
            with contextlib.suppress(OSError):
                sock, _ = self._listener.accept()
                self.accepted.append(time.monotonic())
                sock.settimeout(TIMEOUT_S)
                thread = threading.Thread(target=self._run, args=(sock,))
                thread.start()
                self._threads.append(thread)
                continue
            return

    def _run(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            self._serve(sock)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join()
        for thread in self._threads:
            thread.join()


@contextlib.contextmanager
def serving(serve: Callable[[socket.socket], None]) -> Iterator[Server]:
    server = Server(serve)
    try:
        yield server
    finally:
        server.close()


def echo(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while data := sock.recv(1 << 16):
        sock.sendall(data)


@pytest.fixture
def echoing() -> Iterator[Server]:
    with serving(echo) as server:
        yield server


def dial(link: Relay) -> socket.socket:
    return socket.create_connection(link.address, timeout=TIMEOUT_S)


def read_exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        assert piece, f"ended after {len(data)} of {size} bytes"
        data += piece
    return data


def how_it_ends(sock: socket.socket) -> str:
    """``fin`` or ``reset``, whichever the other side sends."""
    try:
        while sock.recv(1 << 16):
            pass
    except ConnectionResetError:
        return "reset"
    return "fin"


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0))
    sock.close()


def round_trip_s(sock: socket.socket, data: bytes = b"x") -> float:
    started = time.monotonic()
    sock.sendall(data)
    assert read_exactly(sock, len(data)) == data
    return time.monotonic() - started


def first_exchange_s(link: Relay) -> float:
    with dial(link) as sock:
        return round_trip_s(sock)


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.005)


def is_about(measured_s: float, expected_s: float) -> bool:
    """Never early, and late by no more than a fifth of a transit for each transit."""
    return 0.999 * expected_s <= measured_s <= 1.2 * expected_s


def takes(measure: Callable[[], float], expected_s: float) -> bool:
    """Whether *measure* is about that once in a few tries, and never early: a busy machine is late now and then."""
    for _ in range(5):
        took_s = measure()
        assert took_s >= 0.999 * expected_s
        if took_s <= 1.2 * expected_s:
            return True
    return False


# -- time ------------------------------------------------------------------------------------------------------------


def test_a_round_trip_takes_two_transits_on_an_open_connection(echoing: Server) -> None:
    with Link(echoing.address, one_way_s=D) as link, dial(link) as sock:
        round_trip_s(sock)
        assert is_about(median(round_trip_s(sock) for _ in range(7)), 2 * D)


def test_each_direction_takes_one_transit() -> None:
    arrived: list[float] = []

    def stamp(sock: socket.socket) -> None:
        while sock.recv(100):
            arrived.append(time.monotonic())
            sock.sendall(b"y")

    up, down = [], []
    with serving(stamp) as server, Link(server.address, one_way_s=D) as link, dial(link) as sock:
        for _ in range(7):
            sent = time.monotonic()
            sock.sendall(b"x")
            read_exactly(sock, 1)
            up.append(arrived[-1] - sent)
            down.append(time.monotonic() - arrived[-1])
    assert is_about(median(up), D)
    assert is_about(median(down), D)


def test_the_first_exchange_of_a_connection_takes_four_transits(echoing: Server) -> None:
    with Link(echoing.address, one_way_s=D) as link:
        first = [first_exchange_s(link) for _ in range(5)]
    assert is_about(median(first), 4 * D)


def test_the_first_word_of_a_server_arrives_after_four_transits() -> None:
    times, accepted = [], []
    with serving(lambda sock: sock.sendall(b"hello")) as server, Link(server.address, one_way_s=D) as link:
        for _ in range(5):
            started = time.monotonic()
            with dial(link) as sock:
                read_exactly(sock, 5)
                times.append(time.monotonic() - started)
                accepted.append(server.accepted[-1] - started)
    assert is_about(median(times), 4 * D)
    assert is_about(median(accepted), 3 * D)


def test_without_the_handshake_the_first_exchange_takes_two_transits(echoing: Server) -> None:
    with Link(echoing.address, one_way_s=D, handshake=False) as link:
        first = [first_exchange_s(link) for _ in range(5)]
    assert is_about(median(first), 2 * D)


def test_what_a_client_sends_late_is_not_charged_again(echoing: Server) -> None:
    def late_s() -> float:
        with dial(link) as sock:
            time.sleep(4 * D)
            return round_trip_s(sock)

    with Link(echoing.address, one_way_s=D) as link:
        assert takes(late_s, 2 * D)


def test_two_links_in_a_row_add_up(echoing: Server) -> None:
    near, far = Link(one_way_s=D, name="a"), Link(one_way_s=2 * D, name="b")
    with chain([near, far], echoing.address) as path:
        assert path is near
        assert takes(lambda: first_exchange_s(near), 4 * 3 * D)
        with dial(near) as sock:
            round_trip_s(sock)
            assert takes(lambda: round_trip_s(sock), 2 * 3 * D)
    assert near.target is None and far.target is None


def test_a_setting_changed_while_it_runs_holds_for_what_is_read_from_then_on(echoing: Server) -> None:
    with Link(echoing.address, one_way_s=4 * D, handshake=False) as link, dial(link) as sock:
        round_trip_s(sock)
        link.one_way_s = D
        assert takes(lambda: round_trip_s(sock), 2 * D)


def test_a_shorter_delay_does_not_let_bytes_overtake(echoing: Server) -> None:
    with Link(echoing.address, one_way_s=4 * D, handshake=False) as link, dial(link) as sock:
        sock.sendall(b"first")
        time.sleep(D)
        link.one_way_s = 0
        sock.sendall(b"second")
        assert read_exactly(sock, 11) == b"firstsecond"


def test_jitter_spreads_the_times_and_keeps_the_order() -> None:
    arrived: list[float] = []
    received = bytearray()

    def collect(sock: socket.socket) -> None:
        while data := sock.recv(100):
            received.extend(data)
            arrived.extend([time.monotonic()] * len(data))
        sock.sendall(b".")

    sent = []
    with serving(collect) as server:
        link = Link(server.address, one_way_s=D, jitter_s=D, handshake=False, seed=3)
        with link, dial(link) as sock:
            for number in range(60):
                sent.append(time.monotonic())
                sock.sendall(bytes([number]))
                time.sleep(D / 20)
            sock.shutdown(socket.SHUT_WR)
            read_exactly(sock, 1)
    times = [a - s for a, s in zip(arrived, sent, strict=True)]
    assert received == bytes(range(60))
    assert min(times) >= 0.999 * D
    assert 1.2 * D < median(times) < 2 * D
    assert max(times) - min(times) > 0.3 * D


def test_the_jitter_of_a_seed_is_always_the_same(echoing: Server) -> None:
    def exchange_s(seed: int) -> float:
        with Link(echoing.address, one_way_s=0, jitter_s=4 * D, handshake=False, seed=seed) as link:
            return first_exchange_s(link)

    one, again, other = (min(exchange_s(seed) for _ in range(3)) for seed in (1, 1, 2))
    assert abs(one - again) < 0.3 * D < abs(one - other)


# -- throughput ------------------------------------------------------------------------------------------------------


def test_the_delay_does_not_limit_the_throughput() -> None:
    size = 20_000_000

    def source(sock: socket.socket) -> None:
        sock.sendall(bytes(size))

    with serving(source) as server, Link(server.address, one_way_s=D, ledger=Ledger(0)) as link, dial(link) as sock:
        started, seen = time.monotonic(), 0
        while piece := sock.recv(1 << 20):
            seen += len(piece)
        took_s = time.monotonic() - started
    assert seen == size
    assert took_s < 20 * 2 * D  # a window of 1 MB for each round trip would take as long


def test_a_rate_sets_the_time_that_bytes_take(echoing: Server) -> None:
    size = 40_000
    first: list[float] = []

    def echo_s() -> float:
        with dial(link) as sock:
            started = time.monotonic()
            sock.sendall(bytes(size))
            seen = len(sock.recv(1 << 16))
            first.append(time.monotonic() - started)
            read_exactly(sock, size - seen)
            return time.monotonic() - started

    with Link(echoing.address, one_way_s=D, rate_bytes_per_s=size / (8 * D), handshake=False) as link:
        assert takes(echo_s, 8 * D + 2 * D)  # both directions work at the same time, a piece apart
    assert min(first) < 4 * D  # it trickles


def test_a_reader_that_stalls_is_felt_by_the_writer() -> None:
    release = threading.Event()
    with serving(lambda sock: release.wait(TIMEOUT_S) and None) as server:
        link = Link(server.address, one_way_s=D, ledger=Ledger(0), handshake=False)
        with link, dial(link) as sock:
            sock.settimeout(6 * D)
            with pytest.raises(TimeoutError):
                while True:
                    sock.send(bytes(1 << 16))
            near, far = link.ledger.connections
            assert abs(near.bytes_out - far.bytes_out - link.in_flight_bytes) <= 1 << 16  # one read
            release.set()


def test_with_a_rate_the_writer_feels_it_soon() -> None:
    release = threading.Event()
    with serving(lambda sock: release.wait(TIMEOUT_S) and None) as server:
        link = Link(server.address, one_way_s=D, rate_bytes_per_s=20_000, handshake=False)
        with link, dial(link) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 12)
            sock.settimeout(4 * D)
            sent = 0
            with pytest.raises(TimeoutError):
                while True:
                    sent += sock.send(bytes(1 << 12))
            release.set()
    assert sent < 7 * (1 << 14)  # the link's own queue, and what three small buffers of the kernel hold


# -- FIN and RST -----------------------------------------------------------------------------------------------------


def test_a_client_that_has_finished_still_reads_the_answer(echoing: Server) -> None:
    with Link(echoing.address, one_way_s=D) as link, dial(link) as sock:
        sock.sendall(b"question")
        sock.shutdown(socket.SHUT_WR)
        assert read_exactly(sock, 8) == b"question"
        assert sock.recv(1) == b""


def test_a_server_that_has_finished_still_reads() -> None:
    received = bytearray()
    done = threading.Event()

    def finish_first(sock: socket.socket) -> None:
        sock.sendall(b"bye")
        sock.shutdown(socket.SHUT_WR)
        while data := sock.recv(100):
            received.extend(data)
        done.set()

    with serving(finish_first) as server, Link(server.address, one_way_s=D) as link, dial(link) as sock:
        assert read_exactly(sock, 3) == b"bye"
        assert sock.recv(1) == b""
        sock.sendall(b"more")
        sock.shutdown(socket.SHUT_WR)
        assert done.wait(TIMEOUT_S)
        assert received == b"more"
        eventually(lambda: link.connections == 0)
        assert [c.closed_by for c in link.ledger.connections] == ["server", "server"]


def test_a_fin_takes_one_transit() -> None:
    assert takes(lambda: ending_of_server(lambda sock: sock.shutdown(socket.SHUT_WR))[2], D)


def ending_of_server(act: Callable[[socket.socket], None]) -> tuple[str, bytes, float]:
    """How the server's side ends when the client does *act*, what it had read by then, and after how long."""
    found: list[tuple[str, bytes, float]] = []

    def watch(sock: socket.socket) -> None:
        data = b""
        try:
            while piece := sock.recv(1 << 16):
                data += piece
            found.append(("fin", data, time.monotonic()))
        except ConnectionResetError:
            found.append(("reset", data, time.monotonic()))

    with serving(watch) as server, Link(server.address, one_way_s=D) as link, dial(link) as sock:
        eventually(lambda: server.accepted)
        started = time.monotonic()
        act(sock)
        eventually(lambda: found)
        eventually(lambda: link.connections == 0)
        assert {c.closed_by for c in link.ledger.connections} == {"reset" if found[0][0] == "reset" else "client"}
    how, data, ended = found[0]
    return how, data, ended - started


def test_a_reset_by_the_client_reaches_the_server_one_transit_later() -> None:
    assert ending_of_server(reset)[0] == "reset"
    assert takes(lambda: ending_of_server(reset)[2], D)


def test_bytes_before_a_reset_arrive_before_it() -> None:
    def send_and_reset(sock: socket.socket) -> None:
        sock.sendall(b"last words")
        reset(sock)

    how, data, _ = ending_of_server(send_and_reset)
    assert (how, data) == ("reset", b"last words")


def test_a_client_that_connects_sends_and_resets_at_once_is_heard() -> None:
    received: list[bytes] = []
    with serving(lambda sock: received.append(sock.recv(100))) as server, Link(server.address, one_way_s=D) as link:
        sock = dial(link)
        sock.sendall(b"last words")
        reset(sock)
        eventually(lambda: received)
        assert received == [b"last words"]
        eventually(lambda: link.connections == 0)


def test_a_reset_that_a_send_ran_into_is_no_fin_to_the_reader() -> None:
    async def send_and_read(sock: socket.socket, peer: socket.socket) -> None:
        sock.setblocking(False)
        record = Ledger().opened("", 0, local=sock.getsockname(), remote=sock.getpeername(), t_ns=0)
        wire = Wire(sock, record, Flow(), near=True)
        reset(peer)
        for act in (lambda: wire.send(b"x"), wire.recv, wire.recv):
            with pytest.raises(ConnectionResetError):
                await act()
        wire.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = socket.create_connection(listener.getsockname())
        lab_loop.run(send_and_read(listener.accept()[0], peer))


def test_a_reset_after_a_fin_is_seen_too() -> None:
    def speak(sock: socket.socket) -> None:
        try:
            while True:  # to a client that has closed: its kernel answers with RST
                sock.sendall(b"tick")
                time.sleep(D / 5)
        except (ConnectionResetError, BrokenPipeError):
            ended.set()

    ended = threading.Event()
    with serving(speak) as server, Link(server.address, one_way_s=D) as link:
        with dial(link) as sock:
            read_exactly(sock, 4)
        assert ended.wait(TIMEOUT_S)
        eventually(lambda: link.connections == 0)


def test_a_reset_by_the_server_reaches_the_client_one_transit_later() -> None:
    at: list[float] = []

    def speak_and_reset(sock: socket.socket) -> None:
        sock.sendall(b"hi")
        sock.recv(1)
        at.append(time.monotonic())
        reset(sock)

    def reset_s() -> float:
        with dial(link) as sock:
            read_exactly(sock, 2)
            sock.sendall(b"x")
            assert how_it_ends(sock) == "reset"
            return time.monotonic() - at[-1]

    with serving(speak_and_reset) as server, Link(server.address, one_way_s=D) as link:
        assert takes(reset_s, D)
        eventually(lambda: link.connections == 0)


def test_a_client_that_resets_while_the_server_does_not_read_is_noticed() -> None:
    release = threading.Event()
    with serving(lambda sock: release.wait(2 * TIMEOUT_S) and None) as server:
        with Link(server.address, one_way_s=D, ledger=Ledger(0), handshake=False) as link:
            sock = dial(link)
            sock.settimeout(3 * D)
            with pytest.raises(TimeoutError):
                while True:
                    sock.send(bytes(1 << 16))
            reset(sock)
            eventually(lambda: link.connections == 0)
        release.set()


def test_a_target_that_refuses_resets_the_client() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = closed.getsockname()
    with Link(address, one_way_s=D) as link, dial(link) as sock:
        assert how_it_ends(sock) == "reset"
        eventually(lambda: link.connections == 0)
        assert [c.hop for c in link.ledger.connections] == ["link.near"]


# -- cut, stall, heal ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["reset", "fin"])
def test_a_cut_ends_both_sides_at_once(how: str) -> None:
    endings: list[str] = []
    with (
        serving(lambda sock: endings.append(how_it_ends(sock))) as server,
        Link(server.address, one_way_s=10 * D, handshake=False) as link,
    ):
        with dial(link) as sock:
            eventually(lambda: server.accepted)
            started = time.monotonic()
            link.cut(how)
            link.cut(how)
            assert link.connections == 0
            assert how_it_ends(sock) == how
            eventually(lambda: endings)
            assert time.monotonic() - started < 5 * D
            assert endings == [how]
            assert {c.closed_by for c in link.ledger.connections} == {"relay"}


def test_a_cut_with_fin_stays_a_fin_when_bytes_are_still_coming() -> None:
    endings: list[str] = []
    with serving(lambda sock: endings.append(how_it_ends(sock))) as server, Link(server.address, one_way_s=D) as link:
        with dial(link) as sock:
            eventually(lambda: server.accepted)
            link.cut("fin")
            for _ in range(5):
                sock.sendall(b"not knowing yet")
            assert how_it_ends(sock) == "fin"


def test_after_a_cut_with_fin_a_side_that_closes_is_let_go_at_once(
    echoing: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_wire, "_LINGER_S", 10 * TIMEOUT_S)
    with Link(echoing.address, one_way_s=D) as link:
        with dial(link) as sock:
            round_trip_s(sock)
            link.cut("fin")
        eventually(lambda: all(c.closed_ns for c in link.ledger.connections))


@pytest.mark.parametrize("how", ["reset", "fin"])
def test_a_cut_drops_what_is_in_flight_and_keeps_what_was_delivered(how: str) -> None:
    received = bytearray()
    ended = threading.Event()

    def collect(sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := sock.recv(100):
                received.extend(data)
        ended.set()

    with serving(collect) as server, Link(server.address, one_way_s=4 * D) as link, dial(link) as sock:
        sock.sendall(b"delivered")
        eventually(lambda: received)
        near = next(link.ledger.of("", "link.near"))
        sock.sendall(b"in flight")
        eventually(lambda: near.bytes_out == 18)
        link.cut(how)
        assert ended.wait(TIMEOUT_S)
        assert received == b"delivered"


def test_new_connections_are_turned_away_until_the_link_heals(echoing: Server) -> None:
    with Link(echoing.address, one_way_s=D) as link:
        link.cut()
        for _ in range(3):
            with pytest.raises(ConnectionResetError), dial(link) as sock:
                sock.sendall(b"x")
                if sock.recv(1) == b"":
                    raise AssertionError("ended with FIN")
        assert echoing.accepted == []
        link.heal()
        link.heal()
        with dial(link) as sock:
            round_trip_s(sock)


def test_a_stall_holds_everything_and_healing_lets_it_go_on(echoing: Server) -> None:
    with Link(echoing.address, one_way_s=D) as link, dial(link) as sock, dial(link) as other:
        round_trip_s(sock)
        round_trip_s(other)
        link.stall()
        link.stall()
        sock.sendall(b"held")
        other.close()
        sock.settimeout(5 * D)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        assert link.connections == 2  # the FIN is held too
        link.heal()
        sock.settimeout(TIMEOUT_S)
        assert read_exactly(sock, 4) == b"held"
        eventually(lambda: link.connections == 1)


def test_what_was_in_flight_when_it_stalled_has_the_rest_of_its_way_to_go(echoing: Server) -> None:
    def beyond_s() -> float:
        """Time from the send to the answer, less the stall."""
        sent = time.monotonic()
        sock.sendall(b"x")
        time.sleep(D / 2)
        link.stall()
        stalled = time.monotonic()
        time.sleep(5 * D)
        link.heal()
        healed = time.monotonic()
        read_exactly(sock, 1)
        return time.monotonic() - sent - (healed - stalled) + 0.02 * D  # the two calls take time themselves

    with Link(echoing.address, one_way_s=D) as link, dial(link) as sock:
        round_trip_s(sock)
        assert takes(beyond_s, 2 * D)


def test_a_connection_made_during_a_stall_hangs_until_the_link_heals(echoing: Server) -> None:
    with Link(echoing.address, one_way_s=D) as link:
        link.stall()
        with dial(link) as sock:
            sock.sendall(b"x")
            sock.settimeout(6 * D)
            with pytest.raises(TimeoutError):
                sock.recv(1)
            assert echoing.accepted == []
            link.heal()
            sock.settimeout(TIMEOUT_S)
            healed = time.monotonic()
            read_exactly(sock, 1)
            assert time.monotonic() - healed >= 0.98 * 4 * D  # its handshake begins now


def test_a_stalled_link_can_be_cut(echoing: Server) -> None:
    with Link(echoing.address, one_way_s=D) as link, dial(link) as sock:
        round_trip_s(sock)
        link.stall()
        link.cut()
        assert how_it_ends(sock) == "reset"
        assert link.connections == 0


def test_faults_can_be_ordered_from_the_lab_loop(echoing: Server) -> None:
    async def fault(link: Link) -> None:
        link.stall()
        link.heal()
        link.cut()

    with Link(echoing.address, one_way_s=D) as link, dial(link) as sock:
        round_trip_s(sock)
        lab_loop.run(fault(link))
        assert how_it_ends(sock) == "reset"


# -- captures --------------------------------------------------------------------------------------------------------


def stream(ledger: Ledger, hop: str, direction: str) -> bytes:
    return b"".join(t.data for c in ledger.of("", hop) for t in c.transfers if t.direction == direction)


def test_the_ledger_holds_what_both_ends_sent() -> None:
    question, answer = bytes(range(256)) * 400, bytes(reversed(range(256))) * 700

    def reply(sock: socket.socket) -> None:
        read_exactly(sock, len(question))
        sock.sendall(answer)

    with serving(reply) as server, Link(server.address, one_way_s=D, name="wan") as link, dial(link) as sock:
        own = sock.getsockname()
        sock.sendall(question)
        assert read_exactly(sock, len(answer)) == answer
        assert sock.recv(1) == b""
        sock.close()
        eventually(lambda: link.connections == 0)
        ledger, entrance = link.ledger, link.address
    for hop in ("wan.near", "wan.far"):
        (record,) = ledger.of("", hop)
        assert stream(ledger, hop, "out") == question
        assert stream(ledger, hop, "in") == answer
        assert (record.bytes_out, record.bytes_in) == (len(question), len(answer))
        assert record.opened_ns <= record.connected_ns <= record.transfers[0].t_ns <= record.closed_ns
        assert record.closed_by == "server"
    near, far = ledger.connections
    assert (near.local, near.remote, near.subscriber) == (entrance, own, 0)
    assert (far.remote, far.subscriber) == (server.address, 0)


def test_a_ledger_and_a_name_can_be_given(echoing: Server) -> None:
    ledger = Ledger()
    with Link(echoing.address, one_way_s=0, ledger=ledger, name="a") as link:
        for _ in range(2):
            with dial(link) as sock:
                round_trip_s(sock)
    assert [(c.hop, c.subscriber) for c in ledger.connections] == [
        ("a.near", 0), ("a.far", 0), ("a.near", 1), ("a.far", 1),
    ]  # fmt: skip


# -- targets, life, bad values ---------------------------------------------------------------------------------------


class TwoPorts:
    def __init__(self, **ports: int) -> None:
        self.ports = ports


def test_each_port_of_the_target_gets_one(echoing: Server) -> None:
    with serving(lambda sock: sock.sendall(b"plugin")) as plugin:
        target = TwoPorts(http=echoing.address[1], plugin=plugin.address[1])
        with Link(target, one_way_s=0) as link:
            assert list(link.ports) == ["http", "plugin"]
            assert link.address == ("127.0.0.1", link.ports["http"])
            with dial(link) as sock:
                round_trip_s(sock)
            with socket.create_connection(("127.0.0.1", link.ports["plugin"]), timeout=TIMEOUT_S) as sock:
                assert read_exactly(sock, 6) == b"plugin"


def test_a_host_name_is_resolved(echoing: Server) -> None:
    with Link(("localhost", echoing.address[1]), one_way_s=0) as link, dial(link) as sock:
        round_trip_s(sock)


def test_closing_leaves_nothing_and_ends_connections(echoing: Server) -> None:
    link = Link(echoing.address, one_way_s=D)
    socks = []
    for _ in range(2):  # it starts again after a close
        assert link.start() is link.start()
        socks.append(dial(link))
        round_trip_s(socks[-1])
        socks.append(dial(link))  # still in its handshake
        link.stall()
        eventually(lambda: link.connections == 2)
        link.close()
        link.close()
        assert (link.running, link.ports, link.connections) == (False, {}, 0)
        assert lab_loop.run(other_tasks()) == 0
    for sock in socks:
        assert how_it_ends(sock) == "fin"
        sock.close()


async def other_tasks() -> int:
    return len(asyncio.all_tasks()) - 1


def test_closing_does_not_wait_for_a_handshake(echoing: Server) -> None:
    with Link(echoing.address, one_way_s=60 * D) as link, dial(link):
        eventually(lambda: link.connections)
        started = time.monotonic()
        link.close()
        assert time.monotonic() - started < 50 * D


@pytest.mark.parametrize("how", ["reset", "fin", None])
def test_a_connection_that_was_only_just_accepted_is_closed_too(echoing: Server, how: str | None) -> None:
    async def in_one_turn_of_the_loop() -> None:
        with dial(link):
            link._accept("http")
            assert link.connections == 1
            if how:
                link.cut(how)
            link.close()

    link = Link(echoing.address, one_way_s=D).start()
    lab_loop.run(in_one_turn_of_the_loop())
    eventually(lambda: all(c.closed_ns for c in link.ledger.connections))


def test_closing_just_after_a_cut_leaves_nothing(echoing: Server) -> None:
    with Link(echoing.address, one_way_s=D) as link, dial(link) as sock:
        round_trip_s(sock)
        link.cut("fin")
    assert lab_loop.run(other_tasks()) == 0


def test_it_is_an_asynchronous_context_manager_on_any_loop(echoing: Server) -> None:
    async def use() -> None:
        async with Link(echoing.address, one_way_s=0) as link:
            reader, writer = await asyncio.open_connection(*link.address)
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"
            writer.close()
            await writer.wait_closed()
        assert not link.running

    asyncio.run(use())
    lab_loop.run(use())


def test_an_interpreter_that_ends_with_an_open_link_logs_nothing(echoing: Server) -> None:
    code = f"""
import socket
from labkit.network.intermediary import Intermediary
from labkit.network.link import Link
link = Link({echoing.address!r}, one_way_s=0.01).start()
sock = socket.create_connection(link.address)
sock.sendall(b"x")
assert sock.recv(1) == b"x"
waiting = socket.create_connection(link.address)
link.stall()
sock.close(), waiting.close()
"""
    command = [sys.executable, "-X", "dev", "-c", code]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3 * TIMEOUT_S, cwd=root, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"one_way_s": -0.1}, "one_way_s must be"),
        ({"one_way_s": float("nan")}, "one_way_s must be"),
        ({"one_way_s": "50 ms"}, "one_way_s must be"),
        ({"jitter_s": -1}, "jitter_s must be"),
        ({"rate_bytes_per_s": 0}, "rate_bytes_per_s must be"),
        ({"rate_bytes_per_s": float("inf")}, "rate_bytes_per_s must be"),
        *(({"mss": bad}, "mss must be a whole number of bytes above 0") for bad in (0, -1, 2.5, True, "1460")),
        ({"target": ("127.0.0.1", 0)}, "a target is"),
        ({"target": "127.0.0.1:80"}, "a target is"),
    ],
)
def test_a_bad_value_is_refused_with_its_name(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Link(**settings)  # type: ignore[arg-type]


def test_a_number_out_of_a_table_is_one(echoing: Server) -> None:
    """What pandas gives is numpy's."""
    settings = {"rate_bytes_per_s": np.int64(10_000_000), "jitter_s": np.float32(0.0), "mss": np.int64(1460)}
    with Link(echoing.address, one_way_s=np.float64(0.0), **settings) as link, dial(link) as sock:
        sock.sendall(b"hello")
        assert sock.recv(5) == b"hello"
    assert Intermediary(split_bytes=np.int64(7), merge_s=np.float32(0.5)).split_bytes == 7


def test_a_bad_order_is_refused(echoing: Server) -> None:
    link = Link()
    with pytest.raises(LabkitError, match="no target"):
        link.start()
    with pytest.raises(LabkitError, match="start\\(\\) it first"):
        _ = link.address
    with pytest.raises(ValueError, match="'reset' or 'fin'"):
        link.cut("off")
    with pytest.raises(ValueError, match="one_way_s"):
        link.one_way_s = -1
    with pytest.raises(LabkitError, match="start it first"):
        Link(Link(echoing.address)).start()
    with pytest.raises(ValueError, match="does not resolve"):
        Link(("no-such-host.invalid", 80)).start()
    with link.bind(echoing.address), pytest.raises(LabkitError, match="is running"):
        link.bind(echoing.address)


def test_a_chain_is_undone_at_its_end(echoing: Server) -> None:
    link = Link(one_way_s=0)
    for through in (link, [link], [link, echoing.address], (link,)):
        with chain(through, echoing.address) as path, dial(path) as sock:
            round_trip_s(sock)
        assert (link.running, link.target) == (False, None)
    with chain(None, echoing.address) as path:
        assert path == echoing.address
    with chain(echoing.address, ("127.0.0.1", 1)) as path:
        assert path == echoing.address


def test_a_link_that_was_running_stays_so_after_a_chain(echoing: Server) -> None:
    first = Link(one_way_s=0)
    with Link(echoing.address, one_way_s=0) as last:
        with chain([first, last], ("127.0.0.1", 1)) as path, dial(path) as sock:
            round_trip_s(sock)
        assert last.running
        assert not first.running


def test_in_a_chain_what_has_a_target_must_be_the_last(echoing: Server) -> None:
    link = Link()
    for through in ([Link(echoing.address), link], [echoing.address, link], [link, link], [link, "x"]):
        with pytest.raises(ValueError, match=r"must be the last|twice|a target is"), chain(through, echoing.address):
            pass
        assert link.target is None
