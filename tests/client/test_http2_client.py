"""The HTTP/2 client against servers of scripts, which write frames by hand: what ends a stream, a connection, neither.

Each conversation is held against the ledger as well: every byte of it is marked once.
"""

from __future__ import annotations

import asyncio
import select
import socket
import threading
from collections.abc import Callable
from contextlib import aclosing, suppress
from typing import Any

import pytest

pytest.importorskip("h2", reason="h2 is not installed (pip install 'labkit[http2]')")

from h2.exceptions import H2Error
from hpack import Decoder

import labkit.wire.http2
from conftest import UNIT
from labkit import loop
from labkit.client.address import split
from labkit.client.http2_connection import HTTP2Connection, Windows
from labkit.client.http2_exchanges import HTTP2Exchanges
from labkit.client.http2_faults import broken
from labkit.client.http2_stream import MOST_HEADS
from labkit.client.ledger import Ledger
from labkit.client.secure_connection import connection_to
from labkit.client.sharing import SharedConnections
from labkit.client.wiring import Wiring
from labkit.errors import ConnectionLost, LabkitError, Refused, UnknownOption, WireError
from labkit.subscribing.contract.receiver import check_marks
from labkit.techniques import find
from labkit.wire.bodies import AsItComes
from labkit.wire.hpack import costs
from raw_http2 import (
    ACK,
    FRAME_BYTES,
    PREFACE,
    Code,
    Kind,
    Setting,
    continuation,
    data,
    frame,
    goaway,
    headers,
    ping,
    rst,
    settings,
    window,
)
from wait import TIMEOUT_S, reset, serving

Frame = tuple[int, int, int, bytes]
OK = ((":status", "200"), ("content-type", "application/x-ndjson"))


class Script:
    """The server's side of one connection: frames in and out."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock, self.seen = sock, list[Frame]()
        assert self._exactly(len(PREFACE)) == PREFACE

    def _exactly(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            piece = self.sock.recv(size - len(found))
            if not piece:
                raise EOFError
            found += piece
        return found

    def until(self, kind: int, *, flags: int = 0, count: int = 1) -> Frame:
        """Read until the *count*-th frame of that kind has come from now on."""
        while True:
            found = self.until_any()
            self.seen.append(found)
            count -= found[0] == kind and found[1] & flags == flags
            if not count:
                return found

    def until_any(self) -> Frame:
        """Read the next frame."""
        head = self._exactly(9)
        return head[3], head[4], int.from_bytes(head[5:9], "big"), self._exactly(int.from_bytes(head[:3], "big"))

    def rest(self) -> list[Frame]:
        """What comes until the client has gone."""
        before = len(self.seen)
        try:
            self.until(255)
        except (EOFError, OSError):
            pass
        return self.seen[before:]

    def send(self, *frames: bytes) -> None:
        self.sock.sendall(b"".join(frames))


def talk(script: Callable[[Script], None]) -> Callable[[socket.socket], None]:
    return lambda sock: script(Script(sock))


def answering(*frames: bytes) -> Callable[[socket.socket], None]:
    """One request is answered with these; then the client is waited for."""

    def script(peer: Script) -> None:
        peer.until(Kind.HEADERS)
        peer.send(settings(), *frames)
        peer.rest()

    return talk(script)


def ended(url: str, name: str = "http-streaming", **options: Any) -> tuple[list[Any], LabkitError | None, Ledger]:
    """What a technique's client brings, how it ends, and its ledger, each byte of which is marked."""
    ledger, found = Ledger(), list[Any]()

    async def work() -> LabkitError | None:
        try:
            async for item in find(name).connect(url, ledger=ledger, http=2, **options):
                found.append(item.data)  # type: ignore[union-attr]
        except LabkitError as error:
            return error
        return None

    async def bounded() -> LabkitError | None:
        return await asyncio.wait_for(work(), TIMEOUT_S)

    error = loop.run(bounded())
    for record in ledger.connections:
        check_marks(record)
    return found, error, ledger


# -- the end of a stream ---------------------------------------------------------------------------------------------


