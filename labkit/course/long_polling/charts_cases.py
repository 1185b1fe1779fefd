"""The charts of 02_long_polling about single choices: how long to hold, which connections, with a cursor or without."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from labkit import theory
from labkit.charts import style
from labkit.charts.pictures import finished
from labkit.course.long_polling.seen import ENDLESS_S, FRESH, KEPT, Holds
from labkit.course.long_polling.seen_held import Unaware
from labkit.techniques.long_polling import LONG_POLLING

LEGEND = {"orientation": "h", "x": 0, "yref": "container", "y": 0.012, "yanchor": "bottom"}
MANY = 60


def long_poll_holds(seen: Holds, *, theme: str | None = None) -> go.Figure:
    """Mean latency and requests a second over the hold time-out, at one event rate; theory as lines.

    Args:
        seen: what ``experiments.long_polling.holds`` gave.
        theme: ``light`` or ``dark``; the one of ``style.use`` by default.
    """
    grey, mark, d, rate, table = style.theme(theme), LONG_POLLING.mark, seen.one_way_s, seen.rate_per_s, seen.table()
    low, high = float(table.index.min()), float(table.index.max())
    swept = [low * (high / low) ** (i / MANY) for i in range(MANY + 1)]
    mean = [theory.long_polling_mean(rate, d, hold_s, theory.request_gap(d)) * 1e3 for hold_s in swept]
    asked = [theory.long_polling_requests_per_s(rate, d, hold_s) for hold_s in swept]
    panels: tuple[tuple[str, Any, list[float]], ...] = (
        ("mean latency (ms)", table["mean_ms"], mean),
        ("requests a second", table["requests_per_s"], asked),
    )
    figure = make_subplots(1, 2, horizontal_spacing=0.1, subplot_titles=[name for name, *_ in panels])
    for column, (_, measured, expected) in enumerate(panels, 1):
        figure.add_scatter(
            x=swept, y=expected, mode="lines", name="theory", legendgroup="theory", showlegend=column == 1,
            line={"color": grey.ink, "width": 1.2, "dash": "3px,3px"}, hoverinfo="skip", row=1, col=column,
        )  # fmt: skip
        figure.add_scatter(
            x=list(table.index), y=measured.round(2), mode="markers", name="measured", legendgroup="measured",
            showlegend=column == 1, row=1, col=column,
            marker={"symbol": mark.symbol, "size": 9, "color": mark.color},
            hovertemplate="held %{x:g} s: %{y:.3~g}<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(
        type="log", tickvals=list(table.index), ticktext=[f"{t:g}" for t in table.index],
        title_text="hold time-out (s), logarithmic",
    )  # fmt: skip
    figure.update_yaxes(rangemode="tozero")
    first, last = table.iloc[0], table.iloc[-1]
    figure.update_layout(
        template=style.template(theme), height=370, margin={"l": 60, "r": 24, "t": 112, "b": 96}, legend=LEGEND,
        title=style.heading(
            f"Held {low:g} s: {style.ms(first['mean_ms'])} and {first['requests_per_s']:.1f} requests a second; "
            f"held {high:g} s: {style.ms(last['mean_ms'])} and {last['requests_per_s']:.1f}",
            f"{rate:g} events a second, Poisson; d = {style.ms(d * 1e3)}",
        ),
    )  # fmt: skip
    figure.update_annotations(font_size=13)
    return finished(figure)


def long_poll_connections(run: Any, *, theme: str | None = None) -> go.Figure:
    """Latencies over one connection and over a new one each time; theory's range and mean beside them.

    Args:
        run: what ``experiments.long_polling.connections`` gave.
    """
    grey, mark, d = style.theme(theme), LONG_POLLING.mark, float(run.settings["one_way_s"])
    rate, figure, means = float(run.settings["schedule"]["rate_per_s"]), go.Figure(), []
    for row, (name, fresh) in enumerate(((KEPT, False), (FRESH, True))):
        found = run.deliveries[run.deliveries["technique"] == name]["latency_ms"]
        expected = theory.long_polling_latency(rate, d, ENDLESS_S, theory.request_gap(d, fresh))
        means.append(float(found.mean()))
        figure.add_shape(
            type="rect", x0=expected.min_s * 1e3, x1=expected.max_s * 1e3, y0=row - 0.3, y1=row + 0.3,
            fillcolor=style.rgba(mark.color, 0.12), line_width=0, layer="below",
        )  # fmt: skip
        figure.add_scatter(
            x=found.round(1), y=[row + 0.44 * ((i * 0.618) % 1 - 0.5) for i in range(len(found))], mode="markers",
            marker={"symbol": mark.symbol, "size": 5, "color": mark.color, "opacity": 0.65}, name="one event",
            showlegend=row == 0, hovertemplate="%{x:.0f} ms<extra></extra>",
        )  # fmt: skip
        for said, value, symbol, color in (
            ("mean, measured", means[-1], "line-ns-open", grey.ink),
            ("mean, theory", expected.mean_s * 1e3, "diamond-open", grey.ink),
        ):
            figure.add_scatter(
                x=[value], y=[row], mode="markers", name=said, showlegend=row == 0,
                marker={"symbol": symbol, "size": 26 if "line" in symbol else 11, "color": color,
                        "line": {"width": 2, "color": color}}, hovertemplate="%{x:.0f} ms " + said + "<extra></extra>",
            )  # fmt: skip
    figure.update_layout(
        template=style.template(theme), height=310, legend=LEGEND, margin={"l": 100, "r": 24, "t": 84, "b": 96},
        title=style.heading(
            f"One connection: {style.ms(means[0])} on average; a connection each time: {style.ms(means[1])}",
            f"shaded: what theory expects, d to 3d and d to 5d; d = {style.ms(d * 1e3)}, {rate:g} events a second",
        ),
    )  # fmt: skip
    figure.update_xaxes(title_text="latency (ms)", rangemode="tozero", ticks="outside")
    figure.update_yaxes(range=[1.5, -0.5], tickvals=[0, 1], ticktext=[KEPT, FRESH], showgrid=False)
    return finished(figure)


def lost_events(seen: Unaware, *, theme: str | None = None) -> go.Figure:
    """When each event was published, and which of two clients got it.

    Args:
        seen: what ``experiments.long_polling.unaware`` gave.
    """
    grey, mark, figure = style.theme(theme), LONG_POLLING.mark, go.Figure()
    rows = (("with a cursor", set(seen.with_cursor)), ("without", set(seen.without)))
    when = dict(zip(seen.published, seen.at_s, strict=True))
    for row, (_, came) in enumerate(rows):
        for name, ids, symbol, color, down in (
            ("arrived", [i for i in when if i in came], mark.symbol, mark.color, 0.0),
            ("lost", [i for i in when if i not in came], "x-thin", grey.ink, 0.28),
        ):
            figure.add_scatter(
                x=[round(when[i], 3) for i in ids], y=[row + down] * len(ids), mode="markers", name=name,
                legendgroup=name, showlegend=row == 1, customdata=ids,
                marker={"symbol": symbol, "size": 7, "color": color, "opacity": 0.8, "line": {"color": color,
                        "width": 2 if down else 0}},
                hovertemplate="event %{customdata} at %{x:.2f} s: " + name + "<extra></extra>",
            )  # fmt: skip
    gap_ms = theory.request_gap(seen.one_way_s) * 1e3
    figure.update_layout(
        template=style.template(theme), height=270, legend=LEGEND, margin={"l": 110, "r": 24, "t": 84, "b": 96},
        title=style.heading(
            f"Without a cursor {seen.lost} of {len(seen.published)} events are lost",
            f"{seen.rate_per_s:g} events a second at random; after a delivered one the gap is {style.ms(gap_ms)}",
        ),
    )  # fmt: skip
    figure.update_xaxes(title_text="published, after the start (s)", ticks="outside")
    figure.update_yaxes(range=[1.6, -0.6], tickvals=[0, 1], ticktext=[name for name, _ in rows], showgrid=False)
    return finished(figure)
