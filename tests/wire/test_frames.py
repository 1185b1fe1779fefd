"""RFC 6455 sections 4.2.2, 5 and 7.4, clause by clause, with the RFC's own samples."""

from __future__ import annotations

import zlib
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feeding import assert_breaks, assert_decodes, assert_linear, drain
from labkit.errors import WireError
from labkit.wire.close_codes import decode_close, encode_close, failure_code
from labkit.wire.fragments import Message, MessageAssembler
from labkit.wire.frames import Frame, FrameDecoder, Opcode, apply_mask, encode_frame, header_bytes
from labkit.wire.handshake import accept_key

TEXT, BINARY, CONTINUATION = Opcode.TEXT, Opcode.BINARY, Opcode.CONTINUATION
KEY = bytes.fromhex("37fa213d")
HELLO = bytes.fromhex("810548656c6c6f")
from_server = partial(FrameDecoder, masked=False)
from_client = partial(FrameDecoder, masked=True)


# 5.7 examples

SAMPLES = {
    "a single-frame unmasked text message": (HELLO, [Frame(TEXT, b"Hello")]),
    "a single-frame masked text message": (
        bytes.fromhex("818537fa213d7f9f4d5158"),
        [Frame(TEXT, b"Hello", mask=KEY)],
    ),
    "a fragmented unmasked text message": (
        bytes.fromhex("010348656c 80026c6f"),
        [Frame(TEXT, b"Hel", fin=False), Frame(CONTINUATION, b"lo")],
    ),
    "an unmasked ping and its masked pong": (
        bytes.fromhex("890548656c6c6f 8a8537fa213d7f9f4d5158"),
        [Frame(Opcode.PING, b"Hello"), Frame(Opcode.PONG, b"Hello", mask=KEY)],
    ),
    "256 bytes in one unmasked frame": (bytes.fromhex("827e0100") + bytes(256), [Frame(BINARY, bytes(256))]),
}


@pytest.mark.parametrize("sample", SAMPLES)
def test_5_7_samples(sample: str) -> None:
    wire, frames = SAMPLES[sample]
    assert_decodes(FrameDecoder, wire, frames, left_over=HELLO[:-1])
    assert b"".join(map(encode_frame, frames)) == wire
    assert sum(frame.header_bytes + len(frame.payload) for frame in frames) == len(wire)


def test_5_7_64_kib_in_one_unmasked_frame() -> None:
    wire = bytes.fromhex("827f0000000000010000") + bytes(65536)
    assert encode_frame(Frame(BINARY, bytes(65536))) == wire
    for at in (1, 2, 5, 9, 10, 11, 40_000, 65_545):
        assert drain(FrameDecoder(), [wire[:at], wire[at:] + HELLO]) == (
            [Frame(BINARY, bytes(65536)), Frame(TEXT, b"Hello")],
            None,
        )


# 4.2.2 and 5.1 to 5.3


def test_4_2_2_accept_key_of_the_rfc() -> None:
    assert accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_5_1_a_client_must_mask_and_a_server_must_not() -> None:
    masked = encode_frame(Frame(TEXT, b"Hello", mask=KEY))
    assert_decodes(from_server, HELLO, [Frame(TEXT, b"Hello")])
    assert_decodes(from_client, masked, [Frame(TEXT, b"Hello", mask=KEY)])
    assert_breaks(from_client, HELLO, "RFC 6455 section 5.1")
    assert_breaks(from_server, HELLO + masked, "RFC 6455 section 5.1", after=[Frame(TEXT, b"Hello")])


@pytest.mark.parametrize(
    ("payload_bytes", "header"), [(0, 2), (125, 2), (126, 4), (65535, 4), (65536, 10), (2**63 - 1, 10)]
)
def test_5_2_header_takes_2_4_or_10_bytes_and_4_more_when_masked(payload_bytes: int, header: int) -> None:
    assert header_bytes(payload_bytes, False) == header
    assert header_bytes(payload_bytes, True) == header + 4
    if payload_bytes < 1 << 20:
        for mask in (None, KEY):
            frame = Frame(BINARY, bytes(payload_bytes), mask=mask)
            wire = encode_frame(frame)
            assert len(wire) - payload_bytes == frame.header_bytes == header + (4 if mask else 0)
            assert drain(FrameDecoder(), [wire]) == ([frame], None)


