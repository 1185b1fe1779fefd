"""A capture to read: a file of the reader's own, made once, and what the exercises on it ask.

The right answers are read from the file itself, so that everybody's are others.
"""

from __future__ import annotations

import html
import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from labkit.client.ledger import Ledger
from labkit.course.shown import Shown, as_table
from labkit.course.students import present
from labkit.errors import LabkitError, WireError
from labkit.measuring.export.packets import Packet, comments_of, read_pcapng
from labkit.measuring.export.pcapng import to_pcapng
from labkit.measuring.recording import Recording
from labkit.wire.events import now_ns

if TYPE_CHECKING:
    import pandas as pd

_Facts = TypeVar("_Facts")
NO_CAPTURE = "This kernel has no capture of this notebook yet: run the cell that makes it."
MADE_FOR = "Made for the student "
NO_STUDENT = ""
HEADERS = 40
"""Bytes of IP and TCP header before the data of a packet of these files."""
_newest: dict[str, Capture] = {}


@dataclass(frozen=True, repr=False)
class Capture(Shown):
    """The packets of one connection. ``capture[n]`` prints packet *n*, counted from 1.

    Attributes:
        path: the file.
        made: whether it was made just now; else it was there.
        student: whose it is; empty if nobody had been named.
    """

    index = "column"

    path: Path
    packets: tuple[Packet, ...]
    made: bool = True
    student: str = NO_STUDENT

    @classmethod
    def read(cls, path: str | Path, made: bool = False) -> Capture:
        """The capture in a file.

        Raises:
            LabkitError: it cannot be read, or is no capture of this kit's.
        """
        try:
            data = Path(path).read_bytes()
            packets = tuple(read_pcapng(data)) if data else ()
        except OSError as error:
            raise LabkitError(f"{path} cannot be read: {error.strerror}") from None
        except WireError as error:
            raise LabkitError(f"{path}: {error}. Delete it, and the cell makes another.") from None
        if not packets:
            empty = "holds no packets" if data else "is empty"
            raise LabkitError(f"{path} {empty}. Delete it, and the cell makes another.")
        said = (text.removeprefix(MADE_FOR) for text in comments_of(data) if text.startswith(MADE_FOR))
        return cls(Path(path), packets, made, next(said, NO_STUDENT))

    def need_own(self) -> None:
        """Say so if it is another student's than the one who works in this kernel.

        Raises:
            LabkitError: it is.
        """
        who = present()
        if who is not None and self.student and self.student.lower() != who.id.lower():
            raise LabkitError(
                f"{self.path} is the capture of {self.student}, and {who.id} works here. Name another file, or delete "
                "this one, and the cell makes one of your own."
            )

    def __getitem__(self, number: int) -> Dump:
        if not 1 <= number <= len(self.packets):
            raise IndexError(f"packets are numbered from 1 to {len(self.packets)}")
        return Dump(self.packets[number - 1])

    @property
    def client(self) -> tuple[str, int]:
        """The end that opened the connection: its first packet's source."""
        return self.packets[0].source

    def sent_by(self, who: str) -> bytes:
        """All that ``client`` or ``server`` sent, from its first byte."""
        mine = [p for p in self.packets if p.data and (p.source == self.client) == (who == "client")]
        return b"".join(p.data for p in sorted(mine, key=lambda packet: packet.seq))

    def first_with(self, flag: str) -> str:
        """Which end's packet is the first one with this flag; empty if there is none."""
        found = next((p for p in self.packets if flag in p.flags), None)
        return "" if found is None else "client" if found.source == self.client else "server"

    @property
    def caption(self) -> str:
        verb = "written" if self.made else "was there, and was opened; delete it for another"
        whose = f", for {self.student}" if self.student else ""
        return f"{self.path.name}{whose}: {verb}."

    @property
    def note(self) -> str:
        return "seq: relative sequence number, as Wireshark shows it; bytes: of data, behind 40 of IP and TCP headers."

    def table(self) -> pd.DataFrame:
        """One row for each packet."""
        start_ns = self.packets[0].t_ns
        rows = [
            (p.number, (p.t_ns - start_ns) / 1e6, "client" if p.source == self.client else "server",
             " ".join(p.flags), p.seq, len(p.data))
            for p in self.packets
        ]  # fmt: skip
        return as_table(rows, ["packet", "ms", "sent by", "flags", "seq", "bytes"]).set_index("packet")


@dataclass(frozen=True)
class Dump:
    """One packet in hexadecimal."""

    packet: Packet

    def __repr__(self) -> str:
        text = str(self.packet)
        return f"{text}\n(*: lines like the one above it)" if "\n*\n" in text else text

    def _repr_html_(self) -> str:
        style = "line-height:1.35;background:none;white-space:pre;overflow-x:auto"
        return f"<pre style='{style}'>{html.escape(repr(self))}</pre>"


def capture_of(kind: str, path: str | Path, again: bool, converse: Callable[[], Ledger]) -> Capture:
    """Open the capture at *path*; make it first if there is none there, or *again* is asked for.

    Args:
        kind: whose exercises it is for.
        converse: holds the conversation, and gives the bytes of its one connection.

    Raises:
        LabkitError: the file cannot be written or read, or is another student's.
    """
    file = Path(os.fspath(path))
    made = again or not file.exists()
    if made:
        started: dict[str, Any] = {"started": datetime.now(UTC).isoformat(), "started_ns": now_ns()}
        run = Recording([], {}, converse(), started)
        part = file.with_name(f".{file.name}.{os.getpid()}.part")  # another kernel may look for the file meanwhile
        try:
            who = present()
            to_pcapng(run, part, comment=f"{MADE_FOR}{who.id}" if who else "").replace(file)
        except OSError as error:
            raise LabkitError(f"{file} cannot be written: {error.strerror}. Name another file.") from None
        finally:
            part.unlink(missing_ok=True)
    capture = Capture.read(file, made)
    capture.need_own()
    _newest[kind] = capture
    return capture


def newest(kind: str) -> Capture | None:
    """The capture that this kernel has made or opened last."""
    return _newest.get(kind)


def asked(
    kind: str, facts: Callable[[Capture], _Facts], judge: Callable[[_Facts, Any], str | None]
) -> Callable[[Any], str | None]:
    """The judge of an exercise on the newest capture of this *kind*: *judge* with what *facts* reads from it.

    It raises LabkitError where there is no such capture, or only another student's.
    """

    def look(value: Any) -> str | None:
        capture = newest(kind)
        if capture is None:
            raise LabkitError(NO_CAPTURE)
        capture.need_own()
        return judge(facts(capture), value)

    return look


def slipped(found: float, right: int, slips: dict[int, str]) -> str | None:
    """None if *found* is right, else what a known slip that leads to it was."""
    if found == right:
        return None
    known = slips.get(int(found)) if math.isfinite(found) and found == int(found) else None
    return known or f"Found {found:.12g}."


def number(value: Any) -> float:
    """A number. A text that begins with ``0x``, or has pairs of digits with blanks between, is hexadecimal.

    Raises:
        ValueError, TypeError: it is none.
    """
    if isinstance(value, bytes | bytearray):
        return int.from_bytes(value, "big")
    if isinstance(value, str):
        text = value.strip().lower()
        if text.startswith("0x"):
            return int(text, 16)
        if re.fullmatch("[0-9a-f]{2}([ :][0-9a-f]{2})+", text):
            return int.from_bytes(bytes.fromhex(text.replace(":", " ")), "big")
    return float(value)
