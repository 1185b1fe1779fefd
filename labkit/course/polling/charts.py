"""The charts of 01_polling that are about time: intervals swept, clients in step, aliasing, waiting for a job."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from labkit.charts import style
from labkit.charts.pictures import finished
from labkit.claims import recording
from labkit.course.polling.seen import Aliased, Herd, Sweep, Waited
from labkit.techniques.polling import POLLING
from labkit.techniques.websocket import WEBSOCKET
from labkit.theory import Mark

LEGEND = {"orientation": "h", "x": 0, "yref": "container", "y": 0.012, "yanchor": "bottom"}
WAYS = {
    "fixed poll": Mark("#D55E00", "circle", "solid"),
    "backoff": Mark("#CC79A7", "diamond", "solid"),
    "Retry-After": Mark("#009E73", "triangle-up", "solid"),
    "long poll": Mark("#E69F00", "square", "solid"),
    "SSE": Mark("#56B4E9", "triangle-down", "solid"),
}
POINTS = 100


def poll_intervals(seen: Sweep, *, theme: str | None = None) -> go.Figure:
    """Latencies of pollers with several intervals: a strip of dots for each, theory's range and mean beside it.

    Args:
        seen: what ``experiments.polling.sweep`` gave.
        theme: ``light`` or ``dark``; the one of ``style.use`` by default.
    """
    grey, mark, d = style.theme(theme), POLLING.mark, float(seen.settings["one_way_s"])
    figure, means = go.Figure(), []
    for row, poller in enumerate(seen.pollers):
        found, theory = seen.latencies_ms(poller), poller.theory(d)
        shown = found.iloc[:: max(1, len(found) // POINTS)]
        means.append(float(found.mean()))
        figure.add_shape(
            type="rect", x0=theory.min_s * 1e3, x1=theory.max_s * 1e3, y0=row - 0.3, y1=row + 0.3,
            fillcolor=style.rgba(mark.color, 0.12), line_width=0, layer="below",
        )  # fmt: skip
        figure.add_scatter(
            x=shown.round(1), y=[row + 0.44 * ((i * 0.618) % 1 - 0.5) for i in range(len(shown))], mode="markers",
            marker={"symbol": mark.symbol, "size": 4, "color": mark.color, "opacity": 0.55}, name="one event",
            legendgroup="event", showlegend=row == 0, hovertemplate="%{x:.0f} ms<extra></extra>",
        )  # fmt: skip
        for name, value, symbol, color in (
            ("mean, measured", means[-1], "line-ns-open", grey.ink),
            ("mean, theory: P/2 + d", theory.mean_s * 1e3, "diamond-open", grey.ink),
        ):
            figure.add_scatter(
                x=[value], y=[row], mode="markers", name=name, legendgroup=name, showlegend=row == 0,
                marker={"symbol": symbol, "size": 26 if "line" in symbol else 11, "color": color,
                        "line": {"width": 2, "color": color}}, hovertemplate="%{x:.0f} ms " + name + "<extra></extra>",
            )  # fmt: skip
    guess = recording.prediction("P1")
    if guess is not None:
        longest = max(range(len(means)), key=lambda row: seen.pollers[row].interval_s)
        figure.add_scatter(
            x=[guess.value * (1 if guess.unit == "ms" else 1e3)], y=[longest], mode="markers", name="your prediction",
            marker={"symbol": "triangle-down-open", "size": 13, "color": WEBSOCKET.mark.color,
                    "line": {"width": 2}}, hovertemplate="%{x:.0f} ms predicted<extra></extra>",
        )  # fmt: skip
    names = [poller.name.replace(" after the answer", "<br>after the answer") for poller in seen.pollers]
    figure.update_layout(
        template=style.template(theme), height=150 + 80 * len(names), legend=LEGEND,
        margin={"l": 120, "r": 24, "t": 82, "b": 96},
        title=style.heading(
            f"From T = {seen.pollers[0].interval_s:g} s to {max(p.interval_s for p in seen.pollers):g} s "
            f"the mean latency goes from {style.ms(means[0])} to {style.ms(max(means))}",
            f"shaded: the range that theory expects, d to P + d; d = {style.ms(d * 1e3)}",
        ),
    )  # fmt: skip
    figure.update_xaxes(title_text="latency (ms)", rangemode="tozero", ticks="outside")
    figure.update_yaxes(
        range=[len(names) - 0.5, -0.5], tickvals=list(range(len(names))), ticktext=names, showgrid=False
    )
    figure.update_annotations(font_size=13)
    return finished(figure)


def poll_herd(seen: Herd, *, theme: str | None = None) -> go.Figure:
    """When polls were sent, and how long each waited for its answer: clients in step, and at random phases.

    Args:
        seen: what ``experiments.polling.herd`` gave.
    """
    mark, groups = POLLING.mark, list(seen.frame.groupby("who", sort=False))
    figure = make_subplots(
        1, 2, shared_yaxes=True, horizontal_spacing=0.04,
        subplot_titles=[f"{seen.clients} clients, {who}" for who, _ in groups],
    )  # fmt: skip
    for column, (_, part) in enumerate(groups, 1):
        figure.add_scatter(
            x=part["asked_s"].round(4), y=part["waited_ms"].round(2), mode="markers", row=1, col=column,
            showlegend=False, marker={"symbol": mark.symbol, "size": 4, "color": mark.color, "opacity": 0.6},
            hovertemplate="sent at %{x:.2f} s: %{y:.1f} ms<extra></extra>",
        )  # fmt: skip
    middles = [float(part["waited_ms"].median()) for _, part in groups]
    figure.update_layout(
        template=style.template(theme), height=360, margin={"l": 66, "r": 24, "t": 106, "b": 60},
        title=style.heading(
            f"In step, a poll waits {style.ms(middles[0])} for its answer; spread, {style.ms(middles[1])}",
            f"medians; each client polls every {seen.interval_s:g} s, as many requests on both sides",
        ),
    )  # fmt: skip
    top = float(seen.frame["waited_ms"].quantile(0.99)) * 1.3
    figure.update_yaxes(title_text="from request to answer (ms)", range=[0, top], col=1)
    figure.update_yaxes(range=[0, top])
    late_s = float(seen.frame["asked_s"].max())
    figure.update_xaxes(title_text="sent, after the start (s)", ticks="outside", range=[-0.02 * late_s, 1.04 * late_s])
    figure.update_annotations(font_size=13)
    return finished(figure)


def poll_aliasing(seen: Aliased, *, theme: str | None = None) -> go.Figure:
    """Latency along time, one line for each poller: a source in step with the polls, and a dithered one.

    Args:
        seen: what ``experiments.polling.aliasing`` gave.
    """
    grey, d = style.theme(theme), float(seen.settings["one_way_s"])
    panels = (("a source in step", seen.periodic), ("the same, dithered", seen.dithered))
    figure = make_subplots(1, 2, shared_yaxes=True, horizontal_spacing=0.04, subplot_titles=[n for n, _ in panels])
    symbols = ("circle", "square", "diamond", "cross", "x", "triangle-up", "star", "pentagon")
    for column, (_, run) in enumerate(panels, 1):
        for number, part in run.deliveries.groupby("subscriber"):
            figure.add_scatter(
                x=((part["due_ns"] - run.started_ns) / 1e9).astype(float).round(3), y=part["latency_ms"].round(1),
                mode="lines+markers", name=f"poller {number}", legendgroup=str(number), showlegend=column == 1,
                line={"color": POLLING.mark.color, "width": 1}, row=1, col=column,
                marker={"symbol": symbols[int(str(number)) % len(symbols)], "size": 7},
            )  # fmt: skip
        figure.add_hline(
            y=(seen.interval_s / 2 + d) * 1e3,
            line={"color": grey.ink, "width": 1, "dash": "3px,3px"},
            row=1,
            col=column,
        )
    means = seen.table()["in step"]
    figure.update_layout(
        template=style.template(theme), height=390, margin={"l": 66, "r": 24, "t": 106, "b": 96}, legend=LEGEND,
        title=style.heading(
            f"In step with its source, one poller's mean is {style.ms(means.min())}, another's {style.ms(means.max())}",
            f"dashed: theory's mean, T/2 + d = {style.ms((seen.interval_s / 2 + d) * 1e3)}, for random moments",
        ),
    )  # fmt: skip
    figure.update_yaxes(rangemode="tozero")
    figure.update_yaxes(title_text="latency (ms)", col=1)
    figure.update_xaxes(title_text="due, after the start (s)", ticks="outside")
    figure.update_annotations(font_size=13)
    return finished(figure)


def job_waits(seen: Waited, *, theme: str | None = None) -> go.Figure:
    """Wait after a job's end against requests for it: one panel for each distribution, measured beside the rule.

    Args:
        seen: what ``experiments.polling.wait_for_jobs`` gave.
    """
    grey, table = style.theme(theme), seen.table()
    kinds: Sequence[str] = list(dict.fromkeys(table.index.get_level_values("durations")))
    figure = make_subplots(1, len(kinds), shared_yaxes=True, shared_xaxes="all", horizontal_spacing=0.03,
                           subplot_titles=[f"{kind} durations" for kind in kinds])  # fmt: skip
    for column, kind in enumerate(kinds, 1):
        for way, row in table.loc[kind].iterrows():
            mark = WAYS[str(way)]
            figure.add_scatter(
                x=[row["expected_requests"]], y=[row["expected_s"] * 1e3], mode="markers", showlegend=False, row=1,
                col=column, marker={"symbol": f"{mark.symbol}-open", "size": 17, "color": grey.ink,
                                    "line": {"width": 1}}, hovertemplate="by its rule<extra></extra>",
            )  # fmt: skip
            figure.add_scatter(
                x=[row["requests"]], y=[row["waited_s"] * 1e3], mode="markers", name=str(way), legendgroup=str(way),
                showlegend=column == 1, row=1, col=column,
                marker={"symbol": mark.symbol, "size": 10, "color": mark.color},
                hovertemplate=f"{way}: %{{y:.0f}} ms at %{{x:.2g}} requests<extra></extra>",
            )  # fmt: skip
    means = seen.frame.groupby("how")["waited_s"].mean()
    most = float(table[["requests", "expected_requests"]].max().max())
    figure.update_layout(
        template=style.template(theme), height=410, margin={"l": 70, "r": 24, "t": 106, "b": 98}, legend=LEGEND,
        title=style.heading(
            f"After a job's end: {style.seconds(means['SSE'])} by SSE, {style.seconds(means['fixed poll'])} by a fixed "
            f"poll, {style.seconds(means['Retry-After'])} by Retry-After",
            "means; outlined: what the client's rule gives for the same durations; waits on a logarithmic scale",
        ),
    )  # fmt: skip
    ticks = [20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0]
    figure.update_yaxes(type="log", range=[1.4, 3.5], tickvals=ticks, ticktext=[style.number(t) for t in ticks])
    figure.update_yaxes(title_text="mean wait after the end (ms)", col=1)
    figure.update_xaxes(title_text="requests for a job", range=[0, most * 1.15], ticks="outside")
    figure.update_annotations(font_size=13)
    return finished(figure)