@pytest.mark.parametrize("bit", [0x40, 0x20, 0x10])
def test_5_2_reserved_bits_must_be_zero_unless_an_extension_defines_them(bit: int) -> None:
    assert_breaks(FrameDecoder, HELLO + bytes((0x81 | bit, 0)), "RFC 6455 section 5.2", after=[Frame(TEXT, b"Hello")])
    name = {0x40: "rsv1", 0x20: "rsv2", 0x10: "rsv3"}[bit]
    frame = Frame(TEXT, **{name: True})
    assert encode_frame(frame) == bytes((0x81 | bit, 0))
    assert_decodes(lambda: FrameDecoder(reserved=frozenset({name})), encode_frame(frame), [frame])
    assert_breaks(lambda: FrameDecoder(reserved=frozenset({name})), b"\xf1\0", "RFC 6455 section 5.2")


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
def test_5_2_unknown_opcodes_fail_the_connection(opcode: int) -> None:
    assert_breaks(FrameDecoder, bytes((0x80 | opcode, 0)), "RFC 6455 section 5.2")


@pytest.mark.parametrize(
    "header",
    ["827e0000", "827e007d", "82fe007d", "827f0000000000000000", "827f000000000000007e", "827f000000000000ffff"],
)
def test_5_2_lengths_must_be_in_their_shortest_form(header: str) -> None:
    assert_breaks(FrameDecoder, bytes.fromhex(header), "RFC 6455 section 5.2")


def test_5_2_the_top_bit_of_a_64_bit_length_must_be_zero() -> None:
    assert_breaks(FrameDecoder, bytes.fromhex("827f8000000000010000"), "RFC 6455 section 5.2")


@given(st.binary(max_size=70), st.binary(min_size=4, max_size=4))
def test_5_3_masking_is_xor_with_the_repeated_key(data: bytes, mask: bytes) -> None:
    assert apply_mask(data, mask) == bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))
    assert apply_mask(apply_mask(data, mask), mask) == data


def test_5_3_a_masking_key_has_4_bytes() -> None:
    with pytest.raises(WireError, match=r"section 5\.3"):
        encode_frame(Frame(TEXT, b"x", mask=b"abc"))


# 5.4 fragmentation


def assembled(*frames: Frame) -> list[Message | Frame]:
    assembler = MessageAssembler()
    return [item for frame in frames if (item := assembler.feed(frame)) is not None]


def fails(clause: str, *frames: Frame, assembler: MessageAssembler | None = None) -> None:
    """All frames but the last are taken; the last breaks the clause."""
    assembler = assembler or MessageAssembler()
    for frame in frames[:-1]:
        assembler.feed(frame)
    with pytest.raises(WireError) as caught:
        assembler.feed(frames[-1])
    assert caught.value.clause == clause


def test_5_4_an_unfragmented_message_is_one_frame() -> None:
    assert assembled(Frame(TEXT, b"a"), Frame(BINARY, b"b"), Frame(TEXT), Frame(BINARY)) == [
        Message(True, "a"),
        Message(False, b"b"),
        Message(True, ""),
        Message(False, b""),
    ]


def test_5_4_fragments_are_joined_in_order_and_may_be_empty() -> None:
    more = [Frame(CONTINUATION, part, fin=False) for part in (b"", b"b", b"")]
    assert assembled(Frame(TEXT, b"a", fin=False), *more, Frame(CONTINUATION, b"c")) == [Message(True, "abc")]
    assert assembled(Frame(BINARY, fin=False), *more, Frame(CONTINUATION)) == [Message(False, b"b")]


def test_5_4_control_frames_may_come_between_fragments() -> None:
    ping, pong = Frame(Opcode.PING, b"p"), Frame(Opcode.PONG)
    frames = (Frame(TEXT, b"a", fin=False), ping, Frame(CONTINUATION, b"b", fin=False), pong, Frame(CONTINUATION))
    assert assembled(*frames) == [ping, pong, Message(True, "ab")]


def test_5_4_a_continuation_needs_a_message_to_continue() -> None:
    fails("RFC 6455 section 5.4", Frame(CONTINUATION, b"a"))
    fails("RFC 6455 section 5.4", Frame(CONTINUATION, b"a", fin=False))
    fails("RFC 6455 section 5.4", Frame(TEXT, b"a"), Frame(CONTINUATION, b"a"))


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_5_4_fragments_of_two_messages_are_not_interleaved(opcode: Opcode) -> None:
    fails("RFC 6455 section 5.4", Frame(TEXT, b"a", fin=False), Frame(opcode, b"b"))


# 5.5 control frames


@pytest.mark.parametrize("opcode", [Opcode.CLOSE, Opcode.PING, Opcode.PONG])
def test_5_5_control_frames_have_at_most_125_bytes_and_no_fragments(opcode: Opcode) -> None:
    fits = Frame(opcode, bytes(125))
    assert_decodes(FrameDecoder, encode_frame(fits), [fits])
    assert_breaks(FrameDecoder, bytes((0x80 | opcode, 126, 0, 126)) + bytes(126), "RFC 6455 section 5.5")
    assert_breaks(FrameDecoder, bytes((opcode, 0)), "RFC 6455 section 5.5")
    for wrong in (Frame(opcode, bytes(126)), Frame(opcode, fin=False)):
        with pytest.raises(WireError, match=r"section 5\.5"):
            encode_frame(wrong)


