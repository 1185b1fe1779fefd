"""E5: what an event costs in bytes besides its payload."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labkit.charts import layout, style
from labkit.client.ledger import ConnectionRecord, Ledger
from labkit.course.case_server import Asked, CaseServer, shown
from labkit.course.shown import Shown, as_table
from labkit.lab.lab import Lab
from labkit.measuring import schedules
from labkit.measuring.measurement import measure
from labkit.measuring.rounding import counted
from labkit.techniques.sse import SSE
from labkit.wire.event_stream import EventStreamDecoder

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

PAYLOAD_BYTES = 20
SHORTER = (b"data:a", b"data:a\n", b"data\na\n\n", b":a\n\n", b"a\n\n")
"""Blocks with the payload ``a`` and six bytes of framing at most."""
PARTS = {
    "data:": ("framing", ""),
    "line ends of the block": ("framing", "/"),
    "a space after it": ("framing", "x"),
    "id: and its line end": ("framing", "\\"),
    "the id itself": ("envelope", ""),
    "chunk": ("framing", "."),
}
"""Of which category a part is, whose colour it has, and which pattern tells it from the others."""


@dataclass(frozen=True, repr=False)
class Framing(Shown):
    """What an event costs besides its payload, in bytes: in the barest stream, and in one of this lab."""

    left = True
    index = "column"

    bare: Mapping[str, float]
    """Bytes per event by part, of a stream of ``data:`` and blank lines that nothing frames."""
    lab: Mapping[str, float]
    """The same of a lab's own stream."""
    payload_bytes: float
    events: int
    """In each of the two streams."""
    shorter: Mapping[bytes, int]
    """Blocks with less framing, and how many events came of them."""
    run: Any = None
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def bare_bytes(self) -> float:
        return sum(self.bare.values())

    @property
    def lab_bytes(self) -> float:
        return sum(self.lab.values())

    def table(self) -> pd.DataFrame:
        """Bytes per event by part, one column for each stream."""
        frame = as_table({"barest stream": dict(self.bare), "this lab": dict(self.lab)}).fillna(0.0)
        frame = frame.reindex(list(self.lab)).rename_axis("bytes per event")
        frame.loc["all but the payload"] = frame.sum()
        return frame

    def _repr_html_(self) -> str:
        less = ", ".join(
            f"<code>{html.escape(repr(raw)[2:-1])}</code>: {counted(n, 'event')}" for raw, n in self.shorter.items()
        )
        return f"{super()._repr_html_()}<p>With less framing: {less}</p>"

    def chart(self) -> go.Figure:
        """What an event costs besides its payload: claimed, in the barest stream, in a lab's own."""
        figure, grey = layout.blank(), style.GREY
        rows = ["this lab", "barest stream", "claimed (HPBN)"]
        for part, (category, pattern) in PARTS.items():
            values = [self.lab.get(part, 0.0), self.bare.get(part, 0.0), 5.0 if part == "data:" else 0.0]
            figure.add_bar(
                y=rows, x=values, name=part, orientation="h", hovertemplate=f"%{{x:.3g}} bytes: {part}<extra></extra>",
                marker={**style.filled(category),
                        "pattern": {"shape": pattern, "fgcolor": grey.ink, "fillmode": "overlay", "solidity": 0.25}},
            )  # fmt: skip
        for row, total in zip(rows, (self.lab_bytes, self.bare_bytes, 5.0), strict=True):
            figure.add_annotation(
                x=total, y=row, text=f"{total:.3g} bytes", xanchor="left", xshift=6, showarrow=False,
                font={"color": grey.ink},
            )  # fmt: skip
        figure.update_xaxes(title_text="bytes per event", range=[0, 1.2 * self.lab_bytes])
        return layout.dressed(
            figure,
            f"An event needs {self.bare_bytes:g} bytes of framing; here {self.lab_bytes:.3g} lie around its payload",
            f"bytes per event besides its payload of {self.payload_bytes:g} bytes; chunk: HTTP's own framing",
            height=340, margin=(120, 40, 84, 110), barmode="stack", bargap=0.4,
            legend={"orientation": "h", "y": -0.34, "traceorder": "normal"},
        )  # fmt: skip


def framing(lab: Lab, *, events: int = 40, one_way_s: float = 0.05) -> Framing:
    """Count what an event costs besides its payload, in the barest stream there is and in the lab's own.

    Raises:
        ValueError: fewer than three events.
        LabClosed: the lab is closed.
    """
    if events < 3:
        raise ValueError(f"events={events!r}: at least 3, since what lies between them is counted")
    schedule = schedules.periodic(rate_per_s=20, duration_s=events / 20, payload_bytes=PAYLOAD_BYTES)
    run = measure(lab, ["sse"], schedule, one_way_s=one_way_s)
    bare = shown(_bare(events), "reading the barest stream")
    own = between(next(iter(run.ledger.of("sse"))))
    shorter = {raw: sum(e.data == "a" for e in EventStreamDecoder().feed(raw)) for raw in SHORTER}
    return Framing(between(bare), own, float(PAYLOAD_BYTES), events, shorter, run, dict(run.settings))


async def _bare(events: int) -> ConnectionRecord:
    """Read a stream that ends with its connection, of blocks of one data line without a space."""

    async def answer(asked: Asked) -> None:
        if asked.number > 1:
            await asked.head("204 No Content", "")
            return
        await asked.head()
        for number in range(events):
            await asked.write(f"data:{number:0{PAYLOAD_BYTES}}\n\n".encode())

    ledger = Ledger()
    async with CaseServer({"bare": answer}) as server:
        async with aclosing(SSE.connect(server.url("bare"), ledger=ledger, retry_s=0.01)) as items:
            async for _ in items:
                pass
    return next(ledger.of("sse"))


ORDER = ("data:", "a space after it", "line ends of the block", "id: and its line end", "the id itself", "chunk")
_PARTS = {"data:": "data:", "line end": "line ends of the block", "id:": "id: and its line end", "chunk": "chunk"}


def between(record: ConnectionRecord) -> dict[str, float]:
    """Bytes per event from the end of the first payload to the end of the last, by part, the payloads left out."""
    marks = [mark for mark in record.marks if mark.direction == "in"]
    payloads = [number for number, mark in enumerate(marks) if mark.category == "payload"]
    found: Counter[str] = Counter()
    for mark in marks[payloads[0] + 1 : payloads[-1]]:
        size = mark.stop - mark.start
        if mark.label == "data:":
            found["data:"] += 5
            found["a space after it"] += size - 5
        elif mark.category != "payload":
            found[_PARTS.get(mark.label, "the id itself")] += size
    of_ids = sum(mark.label == "id:" for mark in marks[payloads[0] + 1 : payloads[-1]])
    found["line ends of the block"] -= of_ids
    if of_ids:
        found["id: and its line end"] += of_ids
    return {part: found[part] / (len(payloads) - 1) for part in ORDER if found[part]}