def test_end_stream_is_an_end_and_a_reset_is_none() -> None:
    begun = headers(1, OK, end=False) + data(1, b'"one"\n"tw')
    with serving(answering(begun, data(1, b'o"', end=True))) as url:
        found, error, ledger = ended(url)
    assert (found, error) == (['"one"', '"two"'], None)
    assert ledger.connections[0].by_category["payload"] == 10
    with serving(answering(begun, rst(1, Code.INTERNAL_ERROR))) as url:
        found, error, _ = ended(url)
    assert found == ['"one"'] and isinstance(error, ConnectionLost)
    assert str(error) == "the server reset the stream: INTERNAL_ERROR (RFC 9113 section 5.4.2)"


def test_a_cut_connection_is_no_end_either() -> None:
    def script(peer: Script) -> None:
        peer.until(Kind.HEADERS)
        peer.send(settings(), headers(1, OK, end=False), data(1, b'"one"\n'), data(1, b'"two"\n')[:11])

    with serving(talk(script)) as url:
        found, error, _ = ended(url)
    assert found == ['"one"'] and isinstance(error, ConnectionLost)


def test_interim_answers_padding_and_trailers_are_accounted() -> None:
    padded = frame(Kind.DATA, 0x8, 1, bytes([7]) + b'"one"\n' + bytes(7))
    trailers = headers(1, (("x-end", "yes"),))
    with serving(
        answering(headers(1, ((":status", "103"),), end=False), headers(1, OK, end=False), padded, trailers)
    ) as url:
        found, error, ledger = ended(url)
    assert (found, error) == (['"one"'], None)
    by_label = {mark.label: mark.stop - mark.start for mark in ledger.connections[0].marks if mark.direction == "in"}
    assert by_label["padding"] == 7 and by_label["x-end"] > 5


# -- what breaks a rule ----------------------------------------------------------------------------------------------

BEGUN = headers(1, OK, end=False)
BROKEN = [
    ("4.2", "a frame of over 16 384 bytes", BEGUN + frame(Kind.DATA, 0, 1, bytes(FRAME_BYTES + 1))),
    ("4.3", "fields that do not decode", headers(1, b"\xff\xff\xff\xff\x7f")),
    ("5.1.1", "an answer to nothing", headers(5, OK)),
    ("6.1", "data of no stream", BEGUN + data(0, b"x")),
    ("6.1", "padding longer than its frame", BEGUN + frame(Kind.DATA, 0x8, 1, b"\x09xx")),
    ("6.5", "settings of a stream", frame(Kind.SETTINGS, 0, 1)),
    ("6.5.2", "a window that is none", settings((Setting.INITIAL_WINDOW_SIZE, 1 << 31))),
    ("6.7", "a ping of seven bytes", frame(Kind.PING, 0, 0, bytes(7))),
    ("6.8", "a GOAWAY of a stream", frame(Kind.GOAWAY, 0, 1, bytes(8))),
    ("6.9", "a window enlarged by nothing", window(0, 0)),
    ("6.10", "a CONTINUATION of nothing", BEGUN + continuation(1, b"", last=True)),
    ("8.1.1", "more than its content-length", headers(1, (*OK, ("content-length", "1")), end=False) + data(1, b"xx")),
    ("8.2", "a name in capitals", headers(1, (*OK, ("X-Y", "z")), end=False)),
    ("8.2", "a field of the connection", headers(1, (*OK, ("connection", "close")), end=False)),
    ("8.3", "no status", headers(1, (("content-type", "x"),), end=False)),
    ("8.3.2", "a status that is no number", headers(1, ((":status", "abc"),), end=False)),
    ("8.3.2", "a status below all", headers(1, ((":status", "099"),), end=False)),
    ("8.4", "a push that nobody allowed", frame(Kind.PUSH_PROMISE, 0x4, 1, b"\0\0\0\2" + b"\x82")),
    ("8.6", "a change of protocol", headers(1, ((":status", "101"),), end=False)),
]


@pytest.mark.parametrize(("section", "what", "wrong"), BROKEN, ids=[what for _, what, _ in BROKEN])
def test_what_breaks_a_rule_is_said_with_its_clause(section: str, what: str, wrong: bytes) -> None:
    said: list[Frame] = []

    def script(peer: Script) -> None:
        peer.until(Kind.HEADERS)
        peer.send(settings(), wrong)
        said.extend(peer.rest())

    with serving(talk(script)) as url:
        found, error, _ = ended(url)
    assert isinstance(error, WireError), (what, error)
    assert error.clause == f"RFC 9113 section {section}" and not found, error
    assert said[-1][0] == Kind.GOAWAY, said


