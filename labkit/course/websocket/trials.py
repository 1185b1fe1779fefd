"""W4 to W6: what endpoints, this kit's and others', do with the bytes of each case."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from labkit import loop
from labkit.course.alone import started_now
from labkit.course.shown import Shown, as_table, text_table
from labkit.course.websocket import peers
from labkit.course.websocket.cases import CASES, PROBE, Case, sent_bytes, text_frame
from labkit.course.websocket.raw import SAMPLE_KEY, opening
from labkit.lab.lab import Lab
from labkit.progress import Progress
from labkit.wire.frames import Frame, FrameDecoder, Opcode
from labkit.wire.handshake import accept_key

if TYPE_CHECKING:
    import pandas as pd

SILENCE_S = 3.0
"""An endpoint that neither answers nor ends within this hangs."""
WITHOUT = "ends, no code"
SILENT = ("hangs", "no handshake")


SMALL = "font-size:85%"
FOLDED = 8
"""So many rows that all say the same are folded away below those that do not."""

Outcome = Literal["as it must", "ends, no code", "wrong", "no answer"]
SIGNS: dict[str, str] = {"as it must": "✓", "ends, no code": "~", "wrong": "✗", "no answer": "?"}


@dataclass(frozen=True)
class Cell:
    """What one implementation did in one case."""

    implementation: str
    role: str  # "server" or "client": the side that is tried
    claim: str
    clause: str
    case: str
    wanted: str
    found: str
    outcome: Outcome


@dataclass(frozen=True, repr=False)
class Conformance(Shown):
    """Cases by implementation; ``masks``: implementation -> (frames seen, of them masked, different keys)."""

    cells: Sequence[Cell]
    masks: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def of(self, claim: str) -> list[Cell]:
        return [cell for cell in self.cells if cell.claim == claim]

    def table(self) -> pd.DataFrame:
        """How many cases each implementation met, by role."""
        rows = [(c.role, c.implementation, c.outcome) for c in self.cells]
        frame = as_table(rows, ["role", "implementation", "outcome"])
        counts = frame.groupby(["role", "implementation"], sort=False)["outcome"].value_counts().unstack(fill_value=0)
        return counts.reindex(columns=list(SIGNS), fill_value=0).sort_index(
            level=0, ascending=False, sort_remaining=False
        )

    def on_page(self) -> pd.DataFrame:
        return self.table().rename(columns=lambda outcome: f"{SIGNS[outcome]} {outcome}")

    def show(self, claim: str | None = None, role: str = "server") -> Cases:
        """The cases of one claim, or all, as implementations of *role* did them."""
        return Cases([c for c in self.cells if c.role == role and claim in (None, c.claim)])


@dataclass(frozen=True, repr=False)
class Cases(Shown):
    """A wide table: with small type, and what rows share is not repeated."""

    cells: Sequence[Cell]

    def table(self) -> pd.DataFrame:
        """One row for each case, one column for each implementation: what it did."""
        rows = [(c.clause, c.case, c.wanted, c.implementation, f"{SIGNS[c.outcome]} {c.found}") for c in self.cells]
        frame = as_table(rows, ["section", "case", "must", "implementation", "did"])
        order = list(dict.fromkeys(frame["implementation"]))
        wide = frame.pivot(index=["section", "case", "must"], columns="implementation", values="did")
        return wide.loc[list(dict.fromkeys(zip(frame["section"], frame["case"], frame["must"], strict=True))), order]

    def _repr_html_(self) -> str:
        frame = self.table()
        rows = [(*index, *values) for index, values in zip(frame.index, frame.to_numpy(), strict=True)]
        alike = [row for row in rows if all(str(did).startswith(SIGNS["as it must"]) for did in row[3:])]
        columns = ["section", "case", "must", *frame.columns]
        if len(alike) < FOLDED or len(alike) == len(rows):
            return text_table(columns, rows, SMALL)
        others = text_table(columns, [row for row in rows if row not in alike], SMALL)
        summary = f"and {len(alike)} more cases, in which everybody did as it must"
        return f"{others}<details><summary>{summary}</summary>{text_table(columns, alike, SMALL)}</details>"


def conformance(lab: Lab, *, cases: tuple[Case, ...] = CASES) -> Conformance:
    """Try every case on every server and client that is installed, each on a connection of its own.

    Returns:
        What each did, case by case.

    Raises:
        LabClosed: the lab is closed.
    """
    return loop.run(_conformance(lab, cases))


async def _conformance(lab: Lab, cases: tuple[Case, ...]) -> Conformance:
    started, progress = started_now(), Progress()
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
    progress.done()
    return Conformance(tuple(cells), masks, started)


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
        writer.write(opening(port, "/websocket/echo", SAMPLE_KEY))
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
    writer.write(b"".join(sent_bytes(frame, masked) for frame in case.frames))
    if case.probed:
        writer.write(sent_bytes(text_frame(PROBE), masked))
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
