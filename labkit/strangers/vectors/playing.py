"""A case is played to one client: its answer written as it is to be cut, and what the client does is taken down."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from dataclasses import dataclass, replace
from time import monotonic

from labkit.errors import WireError
from labkit.strangers.vectors.case import SOCKET, Answer, Pause, Write
from labkit.strangers.vectors.cutting import cut
from labkit.strangers.vectors.peer import Gone, Peer, Request
from labkit.strangers.vectors.visit import MAX_FRAMES, Seen, Visit
from labkit.wire.frames import Frame, FrameDecoder, Opcode, encode_frame

CLOSE_S = 10.0
"""How long the server waits for the client's half of the closing handshake."""
FAST = 1 / 30
"""What ``--fast`` makes of a long pause."""
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3


@dataclass(frozen=True, slots=True)
class Manner:
    """How an answer is written: cut how, with what pause at each cut, and whether long pauses are shortened."""

    cut: str = ""
    pause_s: float = 0.002
    is_fast: bool = False


async def play(peer: Peer, request: Request, visit: Visit, manner: Manner) -> bool:
    """Answer one request of a visit; whether the connection can carry another."""
    seen, answer = visit.asked(request.method, request.target, request.fields)
    visit.opened()
    frames = asyncio.ensure_future(_take_down(peer, seen)) if visit.case.kind == SOCKET else None
    try:
        await _write(peer, request, visit, seen, answer, manner)
        visit.wrote(seen)
        if answer.end == "reset":
            peer.reset()
        elif frames is not None and answer.end != "fin":
            await asyncio.wait([frames], timeout=CLOSE_S)
            if answer.end == "echo" and seen.close is not None:
                await peer.write(encode_frame(Frame(Opcode.CLOSE, bytes.fromhex(seen.close["payload"]))))
        seen.ended_by = "client" if peer.left.is_set() and answer.end != "reset" else "server"
    except Gone:
        seen.ended_by = "client"
    finally:
        if frames is not None:
            frames.cancel()
            await asyncio.wait([frames])
        visit.closed()
    return answer.end == "keep" and frames is None and seen.ended_by == "server" and request.keeps


async def _write(peer: Peer, request: Request, visit: Visit, seen: Seen, answer: Answer, manner: Manner) -> None:
    key = request.field("sec-websocket-key")
    accept = base64.b64encode(hashlib.sha1((key + _GUID).encode(), usedforsecurity=False).digest())
    filled = [
        replace(step, data=step.data.replace(b"%ACCEPT%", accept).replace(b"%VISIT%", visit.token.encode()))
        if isinstance(step, Write) and step.is_head
        else step
        for step in answer.steps
    ]
    heads = [step.data for step in filled if isinstance(step, Write) and step.is_head]
    seen.answered = heads[-1].partition(b"\r\n")[0].decode("latin-1") if heads else ""
    for step in cut(filled, manner.cut or answer.cut, manner.pause_s):
        if isinstance(step, Pause):
            await peer.pause(step.s * FAST if step.is_long and manner.is_fast else step.s)
        else:
            await peer.write(step.data)


async def _take_down(peer: Peer, seen: Seen) -> None:
    """Read the client's frames until its close frame, and note what each was."""
    decoder, began_s = FrameDecoder(), monotonic()
    while True:
        data = bytes(peer.buffer)
        peer.buffer.clear()
        try:
            frames = decoder.feed(data)
        except WireError as error:
            frames, seen.broke = decoder.before_error, str(error)
        for frame in frames:
            if len(seen.frames) < MAX_FRAMES:
                seen.frames.append(_noted(frame, round((monotonic() - began_s) * 1000)))
            if frame.opcode is Opcode.CLOSE:
                return
        if seen.broke or not await peer.more(600.0):
            return


def _noted(frame: Frame, at_ms: int) -> dict[str, object]:
    noted: dict[str, object] = {
        "at_ms": at_ms,
        "opcode": frame.opcode.name.lower(),
        "fin": frame.fin,
        "masked": frame.mask is not None,
        "payload": frame.payload[:256].hex(),
        "bytes": len(frame.payload),
    }
    if frame.opcode is Opcode.CLOSE:
        noted["code"] = int.from_bytes(frame.payload[:2], "big") if len(frame.payload) > 1 else 1005
        noted["reason"] = frame.payload[2:].decode("utf-8", "backslashreplace")
    return noted
