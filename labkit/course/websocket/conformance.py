"""The conformance table of 05_websocket (W4 to W6): what an endpoint does with the bytes of each case.

A case is some bytes after the handshake, and what RFC 6455 demands of whoever reads them. A text message of its own
comes last: its echo says that the endpoint went on as if nothing had been wrong.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from labkit import loop
from labkit.course.websocket import peers
from labkit.course.websocket.seen import Cell, Conformance, Outcome
from labkit.lab.lab import Lab
from labkit.progress import Progress
from labkit.wire.frames import Frame, FrameDecoder, Opcode, accept_key, encode_frame

PROBE = b"probe"
SILENCE_S = 3.0
"""An endpoint that neither answers nor ends within this hangs."""
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
HANDSHAKE = (
    "GET /websocket/echo HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
WITHOUT = "ends, no code"
SILENT = ("hangs", "no handshake")


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


def _text(payload: bytes, fin: bool = True) -> Frame:
    return Frame(Opcode.TEXT, payload, fin)


def _more(payload: bytes, fin: bool = True) -> Frame:
    return Frame(Opcode.CONTINUATION, payload, fin)


PING = Frame(Opcode.PING, b"there?")
FRAGMENTS = (_text(b"Hel", False), PING, _more(b"lo"))
MASKED = Frame(Opcode.TEXT, b"hello", mask=b"\x37\xfa\x21\x3d")
UNMASKED = encode_frame(Frame(Opcode.TEXT, b"hello"))


def _closing(code: int) -> Frame:
    return Frame(Opcode.CLOSE, code.to_bytes(2, "big"))


TRAVELS = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 4999)
REGISTERED_LATER = (1012, 1013, 1014)  # by IANA, after RFC 6455
STAYS = (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000)
CASES: tuple[Case, ...] = (
    Case("W4", "5.1", "a client's frame, masked", (_text(b"hello"),), "text 'hello'", "server"),
    Case("W4", "5.1", "a client's frame, not masked", (UNMASKED,), "fails 1002", "server"),
    Case("W4", "5.1", "a client's ping, not masked", (encode_frame(PING),), "fails 1002", "server"),
    Case("W4", "5.1", "a server's frame, not masked", (_text(b"hello"),), "text 'hello'", "client"),
    Case("W4", "5.1", "a server's frame, masked", (encode_frame(MASKED),), "fails 1002", "client"),
    Case("W5", "5.4", "a message in fragments", (_text(b"Hel", False), _more(b"lo")), "text 'Hello'"),
    Case("W5", "5.4", "a ping between the fragments", FRAGMENTS, "pong 'there?', text 'Hello'"),
    Case("W5", "5.4", "a continuation of nothing", (_more(b"lo"),), "fails 1002"),
    Case("W5", "5.4", "a message inside a message", (_text(b"a", False), _text(b"b")), "fails 1002"),
    Case("W5", "5.5", "a ping in fragments", (Odd(0x09, b"\0"),), "fails 1002"),
    Case("W5", "5.5", "a ping of 126 bytes", (Odd(0x89, b"\x7e\0\x7e", bytes(126)),), "fails 1002"),
    Case("", "5.2", "a reserved bit", (Odd(0xC1, b"\0"),), "fails 1002"),
    Case("", "5.2", "a reserved opcode", (Odd(0x83, b"\0"),), "fails 1002"),
    Case("", "5.2", "a length in too many bytes", (Odd(0x81, b"\x7e\0\x05", b"hello"),), "fails 1002"),
    Case("", "8.1", "text that is not UTF-8", (_text(b"\xc3\x28"),), "fails 1007"),
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


def conformance(lab: Lab, *, cases: tuple[Case, ...] = CASES) -> Conformance:
    """Try every case on every server and client that is installed, each on a connection of its own.

    Returns:
        A :class:`labkit.course.websocket.seen.Conformance`.

    Raises:
        LabClosed: the lab is closed.
    """
    return loop.run(_conformance(lab, cases))


async def _conformance(lab: Lab, cases: tuple[Case, ...]) -> Conformance:
    started, progress = datetime.now(UTC).isoformat(), Progress()
    cells: list[Cell] = []
    masks: dict[str, tuple[int, int, int]] = {}
    for name, serving in peers.servers(lab).items():
        progress.show(f"trying the server of {name}")
        keys: list[bytes | None] = []
        async with serving() as port:
            cells += await _each(name, "server", cases, partial(_at_server, port, keys))
        masks[f"server: {name}"] = _counted(keys)
    for name, client in peers.clients().items():
        progress.show(f"trying the client of {name}")
        keys = []
        cells += await _each(name, "client", cases, partial(_at_client, client, keys))
        masks[f"client: {name}"] = _counted(keys)
    progress.done(f"{len(cells)} conversations")
    return Conformance(tuple(cells), masks, {"started": started})


def _counted(keys: list[bytes | None]) -> tuple[int, int, int]:
    masked = [key for key in keys if key is not None]
    return len(keys), len(masked), len(set(masked))


async def _each(name: str, role: str, cases: tuple[Case, ...], trying: Callable[[Case], Awaitable[str]]) -> list[Cell]:
    cells = []
    for case in (c for c in cases if c.role in ("both", role)):
        found = await trying(case)
        cells.append(
            Cell(name, role, case.claim, case.clause, case.title, case.wanted, found, _outcome(case.wanted, found))
        )
    return cells


def _outcome(wanted: str, found: str) -> Outcome:
    if found == wanted or (wanted == "closes" and found.startswith("closes")):  # it "typically echos" the code (5.5.1)
        return "as it must"
    if found in SILENT:
        return "no answer"
    return "ends, no code" if wanted.startswith("fails") and found == WITHOUT else "wrong"


async def _at_server(port: int, keys: list[bytes | None], case: Case) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(HANDSHAKE.encode())
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), SILENCE_S)
        return await _converse(reader, writer, case, keys, masked=True)
    finally:
        writer.close()


async def _at_client(client: Callable[[str], Awaitable[None]], keys: list[bytes | None], case: Case) -> str:
    found: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            writer.write(_answer(head))
            result = await _converse(reader, writer, case, keys, masked=False)
        except (asyncio.IncompleteReadError, ConnectionError):
            result = "no handshake"
        finally:
            writer.close()
        if not found.done():
            found.set_result(result)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    connected = asyncio.ensure_future(client(f"ws://127.0.0.1:{port}/websocket/echo"))
    try:
        return await asyncio.wait_for(asyncio.shield(found), 3 * SILENCE_S)
    except TimeoutError:
        return "hangs"
    finally:
        await asyncio.wait([connected], timeout=SILENCE_S)
        connected.cancel()
        await asyncio.gather(connected, return_exceptions=True)  # how a client reports it is its own affair
        server.close()


def _answer(head: str) -> bytes:
    """The 101 that answers a client's request (RFC 6455 section 4.2.2)."""
    fields = (line.partition(":") for line in head.split("\r\n"))
    key = next(value.strip() for name, _, value in fields if name.lower() == "sec-websocket-key")
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept_key(key)}\r\n\r\n"
    ).encode()