# 7.4 close codes


@pytest.mark.parametrize(
    "code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]
)
def test_7_4_codes_that_travel(code: int) -> None:
    assert encode_close(code, "이유") == code.to_bytes(2, "big") + "이유".encode()
    assert decode_close(encode_close(code, "이유")) == (code, "이유")
    assert decode_close(encode_close(code)) == (code, "")


@pytest.mark.parametrize("code", [1004, 1005, 1006, 1015])
def test_7_4_1_codes_that_never_travel(code: int) -> None:
    refused(code, "RFC 6455 section 7.4.1")


@pytest.mark.parametrize("code", [0, 999, 1016, 1100, 2000, 2999, 5000, 65535])
def test_7_4_2_codes_out_of_every_range(code: int) -> None:
    refused(code, "RFC 6455 section 7.4.2")


def refused(code: int, clause: str) -> None:
    for call in (partial(encode_close, code), partial(decode_close, code.to_bytes(2, "big"))):
        with pytest.raises(WireError) as caught:
            call()
        assert caught.value.clause == clause


def test_7_1_5_a_close_frame_without_a_code_counts_as_1005() -> None:
    assert decode_close(b"") == (1005, "")


@pytest.mark.parametrize(
    ("payload", "clause"),
    [
        (b"\x03", "RFC 6455 section 5.5.1"),
        (b"\x03\xe8\xff", "RFC 6455 section 8.1"),
        (b"\x03\xe8\xe2\x82", "RFC 6455 section 8.1"),
        (b"\x03\xe8" + b"x" * 124, "RFC 6455 section 5.5"),
    ],
)
def test_5_5_1_a_close_payload_is_a_code_and_a_reason_in_utf_8(payload: bytes, clause: str) -> None:
    with pytest.raises(WireError) as caught:
        decode_close(payload)
    assert caught.value.clause == clause


def test_5_5_a_close_reason_has_at_most_123_bytes() -> None:
    assert decode_close(encode_close(1000, "x" * 123)) == (1000, "x" * 123)
    for reason, clause in (("x" * 124, "section 5.5"), ("가" * 42, "section 5.5"), ("\ud800", "section 8.1")):
        with pytest.raises(WireError, match=clause):
            encode_close(1000, reason)


# 8.1 text is UTF-8


def test_8_1_a_character_may_be_cut_by_a_fragment() -> None:
    raw = "가🙂".encode()
    for at in range(len(raw) + 1):
        frames = (Frame(TEXT, raw[:at], fin=False), Frame(CONTINUATION, raw[at:]))
        assert assembled(*frames) == [Message(True, "가🙂")]


@pytest.mark.parametrize("raw", [b"\xff", b"\xc0\xaf", b"\xed\xa0", b"\xf4\x90", b"\xe2\x82x", b"\xf0\x80"])
def test_8_1_text_that_cannot_become_utf_8_fails_before_the_message_ends(raw: bytes) -> None:
    fails("RFC 6455 section 8.1", Frame(TEXT, b"ok " + raw, fin=False))
    pieces = [Frame(CONTINUATION, raw[i : i + 1], fin=False) for i in range(len(raw))]
    with pytest.raises(WireError, match=r"section 8\.1"):
        assembled(Frame(TEXT, b"ok", fin=False), *pieces)


def test_8_1_a_message_may_not_end_inside_a_character() -> None:
    fails("RFC 6455 section 8.1", Frame(TEXT, b"\xe2\x82"))
    fails("RFC 6455 section 8.1", Frame(TEXT, b"\xe2\x82", fin=False), Frame(CONTINUATION))


def test_8_1_binary_messages_are_any_bytes() -> None:
    assert assembled(Frame(BINARY, b"\xff\xfe")) == [Message(False, b"\xff\xfe")]


# 10.4 limits, 7.4.1 which code says so


def test_10_4_a_frame_over_the_limit_fails_at_its_header() -> None:
    small = partial(FrameDecoder, max_payload_bytes=5)
    assert_decodes(small, HELLO, [Frame(TEXT, b"Hello")])
    assert_breaks(small, b"\x81\x06", "RFC 6455 section 10.4")
    assert_breaks(FrameDecoder, bytes.fromhex("827f7fffffffffffffff"), "RFC 6455 section 10.4")


