"""T2: a header and its payload in two writes and in one, with and without Nagle's algorithm."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

from labkit.charts import layout, style
from labkit.course.alone import started_now
from labkit.course.http_streaming import charts
from labkit.course.shown import Shown
from labkit.progress import Progress
from labkit.wire.events import now_ns

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

STEP_S = 0.04
"""Linux's shortest delayed acknowledgement (TCP_DELACK_MIN)."""
TIMEOUT_S = 5.0
HEAD, PAYLOAD, QUESTION = b"h" * 5, b"p" * 100, b"q" * 50
WAYS = {"two writes": (0, 2), "two writes, TCP_NODELAY": (1, 2), "one write": (0, 1)}


@dataclass(frozen=True, repr=False)
class Steps(Shown):
    """Latencies in seconds of a header and its payload, by pattern and way of writing, without any injected delay.

    Patterns: ``stream`` (the server writes by itself) and ``asked`` (each answer follows a request, as in long
    polling). Ways: ``two writes``, ``two writes, TCP_NODELAY``, ``one write``.
    """

    index = "bare"

    samples: Mapping[tuple[str, str], tuple[float, ...]]
    settings: dict[str, Any] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        """Median latency in ms: a row per way of writing, a column per pattern."""
        import pandas as pd

        rows: dict[str, dict[str, float]] = {}
        for (pattern, way), values in self.samples.items():
            rows.setdefault(way, {})[f"{pattern}, median ms"] = round(sorted(values)[len(values) // 2] * 1e3, 2)
        return pd.DataFrame.from_dict(rows, orient="index")

    def chart(self) -> go.Figure:
        """Latency of a header and its payload by pattern and way of writing, on a logarithmic scale.

        Returns:
            A figure: a row per pattern and way, each event a dot, its median a bar; Linux's shortest delayed
            acknowledgement as a dashed line.
        """
        ink, rows, figure = style.GREY.ink, list(self.samples.items()), layout.blank()
        for y, ((pattern, _), values) in enumerate(rows):
            mark = charts.EOF if pattern == "asked" else charts.CHUNKED
            figure.add_scatter(
                x=[max(v * 1e3, 0.005) for v in values], y=[y] * len(values), mode="markers", showlegend=False,
                marker={"symbol": mark.symbol, "size": 7, "color": mark.color},
                hovertemplate="%{x:.3f} ms<extra></extra>",
            )  # fmt: skip
            figure.add_scatter(
                x=[median(values) * 1e3], y=[y], mode="markers", showlegend=not y, name="median", hoverinfo="skip",
                marker={"symbol": "line-ns", "size": 18, "line": {"width": 3.5, "color": ink}},
            )  # fmt: skip
        figure.add_vline(x=STEP_S * 1e3, line={"color": ink, "dash": "dash", "width": 1})
        charts.named_at(figure, "40 ms: Linux's shortest delayed acknowledgement", STEP_S * 1e3, "right")
        ticks = [0.01, 0.1, 1, 10, 100]
        figure.update_xaxes(
            type="log", title_text="latency (ms, logarithmic)", tickvals=ticks, ticktext=[f"{t:g}" for t in ticks],
            range=[-2.4, 2.1],
        )  # fmt: skip
        layout.name_rows(figure, [f"{pattern}: {way}" for (pattern, way), _ in rows])
        step, stream = (style.ms(median(self.samples[p, "two writes"]) * 1e3) for p in ("asked", "stream"))
        return layout.dressed(
            figure,
            f"Two writes take {step} where the client has just asked, {stream} on a stream",
            "loopback, both ends in one process; asked: each answer follows a request; stream: the server writes every "
            "20 ms, its reader sleeps.<br>The first answers of a connection are acknowledged at once, and not delayed",
            height=400, margin=(220, 40, 124, 92),
        )  # fmt: skip


def two_writes(*, events: int = 24) -> Steps:
    """Send a header and its payload over loopback in two writes and in one, with and without Nagle's algorithm.

    Raises:
        ValueError: too few events for a median's interval.
    """
    if events < 8:
        raise ValueError(f"events must be at least 8, not {events!r}")
    progress, samples = Progress(), dict[tuple[str, str], tuple[float, ...]]()
    for pattern in ("stream", "asked"):
        for way in WAYS:
            progress.show(f"{pattern}: {way}")
            samples[pattern, way] = exchanges(pattern, *WAYS[way], events)
    progress.done()
    return Steps(samples, started_now())


def exchanges(pattern: str, no_delay: int, writes: int, events: int) -> tuple[float, ...]:
    """Latencies in seconds, from before the first write to after the read that brought the payload's last byte.

    Args:
        pattern: ``stream``, the server writes every 20 ms; ``asked``, it answers, and is asked again at once.
        no_delay: TCP_NODELAY of the server's socket.
        writes: 2 for header and payload apart, 1 for both at once.

    Raises:
        ValueError: another pattern.
    """
    if pattern not in ("stream", "asked"):
        raise ValueError(f"pattern must be 'stream' or 'asked', not {pattern!r}")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname(), TIMEOUT_S)
        server = listener.accept()[0]
    began_ns: list[int] = []
    with client, server:
        server.settimeout(TIMEOUT_S)
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, no_delay)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        thread = threading.Thread(target=_write, args=(server, pattern, writes, events, began_ns), daemon=True)
        thread.start()
        try:
            return tuple(_read(client, pattern, events, began_ns))
        finally:
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            thread.join(TIMEOUT_S)


def _write(server: socket.socket, pattern: str, writes: int, events: int, began_ns: list[int]) -> None:
    with suppress(OSError):
        for number in range(events):
            if pattern == "stream":
                time.sleep(0.02)
            if pattern == "asked" or not number:
                server.recv(len(QUESTION))
            began_ns.append(now_ns())
            for data in (HEAD, PAYLOAD) if writes == 2 else (HEAD + PAYLOAD,):
                server.send(data)


def _read(client: socket.socket, pattern: str, events: int, began_ns: list[int]) -> Iterator[float]:
    for number in range(events):
        if pattern == "asked" or not number:
            client.send(QUESTION)
        missing = len(HEAD + PAYLOAD)
        while missing:
            data = client.recv(missing)
            if not data:
                return
            missing -= len(data)
        yield (now_ns() - began_ns[number]) / 1e9
