"""The gate before ``h2``: what it hands on of what comes in pieces, what a frame costs, and what pays."""

from __future__ import annotations

import pytest

pytest.importorskip("h2", reason='HTTP/2 is not installed (pip install "labkit[http2]")')

from h2.errors import ErrorCodes

from labkit.server.http2_limits import AT_ONCE, BURST, FRAME_BYTES, PER_S, RESET, Allowance, Fault, Gate
from raw_http2 import (
    ACK,
    PREFACE,
    continuation,
    data,
    fields,
    frame,
    goaway,
    headers,
    ping,
    request,
    rst,
    settings,
    window,
)


class Clock:
    """One that goes on when it is told to."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def gate(*streams: int, allowance: Allowance | None = None) -> Gate:
    """One that is past the preface and the settings."""
    opened = Gate(b"", allowance or Allowance(Clock()), streams)
    assert list(opened.feed(settings())) == [settings()]
    return opened


def fault(opened: Gate, sent: bytes) -> tuple[bytes, ErrorCodes]:
    """What is handed on before the fault, and its code."""
    on = b""
    with pytest.raises(Fault) as raised:
        for piece in opened.feed(sent):
            on += piece
    return on, raised.value.code


def test_whole_frames_are_handed_on_a_few_at_a_time() -> None:
    sent = b"".join(ping(bytes([n]) * 8) for n in range(3 * AT_ONCE + 1))
    pieces = list(gate().feed(sent))
    assert b"".join(pieces) == sent
    assert [len(piece) // 17 for piece in pieces] == [AT_ONCE] * 3 + [1]


def test_a_large_field_block_is_handed_on_by_itself_and_so_is_a_goaway() -> None:
    many = headers(1, fields(*request(), ("x", "y" * 300)))
    sent = [ping() + many, ping(), goaway(), ping()]
    assert list(gate().feed(b"".join(sent))) == sent


def test_no_table_is_used_that_is_larger_than_usual() -> None:
    assert list(gate().feed(settings((4, 1), (1, 1 << 31), (1, 100)))) == [settings((4, 1), (1, 4096), (1, 100))]


@pytest.mark.parametrize("size", [1, 2, 7, 9, 10, 64])
def test_it_is_the_same_however_it_is_cut(size: int) -> None:
    sent = PREFACE + settings((4, 1)) + headers(1) + data(3, bytes(300)) + ping() + goaway() + window(0, 5)
    opened = Gate(PREFACE, Allowance(Clock()), ())
    pieces = [piece for at in range(0, len(sent), size) for piece in opened.feed(sent[at : at + size])]
    assert b"".join(pieces) == sent[len(PREFACE) :]
    for piece in pieces:
        assert len(piece) >= 9 and 9 + int.from_bytes(piece[:3]) <= len(piece)


def test_what_comes_before_a_fault_is_handed_on() -> None:
    assert fault(gate(), ping() + frame(6, payload=bytes(7))) == (ping(), ErrorCodes.FRAME_SIZE_ERROR)
    assert fault(gate(), ping() + settings((4, 1 << 31), (4, 1))) == (ping(), ErrorCodes.FLOW_CONTROL_ERROR)


def test_a_frame_that_is_too_large_is_refused_by_its_head() -> None:
    assert fault(gate(), frame(0, 0, 1, length=FRAME_BYTES + 1)) == (b"", ErrorCodes.FRAME_SIZE_ERROR)


def test_a_field_block_is_no_larger_for_being_in_pieces() -> None:
    piece = continuation(1, bytes(FRAME_BYTES))
    assert fault(gate(), headers(1, bytes(9), flags=0) + 4 * piece)[1] is ErrorCodes.ENHANCE_YOUR_CALM
    opened = gate()
    for stream in (1, 3):
        assert list(opened.feed(headers(stream, bytes(9), flags=0) + 3 * piece + continuation(stream, last=True)))


def test_what_must_end_in_its_time_has_a_number_until_it_ends() -> None:
    opened = Gate(PREFACE, Allowance(Clock()), ())
    first = opened.waits
    list(opened.feed(PREFACE + settings()[:5]))
    assert opened.waits == first > 0
    list(opened.feed(settings()[5:]))
    assert opened.waits == 0
    block = fields(*request())
    list(opened.feed(headers(1, block[:9], flags=0)))
    second = opened.waits
    list(opened.feed(continuation(1, block[9:12])[:5]))
    assert opened.waits == second not in (0, first)
    list(opened.feed(continuation(1, block[9:12])[5:] + continuation(1, block[12:], last=True) + headers(3)[:9]))
    assert opened.waits not in (0, first, second)
    list(opened.feed(headers(3)[9:] + data(3, b"x")[:9]))
    assert opened.waits == 0  # a body has its own


@pytest.mark.parametrize(
    ("sent", "cost"),
    [
        (ping(), 1),
        (ping(flags=ACK), 1),
        (frame(0x99), 1),
        (window(1, 1), 1),
        (settings(), 4),
        (settings((4, 1), (5, 16384)), 6),
        (headers(1), 2),
        (rst(1), RESET),
        (data(1, b"x"), 0),
        (data(1, end=True), 0),
        (data(1), 1),
        (data(7, b"x"), 1),
        (frame(0, 8, 1, b"\x02\0\0"), 1),
        (frame(0, 8, 1, b"\x02x\0\0"), 0),
    ],
    ids=[
        "PING", "PING acknowledged", "unknown", "WINDOW_UPDATE", "SETTINGS", "two settings", "HEADERS", "RST_STREAM",
        "DATA", "the end", "DATA of nothing", "DATA of no stream", "DATA of padding", "DATA with padding",
    ],
)  # fmt: skip
def test_what_a_frame_costs(sent: bytes, cost: int) -> None:
    allowance = Allowance(Clock())
    opened = gate(1, allowance=allowance)
    allowance.charge(BURST - 4 - 2 * cost, "by the test")  # the settings have cost 4
    list(opened.feed(2 * sent))
    if cost:
        assert fault(opened, sent)[1] is ErrorCodes.ENHANCE_YOUR_CALM
    else:
        list(opened.feed(100 * sent))


def test_time_and_what_gets_somewhere_pay_but_no_more_than_there_was_at_first() -> None:
    clock = Clock()
    allowance = Allowance(clock)
    allowance.charge(BURST, "all")
    with pytest.raises(Fault):
        allowance.charge(1, "more")
    clock.now_s += 2
    allowance.charge(2 * PER_S, "what two seconds pay")
    allowance.earn(3)
    with pytest.raises(Fault):
        allowance.charge(4, "more")
    allowance.charge(3, "what was earned")
    clock.now_s += 1e6
    allowance.earn(1e6)
    allowance.charge(BURST, "all")
    with pytest.raises(Fault):
        allowance.charge(1, "more")
