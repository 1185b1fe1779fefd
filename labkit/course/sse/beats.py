"""E6: heartbeats that a page's code can see and cannot see."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.charts import layout, style
from labkit.course.alone import started_now
from labkit.course.background import cancelled, lateness, until
from labkit.course.case_server import Asked, CaseServer, shown
from labkit.course.shown import as_table
from labkit.course.sse.listeners import KINDS, Listener, hear, kind_of, listen, open_page, path_of
from labkit.course.sse.noticing import noticing
from labkit.course.sse.with_page import BROWSER, OURS, WithPage
from labkit.network.link import Link
from labkit.techniques.sse import SSE
from labkit.wire.events import now_ns

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

BEAT_S = 0.15
ROUNDS = 4


@dataclass(frozen=True)
class Beats:
    """One stream of heartbeats at one client. Times in ns on the lab's clock."""

    client: str
    kind: str
    """``comment`` or ``named event``."""
    sent_ns: tuple[int, ...]
    seen_ns: tuple[int, ...]
    """When the client's code was called."""
    alarms_ns: tuple[int, ...]
    """When its watchdog went off."""
    errors_ns: tuple[int, ...] = ()
    """When the client was told of an error."""

    @property
    def lane(self) -> str:
        return f"{self.kind}s,<br>{'kernel' if self.client == OURS else 'this page'}"


@dataclass(frozen=True, repr=False)
class Heartbeats(WithPage):
    """Heartbeats of both kinds through a link that stalls several times."""

    streams: tuple[Beats, ...]
    stalls_ns: tuple[tuple[int, int], ...]
    beat_s: float
    watchdog_s: float
    one_way_s: float
    started_ns: int
    late_s: tuple[float, ...] = ()

    def noticed_s(self, stream: Beats) -> list[float | None]:
        """After how many seconds of each stall the stream's watchdog went off, or its client saw an error."""
        told = sorted(stream.alarms_ns + stream.errors_ns)
        return [next(((t - a) / 1e9 for t in told if a < t <= b), None) for a, b in self.stalls_ns]

    def false_alarms(self, stream: Beats) -> int:
        """How often its watchdog went off while the link was well."""
        return sum(not any(a < t <= b for a, b in self.stalls_ns) for t in stream.alarms_ns)

    def table(self) -> pd.DataFrame:
        """One row for each stream."""
        columns = ["client", "heartbeat", "sent", "seen by its code", "false alarms", "stalls noticed", "after (ms)"]
        rows = []
        for s in self.streams:
            after_s = [t for t in self.noticed_s(s) if t is not None]
            mean = f"{1e3 * sum(after_s) / len(after_s):.0f}" if after_s else "-"
            noticed = f"{len(after_s)} of {len(self.stalls_ns)}"
            rows.append((s.client, s.kind, len(s.sent_ns), len(s.seen_ns), self.false_alarms(s), noticed, mean))
        return as_table(rows, columns).set_index(["client", "heartbeat"])

    def chart(self) -> go.Figure:
        """Heartbeats sent, heartbeats that the client's code saw, and when its watchdog went off; stalls shaded."""
        grey, figure = style.GREY, layout.blank()
        names = [stream.lane for stream in self.streams]

        def seconds(times_ns: Sequence[int]) -> list[float]:
            return [(t_ns - self.started_ns) / 1e9 for t_ns in times_ns]

        symbol = SSE.mark.symbol
        kinds = (
            ("sent_ns", "sent", {"symbol": "line-ns", "size": 12, "color": grey.muted, "line": {"width": 1.5}}),
            ("seen_ns", "seen by the client's code", {"symbol": symbol, "size": 8, "color": "#0072B2"}),
            ("alarms_ns", "the watchdog goes off", {"symbol": "x", "size": 11, "color": "#B84300"}),
        )
        for (times, name, marker), up in zip(kinds, (-0.18, 0.06, 0.3), strict=True):
            x = [t for stream in self.streams for t in seconds(getattr(stream, times))]
            y = [at + up for at, stream in enumerate(self.streams) for _ in getattr(stream, times)]
            figure.add_scatter(
                x=x, y=y, mode="markers", name=name, marker=marker, hovertemplate="%{x:.3f} s<extra></extra>"
            )
        for number, (began_ns, ended_ns) in enumerate(self.stalls_ns):
            began_s, ended_s = seconds((began_ns, ended_ns))
            figure.add_vrect(x0=began_s, x1=ended_s, fillcolor=grey.rule, opacity=0.25, line_width=0, layer="below")
            if not number:
                figure.add_annotation(
                    x=began_s, y=1, yref="paper", text="the link stalls", xanchor="left", yanchor="bottom",
                    showarrow=False, font={"size": 11, "color": grey.muted},
                )  # fmt: skip
        comments = sum(len(s.seen_ns) for s in self.streams if s.kind == "comment")
        sent = sum(len(s.sent_ns) for s in self.streams if s.kind == "comment")
        figure.update_xaxes(title_text="time (s)", showgrid=False)
        layout.name_rows(figure, names, room=(0.6, 0.6), showgrid=None)
        return layout.dressed(
            figure,
            f"Of {sent} comments the client's code sees {comments}; it notices a stall by named events alone",
            f"a heartbeat every {style.seconds(self.beat_s)}, a watchdog of {style.seconds(self.watchdog_s)}",
            height=230 + 65 * len(names), margin=(200, 24, 96, 96),
        )  # fmt: skip

    def noticing(self, *, missed: int = 3, beat_bytes: int = 18) -> go.Figure:
        """What it costs to notice a dead link sooner, and this run's own times. The slider sets the interval.

        Args:
            missed: after how many intervals of silence the watchdog goes off.
            beat_bytes: bytes of one heartbeat in the stream, TCP and IP not counted.
        """
        named = [stream for stream in self.streams if stream.kind == "named event"]
        measured_s = [t for stream in named for t in self.noticed_s(stream) if t is not None]
        return noticing(measured_s, self.beat_s, missed, beat_bytes)


