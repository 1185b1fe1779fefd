"""A WebSocket to read in a capture: a word of the reader's own, masked, and a close code of its own."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from labkit import loop
from labkit.claims.exercises import Exercise
from labkit.client.ledger import Ledger
from labkit.course import captures
from labkit.course.alone import ready
from labkit.course.websocket.raw import RawSocket
from labkit.errors import LabkitError
from labkit.lab.lab import Lab
from labkit.network.link import Link
from labkit.wire.close_codes import encode_close
from labkit.wire.frames import Frame, FrameDecoder, Opcode, apply_mask, encode_frame

KIND = "05"
SYLLABLES = ("ba", "de", "fi", "go", "ku", "la", "me", "ni", "po", "ru", "sa", "te", "vi", "zo")


def capture(lab: Lab, path: str | Path = "05-capture.pcapng", *, again: bool = False) -> captures.Capture:
    """Hold a short conversation on a WebSocket and write its connection to *path*; open the file if it is there.

    The client sends a word that the server does not understand, publishes an event, and closes. Word, keys and close
    code are drawn.

    Args:
        again: make another one, whatever is there.

    Raises:
        LabClosed: the lab is closed.
        LabkitError: the file cannot be written, or is no capture.
    """
    ready(lab)
    return captures.capture_of(KIND, path, again, lambda: loop.run(_conversation(lab, random.SystemRandom())))


async def _conversation(lab: Lab, chance: random.Random) -> Ledger:
    word = "".join(chance.choice(SYLLABLES) for _ in range(4))
    code = chance.randint(4000, 4999)
    path = f"/websocket?topic=05-capture-{chance.getrandbits(32):08x}"
    async with Link(lab, one_way_s=0.005) as link, await RawSocket.open(link.ports["http"], path) as socket:
        await socket.text(word.encode())
        await _answered(socket, b'"error"')
        await socket.text(b'{"publish":"hello","ref":1}')
        await _answered(socket, b'"ref"')
        await socket.send(Frame(Opcode.CLOSE, encode_close(code, "done"), mask=os.urandom(4)))
        await socket.close_frame()
        await socket.frame()  # None: the server has closed
    ledger = Ledger()
    ledger.connections.append(socket.record)
    return ledger


async def _answered(socket: RawSocket, mark: bytes) -> None:
    while (frame := await socket.frame()) is not None and mark not in frame.payload:
        pass


@dataclass(frozen=True)
class Conversation:
    """What the answers are read from: both ends' frames, in order, unmasked, each with its key."""

    handshake_key: str
    sent: Sequence[Frame]
    answered: Sequence[Frame]

    @classmethod
    def of(cls, capture: captures.Capture) -> Conversation:
        """Of a capture.

        Raises:
            LabkitError: it holds no WebSocket that was closed with a code.
        """
        heads, frames = [], []
        for who in ("client", "server"):
            head, _, rest = capture.sent_by(who).partition(b"\r\n\r\n")
            heads.append(head)
            frames.append(FrameDecoder().feed(rest))
        fields = (line.partition(":") for line in heads[0].decode("latin-1").split("\r\n"))
        key = next((value.strip() for name, _, value in fields if name.lower() == "sec-websocket-key"), "")
        found = cls(key, *frames)
        if not found.sent or found.sent[0].mask is None or found.sent[-1].opcode is not Opcode.CLOSE:
            raise LabkitError(
                f"{capture.path} holds no WebSocket with its close. Delete it, and the cell makes another."
            )
        return found

    @property
    def first(self) -> Frame:
        """The client's first frame."""
        return self.sent[0]

    @property
    def masked_word(self) -> bytes:
        """Its payload as it lay on the wire."""
        return apply_mask(self.first.payload, self.key)

    @property
    def key(self) -> bytes:
        """Its masking key."""
        assert self.first.mask is not None
        return self.first.mask


