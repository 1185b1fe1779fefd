"""The sequence diagram: client and server as two lines down the page, each write an arrow between them.

Drawn from the recorded reads and writes (``conversation.py``), not from a script: what did not happen is not
shown. Several techniques stand side by side on one axis of time.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from labkit import style
from labkit.charts.conversation import Arrow, conversation
from labkit.charts.pictures import HEIGHT, WIDTH, finished
from labkit.ledger import ConnectionRecord

LABEL_PX = 13  # one label's height
LETTER_PX = 5.8  # a letter's mean width in that size
_MARGIN = {"l": 68, "r": 20, "t": 132, "b": 22}


@dataclass
class _Panel:
    """One technique's conversation, and where the event in question is in it (ns)."""

    technique: str
    arrows: list[Arrow]
    due_ns: int | None = None
    published_ns: int | None = None
    received_ns: int | None = None
    event_id: int | None = None
    taken_px: list[tuple[float, float]] = field(default_factory=list)

    @property
    def carrier(self) -> Arrow | None:
        """The arrow that brings the event."""
        return next((a for a in self.arrows if a.direction == "in" and self.event_id in a.event_ids), None)

    @property
    def recorded(self) -> bool:
        return any(a.server_ns is not None for a in self.arrows)

    def within(self, window_ns: tuple[int, int]) -> list[Arrow]:
        return [a for a in self.arrows if a.last_ns >= window_ns[0] and a.first_ns <= window_ns[1]]


def sequence(
    source: Any,
    event_id: int | None = None,
    *,
    techniques: Iterable[str] | None = None,
    subscriber: int | None = None,
    first: int = 12,
    theme: str | None = None,
) -> go.Figure:
    """The conversation of client and server, as it was recorded.

    Args:
        source: a Run, or ledger records (a ``Ledger`` or connection records) without one.
        event_id: draw the time from this event's due time until every technique has delivered it.
        techniques: which ones, side by side; all that have a connection by default.
        subscriber: whose connections; each technique's first by default.
        first: without an event, as many arrows as this of the busiest technique, from the beginning.
        theme: ``light`` or ``dark``; the one of ``style.use`` by default.

    Returns:
        A figure, time in ms running down. Arrows slope from the sender's write to the receiver's read where a
        relay recorded the server's end; elsewhere they are level, and the figure says so.
    """
    grey = style.theme(theme)
    panels = _panels(source, event_id, techniques, subscriber)
    if not panels:
        figure = go.Figure(layout={"template": style.template(theme)})
        return finished(figure.update_layout(title=style.heading("No conversation was recorded"), height=HEIGHT))
    window_ns, zero_ns = _window(panels, first)
    figure = make_subplots(1, len(panels), shared_yaxes=True, horizontal_spacing=0.06 / len(panels))
    span_ms = (window_ns[1] - window_ns[0]) / 1e6
    start_ms = (window_ns[0] - zero_ns) / 1e6
    for column, panel in enumerate(panels, 1):
        _Drawing(figure, panel, column, len(panels), window_ns, zero_ns, grey).draw()
    since = f"event {event_id} was due" if event_id is not None else "the first byte"
    figure.update_xaxes(range=[-0.09, 1.09], visible=False, fixedrange=True)
    figure.update_yaxes(range=[start_ms + span_ms, start_ms])
    figure.update_yaxes(title_text=f"time since {since} (ms)", ticks="outside", col=1)
    figure.update_layout(
        template=style.template(theme), height=HEIGHT + 90, margin=_MARGIN, showlegend=False, hovermode="closest",
        title=style.heading(_title(panels, window_ns, event_id), _note(panels, event_id)),
    )  # fmt: skip
    return finished(figure)


# Which arrows, which stretch of time


