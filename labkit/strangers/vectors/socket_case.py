"""How a case of a WebSocket is written down: frames byte by byte, also such as no right server sends. Pure."""

from __future__ import annotations

import base64

from labkit.strangers.vectors.case import SOCKET, Answer, Case, Had, Outcome, Pause, Write, head

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
UPGRADE = ("Upgrade: websocket", "Connection: Upgrade")
ACCEPT = "Sec-WebSocket-Accept: %ACCEPT%"


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, bits: int = 0, length: bytes | None = None) -> bytes:
    """One frame as servers send it, unmasked (RFC 6455 section 5.2).

    Args:
        bits: the reserved bits, as 0x40, 0x20 and 0x10.
        length: the bytes of the length in place of the right ones.
    """
    size = len(payload)
    if length is None:
        extended = (b"", b"\x7e", b"\x7f")[(size > 125) + (size > 65535)]
        length = bytes([size]) if not extended else extended + size.to_bytes(2 if extended == b"\x7e" else 8, "big")
    return bytes([(0x80 if fin else 0) | bits | opcode]) + length + payload


def text(data: str) -> bytes:
    """A message of one frame."""
    return frame(TEXT, data.encode())


def close(code: int | None = 1000, reason: str = "") -> bytes:
    """A close frame; None sends no code."""
    return frame(CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason.encode())


def said(data: str | bytes) -> Had:
    """A message as the application has it."""
    if isinstance(data, str):
        return {"type": "text", "data": data}
    return {"type": "binary", "base64": base64.b64encode(data).decode()}


def upgraded(*steps: bytes | float, fields: tuple[str, ...] = (), cut: str = "whole", needs: str = "") -> Answer:
    """A 101, and then these bytes; a number is a pause in seconds."""
    start = head("101 Switching Protocols", *UPGRADE, ACCEPT, *fields)
    return Answer((start, *written(*steps)), cut=cut, needs=needs)


def written(*steps: bytes | float) -> tuple[Write | Pause, ...]:
    return tuple(Pause(step) if isinstance(step, float) else Write(step) for step in steps)


def closed(
    *messages: str | bytes, code: int = 1000, reason: str = "", pongs: tuple[bytes, ...] | None = None, why: str = ""
) -> Outcome:
    """These messages, and a closing handshake."""
    sees = {"requests": [None], "close": True} | ({} if pongs is None else {"pongs": [pong.hex() for pong in pongs]})
    ended = {"code": code, "reason": reason, "clean": True}
    return Outcome({"messages": [said(message) for message in messages], "close": ended}, sees, why)


def failed(*messages: str | bytes) -> Outcome:
    """These messages, and a connection that was failed or lost: the code is 1006 (RFC 6455 section 7.1.5)."""
    had = {"messages": [said(message) for message in messages], "close": {"code": 1006, "clean": False}}
    return Outcome(had, {"requests": [None]})


def socket_case(name: str, about: str, section: str, answer: Answer, *outcomes: Outcome) -> Case:
    return Case(f"ws-{name}", SOCKET, about, f"RFC {section}", (answer,), outcomes)


def pinged(
    name: str, about: str, section: str, *frames: bytes | float, had: tuple[str | bytes, ...], pongs: tuple[bytes, ...]
) -> Case:
    """The client's pongs are counted too."""
    return socket_case(name, about, section, upgraded(*frames, close()), closed(*had, pongs=pongs))