async def _converse(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, case: Case, keys: list[bytes | None], *, masked: bool
) -> str:
    """Send the case and the probe, and say in words what came back."""
    writer.write(b"".join(_sent(frame, masked) for frame in case.frames))
    if case.probed:
        writer.write(_sent(_text(PROBE), masked))
    decoder, said = FrameDecoder(), list[str]()
    try:
        while data := await asyncio.wait_for(reader.read(1 << 16), SILENCE_S):
            for frame in decoder.feed(data):
                keys.append(frame.mask)
                if frame.opcode is Opcode.CLOSE:
                    return _closed(case, frame)
                if frame.opcode is Opcode.TEXT and frame.payload == PROBE:
                    return ", ".join(said) or "goes on"
                said.append(f"{frame.opcode.name.lower()} {frame.payload.decode('utf-8', 'replace')!r}")
    except TimeoutError:
        return "hangs"
    except ConnectionError:
        pass
    return WITHOUT


def _closed(case: Case, frame: Frame) -> str:
    """What a close frame says: that the endpoint fails the connection, or that it answers our own close."""
    code = int.from_bytes(frame.payload[:2], "big") if len(frame.payload) > 1 else None
    sent = case.frames[0]
    if not isinstance(sent, Frame) or sent.opcode is not Opcode.CLOSE:
        return f"fails {code}" if code is not None else "fails, no code"
    asked = int.from_bytes(sent.payload[:2], "big") if len(sent.payload) > 1 else None
    if code == asked:
        return f"closes {code}" if code is not None else "closes, no code"
    return f"fails {code}" if code in (1002, 1007) else f"closes, says {code}"


def _sent(frame: Frame | Odd | bytes, masked: bool) -> bytes:
    """The frame's bytes as this side must send them; bytes go as they are."""
    if isinstance(frame, bytes):
        return frame
    if isinstance(frame, Odd):
        return frame.encoded(masked)
    return encode_frame(Frame(frame.opcode, frame.payload, frame.fin, mask=os.urandom(4) if masked else None))
