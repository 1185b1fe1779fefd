"""A stream to read in a capture: events of random sizes, and one of four ways to end."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from labkit import loop
from labkit.claims.exercises import Exercise
from labkit.client.connection import Connection
from labkit.client.ledger import Ledger
from labkit.client.wiring import Wiring
from labkit.course import captures
from labkit.course.alone import ready
from labkit.course.http_streaming.ends import request, until
from labkit.errors import LabkitError
from labkit.lab.lab import Lab
from labkit.network.link import Link

KIND = "03"
SIZES = ((20, 120), (300, 1200), (4200, 6000))  # sizes of two, three and four hexadecimal digits
CLIENT, SERVER = "client", "server"
LAST = b"0\r\n\r\n"
ENDINGS = ((CLIENT, "whole"), (CLIENT, "cut"), (SERVER, "whole"), (SERVER, "cut"))


def capture(lab: Lab, path: str | Path = "03-capture.pcapng", *, again: bool = False) -> captures.Capture:
    """Read one chunked stream and write its connection to *path*; open the file instead if it is there.

    Sizes and number of the events are drawn, and so is the end: by which side, and whether the body is whole by then.

    Args:
        again: make another one, whatever is there.

    Raises:
        LabClosed: the lab is closed.
        LabkitError: the file cannot be written, or is no capture.
    """
    ready(lab)
    return captures.capture_of(KIND, path, again, lambda: loop.run(_conversation(lab, random.SystemRandom())))


async def _conversation(lab: Lab, chance: random.Random) -> Ledger:
    closer, body = chance.choice(ENDINGS)
    sizes = [chance.randint(*chance.choice(SIZES)) for _ in range(chance.randint(4, 6))]
    topic, ledger = f"03-capture-{chance.getrandbits(32):08x}", Ledger()
    target = f"/http-streaming?topic={topic}" + f"&recycle={len(sizes)}" * (body == "whole")
    header = "Connection: close\r\n" if (closer, body) == (SERVER, "whole") else ""
    async with Link(lab, one_way_s=0.005) as link:
        connection = await Connection.open("127.0.0.1", link.ports["http"], Wiring(ledger, "http-streaming"))
        try:
            await connection.write(request(target, header=header))
            read = await until(connection, b'{"cursor"')
            for number, size in enumerate(sizes, 1):
                lab.publish(f"{number} ".ljust(size, "~"), topic)
                read = await until(connection, b'~"}\n\r\n')
            if body == "whole" and not read.endswith(LAST):
                await until(connection, LAST)
            elif closer == SERVER:
                link.cut("fin")
            if closer == SERVER:
                await until(connection, None)
        finally:
            connection.close()
    return ledger


@dataclass(frozen=True)
class Stream:
    """What the answers are read from: the response's bytes, and where its chunks lie in them.

    ``chunks``: for each, where its size line begins, where its data does, and how many bytes of data it has.
    """

    raw: bytes
    body_at: int
    chunks: tuple[tuple[int, int, int], ...]
    whole: bool
    closer: str

    @classmethod
    def of(cls, capture: captures.Capture) -> Stream:
        """Of a capture.

        Raises:
            LabkitError: it holds no chunked response with three events.
        """
        raw = capture.sent_by(SERVER)
        body_at = raw.find(b"\r\n\r\n") + 4
        at, chunks, whole = body_at, list[tuple[int, int, int]](), False
        while (stop := raw.find(b"\r\n", at)) >= 0:
            size = int(raw[at:stop].partition(b";")[0] or b"0", 16)
            if size == 0:
                whole = raw.endswith(b"\r\n\r\n")
                break
            chunks.append((at, stop + 2, size))
            at = stop + 2 + size + 2
        closer = capture.first_with("FIN") or capture.first_with("RST")
        found = cls(raw, body_at, tuple(chunks), whole, closer)
        if found.event_at(3) < 0:
            raise LabkitError(f"{capture.path} holds no stream of three events. Delete it, and the cell makes another.")
        return found

    def event_at(self, number: int) -> int:
        """Where the JSON of the event that was sent as this one, from 1, begins; -1 if there is none."""
        at = -1
        for _ in range(number):
            at = self.raw.find(b'{"id"', at + 1)
            if at < 0:
                break
        return at

    def framing_of(self, at: int) -> int:
        """Bytes of framing of the chunk in which this byte lies: size, CR LF, and the CR LF behind the data."""
        begins, data, _ = self.chunk_at(at)
        return data - begins + 2

    def chunk_at(self, at: int) -> tuple[int, int, int]:
        """The chunk in which this byte lies."""
        return next(chunk for chunk in reversed(self.chunks) if chunk[0] <= at)


def framing_of_third(stream: Stream, count: float) -> str | None:
    """How many bytes of framing the chunk of the third event has."""
    third = stream.event_at(3)
    right, size = stream.framing_of(third), stream.chunk_at(third)[2]
    slips = {
        right - 4: "Those are the digits alone. Both CR LF of a chunk are framing too.",
        right - 2: "Two bytes are missing: a CR LF stands behind the size, and another one behind the data.",
        right - 3: "A CR LF is two bytes, and there are two of them.",
        size: "That is the data. Framing is what the chunk has besides.",
        size + right: "That is the whole chunk, its data included.",
    }
    other = "That is another chunk's. The first chunk holds the cursor, and no event."
    others = {stream.framing_of(at): other for at in (stream.body_at, stream.event_at(2))}
    return captures.slipped(count, right, others | slips)


def place_of_third(stream: Stream, offset: float) -> str | None:
    """At which byte of the response, from 0, the JSON of the third event begins."""
    right = stream.event_at(3)
    begins = stream.chunk_at(right)[0]
    headers = f"{captures.HEADERS} bytes of IP and TCP header are counted in, which are no part of the response"
    slips = {
        right + captures.HEADERS: f"{headers}.",
        right + captures.HEADERS + 1: f"{headers}; and seq begins at 1.",
        begins + captures.HEADERS: f"{headers}; and the size line stands before the JSON.",
        begins + captures.HEADERS + 1: f"{headers}; seq begins at 1, and the size line stands before the JSON.",
        right - begins + captures.HEADERS: "That is its place in the dump of its packet, which begins with the IP "
        "header. Count from the H of HTTP/1.1.",
        right + 1: "One too many: the H of HTTP/1.1 is byte 0. (Wireshark's relative seq begins at 1.)",
        right - 1: "One too few.",
        begins: "There its chunk begins; the size and a CR LF stand before the JSON.",
        begins + 1: "That is the seq of its packet: it begins at 1, and the size line stands before the JSON.",
        right - begins: "That is where it begins in its chunk. Count from the H of HTTP/1.1.",
        right - stream.body_at: "Counted from the first byte of the body: the head stands before it.",
        right - stream.body_at + 4: "Counted from the blank line behind the head: the head is part of the response.",
        stream.event_at(2): "There the second event begins. The first chunk holds the cursor, no event.",
        stream.event_at(4): "There the fourth event begins.",
    }
    return captures.slipped(offset, right, slips)


def end_of(stream: Stream, said: tuple[str, str]) -> str | None:
    """Which end closes first, and whether the body was whole by then."""
    closer, body = said
    if closer != stream.closer:
        return f"It is not the {closer} that closes first: look for the first packet with FIN, and who sent it."
    if (body == "whole") is stream.whole:
        return None
    if stream.whole:
        return "The body is whole: the last bytes of the response are a chunk of size 0 and a blank line."
    return "The body is not whole: no chunk of size 0 came before the FIN."


def words(value: object) -> tuple[str, str]:
    """``client`` or ``server``, and ``whole`` or ``cut``, from a text or a pair.

    Raises:
        ValueError, TypeError: it is something else.
    """
    text = " ".join(value) if isinstance(value, list | tuple) else value
    if not isinstance(text, str):
        raise TypeError(value)
    closer, body = text.lower().replace(",", " ").split()
    if (closer, body) not in ENDINGS:
        raise ValueError(value)
    return closer, body


_of_stream = partial(captures.asked, KIND, Stream.of)
EXERCISES: dict[str, Exercise] = {
    "03.5": Exercise(
        "bytes",
        _of_stream(framing_of_third),
        "The digits of its size, and two CR LF: 6 bytes below 256 bytes of data, 7 below 4096, 8 from there.",
        "the third event's JSON begins with id 3; what stands in its chunk before the JSON, and behind its line feed?",
    ),
    "03.6": Exercise(
        "bytes",
        _of_stream(place_of_third),
        "The seq of its packet, less 1, and the size line on top.",
        "add up what the server sent before it, or take the seq of its packet, which begins at 1.",
        read=captures.number,
        kind="a number, or a text in hexadecimal such as '0x1f40'",
    ),
    "03.7": Exercise(
        "",
        _of_stream(end_of),
        "The first FIN says who closed; only the chunk of size 0 says that the body was whole.",
        "the first FIN, and the last bytes of the server's.",
        read=words,
        kind="a text, such as 'client, whole' or 'server, cut'",
    ),
}
