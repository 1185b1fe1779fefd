"""One panel of the sequence diagram: two lifelines, the arrows between them, their names where there is room."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import plotly.graph_objects as go

from labkit.charts import style
from labkit.charts.conversation import Arrow
from labkit.charts.pictures import HEIGHT, WIDTH
from labkit.measuring.natures import Natures

LABEL_PX = 13  # one label's height
DOT_PX = 8  # that an event was published
TALLER = 1.25  # a figure may be that much taller than the one labels are placed for: arrows are steeper then
LETTER_PX = 5.8  # a letter's mean width in that size
MARGIN = {"l": 68, "r": 20, "t": 132, "b": 22}


Box = tuple[float, float, float, float]  # left, right, top, bottom in pixels


@dataclass
class Panel:
    """One technique's conversation, and where the event in question is in it (ns)."""

    technique: str
    natures: Natures
    arrows: list[Arrow]
    due_ns: int | None = None
    published_ns: int | None = None
    received_ns: int | None = None
    event_id: int | None = None
    taken_px: list[Box] = field(default_factory=list)

    @property
    def carrier(self) -> Arrow | None:
        """The arrow that brings the event, at the delivery that is meant."""
        bring = [a for a in self.arrows if a.direction == "in" and self.event_id in a.event_ids]
        if self.received_ns is None:
            return bring[0] if bring else None
        received_ns = self.received_ns
        return min(bring, key=lambda arrow: abs(arrow.client_ns - received_ns), default=None)

    @property
    def recorded(self) -> bool:
        return any(a.server_ns is not None for a in self.arrows)

    def within(self, window_ns: tuple[int, int]) -> list[Arrow]:
        return [a for a in self.arrows if a.last_ns >= window_ns[0] and a.first_ns <= window_ns[1]]


