"""S6: how much must be written until a client shows its program the first event."""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labkit.charts import layout, style
from labkit.course.alone import started_now
from labkit.course.http_streaming import charts
from labkit.course.http_streaming.clients import TIMEOUT_S, clients
from labkit.course.shown import Shown
from labkit.lab.lab import Lab
from labkit.progress import Progress

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

EVENT = b'{"id":%6d,"data":"' + b"." * 44 + b'"}\n'
EVENT_BYTES = len(EVENT % 0)
LIMIT_BYTES = 8 << 10
FIRST_PAUSE_S = 0.3
PAUSE_S = 0.004
PAGE_TOPIC = "03-page"


@dataclass(frozen=True)
class Reading:
    """How much a server had written when one client showed the first event.

    ``body_bytes``: None if nothing showed before the response ended, at ``limit_bytes``.
    """

    client: str
    framing: str
    body_bytes: int | None
    event_bytes: int
    limit_bytes: int


@dataclass(frozen=True, repr=False)
class FirstShown(Shown):
    """Real clients, each with its default reading. ``missing``: those that could not be tried, and why."""

    index = "bare"

    cases: tuple[Reading, ...]
    missing: Mapping[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        """One row per client: body bytes written when the first event showed, chunked and EOF."""
        import pandas as pd

        rows: dict[str, dict[str, str]] = {}
        for case in self.cases:
            text = f"{case.body_bytes} B" if case.body_bytes is not None else "not before the end"
            rows.setdefault(case.client, {})[case.framing] = text
        for client, why in self.missing.items():
            rows[client] = dict.fromkeys(("chunked", "eof"), f"not run: {why}")
        return pd.DataFrame.from_dict(rows, orient="index").fillna("")

    def chart(self) -> go.Figure:
        """How many bytes must be written until each client shows the first event, on a logarithmic scale.

        Returns:
            A figure: a row per client, a mark per framing; an arrow at the right edge where nothing showed before the
            end of the response.
        """
        names, figure = list(dict.fromkeys(case.client for case in self.cases)), layout.blank()
        event, limit = self.cases[0].event_bytes, self.cases[0].limit_bytes
        for framing, mark, off, name in (
            ("chunked", charts.CHUNKED, -0.17, "chunked"), ("eof", charts.EOF, 0.17, "body ended by the close"),
        ):  # fmt: skip
            cases = [case for case in self.cases if case.framing == framing]
            look = {"size": 11, "color": mark.color, "line": {"width": 2, "color": mark.color}}
            figure.add_scatter(
                x=[case.body_bytes or limit * 1.5 for case in cases], y=[names.index(c.client) + off for c in cases],
                mode="markers", showlegend=False, customdata=[c.client for c in cases],
                marker={"symbol": [mark.symbol if c.body_bytes else "triangle-right-open" for c in cases], **look},
                hovertemplate="%{customdata}: %{x} bytes<extra></extra>",
            )  # fmt: skip
            figure.add_scatter(x=[None], y=[None], mode="markers", name=name, marker={"symbol": mark.symbol, **look})
        figure.add_vline(x=event, line={"color": style.GREY.rule, "dash": "dot"})
        charts.named_at(figure, "one event", event)
        charts.named_at(figure, "nothing before the end", limit * 1.5)
        ticks = [64, 256, 1024, 4096]
        figure.update_xaxes(
            type="log", title_text="bytes written (logarithmic)",
            tickvals=ticks, ticktext=[style.number(t) for t in ticks],
            range=[math.log10(event / 1.5), math.log10(limit * 2)],
        )  # fmt: skip
        layout.name_rows(figure, names)
        late = list(dict.fromkeys(
            c.client for c in self.cases if c.body_bytes is None or c.body_bytes >= 8 * c.event_bytes
        ))  # fmt: skip
        held = dict.fromkeys(client.partition(",")[0].partition(" ")[0] for client in late)
        return layout.dressed(
            figure,
            f"{len(late)} of {len(names)} ways of reading hold the first event back: {style.joined(held)}",
            "body bytes that the server had written when the program saw the first event",
            height=150 + 36 * len(names), margin=(212, 80, 96, 92),
        )  # fmt: skip


class Drip:
    """A server for one request: an event, a pause, an event after another, until somebody says that one is shown.

    Args:
        framing: ``chunked`` or ``eof``.
    """

    def __init__(self, framing: str) -> None:
        self.framing = framing
        self.shown = threading.Event()
        self.written_bytes = 0
        self.ended = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(TIMEOUT_S)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"
        self._thread = threading.Thread(target=self._serve, name="labkit-drip", daemon=True)

    def __enter__(self) -> Drip:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shown.set()
        self._listener.close()
        self._thread.join(TIMEOUT_S)

    def _serve(self) -> None:
        with suppress(OSError), self._listener.accept()[0] as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.settimeout(TIMEOUT_S)
            client.recv(1 << 16)
            coding = "Transfer-Encoding: chunked" if self.framing == "chunked" else "Connection: close"
            client.sendall(f"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n{coding}\r\n\r\n".encode())
            pause_s = FIRST_PAUSE_S
            while self.written_bytes < LIMIT_BYTES:
                self._write(client, EVENT % (self.written_bytes // EVENT_BYTES))
                if self.shown.wait(pause_s):
                    return
                pause_s = PAUSE_S
            self.ended = True
            if self.framing == "chunked":
                client.sendall(b"0\r\n\r\n")

    def _write(self, client: socket.socket, event: bytes) -> None:
        self.written_bytes += len(event)
        client.sendall(b"%x\r\n%s\r\n" % (len(event), event) if self.framing == "chunked" else event)


def first_shown(page: Any = None, lab: Lab | None = None) -> FirstShown:
    """How much must be written until each client that is installed shows its program the first event.

    Args:
        page: a :class:`labkit.BrowserSubscriber` of *lab* on the topic ``03-page``, for the browser's ``fetch``.
        lab: the lab of the page.
    """
    progress, cases, missing = Progress(), list[Reading](), dict[str, str]()
    for name, first in clients(missing):
        for framing in ("chunked", "eof"):
            progress.show(f"{name}, {framing}")
            try:
                cases.append(_tried(name, framing, first))
            except Exception as error:  # each library has its own
                missing[f"{name}, {framing}"] = f"gave up: {error or type(error).__name__}"
    if page is not None and lab is not None:
        found = in_the_page(lab, page)
        cases += [found] if isinstance(found, Reading) else []
        missing |= {} if isinstance(found, Reading) else {"the page's fetch": found}
    else:
        missing["the page's fetch"] = "no page attached"
    progress.done()
    return FirstShown(tuple(cases), missing, started_now())


def _tried(name: str, framing: str, first: Callable[[str], object]) -> Reading:
    with Drip(framing) as drip:
        first(drip.url)
        ended, written_bytes = drip.ended, drip.written_bytes
        drip.shown.set()
    return Reading(name, framing, None if ended else written_bytes, EVENT_BYTES, LIMIT_BYTES)


def in_the_page(lab: Lab, page: Any) -> Reading | str:
    """Publish to the page's ``fetch`` until it has shown an event; why not, where there is none."""
    if not page.wait(TIMEOUT_S, progress=False):
        return "no page attached"
    before, written = page.count(), 0
    deadline_s = time.monotonic() + TIMEOUT_S
    while page.count() == before and time.monotonic() < deadline_s and written < LIMIT_BYTES:
        lab.publish("." * 44, PAGE_TOPIC)
        written += EVENT_BYTES
        pause_s = time.monotonic() + (FIRST_PAUSE_S if written == EVENT_BYTES else PAUSE_S)
        while page.count() == before and time.monotonic() < pause_s:
            time.sleep(PAUSE_S)
    return Reading("the page's fetch", "chunked", written if page.count() > before else None, EVENT_BYTES, LIMIT_BYTES)