def test_10_4_a_message_over_the_limit_fails_whatever_its_fragments() -> None:
    frames = (Frame(TEXT, b"abc", fin=False), Frame(CONTINUATION, b"de", fin=False), Frame(CONTINUATION, b"f"))
    fails("RFC 6455 section 10.4", *frames, assembler=MessageAssembler(max_message_bytes=5))
    fits = Frame(TEXT, b"abcd")  # the limit is of each message, not of all of them
    fails("RFC 6455 section 10.4", fits, fits, *frames, assembler=MessageAssembler(max_message_bytes=5))


def test_7_4_1_the_code_that_fails_a_connection() -> None:
    codes = {"5.2": 1002, "5.4": 1002, "8.1": 1007, "10.4": 1009}
    assert {s: failure_code(WireError("x", clause=f"RFC 6455 section {s}")) for s in codes} == codes


# RFC 7692: only where the bit may stand; the inflating is a function of the caller's


def test_rfc_7692_only_the_first_frame_of_a_message_may_say_that_it_is_compressed() -> None:
    deflated = partial(FrameDecoder, reserved=frozenset({"rsv1"}))
    assert_decodes(deflated, b"\xc1\x00", [Frame(TEXT, rsv1=True)])
    for wrong in (b"\xc9\x00", b"\xc8\x00", b"\x41\x00\xc0\x00"):
        assert_breaks(
            deflated, wrong, "RFC 7692 section 6", after=[Frame(TEXT, fin=False, rsv1=True)][: len(wrong) // 4]
        )
    fails("RFC 7692 section 6", Frame(TEXT, rsv1=True))


def test_rfc_7692_section_7_2_3_1_sample_is_inflated_and_its_size_checked_after() -> None:
    def inflate(payload: bytes, final: bool) -> bytes:
        return inflater.decompress(payload + (b"\0\0\xff\xff" if final else b""))

    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    assembler = MessageAssembler(inflate=inflate)
    assert assembler.feed(Frame(TEXT, bytes.fromhex("f248cdc9c90700"), rsv1=True)) == Message(True, "Hello")
    assert assembler.feed(Frame(TEXT, bytes.fromhex("f200"), fin=False, rsv1=True)) is None
    assert assembler.feed(Frame(CONTINUATION, bytes.fromhex("110000"))) == Message(True, "Hello")
    assert assembler.feed(Frame(TEXT, b"plain")) == Message(True, "plain")
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    tight = MessageAssembler(inflate=inflate, max_message_bytes=4)
    fails("RFC 6455 section 10.4", Frame(TEXT, bytes.fromhex("f248cdc9c90700"), rsv1=True), assembler=tight)


# round trips

masks = st.none() | st.binary(min_size=4, max_size=4)
data_frames = st.builds(
    Frame,
    st.sampled_from([TEXT, BINARY, CONTINUATION]),
    st.binary(max_size=10) | st.sampled_from([bytes(125), bytes(126), bytes(300)]),
    fin=st.booleans(),
    rsv2=st.booleans(),
    rsv3=st.booleans(),
    mask=masks,
)
control_frames = st.builds(
    Frame, st.sampled_from([Opcode.CLOSE, Opcode.PING, Opcode.PONG]), st.binary(max_size=20), mask=masks
)


@given(st.lists(data_frames | control_frames, max_size=4), st.data())
def test_encoded_frames_come_back_however_they_are_cut(frames, data) -> None:
    wire = b"".join(map(encode_frame, frames))
    places = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=5)))
    reads = [wire[a:b] for a, b in zip([0, *places], [*places, len(wire)], strict=True)]
    assert drain(FrameDecoder(reserved=frozenset({"rsv2", "rsv3"})), reads) == (frames, None)


@given(st.binary(max_size=40))
def test_any_bytes_give_frames_or_the_kits_own_error_alike_however_they_are_cut(wire: bytes) -> None:
    whole = drain(FrameDecoder(), [wire])
    assert drain(FrameDecoder(), [wire[i : i + 1] for i in range(len(wire))]) == whole


@given(st.text(max_size=20), st.data())
def test_a_text_cut_into_fragments_comes_back(text: str, data) -> None:
    raw = text.encode()
    places = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=4)))
    parts = [raw[a:b] for a, b in zip([0, *places], [*places, len(raw)], strict=True)]
    frames = [Frame(CONTINUATION if i else TEXT, p, fin=i == len(parts) - 1) for i, p in enumerate(parts)]
    assert assembled(*frames) == [Message(True, text)]


@pytest.mark.alone
@pytest.mark.parametrize("wire", [lambda n: encode_frame(Frame(BINARY, bytes(n))), lambda n: HELLO * (n // 7)])
def test_decoding_byte_by_byte_takes_linear_time(wire) -> None:
    assert_linear(from_server, wire)