def masking_key(talk: Conversation, said: bytes) -> str | None:
    """The masking key of the client's first frame."""
    if said == talk.key:
        return None
    if len(said) != 4:
        return f"A masking key has 4 bytes, not {len(said)}."
    frame = encode_frame(talk.first)
    if said == talk.masked_word[:4]:
        return "These are the first four bytes of the payload, masked; the key stands before them."
    if said in frame[:6]:
        return f"Those bytes begin at byte {frame.find(said)} of the frame: two bytes of header stand before the key."
    if said == talk.key[::-1]:
        return "The right bytes, from behind: a key has no byte order, it is used from its first byte on."
    for number, other in enumerate(talk.sent[1:], 2):
        if said == other.mask:
            return f"That is the key of the client's frame {number}: each frame has its own."
    return f"Found {said.hex(' ')}."


def word(talk: Conversation, said: str) -> str | None:
    """The text that the client's first frame carries."""
    right = talk.first.payload
    found = said.encode("latin-1", "replace")
    if found == right:
        return None
    if found.strip().lower() == right:
        return "Nearly: as it was sent, without blanks and capitals."
    if found == talk.masked_word or said.replace(" ", "") == talk.masked_word.hex():
        return "That is what lay on the wire: still masked."
    for shift in (1, 2, 3):
        if found == apply_mask(talk.masked_word, talk.key[shift:] + talk.key[:shift]):
            return f"Unmasked with the key from its byte {shift} on: the first byte of the payload goes with byte 0."
    if right.startswith(found) or right.endswith(found):
        return f"{len(found)} letters of it are right; it has {len(right)}."
    if len(found) != len(right):
        return f"It has {len(right)} letters, found {len(found)}."
    wrong = next(at for at, (mine, theirs) in enumerate(zip(found, right, strict=True)) if mine != theirs)
    if wrong == 0:
        return "The first letter is wrong."
    return f"Letter {wrong + 1} is wrong; those before it are right."


def close_code(talk: Conversation, code: float) -> str | None:
    """The code that the connection is closed with."""
    frame = talk.sent[-1]
    payload = frame.payload
    masked = apply_mask(payload, frame.mask) if frame.mask else payload
    slips = {
        int.from_bytes(masked[:2], "big"): "Those two bytes are the client's, still masked. The server's are not.",
        int.from_bytes(payload[1::-1], "big"): "The right bytes, from behind: the high byte comes first.",
        int.from_bytes(payload[2:4], "big"): "Those are the first bytes of the reason; the code stands before it.",
        0x8800 + len(payload): "That is the header of the frame; the code is the first two bytes behind it.",
        payload[0]: "That is one byte; a code has two.",
        payload[1]: "That is one byte, the second; a code has two.",
    }
    digits = payload[:2].hex()
    if digits.isdecimal():
        slips[int(digits)] = (
            f"Those are the hexadecimal digits, read as decimal: {digits[:2]} {digits[2:]} is 0x{digits}."
        )
    return captures.slipped(code, int.from_bytes(payload[:2], "big"), slips)


def four(value: object) -> bytes:
    """Bytes, or text in hex."""
    if isinstance(value, bytes | bytearray | list | tuple):
        return bytes(value)
    if isinstance(value, str):
        return bytes.fromhex(value.replace(":", " "))
    raise TypeError(value)


def text(value: object) -> str:
    """Text, or bytes of it."""
    if isinstance(value, bytes | bytearray):
        return bytes(value).decode("latin-1")
    if not isinstance(value, str):
        raise TypeError(value)
    return value


_of_talk = partial(captures.asked, KIND, Conversation.of)
EXERCISES: dict[str, Exercise] = {
    "05.5": Exercise(
        "",
        _of_talk(masking_key),
        "Bytes 2 to 5 of its frame: behind FIN and opcode, and behind mask bit and length.",
        "in hexadecimal, the client's first frame begins with 81; its second byte is the length, plus 80 for the mask.",
        read=four,
        kind="four bytes, as bytes or in hex",
    ),
    "05.6": Exercise(
        "",
        _of_talk(word),
        "Each byte behind the key, xored with one byte of it; the fifth begins with the first again.",
        "byte i of the payload is combined with byte i % 4 of the key by exclusive or; ^ in Python.",
        read=text,
        kind="a text",
    ),
    "05.7": Exercise(
        "",
        _of_talk(close_code),
        "Two bytes, the high one first; the server's close frame repeats it without a mask.",
        "in hexadecimal, a close frame begins with 88; the first two bytes of its payload are the code.",
        read=captures.number,
        kind="a number, or its two bytes in hex",
    ),
}