def test_an_answer_before_the_servers_settings_is_none() -> None:
    def script(peer: Script) -> None:
        peer.until(Kind.HEADERS)
        peer.send(BEGUN, data(1, b'"one"\n', end=True))
        peer.rest()

    with serving(talk(script)) as url:
        found, error, _ = ended(url)
    assert not found and isinstance(error, WireError) and error.clause == "RFC 9113 section 3.4"


def test_heads_without_end_are_the_end_of_the_connection() -> None:
    early = headers(1, ((":status", "103"),), end=False)

    async def work(url: str) -> None:
        http2 = await _connected(url, Ledger(), Windows())
        http = HTTP2Exchanges(http2, "http", lambda: None)
        await http.request("GET", "/", {"Host": "x"})
        await _when(lambda: http2.closed)
        assert isinstance(http2.error, WireError) and http2.error.clause == "RFC 9110 section 15.2"
        http.close()

    with serving(answering(early * (MOST_HEADS + 1))) as url:
        loop.run(asyncio.wait_for(work(url), TIMEOUT_S))


def test_what_no_clause_forbids_by_name_is_an_error_of_the_connection() -> None:
    unknown = labkit.wire.http2.Frame(0x42, 0, 1, 0, frame(0x42, 0, 1))
    assert broken(unknown, H2Error("it went wrong")).clause == "RFC 9113 section 5.4.1"


# -- a server that goes away -----------------------------------------------------------------------------------------


def test_what_was_begun_before_a_goaway_ends_as_it_should() -> None:
    went = goaway(1) + data(1, b'"two"\n') + data(1, b'"three"', end=True)
    with serving(answering(BEGUN, data(1, b'"one"\n'), went)) as url:
        found, error, ledger = ended(url)
    assert (found, error) == (['"one"', '"two"', '"three"'], None)
    assert ledger.connections[0].closed_by == "client"


def test_what_a_goaway_does_not_name_was_not_begun() -> None:
    with serving(answering(goaway(0, Code.ENHANCE_YOUR_CALM))) as url:
        _, error, _ = ended(url)
    assert isinstance(error, ConnectionLost)
    assert str(error) == "the server goes away: ENHANCE_YOUR_CALM (RFC 9113 section 6.8)"


def test_a_poll_after_a_goaway_is_asked_over_a_new_connection() -> None:
    body = b'{"n": 1}'

    def script(peer: Script) -> None:
        number = peer.until(Kind.HEADERS)[2]
        answer = headers(number, ((":status", "200"), ("content-type", "text/plain")), end=False)
        peer.send(settings(), answer, data(number, body, end=True), goaway(number))
        peer.rest()

    async def work(url: str, ledger: Ledger) -> None:
        items = find("polling").connect(url, ledger=ledger, http=2, interval_s=0.01)
        for _ in range(3):
            assert (await anext(items)).data == body.decode()  # type: ignore[union-attr]
        await items.aclose()

    ledger = Ledger()
    with serving(talk(script)) as url:
        loop.run(asyncio.wait_for(work(url, ledger), TIMEOUT_S))
    assert [record.requests for record in ledger.connections] == [1, 1, 1]


# -- windows ---------------------------------------------------------------------------------------------------------


async def _connected(url: str, ledger: Ledger, windows: Windows) -> HTTP2Connection:
    return HTTP2Connection(await connection_to(split(url), Wiring(ledger, "x")), windows)


