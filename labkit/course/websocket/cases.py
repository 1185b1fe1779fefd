"""The cases of 05_websocket's conformance table (W4 to W6): bytes after the handshake, and what RFC 6455 demands.

A text message of its own comes last: its echo says that the endpoint went on as if nothing had been wrong.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from labkit.wire.frames import Frame, Opcode, encode_frame

PROBE = b"probe"


@dataclass(frozen=True)
class Odd:
    """A frame that no encoder would make: its first byte, its length field as it is, its payload."""

    first: int
    length: bytes
    payload: bytes = b""

    def encoded(self, masked: bool) -> bytes:
        """With a mask of zeros, where there must be one."""
        bit, key = (0x80, bytes(4)) if masked else (0, b"")
        return bytes((self.first, bit | self.length[0])) + self.length[1:] + key + self.payload


@dataclass(frozen=True)
class Case:
    """``wanted``: ``fails 1002``, ``closes`` (it answers a close), or the frames that come back."""

    claim: str
    clause: str
    title: str
    frames: tuple[Frame | Odd | bytes, ...]
    wanted: str
    role: str = "both"
    probed: bool = True


def text_frame(payload: bytes, fin: bool = True) -> Frame:
    return Frame(Opcode.TEXT, payload, fin)


def _more(payload: bytes, fin: bool = True) -> Frame:
    return Frame(Opcode.CONTINUATION, payload, fin)


PING = Frame(Opcode.PING, b"there?")
FRAGMENTS = (text_frame(b"Hel", False), PING, _more(b"lo"))
MASKED = Frame(Opcode.TEXT, b"hello", mask=b"\x37\xfa\x21\x3d")
UNMASKED = encode_frame(Frame(Opcode.TEXT, b"hello"))


def _closing(code: int) -> Frame:
    return Frame(Opcode.CLOSE, code.to_bytes(2, "big"))


TRAVELS = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 4999)
REGISTERED_LATER = (1012, 1013, 1014)  # by IANA, after RFC 6455
STAYS = (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000)
CASES: tuple[Case, ...] = (
    Case("W4", "5.1", "a client's frame, masked", (text_frame(b"hello"),), "text 'hello'", "server"),
    Case("W4", "5.1", "a client's frame, not masked", (UNMASKED,), "fails 1002", "server"),
    Case("W4", "5.1", "a client's ping, not masked", (encode_frame(PING),), "fails 1002", "server"),
    Case("W4", "5.1", "a server's frame, not masked", (text_frame(b"hello"),), "text 'hello'", "client"),
    Case("W4", "5.1", "a server's frame, masked", (encode_frame(MASKED),), "fails 1002", "client"),
    Case("W5", "5.4", "a message in fragments", (text_frame(b"Hel", False), _more(b"lo")), "text 'Hello'"),
    Case("W5", "5.4", "a ping between the fragments", FRAGMENTS, "pong 'there?', text 'Hello'"),
    Case("W5", "5.4", "a continuation of nothing", (_more(b"lo"),), "fails 1002"),
    Case("W5", "5.4", "a message inside a message", (text_frame(b"a", False), text_frame(b"b")), "fails 1002"),
    Case("W5", "5.5", "a ping in fragments", (Odd(0x09, b"\0"),), "fails 1002"),
    Case("W5", "5.5", "a ping of 126 bytes", (Odd(0x89, b"\x7e\0\x7e", bytes(126)),), "fails 1002"),
    Case("", "5.2", "a reserved bit", (Odd(0xC1, b"\0"),), "fails 1002"),
    Case("", "5.2", "a reserved opcode", (Odd(0x83, b"\0"),), "fails 1002"),
    Case("", "5.2", "a length in too many bytes", (Odd(0x81, b"\x7e\0\x05", b"hello"),), "fails 1002"),
    Case("", "8.1", "text that is not UTF-8", (text_frame(b"\xc3\x28"),), "fails 1007"),
    *(Case("W6", "7.4", f"close {code}", (_closing(code),), "closes", probed=False) for code in TRAVELS),
    *(
        Case("", "7.4.2", f"close {code}, registered later", (_closing(code),), "closes", probed=False)
        for code in REGISTERED_LATER
    ),
    *(Case("W6", "7.4", f"close {code}", (_closing(code),), "fails 1002", probed=False) for code in STAYS),
    Case("W6", "5.5.1", "close, with no code", (Frame(Opcode.CLOSE),), "closes", probed=False),
    Case("W6", "5.5.1", "close, of one byte", (Frame(Opcode.CLOSE, b"\3"),), "fails 1002", probed=False),
    Case(
        "W6",
        "8.1",
        "close 1000, reason not UTF-8",
        (Frame(Opcode.CLOSE, b"\3\xe8\xc3\x28"),),
        "fails 1007",
        role="server",
        probed=False,
    ),
)


def sent_bytes(frame: Frame | Odd | bytes, masked: bool) -> bytes:
    """The frame's bytes as this side must send them; bytes go as they are."""
    if isinstance(frame, bytes):
        return frame
    if isinstance(frame, Odd):
        return frame.encoded(masked)
    return encode_frame(Frame(frame.opcode, frame.payload, frame.fin, mask=os.urandom(4) if masked else None))
