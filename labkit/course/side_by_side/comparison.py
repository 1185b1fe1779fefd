"""A1: all that the table compares: a trace, the server's costs, messages the other way, a cut link."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit import theory
from labkit.charts import layout, style
from labkit.claims import confidence
from labkit.claims.confidence import Interval
from labkit.course.shown import OfRun, Shown, as_table
from labkit.course.side_by_side.messages import Upstream, upstream
from labkit.course.side_by_side.sending import POST
from labkit.course.side_by_side.servers import ServerCosts, server_costs
from labkit.course.side_by_side.traces import HEALED_S, cut_link, one_trace
from labkit.lab.lab import Lab
from labkit.measuring.natures import Natures, asked
from labkit.measuring.run import Run
from labkit.techniques.long_polling import LONG_POLLING
from labkit.techniques.polling import POLLING

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


COLUMNS = {
    "latency": ("mean latency", "ms"),
    "bytes": ("bytes an event", "B"),
    "upstream": ("bytes a message upstream", "B"),
    "cpu": ("server CPU per client", "µs/s"),
    "memory": ("server memory per client", "KiB"),
}
WHOLE = ("whole after a cut", "s")
COUNTED = {2: "Two", 3: "Three", 4: "Four", 5: "Five", 6: "Six"}


@dataclass(frozen=True, repr=False)
class Comparison(OfRun, Shown):
    """One trace through every technique, and what its server, its way up and a cut link added to the picture.

    Attributes:
        run: the trace.
        cut: a periodic trace through a link that was cut and healed.
        healed_s: when the link was healed, seconds after the start.
        server: what the clients cost.
        upstream: messages the other way.
    """

    run: Run
    cut: Run
    healed_s: float
    server: ServerCosts
    upstream: Upstream

    @property
    def caption(self) -> str:
        return "One trace through every technique; lower is better in every column."

    @property
    def techniques(self) -> list[str]:
        return [str(name) for name in self.run.settings["techniques"]]

    def interval(self, column: str, technique: str) -> Interval:
        """The confidence interval of one figure; endless where it was not measured."""
        if column == "cpu":
            return self.server.cpu(technique)
        if column == "memory":
            return self.server.memory(technique)
        if column == "upstream":
            return self.upstream.bytes_of(technique if technique == "websocket" else POST)
        frame = self.run.deliveries
        frame = frame[(frame["technique"] == technique) & (frame["client"] != "browser") & frame["scheduled"]]
        frame = frame.drop_duplicates(["subscriber", "event_id"])
        values = frame["latency_ms" if column == "latency" else "bytes"].astype(float).tolist()
        return confidence.mean_interval(values, groups=frame["event_id"].tolist())

    def whole_s(self, technique: str) -> float:
        """After the link was healed, how long until everything due before then had arrived, in seconds.

        No number for a technique to which something never came.
        """
        healed_ns = self.cut.started_ns + self.healed_s * 1e9
        frame = self.cut.deliveries
        frame = frame[(frame["technique"] == technique) & (frame["due_ns"] <= healed_ns) & frame["scheduled"]]
        if not len(frame) or self.cut.summary().loc[technique, ["lost", "pending"]].any():
            return math.nan
        return max(0.0, (float(frame["received_ns"].max()) - healed_ns) / 1e9)

    def table(self) -> pd.DataFrame:
        """One row per technique, the page's own last, with what only the kernel's clients tell left empty."""
        summary, cut, rows = self.run.summary(), self.cut.summary(), []
        for technique in summary.index:
            row = summary.loc[technique]
            rows.append({"technique": technique, **row[["p50_ms", "p95_ms", "max_ms"]]})
            if technique not in self.techniques:
                continue
            rows[-1] |= {
                "bytes/event": row["bytes_per_event"],
                "requests": row["requests"],
                "connections": row["connections"],
                "upstream bytes": self.interval("upstream", technique).value,
                "CPU µs/s": self.server.cpu(technique).value,
                "KiB/client": self.server.memory(technique).value,
                "cut: reconnects": cut.loc[technique, "connections"] - 1,
                "cut: lost": cut.loc[technique, "lost"],
                "cut: whole after s": self.whole_s(technique),
            }
        return as_table(rows).set_index("technique")

    def chart(self) -> go.Figure:
        """Every column of the comparison: a mark for each technique with its interval, theory a diamond."""
        grey, names, natures = style.GREY, self.techniques, Natures(self.run.settings)
        panels = [*COLUMNS.items(), ("whole", WHOLE)]
        figure = layout.panels(
            *[""] * len(panels), rows=2, shared_yaxes=True, horizontal_spacing=0.03, vertical_spacing=0.24
        )
        for place, (column, (title, unit)) in enumerate(panels):
            row, col = place // 3 + 1, place % 3 + 1
            self._add_column(figure, column, row, col, grey)
            figure.update_xaxes(title_text=f"{title} ({unit})", rangemode="tozero", ticks="outside", row=row, col=col)
        layout.name_rows(figure, [natures.short(name) for name in names], tickfont_size=13, showgrid=None)
        return layout.dressed(
            figure,
            self._title(),
            "lower is better; bars: 99.8 %; framed: the best",
            height=520, margin=(118, 24, 80, 84), showlegend=True,
            legend={"orientation": "h", "x": 0, "y": -0.17, "yanchor": "top"},
        )  # fmt: skip

    def _add_column(self, figure: go.Figure, column: str, row: int, col: int, grey: style.Greys) -> None:
        names, values, natures = self.techniques, self._values(column), Natures(self.run.settings)
        best = _best(values)
        for y, name in enumerate(names):
            mark, (value, error) = natures.mark(name), values[name]
            figure.add_scatter(
                x=[value], y=[y], mode="markers", row=row, col=col, showlegend=False,
                error_x={"type": "data", "array": [error], "thickness": 1.5, "color": grey.ink},
                marker={"symbol": mark.symbol, "size": 12, "color": mark.color,
                        "line": {"width": 2.5 if name == best else 0.5, "color": grey.ink}},
                hovertemplate=f"{natures.short(name)}: %{{x:.4~g}}<extra></extra>",
            )  # fmt: skip
        expected = self._theory(column)
        if expected:
            figure.add_scatter(
                x=list(expected.values()), y=[names.index(name) for name in expected], mode="markers", row=row, col=col,
                marker={"symbol": "diamond-open", "size": 15, "color": grey.ink, "line": {"width": 1}}, name="theory",
                showlegend=column == "latency", hoverinfo="skip",
            )  # fmt: skip

    def _values(self, column: str) -> dict[str, tuple[float, float]]:
        if column == "whole":
            return {name: (self.whole_s(name), 0.0) for name in self.techniques}
        found = {name: self.interval(column, name) for name in self.techniques}
        return {name: (interval.value, interval.half_width) for name, interval in found.items()}

    def _theory(self, column: str) -> dict[str, float]:
        """The mean latency, and bytes an event by the kit's own figures for an exchange, an event and a beginning."""
        from labkit.choosing import MEASURED

        summary = self.run.summary()
        if column == "latency":
            return {name: float(summary.loc[name, "expected_mean_ms"]) for name in self.techniques}
        if column != "bytes":
            return {}
        told = self.run.settings
        schedule = told["schedule"]
        rate_per_s, payload = float(schedule["rate_per_s"]), float(schedule["settings"].get("payload_bytes", 20))
        d, interval_s = told["one_way_s"], asked(POLLING, told)["interval_s"]
        hold_s = asked(LONG_POLLING, told)["hold_s"]
        requests = {
            "polling": theory.polling_requests_per_event(rate_per_s, theory.polling_period(interval_s, d)),
            "long-polling": theory.long_polling_requests_per_event(rate_per_s, d, hold_s),
        }
        events = len(self.run.published)
        return {
            name: payload
            + MEASURED[name].event_bytes
            + MEASURED[name].exchange_bytes.value * requests.get(name, 0.0)
            + MEASURED[name].open_bytes / events
            for name in self.techniques
            if name in MEASURED
        }

    def _title(self) -> str:
        best: dict[str, list[str]] = {}
        for column, (title, _) in (*COLUMNS.items(), ("whole", WHOLE)):
            best.setdefault(_best(self._values(column)), []).append(title)
        most = max(best, key=lambda name: len(best[name]))
        if len(best) == 1:
            return f"{Natures(self.run.settings).short(most)} is the best in every column of this run"
        return f"{COUNTED[len(best)]} techniques share the first places; none of them has all {len(COLUMNS) + 1}"


def _best(values: Mapping[str, tuple[float, float]]) -> str:
    """Who has the least value; one without a value has none that is less."""
    return min(values, key=lambda name: math.inf if math.isnan(values[name][0]) else values[name][0])


def compare(
    lab: Lab,
    run: Run | None = None,
    *,
    cut: Run | None = None,
    server: ServerCosts | None = None,
    messages: Upstream | None = None,
    healed_s: float = HEALED_S,
) -> Comparison:
    """All that the table compares; what was measured before is taken as it is, the rest is measured now.

    Args:
        run: the trace, of :func:`one_trace`.
        cut: the run of :func:`cut_link`.
        server: of :func:`server_costs`.
        messages: of :func:`upstream`.
        healed_s: when the link was healed in *cut*, seconds after the start.
    """
    return Comparison(
        run or one_trace(lab),
        cut or cut_link(lab, healed_s=healed_s),
        healed_s,
        server or server_costs(),
        messages or upstream(lab),
    )