async def _when(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  of another thread
        await asyncio.sleep(0.005)


async def _begun(http2: HTTP2Connection) -> HTTP2Exchanges:
    http = HTTP2Exchanges(http2, "http", lambda: None)
    await http.request("GET", "/", {"Host": "x"})
    await http.response()
    return http


class Flood:
    """A server that sends to each stream whatever its windows allow, and counts."""

    def __init__(self, most: int) -> None:
        self.sent: dict[int, int] = {}
        self.most = most

    def __call__(self, peer: Script) -> None:
        windows, first = {0: 65_535}, 65_535
        peer.send(settings())
        while True:
            if select.select([peer.sock], [], [], 0.01)[0]:
                try:
                    kind, flags, number, payload = peer.until_any()
                except (EOFError, OSError):
                    return
                if kind == Kind.SETTINGS and not flags & ACK:
                    pairs = [payload[at : at + 6] for at in range(0, len(payload), 6)]
                    told = {int.from_bytes(p[:2], "big"): int.from_bytes(p[2:], "big") for p in pairs}
                    first = told.get(Setting.INITIAL_WINDOW_SIZE, first)
                elif kind == Kind.WINDOW_UPDATE:
                    windows[number] = windows.get(number, first) + int.from_bytes(payload, "big")
                elif kind == Kind.HEADERS:
                    windows[number], self.sent[number] = first, 0
                    peer.send(headers(number, OK, end=False))
            for number in self.sent:
                while (room := min(windows[0], windows[number], FRAME_BYTES, self.most - self.sent[number])) > 0:
                    peer.send(data(number, bytes(room)))
                    windows[0], windows[number] = windows[0] - room, windows[number] - room
                    self.sent[number] += room


def flooded(windows: Windows, most: int, patience_s: float) -> tuple[dict[int, int], int]:
    """What a server may send to a stream that nobody reads and to its sibling, which somebody does; what that reads."""
    flood, ledger, read = Flood(most), Ledger(), 0

    async def work(url: str) -> None:
        nonlocal read
        http2 = await _connected(url, ledger, windows)
        await _begun(http2)  # the first, which nobody reads
        await _when(lambda: sum(flood.sent.values()) == min(windows.stream_bytes, windows.connection_bytes))
        other = await _begun(http2)
        try:
            async with asyncio.timeout(patience_s):
                async for piece in other.values(AsItComes()):
                    read += len(piece)
                    if read == most:
                        break
        except TimeoutError:
            pass
        http2.close()

    with serving(talk(flood)) as url:
        loop.run(asyncio.wait_for(work(url), TIMEOUT_S))
    return flood.sent, read


def test_a_reader_that_stands_still_holds_up_its_own_stream_alone() -> None:
    sent, read = flooded(Windows(stream_bytes=100_000, connection_bytes=1 << 20), 2_000_000, TIMEOUT_S / 2)
    assert sent[1] == 100_000, "more than its window is held of what nobody reads"
    assert read == sent[3] == 2_000_000


def test_more_than_a_window_takes_is_refused_however_little_is_read() -> None:
    async def work(url: str) -> None:
        http2 = await _connected(url, Ledger(), Windows(stream_bytes=20_000))
        http = await _begun(http2)
        await _when(lambda: http2.closed)
        with pytest.raises(WireError, match=r"RFC 9113 section 6\.9\.1"):
            async for _ in http.pieces():
                pass
        http.close()

    with serving(answering(BEGUN, 2 * data(1, bytes(FRAME_BYTES)))) as url:
        loop.run(asyncio.wait_for(work(url), TIMEOUT_S))


def test_a_window_of_the_connection_no_larger_than_a_streams_lets_one_starve_the_others() -> None:
    sent, read = flooded(Windows(stream_bytes=100_000, connection_bytes=100_000), 2_000_000, 0.5 * UNIT)
    assert sent[1] == 100_000 and read == 0 == sent[3]


def test_what_a_stream_leaves_unread_is_given_back_to_the_connection() -> None:
    flood = Flood(50_000)

    async def work(url: str) -> None:
        http2 = await _connected(url, Ledger(), Windows(stream_bytes=50_000, connection_bytes=120_000))
        for number in range(5):
            http = await _begun(http2)
            await _when(lambda stream=2 * number + 1: flood.sent.get(stream) == 50_000)  # type: ignore[misc]
            http.close()
        http2.close()

    with serving(talk(flood)) as url:
        loop.run(asyncio.wait_for(work(url), TIMEOUT_S))


@pytest.mark.parametrize("answer", [b"", headers(1, OK)], ids=["unanswered", "answered"])
def test_who_waits_for_a_window_hears_at_once_that_its_stream_was_reset(answer: bytes) -> None:
    code = Code.NO_ERROR if answer else Code.REFUSED_STREAM

    def script(peer: Script) -> None:
        peer.send(settings())
        peer.until(Kind.DATA, count=4)
        peer.send(answer, rst(1, code))
        peer.rest()

    async def work(url: str) -> int:
        http2 = await _connected(url, Ledger(), Windows())
        http = HTTP2Exchanges(http2, "http")
        try:
            await http.request("POST", "/", {"Host": "x"}, body=bytes(1 << 20))
            return (await http.response()).status
        finally:
            http.close()

    with serving(talk(script)) as url:
        asked = asyncio.wait_for(work(url), TIMEOUT_S)
        if answer:
            assert loop.run(asked) == 200
        else:
            with pytest.raises(ConnectionLost, match="reset the stream: REFUSED_STREAM"):
                loop.run(asked)


def test_who_waits_for_a_window_hears_at_once_that_the_answer_is_whole_and_ends_no_half_a_body() -> None:
    said: list[Frame] = []

    def script(peer: Script) -> None:
        peer.send(settings())
        peer.until(Kind.DATA, count=4)
        peer.send(headers(1, ((":status", "413"),)))
        said.extend(peer.rest())

    async def work(url: str) -> None:
        http2 = await _connected(url, Ledger(), Windows())
        http = HTTP2Exchanges(http2, "http")
        await http.request("POST", "/", {"Host": "x"}, body=bytes(1 << 20))
        assert (await http.response()).status == 413 and await http.read_body() == b""
        assert http.next_cycle()
        await http2.flush()
        http.close()

    with serving(talk(script)) as url:
        loop.run(asyncio.wait_for(work(url), TIMEOUT_S))
    told = [(kind, flags, number) for kind, flags, number, _ in said if kind in (Kind.DATA, Kind.RST_STREAM)]
    assert told == [(Kind.RST_STREAM, 0, 1)]


# -- both sides ------------------------------------------------------------------------------------------------------


def test_pings_and_settings_are_answered_while_nobody_reads() -> None:
    seen: list[Frame] = []

    async def work(url: str) -> None:
        http2 = await _connected(url, Ledger(), Windows())
        http = HTTP2Exchanges(http2, "http")
        await http.request("GET", "/", {"Host": "x"})
        await _when(lambda: len(seen) == 2)
        http.close()

    def script(peer: Script) -> None:
        peer.until(Kind.HEADERS)
        peer.send(settings(), ping(b"labkit_2"))
        seen.append(peer.until(Kind.SETTINGS, flags=ACK))
        seen.append(peer.until(Kind.PING, flags=ACK))
        peer.rest()

    with serving(talk(script)) as url:
        loop.run(asyncio.wait_for(work(url), TIMEOUT_S))
    assert seen[1][3] == b"labkit_2"


def test_leaving_is_a_reset_where_others_stay_and_a_goaway_where_nobody_does() -> None:
    said: list[Frame] = []

    def script(peer: Script) -> None:
        peer.until(Kind.HEADERS, count=2)
        peer.send(settings(), headers(1, OK, end=False), headers(3, OK, end=False))
        said.extend(peer.rest())

    async def work(url: str) -> None:
        http2 = await _connected(url, Ledger(), Windows())
        ones = [HTTP2Exchanges(http2, "http", lambda: None) for _ in range(2)]
        for each in ones:
            await each.request("GET", "/", {"Host": "x"})
        for each in ones:
            await each.response()
        ones[0].close()
        await http2.flush()
        assert not http2.closed and not ones[1].closed
        http2.close()
        ones[1].close()

    with serving(talk(script)) as url:
        loop.run(asyncio.wait_for(work(url), TIMEOUT_S))
    told = [(kind, number) for kind, _, number, _ in said if kind in (Kind.RST_STREAM, Kind.GOAWAY)]
    assert told == [(Kind.RST_STREAM, 1), (Kind.GOAWAY, 0)]


def test_who_is_stopped_in_the_middle_of_a_frame_ends_the_connection_for_all() -> None:
    def script(peer: Script) -> None:
        peer.send(settings((Setting.INITIAL_WINDOW_SIZE, 1 << 30)), window(0, 1 << 30))
        peer.until(Kind.HEADERS)
        peer.send(headers(1, OK, end=False))
        closed.wait(TIMEOUT_S)

    async def work(url: str) -> None:
        http2 = await _connected(url, Ledger(), Windows())
        other = await _begun(http2)
        waiting = asyncio.create_task(other.read_body())
        one = HTTP2Exchanges(http2, "http", lambda: None)
        sending = asyncio.create_task(one.request("POST", "/", {"Host": "x"}, body=bytes(12 << 20)))
        await asyncio.wait([sending], timeout=0.3 * UNIT)
        sending.cancel()
        with pytest.raises(ConnectionLost, match="in the middle of a frame"):
            await waiting
        one.close()

    closed = threading.Event()
    with serving(talk(script)) as url:
        try:
            loop.run(asyncio.wait_for(work(url), TIMEOUT_S))
        finally:
            closed.set()


def test_an_answer_that_has_come_whole_is_not_lost_with_its_connection() -> None:
    gone, is_gone = threading.Event(), threading.Event()

    def script(peer: Script) -> None:
        peer.until(Kind.HEADERS)
        peer.send(settings(), BEGUN, *[data(1, bytes(10_000))] * 7, data(1, end=True))
        gone.wait(TIMEOUT_S)
        reset(peer.sock)
        is_gone.set()

    async def work(url: str) -> None:
        http2 = await _connected(url, Ledger(), Windows(connection_bytes=70_000))
        http = await _begun(http2)
        await _when(lambda: http2._streams[1].has_ended)
        gone.set()
        assert is_gone.wait(TIMEOUT_S)  # the loop has no turn in which it would see that itself
        assert len(await http.read_body()) == 70_000
        http.close()

    with serving(talk(script)) as url:
        loop.run(asyncio.wait_for(work(url), TIMEOUT_S))


def test_who_stands_in_the_middle_of_a_frame_hears_at_once_why_the_connection_has_ended() -> None:
    def script(peer: Script) -> None:
        peer.send(settings((Setting.INITIAL_WINDOW_SIZE, 1 << 30)), window(0, 1 << 30))
        peer.until(Kind.HEADERS)
        stands.wait(TIMEOUT_S)
        peer.send(window(0, 0))
        closed.wait(TIMEOUT_S)

    async def work(url: str) -> None:
        http = HTTP2Exchanges(await _connected(url, ledger, Windows()), "http", lambda: None)
        sending = asyncio.create_task(http.request("POST", "/", {"Host": "x"}, body=bytes(12 << 20)))
        await asyncio.wait([sending], timeout=0.3 * UNIT)
        stands.set()
        with pytest.raises(WireError, match=r"RFC 9113 section 6\.9"):
            await sending
        http.close()

    ledger, stands, closed = Ledger(), threading.Event(), threading.Event()
    with serving(talk(script)) as url:
        try:
            loop.run(asyncio.wait_for(work(url), TIMEOUT_S))
        finally:
            closed.set()
    check_marks(ledger.connections[0])


def test_who_shares_waits_for_what_the_server_allows_and_goes_elsewhere_beyond_it() -> None:
    asked: list[int] = []

    def script(peer: Script) -> None:
        mine = len(asked)
        asked.append(0)
        with suppress(EOFError, OSError):
            while True:
                number = peer.until(Kind.HEADERS)[2]
                asked[mine] += 1
                peer.send(*[settings((Setting.MAX_CONCURRENT_STREAMS, 2))] * (asked[mine] == 1))
                peer.send(headers(number, OK, end=False), data(number, b'"one"\n'))

    async def receive(url: str, share: SharedConnections) -> None:
        async with aclosing(find("http-streaming").connect(url, share=share, http=2)) as items:
            await anext(items)
            await _when(lambda: sum(asked) == 5)

    async def work(url: str) -> None:
        share = SharedConnections()
        await asyncio.gather(*(receive(url, share) for _ in range(5)))

    with serving(talk(script)) as url:
        loop.run(asyncio.wait_for(work(url), TIMEOUT_S))
    assert asked == [2, 2, 1]


def test_a_frame_as_large_as_the_server_allows_is_accounted() -> None:
    large = (Setting.MAX_FRAME_SIZE, 1 << 20), (Setting.INITIAL_WINDOW_SIZE, 1 << 20)
    sizes: list[int] = []

    def script(peer: Script) -> None:
        peer.until(Kind.SETTINGS)
        peer.send(settings(*large))
        sizes.append(len(peer.until(Kind.DATA)[3]))
        peer.send(headers(1, OK))
        peer.rest()

    async def work(url: str) -> None:
        http2 = await _connected(url, ledger, Windows())
        await http2.flush()
        await http2.settled.wait()
        http = HTTP2Exchanges(http2, "http")
        await http.request("POST", "/", {"Host": "x"}, body=bytes(60_000))
        await http.response()
        http.close()

    ledger = Ledger()
    with serving(talk(script)) as url:
        loop.run(asyncio.wait_for(work(url), TIMEOUT_S))
    (record,) = ledger.connections
    check_marks(record)
    assert sizes == [record.by_category["payload"]] == [60_000]


def test_a_field_that_http_2_has_not_is_not_sent_and_the_next_request_is_understood() -> None:
    asked: list[Frame] = []

    def script(peer: Script) -> None:
        peer.send(settings())
        for number in (1, 3):
            asked.append(peer.until(Kind.HEADERS))
            peer.send(headers(number, OK))
        peer.rest()

    async def work(url: str) -> None:
        http = HTTP2Exchanges(await _connected(url, Ledger(), Windows()), "http")
        for te in ("gzip", "Trailers"):
            await http.request("GET", "/", {"Host": "x", "X-A": "one", "TE": te, "Upgrade": "x"})
            await http.response()
            await http.read_body()
            http.next_cycle()
        http.close()

    with serving(talk(script)) as url:
        loop.run(asyncio.wait_for(work(url), TIMEOUT_S))
    decoder = Decoder()
    sent = [dict(decoder.decode(payload)) for *_, payload in asked]
    assert [(fields.get("te"), fields["x-a"], "upgrade" in fields) for fields in sent] == [
        (None, "one", False),
        ("Trailers", "one", False),
    ]


def test_a_request_costs_less_each_time_but_for_its_path() -> None:
    body = b'{"n": 1}'

    def script(peer: Script) -> None:
        peer.send(settings())
        while True:
            number = peer.until(Kind.HEADERS)[2]
            answer = headers(number, ((":status", "200"), ("content-type", "text/plain")), end=False)
            peer.send(answer, data(number, body, end=True))

    def quietly(peer: Script) -> None:
        try:
            script(peer)
        except (EOFError, OSError):
            pass

    ledger = Ledger()

    async def work(url: str) -> None:
        items = find("polling").connect(url + "poll", ledger=ledger, http=2, interval_s=0.0001, token="secret")
        for _ in range(100):
            await anext(items)
        await items.aclose()

    with serving(talk(quietly)) as url:
        loop.run(asyncio.wait_for(work(url), TIMEOUT_S))
    found = costs(ledger.connections[0].marks)
    assert {name: (sizes[0] > 1, sizes[99]) for name, sizes in found.items() if name in ("user-agent", "accept")} == {
        "user-agent": (True, 1),
        "accept": (True, 1),
    }
    assert found["authorization"][0] == found["authorization"][99] > 10, "a secret is put into no table"
    assert found[":path"][0] == found[":path"][99] > 1, "cursors would push all else out of the table"


# -- which version ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 2, 7])
def test_a_server_that_answers_in_http1_is_named(at: int) -> None:
    said = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"

    def script(sock: socket.socket) -> None:
        sock.recv(65536)
        sock.sendall(said[:at])
        threading.Event().wait(0.05 * UNIT)  # so that it is read in two
        sock.sendall(said[at:])

    with serving(script) as url:
        _, error, _ = ended(url)
    assert isinstance(error, Refused) and "prior knowledge (RFC 9113 section 3.3): ask for http=1" in str(error)
    assert "HTTP/1.1 400 Bad Request" in str(error)


def test_a_server_that_begins_in_http2_is_named() -> None:
    def script(sock: socket.socket) -> None:
        sock.recv(65536)
        sock.sendall(settings((Setting.MAX_CONCURRENT_STREAMS, 100)) + goaway(0, Code.PROTOCOL_ERROR))

    with serving(script) as url, pytest.raises(WireError, match="speaks HTTP/2 alone: ask for http=2"):
        loop.run(asyncio.wait_for(anext(find("sse").connect(url)), TIMEOUT_S))


def test_what_exists_only_in_http1_is_refused_and_so_is_what_has_no_http() -> None:
    for name, options, why in (
        ("plugin-socket", {}, "speaks no HTTP"),
        ("http-streaming", {"framing": "eof"}, "only over HTTP/1"),
        ("long-polling", {"pipelined": True}, "only over HTTP/1"),
        ("polling", {"http_version": "1.0"}, "two versions"),
    ):
        scheme = find(name).schemes[0]
        with pytest.raises(UnknownOption, match=why):
            find(name).connect(f"{scheme}://127.0.0.1:9", http=2, **options)
    with pytest.raises(ValueError, match="expected 1 or 2, or None"):
        find("sse").connect("http://127.0.0.1:9", http=3)


def test_a_websocket_needs_the_servers_leave() -> None:
    def script(peer: Script) -> None:
        peer.send(settings())
        peer.rest()

    with serving(talk(script)) as url:
        _, error, _ = ended(url, "websocket")
    assert isinstance(error, Refused) and "ENABLE_CONNECT_PROTOCOL" in str(error)
