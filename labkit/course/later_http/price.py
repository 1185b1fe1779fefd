"""H2: what the headers of a poll cost over HTTP/1.1, and over HTTP/2 the first and the hundredth time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labkit import loop
from labkit.charts import layout
from labkit.course.alone import ready, started_now
from labkit.course.later_http import edges, raw
from labkit.course.later_http.marks import MARKS, NEW, OLD
from labkit.course.later_http.not_run import or_says_why
from labkit.course.shown import Shown, as_table
from labkit.lab.lab import Lab
from labkit.theory.field_blocks import forgets_at, repeated_request_bytes
from labkit.wire.http2 import Kind

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

POLLS = 100
KIT, BROWSER = "this kit's", "a browser's, with a cookie"
FIELDS: dict[str, dict[str, str]] = {
    KIT: {"accept": "application/json"},
    BROWSER: {
        "sec-ch-ua": '"Chromium";v="156", "Not/A)Brand";v="24"',
        "sec-ch-ua-mobile": "?0",
        "sec-ch-ua-platform": '"Linux"',
        "user-agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 "
        "Safari/537.36",
        "accept": "*/*",
        "sec-fetch-site": "same-origin",
        "sec-fetch-mode": "cors",
        "sec-fetch-dest": "empty",
        "referer": "https://dashboard.example.org/board/42",
        "accept-encoding": "gzip, deflate, br, zstd",
        "accept-language": "ko-KR,ko;q=0.9,en-US;q=0.8,en;q=0.7",
        "cookie": "session=3f9c1b7e5d2a4860b1c9e7f3a5d80246; theme=dark; seen=2026-11-27",
    },
}
"""What requests carry besides what each version demands, by who sends them."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """Bytes of headers of one poll and of its answer. ``theory``: of the request from theory, None for a first one."""

    request: int
    answer: int
    theory: int | None = None

    @property
    def both(self) -> int:
        return self.request + self.answer


@dataclass(frozen=True, repr=False)
class Price(Shown):
    """Polls one after the other on one connection, by whose fields they carry and by version.

    ``forgets_at``: by fields, the number of the poll that has to send them all again, from theory.
    """

    index = "bare"

    polls: Mapping[tuple[str, str], Sequence[Exchange]]
    forgets_at: Mapping[str, int]
    edge: str
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def caption(self) -> str:
        return "Headers of a poll and of its answer, in bytes; frame headers are in it"

    def table(self) -> pd.DataFrame:
        """One row for each kind of fields: both versions, the first poll and the last."""
        rows = []
        for fields in FIELDS:
            old, new = self.polls[fields, OLD], self.polls[fields, NEW]
            rows.append((fields, old[-1].both, new[0].both, new[1].both, new[-1].both, new[-1].request, new[-1].theory))
        columns = ["fields", OLD, f"{NEW}, first", "second", "last", "its request", "theory"]
        return as_table(rows, columns=columns).set_index("fields")

    def resent(self, fields: str) -> list[int]:
        """The numbers of the polls, after the first, whose request cost more than with a table that remembers."""
        polls = self.polls[fields, NEW]
        return [number for number, one in enumerate(polls, 1) if one.theory is not None and one.request > one.theory]

    def share_left(self, fields: str) -> float:
        """The share of HTTP/1.1's bytes of headers that the last poll costs."""
        return self.polls[fields, NEW][-1].both / self.polls[fields, OLD][-1].both

    def chart(self) -> go.Figure:
        """Bytes of headers of each poll, one after the other."""
        figure = layout.panels(*FIELDS, shared_yaxes="all")
        for column, fields in enumerate(FIELDS, 1):
            for version in (OLD, NEW):
                mark, found = MARKS[version], self.polls[fields, version]
                figure.add_scatter(
                    x=list(range(1, len(found) + 1)), y=[one.both for one in found], name=version,
                    legendgroup=version, showlegend=column == 1, mode="lines",
                    line={"color": mark.color, "dash": mark.dash, "width": 2.5}, row=1, col=column,
                    hovertemplate="poll %{x}<br>%{y} bytes<extra></extra>",
                )  # fmt: skip
        figure.update_yaxes(rangemode="tozero")
        figure.update_yaxes(title_text="headers of a poll and its answer (bytes)", col=1)
        figure.update_xaxes(title_text="poll on the connection (number)")
        for column, fields in enumerate(FIELDS, 1):
            at = self.forgets_at[fields]
            figure.add_vline(x=at, line=layout.theory_line(), row=1, col=column)
            figure.add_annotation(
                text=" theory: the<br> table forgets", x=at, y=0.72, yref="y domain", xanchor="left", align="left",
                showarrow=False, row=1, col=column,
            )  # fmt: skip
        old, new = self.polls[BROWSER, OLD][-1].both, self.polls[BROWSER, NEW][-1].both
        title = f"A browser's poll carries {old} bytes of headers over {OLD}, the last over {NEW} {new}"
        return layout.dressed(figure, title, self.edge, height=400, margin=(66, 24, 84, 92))


@or_says_why
def header_price(lab: Lab, *, polls: int = POLLS) -> Price:
    """Poll again and again on one connection, an event published before each, over both versions."""
    ready(lab, polls=(polls, 3))
    with edges.secure(lab) as edge:
        edge.check()
        return loop.run(_header_price(lab, edge, polls))


async def _header_price(lab: Lab, edge: edges.Edge, polls: int) -> Price:
    found, forgets = dict[tuple[str, str], Sequence[Exchange]](), dict[str, int]()
    for number, (name, fields) in enumerate(FIELDS.items()):
        topic = f"14-price-{number}"
        found[name, OLD] = await _old(lab, topic, fields, polls)
        found[name, NEW] = await _new(lab, edge, topic, fields, polls)
        path = f"/polling?topic={topic}&after=50@abcdef"
        forgets[name] = forgets_at([(":authority", f"127.0.0.1:{edge.port}"), *fields.items()], (":path", path))
    return Price(found, forgets, edge.name, started_now(edge=edge.name, polls=polls))


async def _old(lab: Lab, topic: str, fields: Mapping[str, str], polls: int) -> list[Exchange]:
    reader, writer = await asyncio.open_connection("127.0.0.1", lab.port)
    found, cursor = [], "0"
    more = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    try:
        for number in range(polls):
            lab.publish(f"event {number}", topic)
            path = f"/polling?topic={topic}&after={cursor}"
            request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{lab.port}\r\n{more}\r\n".encode()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            cursor = json.loads(await reader.readexactly(length))["cursor"]
            found.append(Exchange(len(request), len(head)))
    finally:
        writer.close()
        await writer.wait_closed()
    return found


async def _new(lab: Lab, edge: edges.Edge, topic: str, fields: Mapping[str, str], polls: int) -> list[Exchange]:
    found, cursor = [], "0"
    async with raw.talk(edge.url, cafile=edge.cafile) as talk:
        for number in range(polls):
            lab.publish(f"event {number}", topic)
            path = f"/polling?topic={topic}&after={cursor}"
            stream = talk.ask(path, fields)
            if not await talk.until(lambda stream=stream: stream.end):
                raise TimeoutError("a poll was not answered")
            cursor = json.loads(stream.body)["cursor"]
            sizes = {"client": 0, "server": 0}
            for seen in talk.frames:
                if seen.frame.stream == stream.id and seen.frame.kind in (Kind.HEADERS, Kind.CONTINUATION):
                    sizes[seen.sender] += seen.bytes
            theory = repeated_request_bytes(3 + len(fields), [path]) if number else None
            found.append(Exchange(sizes["client"], sizes["server"], theory))
    return found
