"""The live charts: latency along time, event ladder, bytes of each second, what is open now; in one figure.

One figure, so that a page draws once for all of them. The same function draws the widget that is updated and the
plain figure that takes its place when the run has stopped.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import plotly
import plotly.graph_objects as go
import traitlets
from plotly.subplots import make_subplots

from labkit.charts import style
from labkit.room.board import LADDER_S, SHOWN_S, Board
from labkit.wire.spans import CATEGORIES

HEIGHT = 442
DOT_PX, LARGER_PX = 6, 4
TICKS = [float(f"{first}e{power}") for power in range(0, 5) for first in (1, 2, 5)]
NAN = float("nan")
PREDICTION = "your prediction"
LATENCY_TITLE = "latency along time"
_BUNDLE = Path(plotly.__file__).parent / "package_data" / "widgetbundle.js"


class LiveFigure(go.FigureWidget):  # type: ignore[misc]
    """A FigureWidget whose 5 MB of plotly can be let go, and are loaded once for a page."""

    _esm = Path(__file__).parent / "live_figure.js"
    library = traitlets.Unicode("").tag(sync=True)
    library_version = traitlets.Unicode(plotly.__version__).tag(sync=True)

    def __init__(self, figure: go.Figure) -> None:
        super().__init__(figure)
        self._config = {"responsive": True, "displaylogo": False}

    def carry_library(self) -> None:
        """Give the page what it needs to draw."""
        self.library = _BUNDLE.read_text(encoding="utf-8")

    def let_go(self) -> None:
        """End the widget. Some programs save the state of closed widgets too: nothing large stays in it."""
        self.library = ""
        self._widget_data: list[Any] = []
        self._widget_layout: dict[str, Any] = {}
        self.close()


class LiveCharts:
    """Draws a board, again and again, into one figure.

    Args:
        board: what to draw.
        on_click: told (technique, event id) of a dot that was clicked.
    """

    def __init__(self, board: Board, on_click: Callable[[str, int], None] | None = None) -> None:
        self.board = board
        self._on_click = on_click
        self.widget: LiveFigure | None = None
        self._ranges: dict[str, Any] = {}
        self._hair = 1e-5
        """Added to all that is drawn, so that all of it is sent: a page that has just come has missed what was."""

    def open_widget(self) -> LiveFigure:
        """The figure that follows the run."""
        figure = self._empty()
        figure.layout.annotations[0].text = f"{LATENCY_TITLE} (click a dot to open its event)"
        self.widget = widget = LiveFigure(figure)
        for name, trace in zip(self.board.techniques, widget.data, strict=False):
            trace.on_click(self._clicked(name))
        widget.carry_library()
        return widget

    def draw(self) -> None:
        """Bring the widget up to date."""
        widget = self.widget
        if widget is not None:
            with widget.batch_update():
                self._fill(widget)

    def figure(self) -> go.Figure:
        """A plain figure of what is on the board."""
        plain = LiveCharts(self.board)
        figure = plain._empty()
        plain._fill(figure)
        figure.layout.annotations[3].text = "open at the end" if self.widget is None else "open now"
        figure.data = [trace for trace in figure.data if len(trace.x) and not self._is_idle(trace)]
        figure.update_layout(title=style.heading(self._title(), self._note()), height=HEIGHT + 60, margin_t=122)
        return figure

    def _is_idle(self, trace: Any) -> bool:
        """An entry of the legend for what is not there."""
        return trace.name == PREDICTION and not self.board.predicted

    def _clicked(self, name: str) -> Callable[[Any, Any, Any], None]:
        def clicked(_trace: Any, points: Any, _state: Any) -> None:
            if self._on_click is not None and points.point_inds:
                event_id = self.board.event_at(name, points.xs[0], points.ys[0])
                if event_id is not None:
                    self._on_click(name, event_id)

        return clicked

    # -- an empty figure with every trace in its place --------------------------------------------------------

    def _empty(self) -> go.Figure:
        grey, names = style.GREY, self.board.techniques
        titles = (LATENCY_TITLE, "event ladder", "bytes of each second", "open now")
        figure = make_subplots(
            2, 2, column_widths=[0.62, 0.38], row_heights=[0.6, 0.4], subplot_titles=titles,
            horizontal_spacing=0.14, vertical_spacing=0.23,
        )  # fmt: skip
        for name in names:
            figure.add_trace(self._dots_of(name), 1, 1)
        for name in names:
            mark = self.board.natures.mark(name)
            line = {"color": mark.color, "width": 1.5}
            figure.add_scatter(x=[], y=[], mode="lines", line={**line, "dash": "3px,3px"}, showlegend=False,
                               name=f"{name}: theory", hovertemplate="theory: mean %{y:.4~g} ms<extra></extra>",
                               row=1, col=1)  # fmt: skip
            figure.add_scatter(x=[], y=[], mode="lines", line={**line, "dash": "12px,4px"}, showlegend=False,
                               name=f"{name}: prediction",
                               hovertemplate="your prediction: %{y:.4~g} ms<extra></extra>", row=1, col=1)  # fmt: skip
        for title, dash in (("theory: mean", "3px,3px"), (PREDICTION, "12px,4px")):
            figure.add_scatter(x=[None], y=[None], mode="lines", name=title, line={"color": grey.ink, "width": 1.5,
                               "dash": dash}, row=1, col=1)  # fmt: skip
        for name in names:
            mark = self.board.natures.mark(name)
            figure.add_scatter(
                x=[], y=[], mode="lines+markers", line={"color": mark.color, "width": 1.2}, showlegend=False, name=name,
                marker={"symbol": mark.symbol, "size": 5, "color": mark.color, "opacity": 1, "line": {"width": 0}},
                hoverinfo="skip", row=1, col=2,
            )  # fmt: skip
        figure.add_scatter(x=[], y=[], mode="markers", marker={"symbol": "circle", "size": 6, "color": grey.ink},
                           showlegend=False, name="published", hovertemplate="event %{customdata}<extra></extra>",
                           row=1, col=2)  # fmt: skip
        for category in CATEGORIES:
            figure.add_bar(x=[], y=[], offset=0.06, width=0.88, name=style.CATEGORY_TITLES[category], legend="legend2",
                           marker=style.filled(category),
                           hovertemplate="%{y:.4~g} B " + category + "<extra></extra>", row=2, col=1)  # fmt: skip
        lanes = [self.board.natures.short(name) for name in names]
        for title, color, pattern in (("connections", grey.muted, ""), ("requests", grey.muted, "/")):
            figure.add_bar(x=[0] * len(names), y=lanes, orientation="h", name=title, legend="legend3",
                           marker={"color": color, "pattern": {"shape": pattern, "fgcolor": grey.ink},
                                   "line": {"color": grey.ink, "width": 0.7}},
                           hovertemplate="%{x} " + title + "<extra>%{y}</extra>", row=2, col=2)  # fmt: skip
        self._lay_out(figure, grey)
        return figure

    def _dots_of(self, name: str) -> go.Scatter:
        return go.Scatter(
            x=[], y=[], mode="markers", name=self.board.natures.short(name), marker=self._marker_of(name),
            hovertemplate="event %{customdata}, due %{x:.2f} s<br>%{y:.4~g} ms<extra>%{fullData.name}</extra>",
        )  # fmt: skip

    def _marker_of(self, name: str) -> dict[str, Any]:
        """Streams coincide: all but the last drawn are hollow, and the larger the earlier they are drawn."""
        natures = self.board.natures
        mark, streams = natures.mark(name), [n for n in self.board.techniques if natures.kind(n) == "stream"]
        over = len(streams) - 1 - streams.index(name) if name in streams else 0
        look = {"symbol": mark.symbol, "size": DOT_PX, "color": mark.color}
        if not over:
            return look
        hollow = f"{mark.symbol.removesuffix('-open')}-open"
        return {**look, "symbol": hollow, "size": DOT_PX + LARGER_PX * over, "line": {"width": 1.3}}

    def _lay_out(self, figure: go.Figure, grey: style.Greys) -> None:
        lanes = ["server", *(self.board.natures.short(name) for name in self.board.techniques)]
        below = {"orientation": "h", "x": 0, "xanchor": "left", "yanchor": "top", "itemwidth": 30}
        figure.update_layout(
            template=style.template(), height=HEIGHT, barmode="stack", bargap=0.15, clickmode="event",
            uirevision="live",
            margin={"l": 74, "r": 16, "t": 62, "b": 78},
            legend={**below, "yanchor": "bottom", "y": 1.09, "font": {"size": 11}},
            legend2={**below, "y": -0.17, "font": {"size": 11}},
            legend3={**below, "x": 0.7, "y": -0.17, "font": {"size": 11}},
        )  # fmt: skip
        for note in figure.layout.annotations:
            note.update(xanchor="left", font={"size": 13, "color": grey.ink}, yshift=2)
        for note, axis in zip(figure.layout.annotations, ("xaxis", "xaxis2", "xaxis3", "xaxis4"), strict=True):
            note.x = figure.layout[axis].domain[0]
        figure.update_xaxes(showgrid=False, ticks="outside", ticklen=3)
        figure.update_xaxes(title_text="due, after the start (s)", row=1, col=1)
        figure.update_yaxes(title_text="latency (ms, log)", type="log", range=[1, 3], tickfont_size=11, row=1, col=1)
        figure.update_yaxes(tickvals=TICKS, ticktext=[style.number(tick) for tick in TICKS], row=1, col=1)
        figure.update_xaxes(title_text="after the start (s)", row=1, col=2)
        figure.update_yaxes(range=[len(lanes) - 0.6, -0.5], tickvals=list(range(len(lanes))), ticktext=lanes,
                            tickfont_size=11, row=1, col=2)  # fmt: skip
        figure.update_xaxes(title_text="second after the start (s)", row=2, col=1)
        figure.update_yaxes(title_text="bytes (B)", rangemode="tozero", row=2, col=1)
        figure.update_xaxes(title_text="how many", rangemode="tozero", dtick=1, row=2, col=2)
        figure.update_yaxes(autorange="reversed", tickfont_size=11, row=2, col=2)

    # -- the data ---------------------------------------------------------------------------------------------

    def _fill(self, figure: Any) -> None:
        with self.board.lock:
            self._fill_all(figure)

    def _fill_all(self, figure: Any) -> None:
        board, data = self.board, iter(figure.data)
        self._hair = -self._hair
        since_s = max(0.0, board.now_s - SHOWN_S)
        until_s = max(board.now_s, SHOWN_S / 4)
        dots = {name: board.shown_dots(name) for name in board.techniques}
        for name in board.techniques:
            trace = next(data)
            trace.update(
                x=self._floats(d[0] for d in dots[name]), y=self._floats(d[1] for d in dots[name]),
                customdata=self._ids(d[2] for d in dots[name]),
            )  # fmt: skip
        for name in board.techniques:
            steps = _steps(list(board.theory[name]), since_s, until_s)
            next(data).update(x=self._floats(s[0] for s in steps), y=self._floats(s[1] for s in steps))
            guess = board.predicted.get(name)
            ends = [(since_s, guess), (until_s, guess)] if guess else []
            next(data).update(x=self._floats(e[0] for e in ends), y=self._floats(e[1] for e in ends))
        next(data), next(data)
        self._ladder(data)
        for place, category in enumerate(CATEGORIES):
            sizes = [bar[place] for _, bar in board.bars]
            is_told = category != "tls" or any(sizes)
            next(data).update(x=self._floats(b[0] for b in board.bars), y=self._floats(sizes), showlegend=is_told)
        for place in (0, 1):
            next(data).update(x=self._floats(board.open.get(name, (0, 0))[place] for name in board.techniques))
        self._set_ranges(figure.layout, dots, since_s, until_s)

    def _ladder(self, data: Any) -> None:
        board, since_s = self.board, self.board.now_s - LADDER_S
        rungs = [rung for rung in board.rungs if rung.published_s >= since_s]
        for lane, name in enumerate(board.techniques, 1):
            held = [(rung.published_s, rung.arrived_s[name]) for rung in rungs if name in rung.arrived_s]
            xs = [x for published, arrived in held for x in (published, arrived, NAN)]
            next(data).update(x=self._floats(xs), y=self._floats([0.0, float(lane), NAN] * len(held)),
                              marker={"size": self._floats([0.1, 6, 0.1] * len(held))})  # fmt: skip
        next(data).update(
            x=self._floats(rung.published_s for rung in rungs), y=self._floats(0 for _ in rungs),
            customdata=self._ids(rung.event_id for rung in rungs),
        )  # fmt: skip

    def _set_ranges(self, layout: Any, dots: dict[str, list[Any]], since_s: float, until_s: float) -> None:
        board = self.board
        layout.xaxis.range = [since_s - 0.2, until_s + 0.2]
        start_s = max(0.0, board.now_s - LADDER_S)
        layout.xaxis2.range = [start_s - 0.05, max(board.now_s, 1.0) + 0.05]
        layout.xaxis3.range = [max(0, math.floor(since_s)) + self._hair, math.ceil(until_s)]
        values = [d[1] for mine in dots.values() for d in mine] + list(board.predicted.values())
        values += [mean for steps in board.theory.values() for _, mean in list(steps)[-1:] if mean == mean]
        values = [value for value in values if value > 0] or [1.0, 100.0]
        low, high = math.log10(min(values)) - 0.1, math.log10(max(values)) + 0.1
        kept = self._ranges.get("latency")
        if kept is None or low < kept[0] or high > kept[1] or kept[1] - kept[0] > 2 * (high - low):
            kept = self._ranges["latency"] = (low - 0.1, high + 0.1)
        layout.yaxis.range = [kept[0] + self._hair, kept[1]]

    def _floats(self, values: Any) -> Any:
        """Lists for the widget, as programs keep the last binary arrays of closed ones; arrays for a plain figure."""
        if self.widget is None:
            return np.fromiter(values, dtype=np.float32)
        return [None if value != value else round(value + self._hair, 5) for value in values]

    def _ids(self, values: Any) -> Any:
        return list(values) if self.widget is not None else np.fromiter(values, dtype=np.int32)

    def _title(self) -> str:
        rows = sorted(self.board.summary(), key=lambda row: row["high"] - row["low"], reverse=True)
        if not rows:
            return "No delivery that is shown has a latency" if self.board.arrived else "No delivery has arrived"
        wide, calm = rows[0], [row for row in rows[1:] if row["high"] <= 1.25 * rows[-1]["high"]]
        name = self.board.natures.short(wide["technique"])
        said = f"{name} takes {style.extent_ms(wide['low'], wide['high'])}"
        if not calm:
            return said
        low, high = min(row["low"] for row in calm), max(row["high"] for row in calm)
        group = self.board.natures.group([row["technique"] for row in calm])
        if self.board.natures.kind(wide["technique"]) == "stream":
            group = group.replace("the streams", "the other streams")
        return f"{said}, {group} {style.extent_ms(low, high)}"

    def _note(self) -> str:
        some = "; only some of the dots are drawn" if self.board.left_out else ""
        return f"the last {style.seconds(min(self.board.now_s, SHOWN_S))} of the run{some}"


def _steps(steps: list[tuple[float, float]], since_s: float, until_s: float) -> list[tuple[float, float]]:
    """A line that is level from each step to the next."""
    line: list[tuple[float, float]] = []
    for place, (start_s, mean_ms) in enumerate(steps):
        end_s = steps[place + 1][0] if place + 1 < len(steps) else until_s
        if end_s >= since_s:
            line += [(max(start_s, since_s), mean_ms), (end_s, mean_ms)]
    return line