def heartbeats(*, rounds: int = ROUNDS, beat_s: float = BEAT_S, one_way_s: float = 0.02, seed: int = 4) -> Heartbeats:
    """Send heartbeats as comments and as named events, stall the link several times, and see who notices.

    Both clients have the same watchdog: it goes off when nothing was dispatched for three intervals. One client is
    made of the kit's decoder, in the kernel; the other is the page's EventSource, if there is a page.

    Args:
        rounds: how often the link stalls.
        beat_s: from one heartbeat to the next, in seconds.

    Raises:
        ValueError: no round, or heartbeats closer than 50 ms.
    """
    if rounds < 1 or not 0.05 <= beat_s <= 60:
        raise ValueError(f"rounds={rounds!r}, beat_s={beat_s!r}: at least one round, and 0.05 to 60 seconds")
    return shown(_heartbeats(rounds, beat_s, one_way_s, random.Random(seed)), "listening for heartbeats")


async def _heartbeats(rounds: int, beat_s: float, one_way_s: float, dice: random.Random) -> Heartbeats:
    async def answer(asked: Asked) -> None:
        await asked.head()
        asked.sent_ns.clear()
        while True:
            await asyncio.sleep(beat_s)
            await asked.write(KINDS[kind_of(asked.path)])

    started_ns, watchdog_s = now_ns(), 3 * beat_s
    async with (
        CaseServer({"beats": answer}) as server,
        Link(server, one_way_s=one_way_s) as link,
        lateness(beat_s) as late_s,
    ):
        streams = {f"kernel/{kind}": Listener(OURS, kind) for kind in KINDS}
        tasks = [asyncio.ensure_future(listen(link, key, s, watchdog_s)) for key, s in streams.items()]
        try:
            browser, why = await open_page(server, link, watchdog_s)
            if browser:
                streams |= {f"page/{kind}": Listener(BROWSER, kind) for kind in KINDS}
                tasks.append(asyncio.ensure_future(hear(server, streams)))
            stalls = [await _stall(link, streams, beat_s, dice) for _ in range(rounds)]
            named = {key: s for key, s in streams.items() if s.kind == "named event"}
            await until(lambda: all(len(s.seen_ns) >= len(_sent(server, key)) for key, s in named.items()), 2 + beat_s)
            beats = tuple(_beats(s, _sent(server, key)) for key, s in streams.items())
            server.over = True  # the page hears of it with its next report
            await asyncio.sleep(3 * beat_s if browser else 0)
        finally:
            await cancelled(*tasks)
    return Heartbeats(
        beats, tuple(stalls), beat_s, watchdog_s, one_way_s, started_ns, tuple(late_s),
        why=why, browser=browser, settings=started_now(),
    )  # fmt: skip


def _beats(heard: Listener, sent_ns: Iterable[int]) -> Beats:
    times = tuple(heard.seen_ns), tuple(heard.alarms_ns), tuple(heard.errors_ns)
    return Beats(heard.client, heard.kind, tuple(sent_ns), *times)


def _sent(server: CaseServer, key: str) -> list[int]:
    return [t_ns for asked in server.of(path_of(key)) for t_ns in asked.sent_ns]


async def _stall(link: Link, streams: dict[str, Listener], beat_s: float, dice: random.Random) -> tuple[int, int]:
    """One round: all is well for a while, then nothing passes until every named heartbeat's client has noticed.

    The stall lasts three watchdogs at most, and twice as long as it took to notice, so that others may notice too.
    """
    named, since_ns = [s for s in streams.values() if s.kind == "named event"], now_ns()
    await until(lambda: all(s.seen_ns and s.seen_ns[-1] > since_ns for s in named), 5 + 10 * beat_s)
    await asyncio.sleep(beat_s * (4 + dice.random()))  # long enough for a watchdog to go off without a cause
    link.stall()
    began_ns = now_ns()
    await until(lambda: all(s.alarms_ns and s.alarms_ns[-1] > began_ns for s in named), 9 * beat_s)
    await asyncio.sleep((now_ns() - began_ns) / 1e9)
    ended_ns = now_ns()
    link.heal()
    return began_ns, ended_ns
