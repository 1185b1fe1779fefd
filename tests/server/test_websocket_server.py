"""The server's half of RFC 6455, clause by clause, spoken to byte by byte over a bare socket."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import labkit
from conftest import UNIT
from labkit.lab import server
from labkit.wire.close_codes import encode_close
from labkit.wire.frames import Frame, Opcode, encode_frame
from raw_websocket import MASK, RawClient
from wait import dial, until

MAX_EVENT = 1000
LIMIT = 6 * MAX_EVENT + 1024


@pytest.fixture(scope="module")
def lab() -> Iterator[labkit.Lab]:
    with labkit.Lab("websocket-server-test", max_event_bytes=MAX_EVENT) as lab:
        yield lab


@pytest.fixture
def client(lab: labkit.Lab) -> Iterator[RawClient]:
    client = RawClient(lab.port)
    with client.sock:
        yield client


@pytest.fixture
def deflating(lab: labkit.Lab) -> Iterator[RawClient]:
    client = RawClient(
        lab.port,
        "/websocket/echo?deflate=1",
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n",
    )
    with client.sock:
        yield client


def text(payload: bytes, fin: bool = True) -> Frame:
    return Frame(Opcode.TEXT, payload, fin, mask=MASK)


def rest(payload: bytes, fin: bool = True) -> Frame:
    return Frame(Opcode.CONTINUATION, payload, fin, mask=MASK)


def ping(payload: bytes = b"") -> Frame:
    return Frame(Opcode.PING, payload, mask=MASK)


def closing_with(payload: bytes) -> Frame:
    return Frame(Opcode.CLOSE, payload, mask=MASK)


def masked(first: int, length: bytes, payload: bytes = b"") -> bytes:
    """A frame that no encoder would make: its first byte and its length as they are, a mask of zeros."""
    return bytes((first, 0x80 | length[0])) + length[1:] + bytes(4) + payload


def deflated(data: bytes) -> bytes:
    squeeze = zlib.compressobj(wbits=-15)
    return (squeeze.compress(data) + squeeze.flush(zlib.Z_SYNC_FLUSH))[:-4]


@pytest.mark.parametrize(
    ("clause", "sent", "code"),
    [
        ("5.1: an unmasked frame", encode_frame(Frame(Opcode.TEXT, b"hello")), 1002),
        ("5.1: an unmasked ping", encode_frame(Frame(Opcode.PING)), 1002),
        ("5.1: an unmasked close", encode_frame(Frame(Opcode.CLOSE, encode_close(1000))), 1002),
        ("5.2: RSV1, with no extension agreed", masked(0xC1, b"\0"), 1002),
        ("5.2: RSV2", masked(0xA1, b"\0"), 1002),
        ("5.2: RSV3", masked(0x91, b"\0"), 1002),
        ("5.2: a reserved opcode for data", masked(0x83, b"\0"), 1002),
        ("5.2: a reserved opcode, in its first fragment", masked(0x03, b"\0"), 1002),
        ("5.2: a reserved opcode for control", masked(0x8B, b"\0"), 1002),
        ("5.2: 16 bits for a length of 125", masked(0x81, b"\x7e\0\x7d"), 1002),
        ("5.2: 64 bits for a length of 65535", masked(0x81, b"\x7f" + (65535).to_bytes(8, "big")), 1002),
        ("5.2: 64 bits, the top one set", masked(0x81, b"\x7f" + (1 << 63).to_bytes(8, "big")), 1002),
        ("5.4: a continuation of nothing", masked(0x80, b"\0"), 1002),
        ("5.4: a continuation of nothing, not the last", masked(0x00, b"\0"), 1002),
        ("5.4: a message inside a message", encode_frame(text(b"a", fin=False)) + encode_frame(text(b"b")), 1002),
        ("5.5: a ping of 126 bytes", masked(0x89, b"\x7e\0\x7e", bytes(126)), 1002),
        ("5.5: a close of 126 bytes", masked(0x88, b"\x7e\0\x7e", bytes(126)), 1002),
        ("5.5: a ping in fragments", masked(0x09, b"\0"), 1002),
        ("5.5.1: a close of one byte", encode_frame(closing_with(b"\x03")), 1002),
        ("8.1: text that is not UTF-8", encode_frame(text(b"\xc3\x28")), 1007),
        ("8.1: text that ends within a character", encode_frame(text(b"\xe2\x82")), 1007),
        ("8.1: a surrogate", encode_frame(text(b"\xed\xa0\x80")), 1007),
        ("8.1: not UTF-8, in fragments", encode_frame(text(b"\xc3", fin=False)) + encode_frame(rest(b"\x28")), 1007),
        ("8.1: a close reason that is not UTF-8", encode_frame(closing_with(b"\x03\xe8\xc3\x28")), 1007),
        ("10.4: a frame over the limit", encode_frame(text(bytes(LIMIT + 1))), 1009),
        (
            "10.4: fragments over the limit",
            encode_frame(text(bytes(LIMIT), fin=False)) + encode_frame(rest(b"x")),
            1009,
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_clause_forbids_fails_the_connection(client: RawClient, clause: str, sent: bytes, code: int) -> None:
    client.send(sent)
    found, reason = client.closing()
    assert found == code and reason


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535])
def test_7_4_a_code_that_may_not_travel_is_answered_with_1002(client: RawClient, code: int) -> None:
    client.send(closing_with(code.to_bytes(2, "big")))
    assert client.closing()[0] == 1002


@pytest.mark.parametrize("code", [*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4999])
def test_7_4_a_code_that_may_travel_is_sent_back(client: RawClient, code: int) -> None:
    client.send(closing_with(encode_close(code, "bye")))
    assert client.closing()[0] == code


def test_7_1_5_an_empty_close_is_answered_by_an_empty_one(client: RawClient) -> None:
    client.send(closing_with(b""))
    assert client.closing() == (1005, "")


@pytest.mark.parametrize(
    ("offers", "agreed"),
    [
        ("permessage-deflate; server_max_window_bits=10", "permessage-deflate; server_max_window_bits=10"),
        ("permessage-deflate; client_max_window_bits", "permessage-deflate"),
        ("permessage-deflate; server_max_window_bits=8", ""),  # valid (RFC 7692 7.1.2.1), but zlib has no such window
        ("permessage-deflate; server_max_window_bits=8, permessage-deflate", "permessage-deflate"),
        ("permessage-deflate; server_max_window_bits=7", ""),
        ("permessage-deflate; server_max_window_bits=16", ""),
        ("permessage-deflate; server_max_window_bits=010", ""),
        ("permessage-deflate; server_max_window_bits=ten", ""),
        ("permessage-deflate; server_max_window_bits", ""),
        ("permessage-deflate; client_max_window_bits=99999999999", ""),
        ("permessage-deflate; server_no_context_takeover=1", ""),
        ("permessage-deflate; unknown", ""),
        ("permessage-deflate; client_max_window_bits; client_max_window_bits", ""),
    ],
)
def test_7692_7_1_an_offer_that_cannot_be_is_declined_and_the_socket_opens(
    lab: labkit.Lab, offers: str, agreed: str
) -> None:
    client = RawClient(lab.port, "/websocket/echo?deflate=1", f"Sec-WebSocket-Extensions: {offers}\r\n")
    with client.sock:
        fields = [line.partition(": ") for line in client.head.split("\r\n")]
        assert [value for name, _, value in fields if name.lower().endswith("extensions")] == [agreed] * bool(agreed)
        client.send(text(b"hello"))
        frame = client.frame()
        assert frame is not None and (frame.payload == b"hello") is not bool(agreed)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ("Upgrade: websocket\r\nSec-WebSocket-Key: x", 400),
        ("Upgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA", 400),  # no padding
        ("Upgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAA", 400),
        ("Upgrade: websocket\r\nSec-WebSocket-Key: ****AAAAAAAAAAAAAAAAAA==", 400),
        ("Upgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Key: BB==", 400),
        ("Upgrade: h2c, WebSocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", 101),
    ],
)
def test_4_2_1_a_handshake_has_a_key_of_16_bytes_and_may_ask_for_other_protocols_too(
    lab: labkit.Lab, fields: str, status: int
) -> None:
    asked = f"Host: localhost\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n{fields}\r\n\r\n"
    with dial(lab.port, f"GET /websocket HTTP/1.1\r\n{asked}".encode()) as sock:
        assert int(sock.recv(1 << 16)[9:12]) == status


def test_5_4_fragments_make_one_message_and_a_ping_between_them_is_answered_first(client: RawClient) -> None:
    client.send(text(b"one ", fin=False), ping(b"there?"), rest("zw\u00f6lf".encode()[:3], fin=False))
    assert client.frame() == Frame(Opcode.PONG, b"there?")
    client.send(rest("zw\u00f6lf".encode()[3:]))
    assert client.frame() == Frame(Opcode.TEXT, "one zw\u00f6lf".encode())


def test_5_4_a_ping_beside_fragments_that_reach_the_limit_does_not_count(client: RawClient) -> None:
    client.send(text(b"a" * LIMIT, fin=False), ping(b"x" * 125), rest(b""))
    assert client.frame() == Frame(Opcode.PONG, b"x" * 125)
    assert client.frame() == Frame(Opcode.TEXT, b"a" * LIMIT)


def test_10_4_the_code_arrives_although_much_more_was_on_its_way(client: RawClient) -> None:
    client.send(masked(0x82, b"\x7f" + (4 << 20).to_bytes(8, "big"), bytes(4 << 20)))
    assert client.closing()[0] == 1009


def test_7_1_7_what_comes_after_the_fault_is_not_read(client: RawClient) -> None:
    client.send(masked(0x83, b"\0"), text(b"hello"), closing_with(encode_close(1000)))
    assert client.closing()[0] == 1002


def test_7_1_7_the_events_socket_fails_too_and_its_subscription_ends(lab: labkit.Lab) -> None:
    client = RawClient(lab.port, "/websocket?topic=failing")
    with client.sock:
        assert client.frame() is not None  # where it begins
        assert lab.stats()["subscribers"] == 1
        client.send(Frame(Opcode.TEXT, b"unmasked"))
        assert client.closing()[0] == 1002
    until(lambda: lab.stats()["subscribers"] == 0)


@pytest.mark.parametrize("route", ["/websocket", "/websocket/echo", "/browser"])
def test_7_1_4_a_lab_that_closes_ends_the_connection_when_its_close_was_answered(
    route: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "GRACE_S", 20 * UNIT)
    lab = labkit.Lab("farewell")
    client = RawClient(lab.port, route)
    with client.sock, ThreadPoolExecutor(1) as elsewhere:
        if route == "/websocket/echo":
            client.send(text(b"there?"))
        assert client.frame() is not None  # it is open
        closing = elsewhere.submit(lab.close)
        said = client.frame()
        assert said == Frame(Opcode.CLOSE, encode_close(1001, "the lab has closed"))
        client.sock.settimeout(0.2 * UNIT)
        with pytest.raises(TimeoutError):
            client.frame()
        client.sock.settimeout(5 * UNIT)
        client.send(closing_with(said.payload))
        assert client.frame() is None
        closing.result(5 * UNIT)


def test_7692_a_ping_between_deflated_fragments_leaves_them_deflated(deflating: RawClient) -> None:
    data = deflated(b"deflated " * 20)
    deflating.send(Frame(Opcode.TEXT, data[:5], False, rsv1=True, mask=MASK), ping(b"still"), rest(data[5:]))
    assert deflating.frame() == Frame(Opcode.PONG, b"still")
    answer = deflating.frame()
    assert answer is not None and answer.rsv1
    assert zlib.decompressobj(-15).decompress(answer.payload + b"\0\0\xff\xff") == b"deflated " * 20


@pytest.mark.parametrize(
    ("clause", "sent", "code"),
    [
        ("6.1: RSV1 on a ping", masked(0xC9, b"\0"), 1002),
        ("6.1: RSV1 on a later fragment", encode_frame(text(b"", fin=False)) + masked(0xC0, b"\0"), 1002),
        ("7.2.2: deflated data that is none", masked(0xC1, b"\x04", b"\xff\xff\xff\xff"), 1002),
        ("10.4: a bomb", encode_frame(Frame(Opcode.TEXT, deflated(bytes(LIMIT + 1)), rsv1=True, mask=MASK)), 1009),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_7692_what_a_clause_forbids_fails_the_connection(
    deflating: RawClient, clause: str, sent: bytes, code: int
) -> None:
    deflating.send(sent)
    assert deflating.closing()[0] == code


def test_7692_a_message_may_come_plain_although_deflate_was_agreed(deflating: RawClient) -> None:
    deflating.send(text(b"plain"))
    answer = deflating.frame()
    assert answer is not None and zlib.decompressobj(-15).decompress(answer.payload + b"\0\0\xff\xff") == b"plain"


def test_7692_each_message_is_deflated_alone_where_that_was_offered(lab: labkit.Lab) -> None:
    offer = "permessage-deflate; server_no_context_takeover; client_max_window_bits"
    client = RawClient(lab.port, "/websocket/echo?deflate=1", f"Sec-WebSocket-Extensions: {offer}\r\n")
    with client.sock:
        assert "Sec-Websocket-Extensions: permessage-deflate; server_no_context_takeover\r\n" in client.head
        client.send(text(b"the same twice"), text(b"the same twice"))
        first, second = client.frame(), client.frame()
    assert first is not None and first == second
    assert zlib.decompressobj(-15).decompress(first.payload + b"\0\0\xff\xff") == b"the same twice"


def test_7692_7_2_3_5_a_client_may_mark_the_last_block_of_each_message(deflating: RawClient) -> None:
    inflater = zlib.decompressobj(wbits=-15)
    for said in (b"Hello", b"again", b"Hello", b""):
        deflater = zlib.compressobj(wbits=-15)
        final = deflater.compress(said) + deflater.flush() + b"\0"
        deflating.send(Frame(Opcode.TEXT, final, rsv1=True, mask=MASK))
        frame = deflating.frame()
        assert frame is not None and inflater.decompress(frame.payload + b"\0\0\xff\xff") == said
    deflating.send(Frame(Opcode.TEXT, bytes.fromhex("f248cdc9c90700"), rsv1=True, mask=MASK))  # the usual kind
    frame = deflating.frame()
    assert frame is not None and inflater.decompress(frame.payload + b"\0\0\xff\xff") == b"Hello"


def test_7692_with_the_context_kept_a_second_time_is_shorter(deflating: RawClient) -> None:
    deflating.send(text(b"the same twice"), text(b"the same twice"))
    first, second = deflating.frame(), deflating.frame()
    assert first is not None and second is not None and len(second.payload) < len(first.payload)


@pytest.mark.timing
def test_5_5_2_a_peer_that_answers_no_ping_is_let_go_when_the_time_out_is_over() -> None:
    heartbeat_s = 0.2 * UNIT
    with labkit.Lab("websocket-ping-test", heartbeat_s=heartbeat_s) as lab:
        client = RawClient(lab.port, "/websocket")
        began_s = time.monotonic()
        with client.sock:
            opcodes = []
            while (frame := client.frame()) is not None:
                opcodes.append(frame.opcode)
            took_s = time.monotonic() - began_s
    assert opcodes == [Opcode.TEXT, Opcode.PING, Opcode.CLOSE]
    assert 2 * heartbeat_s * 0.9 <= took_s < 10 * heartbeat_s  # Tornado alone: 5 s more


@pytest.mark.timing
def test_5_5_2_a_peer_that_answers_stays() -> None:
    with labkit.Lab("websocket-pong-test", heartbeat_s=0.1 * UNIT) as lab:
        client = RawClient(lab.port, "/websocket")
        with client.sock:
            for expected in (Opcode.TEXT, *[Opcode.PING] * 4):
                frame = client.frame()
                assert frame is not None and frame.opcode is expected
                client.send(Frame(Opcode.PONG, frame.payload, mask=MASK))