def _panels(
    source: Any, event_id: int | None, techniques: Iterable[str] | None, subscriber: int | None
) -> list[_Panel]:
    ledger = getattr(source, "ledger", source)
    records: list[ConnectionRecord] = list(getattr(ledger, "connections", ledger))
    known = list(dict.fromkeys(r.technique for r in records if r.hop == "client"))
    order = [t for t in (getattr(source, "settings", None) or {}).get("techniques", known) if t in known]
    panels = []
    for technique in order if techniques is None else techniques:
        whose = subscriber
        if whose is None:
            whose = min((r.subscriber for r in records if r.hop == "client" and r.technique == technique), default=0)
        panel = _Panel(technique, conversation(records, technique, whose), event_id=event_id)
        if event_id is not None:
            _place_event(panel, getattr(source, "deliveries", None), whose)
        if panel.arrows and (event_id is None or panel.carrier or panel.received_ns):
            panels.append(panel)
    return panels


def _place_event(panel: _Panel, deliveries: Any, subscriber: int) -> None:
    """When the event was due, published and received, from the run's table where there is one."""
    if panel.carrier is not None:
        panel.received_ns = panel.carrier.client_ns
    if deliveries is None:
        return
    mine = deliveries[(deliveries["technique"] == panel.technique) & (deliveries["event_id"] == panel.event_id)]
    mine = mine[mine["subscriber"] == subscriber]
    for name in ("due_ns", "published_ns", "received_ns"):
        if len(mine) and mine[name].notna().all():
            setattr(panel, name, int(mine[name].iloc[0]))