@dataclass
class Drawing:
    """One panel in the making."""

    figure: go.Figure
    panel: Panel
    column: int
    columns: int
    window_ns: tuple[int, int]
    zero_ns: int
    grey: style.Greys
    has_bar: bool = False
    """Whether it shows the event waiting at the server: too short a wait has no bar."""

    def draw(self) -> None:
        self._lifelines()
        arrows = self.panel.within(self.window_ns)
        carrier = self.panel.carrier
        self._arrows([a for a in arrows if a is not carrier], self._color, 1.1, "arrows")
        if carrier is not None:
            self._wait(carrier)
            self._arrows([carrier], self._color, 2.6, f"event {self.panel.event_id}")
        if not any(a.asks for a in arrows if carrier is None or a.first_ns <= carrier.first_ns):
            self._asked_earlier()
        for arrow in sorted(arrows, key=lambda a: (a is not carrier, a.direction == "in", a.first_ns)):
            self._label(arrow, strong=arrow is carrier)

    @property
    def _color(self) -> str:
        return self.panel.natures.mark(self.panel.technique).color

    @property
    def _width_px(self) -> float:
        return (WIDTH - MARGIN["l"] - MARGIN["r"]) / self.columns / 1.18

    @property
    def _height_px(self) -> float:
        """As in a figure of the smallest height, so that labels keep apart in any."""
        return HEIGHT - MARGIN["t"] - MARGIN["b"]

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
            f"<b>{self.panel.natures.short(self.panel.technique)}</b><br>{took}", 1, yref="y domain", yanchor="bottom",
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
        self.has_bar = known and (ended - begun) / 1e6 * self._px_per_ms > DOT_PX
        if self.has_bar or not known:
            self._add(
                x=[1, 1], y=[self._ms(begun), self._ms(ended)], mode="lines", name=f"{self.panel.technique}: waits",
                line={"color": style.rgba(self._color, 0.55 if known else 1.0), "width": 8 if known else 2,
                      "dash": "solid" if known else "dot"},
                hoverinfo="skip",
            )  # fmt: skip
        text = f"waits {style.ms((ended - begun) / 1e6)}"
        middle, half = self._ms((begun + ended) // 2), len(text) * LETTER_PX / 2 + 3
        at = (middle - self._ms(self.window_ns[0])) * self._px_per_ms
        box = (self._width_px - 20, self._width_px - 6, at - half, at + half)
        fits = (ended - begun) / 1e6 * self._px_per_ms > 2 * half
        if known and fits and not self._covered(box, carrier):
            self.panel.taken_px.append(box)
            self._text(
                text, middle, x=1, xshift=-13, textangle=-90, font={"size": 11, "color": self.grey.ink},
            )  # fmt: skip
        self._add(
            x=[1], y=[self._ms(begun)], mode="markers", name=f"{self.panel.technique}: published",
            marker={"symbol": "circle", "size": DOT_PX, "color": self._color,
                    "line": {"width": 1.5, "color": self.grey.paper}},
            hovertemplate="published at %{y:.4~g} ms<extra></extra>",
        )  # fmt: skip

    def _asked_earlier(self) -> None:
        """Say when the request was sent that is being answered, if that was before the window.

        It stands near the top, where the fewest arrows run through it.
        """
        before = [a for a in self.panel.arrows if a.asks and a.last_ns < self.window_ns[0]]
        if not before:
            return
        asked = f"{self._ms(before[-1].client_ns):,.1f}".replace("-", "\u2212").replace(",", "\u202f")
        text = self._short(f"\u2191 asked at {asked}\u00a0ms")
        half, room = len(text) * LETTER_PX / 2, self._width_px
        places = itertools.product((0.0, LABEL_PX + 2.0), (room - half, room / 2, half))  # what is cut off ends left
        boxes = [(middle - half, middle + half, top, top + LABEL_PX + 2) for top, middle in places]
        box = min(boxes, key=lambda box: self._covered(box, before[-1]))
        self.panel.taken_px.append(box)
        self._text(
            text, self._ms(self.window_ns[0]), x=(box[0] + half) / room, yshift=-box[2], yanchor="top",
            bgcolor=style.rgba(self.grey.paper, 0.7), borderpad=0,
        )  # fmt: skip

    def _short(self, text: str) -> str:
        room = int(self._width_px / LETTER_PX)
        return text if len(text) <= room else f"{text[: room - 1]}\u2026"

    def _label(self, arrow: Arrow, *, strong: bool) -> None:
        """Write the arrow's name where it covers nothing; where there is no such place, it shows on hover only."""
        text = self._short(arrow.label)
        half = len(text) * LETTER_PX / 2
        places = [
            (place, *self._box(arrow, half, *place))
            for place in itertools.product((0.5, 0.32, 0.68, 0.15, 0.85), (-1, 1))
        ]
        (x, side), box, lift = min(places, key=lambda place: self._covered(place[1], arrow))
        if self._covered(box, arrow) and not strong:
            return
        self.panel.taken_px.append(box)
        left, right = sorted(self._ends(arrow))
        self._text(
            f"<b>{text}</b>" if strong else text, left[1] + x * (right[1] - left[1]), x=x, yshift=-side * lift,
            yanchor="bottom" if side < 0 else "top", bgcolor=style.rgba(self.grey.paper, 0.7), borderpad=0,
            font={"size": 10.5, "color": self.grey.ink if strong else self.grey.muted},
        )  # fmt: skip

    def _box(self, arrow: Arrow, half: float, x: float, side: int) -> tuple[Box, float]:
        """Where a label beside the arrow at *x* would lie, above (-1) or below (1), and how far from the arrow."""
        at, fall = self._height_at(arrow, x), abs(self._height_at(arrow, 1) - self._height_at(arrow, 0))
        lift = 2 + TALLER * fall / self._width_px * half
        top = at - lift - LABEL_PX if side < 0 else at + lift
        middle = x * self._width_px
        return (middle - half, middle + half, top, top + LABEL_PX), lift

    def _height_at(self, arrow: Arrow, x: float) -> float:
        """How far below the panel's top the arrow is at *x*, in pixels."""
        left, right = sorted(self._ends(arrow))
        return (left[1] + x * (right[1] - left[1]) - self._ms(self.window_ns[0])) * self._px_per_ms

    def _covered(self, box: Box, own: Arrow) -> int:
        """What a label there would cover: 10 for each label or for leaving the panel, 1 for each arrow."""
        x0, x1, top, bottom = box
        count = 10 * (top < 0 or bottom > self._height_px or x0 < 0 or x1 > self._width_px)
        for a0, a1, a_top, a_bottom in self.panel.taken_px:
            count += 10 * (x1 > a0 and x0 < a1 and bottom > a_top and top < a_bottom)
        for other in self.panel.within(self.window_ns):
            ends = [self._height_at(other, x / self._width_px) for x in (x0, x1)]
            count += other is not own and max(ends) > top - 1 and min(ends) < bottom + 1
        return count