def _window(panels: Sequence[_Panel], first: int) -> tuple[tuple[int, int], int]:
    """From when until when, and which moment is 0 (all in ns of the kit's clock)."""
    received = [p.received_ns for p in panels if p.received_ns is not None]
    if panels[0].event_id is None or not received:
        start = min(p.arrows[0].first_ns for p in panels)
        ends = [p.arrows[min(first, len(p.arrows)) - 1].last_ns for p in panels]
        stop = min((e for p, e in zip(panels, ends, strict=True) if len(p.arrows) > first), default=max(ends))
        return (start - (stop - start) // 20, stop + (stop - start) // 20), start
    begun = [p.due_ns or p.published_ns for p in panels if p.due_ns or p.published_ns]
    begun = begun or [p.carrier.first_ns for p in panels if p.carrier]
    zero, stop = min(b for b in begun if b is not None), max(received)
    travel = [p.carrier.last_ns - p.carrier.first_ns for p in panels if p.carrier]
    pad = max(int(0.1 * (stop - zero)), int(0.7 * max(travel, default=0)), 500_000)
    return (zero - pad, stop + pad), zero


# Words


def _title(panels: Sequence[_Panel], window_ns: tuple[int, int], event_id: int | None) -> str:
    took = {p.technique: (p.received_ns - p.due_ns) / 1e6 for p in panels if p.received_ns and p.due_ns}
    if event_id is not None and took:
        fast, slow = min(took, key=lambda t: took[t]), max(took, key=lambda t: took[t])
        text = f"Event {event_id} reaches {style.title_of(fast)} after {style.ms(took[fast])}"
        return text if fast == slow else f"{text}, {style.title_of(slow)} after {style.ms(took[slow])}"
    said = []
    for panel in (panels[0], panels[-1])[: len(panels)]:
        arrows = panel.within(window_ns)
        asked = sum(a.direction == "out" for a in arrows)
        came = sum(len(a.event_ids) for a in arrows)
        times = "once" if asked == 1 else f"{asked} times"
        said.append(f"{style.title_of(panel.technique)} asks {times} for {came} event{'s' * (came != 1)}")
    return f"In the first {style.seconds((window_ns[1] - window_ns[0]) / 1e9)} {style.joined(said)}"


def _note(panels: Sequence[_Panel], event_id: int | None) -> str:
    if not all(p.recorded for p in panels):
        text = "times at the server were not recorded: arrows are drawn level, at the client's time"
        return text if event_id is None else f"{text}; dot: event {event_id} is published"
    waits = f"; thick bar: event {event_id} is published and waits at the server" if event_id is not None else ""
    return f"arrows slope from the sender's write to the receiver's read{waits}"


# Drawing


@dataclass
class _Drawing:
    """One panel in the making."""

    figure: go.Figure
    panel: _Panel
    column: int
    columns: int
    window_ns: tuple[int, int]
    zero_ns: int
    grey: style.Theme

    def draw(self) -> None:
        self._lifelines()
        arrows = self.panel.within(self.window_ns)
        carrier = self.panel.carrier
        self._arrows([a for a in arrows if a is not carrier], style.rgba(self._color, 0.9), 1.1, "arrows")
        if carrier is not None:
            self._wait(carrier)
            self._arrows([carrier], self._color, 2.6, f"event {self.panel.event_id}")
        if not any(a.direction == "out" for a in arrows if carrier is None or a.first_ns <= carrier.first_ns):
            self._asked_earlier()
        for arrow in sorted(arrows, key=lambda a: (a is not carrier, a.direction == "in", a.first_ns)):
            self._label(arrow, strong=arrow is carrier)

    @property
    def _color(self) -> str:
        return style.mark(self.panel.technique).color

    @property
    def _width_px(self) -> float:
        return (WIDTH - _MARGIN["l"] - _MARGIN["r"]) / self.columns / 1.18

    @property
    def _height_px(self) -> float:
        """As in a figure of the smallest height, so that labels keep apart in any."""
        return HEIGHT - _MARGIN["t"] - _MARGIN["b"]

    @property
    def _px_per_ms(self) -> float:
        return self._height_px / ((self.window_ns[1] - self.window_ns[0]) / 1e6)

    def _ms(self, t_ns: int) -> float:
        return (t_ns - self.zero_ns) / 1e6

    def _add(self, **trace: Any) -> None:
        self.figure.add_scatter(**trace, row=1, col=self.column)

    def _text(self, text: str, y_ms: float, **place: Any) -> None:
        self.figure.add_annotation(
            **{"text": text, "x": 0.5, "y": y_ms, "showarrow": False, "font": {"size": 10.5, "color": self.grey.muted},
               **place}, row=1, col=self.column,
        )  # fmt: skip

    def _lifelines(self) -> None:
        low, high = self._ms(self.window_ns[0]), self._ms(self.window_ns[1])
        self._add(
            x=[0, 0, None, 1, 1], y=[low, high, None, low, high], mode="lines", hoverinfo="skip", name="lifelines",
            line={"color": self.grey.rule, "width": 1.5},
        )  # fmt: skip
        for x, side, name in ((0, "left", "client"), (1, "right", "server")):
            self._text(name, 1, yref="y domain", x=x, xanchor=side, xshift=-8 if x == 0 else 8, yanchor="bottom")
        took = ""
        if self.panel.received_ns and self.panel.due_ns:
            took = style.ms((self.panel.received_ns - self.panel.due_ns) / 1e6)
        font = {"size": 13, "color": self.grey.ink}
        self._text(
            f"<b>{style.title_of(self.panel.technique)}</b><br>{took}", 1, yref="y domain", yanchor="bottom",
            yshift=15, font=font,
        )  # fmt: skip

    def _arrows(self, arrows: Sequence[Arrow], color: str, width: float, name: str) -> None:
        points = [[(*end, a) for end in self._ends(a)] for a in arrows]
        self._add(
            x=list(itertools.chain(*([p[0][0], p[1][0], None] for p in points))),
            y=list(itertools.chain(*([p[0][1], p[1][1], None] for p in points))),
            mode="lines+markers",
            line={"color": color, "width": width},
            marker={"symbol": "arrow", "angleref": "previous", "size": [0, 7 + 1.6 * width, 0] * len(points),
                    "color": color, "opacity": 1, "line": {"width": 0}},
            customdata=list(itertools.chain(*([self._told(p[0][2])] * 3 for p in points))),
            hovertemplate="%{customdata[3]}, %{customdata[4]} B<br>at %{y:.4~g} ms<extra>%{customdata[1]}</extra>",
            name=f"{self.panel.technique}: {name}",
        )  # fmt: skip

    def _ends(self, arrow: Arrow) -> tuple[tuple[float, float], tuple[float, float]]:
        client = (0.0, self._ms(arrow.client_ns))
        server = (1.0, self._ms(arrow.client_ns if arrow.server_ns is None else arrow.server_ns))
        return (client, server) if arrow.direction == "out" else (server, client)

    def _told(self, arrow: Arrow) -> list[Any]:
        first = arrow.event_ids[0] if arrow.event_ids else None
        return [first, self.panel.technique, None, arrow.label, arrow.size_bytes]

    def _wait(self, carrier: Arrow) -> None:
        """The event at the server: from its publication until it was written."""
        begun = self.panel.published_ns or self.panel.due_ns
        if begun is None:
            return
        ended = carrier.client_ns if carrier.server_ns is None else carrier.server_ns
        known = carrier.server_ns is not None
        self._add(
            x=[1, 1], y=[self._ms(begun), self._ms(ended)], mode="lines", name=f"{self.panel.technique}: waits",
            line={"color": style.rgba(self._color, 0.55), "width": 8} if known else {"color": self._color, "dash": "dot"},
            hoverinfo="skip",
        )  # fmt: skip
        if known and (ended - begun) / 1e6 * self._px_per_ms > 76:
            self._text(
                f"waits {style.ms((ended - begun) / 1e6)}", self._ms((begun + ended) // 2), x=1, xshift=-13, textangle=-90,
                font={"size": 11, "color": self.grey.ink},
            )  # fmt: skip
        self._add(
            x=[1], y=[self._ms(begun)], mode="markers", name=f"{self.panel.technique}: published",
            marker={"symbol": "circle", "size": 8, "color": self._color, "line": {"width": 1.5, "color": self.grey.paper}},
            hovertemplate="published at %{y:.4~g} ms<extra></extra>",
        )  # fmt: skip

    def _asked_earlier(self) -> None:
        """Say when the request was sent that is being answered, if that was before the window."""
        before = [a for a in self.panel.arrows if a.direction == "out" and a.last_ns < self.window_ns[0]]
        if before:
            ago = style.seconds((self.window_ns[0] - before[-1].client_ns) / 1e9)
            self.panel.taken_px.append((0, LABEL_PX + 2))
            self._text(self._short(f"\u2191 asked {ago} ago"), self._ms(self.window_ns[0]), yanchor="top")

    def _short(self, text: str) -> str:
        room = int(self._width_px / LETTER_PX)
        return text if len(text) <= room else f"{text[: room - 1]}\u2026"

    def _label(self, arrow: Arrow, *, strong: bool) -> None:
        """Write the arrow's name on its free side; where there is none, it shows on hover only."""
        text = self._short(arrow.label)
        middle, drop = self._middle_px(arrow)
        half = len(text) * LETTER_PX / 2
        lift = 2 + min(9.0, abs(drop) / self._width_px * half)
        sides = [(middle - lift - LABEL_PX, "bottom", lift), (middle + lift, "top", -lift)]
        struck, top, anchor, shift = min((self._struck(top, half, arrow), *rest) for top, *rest in ((s[0], *s) for s in sides))
        if struck and not strong:
            return
        self.panel.taken_px.append((top, top + LABEL_PX))
        self._text(
            f"<b>{text}</b>" if strong else text, sum(y for _, y in self._ends(arrow)) / 2, yanchor=anchor, yshift=shift,
            font={"size": 10.5, "color": self.grey.ink if strong else self.grey.muted},
            bgcolor=style.rgba(self.grey.paper, 0.7), borderpad=0,
        )  # fmt: skip

    def _middle_px(self, arrow: Arrow) -> tuple[float, float]:
        """Where the arrow crosses the middle, and how far it falls from left to right."""
        left, right = sorted(self._ends(arrow))
        return ((left[1] + right[1]) / 2 - self._ms(self.window_ns[0])) * self._px_per_ms, (right[1] - left[1]) * self._px_per_ms

    def _struck(self, top: float, half: float, own: Arrow) -> int:
        """What a label there would cover: 10 for each label or for leaving the panel, 1 for each arrow."""
        bottom = top + LABEL_PX
        outside = top < 0 or bottom > self._height_px
        covered = 10 * outside + 10 * sum(bottom > low and top < high for low, high in self.panel.taken_px)
        for other in self.panel.within(self.window_ns):
            if other is own:
                continue
            middle, drop = self._middle_px(other)
            reach = abs(drop) * min(0.5, half / self._width_px)
            covered += middle + reach > top and middle - reach < bottom
        return covered
