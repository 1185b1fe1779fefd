"""The charts of 03_http_streaming: ended streams, boundaries, clients that buffer, the step of Nagle's algorithm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from labkit.charts import style
from labkit.charts.pictures import finished
from labkit.claims import confidence
from labkit.course.http_streaming.judges import CLOSED, KEPT, Recycled, recycled_mean_s
from labkit.course.http_streaming.judges_reading import STEP_S, Boundaries, FirstShown, Steps
from labkit.techniques.http_streaming import HTTP_STREAMING
from labkit.theory import Mark

STREAM = HTTP_STREAMING.mark
CHUNKED = Mark("#0072B2", "circle", "solid")
EOF = Mark("#D55E00", "square-open", "dash")
RATES_PER_S = (1, 2, 4, 8, 16, 32, 64)
ENDS_AFTER = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50)


def stream_recycling(run: Any, *, theme: str | None = None) -> go.Figure:
    """Mean latency over the number of events after which a stream is ended; the slider sets theory's event rate.

    Args:
        run: what :func:`labkit.course.http_streaming.experiments.sweep` returned.
        theme: ``light`` or ``dark``; the one of ``style.use`` by default.

    Returns:
        A figure: the mean of each stream in ms with 4 standard errors, over N on a logarithmic scale; theory at the
        run's own rate and, with the slider, at others; one transit as a dotted line.
    """
    grey, d_s = style.theme(theme), float(run.settings["one_way_s"])
    ran_at = float(run.settings["schedule"]["rate_per_s"])
    rates = sorted({*map(float, RATES_PER_S), ran_at})
    figure = go.Figure()
    for rate in rates:
        figure.add_scatter(
            x=ENDS_AFTER, y=[recycled_mean_s(rate, d_s, n) * 1e3 for n in ENDS_AFTER], mode="lines",
            name="theory: d + (g/2) a / E[max(N, K)]", visible=rate == ran_at, hoverinfo="skip",
            line={"color": grey.ink, "width": 1.2, "dash": "3px,3px"},
        )  # fmt: skip
    found = _means(run)
    figure.add_scatter(
        x=[n for n, _ in found], y=[i.value * 1e3 for _, i in found], mode="markers",
        name=f"measured at {ran_at:g} events/s, 4 standard errors",
        error_y={"array": [i.half_width * 1e3 for _, i in found], "width": 4, "color": STREAM.color},
        marker={"symbol": STREAM.symbol, "size": 10, "color": STREAM.color},
        hovertemplate="ended every %{x} events: %{y:.1f} ms<extra></extra>",
    )  # fmt: skip
    figure.add_hline(
        y=d_s * 1e3, line={"color": grey.rule, "dash": "dot"}, annotation_position="bottom right",
        annotation_text=f"one transit; never ended, measured: {_never(run)}", annotation_font_color=grey.muted,
    )  # fmt: skip
    steps = [_step(rate, rates, d_s) for rate in rates]
    top = max(*(i.high * 1e3 for _, i in found), *(recycled_mean_s(r, d_s, 1) * 1e3 for r in rates))
    figure.update_layout(
        template=style.template(theme), height=470, margin={"l": 70, "r": 40, "b": 150, "t": 84},
        sliders=[{"steps": steps, "active": rates.index(ran_at), "pad": {"t": 56},
                  "currentvalue": {"prefix": "events a second, in theory: "}}],
        legend={"x": 1, "xanchor": "right", "y": 0.98}, title=style.heading(*_ends(ran_at, d_s)),
    )  # fmt: skip
    ticks = [n for n in ENDS_AFTER if n in (1, 2, 5, 10, 20, 50)]
    figure.update_xaxes(
        type="log", title_text="events after which the response is ended (logarithmic)", tickvals=ticks,
        ticktext=[str(n) for n in ticks], range=[-0.06, math.log10(55)],
    )  # fmt: skip
    figure.update_yaxes(title_text="mean latency (ms)", range=[d_s * 1e3 * 0.86, top * 1.04])
    return finished(figure)


def stream_ends(seen: Recycled, *, theme: str | None = None) -> go.Figure:
    """Latency along time of streams that are never ended, ended and asked for again, and ended by the close.

    Args:
        seen: what :func:`labkit.course.http_streaming.experiments.recycled` returned.
        theme: ``light`` or ``dark``; the one of ``style.use`` by default.

    Returns:
        A figure: a panel per stream, latency in ms over the time at which an event was due; what theory expects, of
        an event while the stream lasts and of one right after its end, as dashed lines.
    """
    d_ms = float(seen.run.settings["one_way_s"]) * 1e3
    rows = [
        ("http-streaming", "never ended", STREAM, [(d_ms, "d")]),
        (KEPT, f"ended every {seen.every} events, same connection", CHUNKED, [(d_ms, "d"), (3 * d_ms, "3d")]),
        (CLOSED, f"ended every {seen.every} events by the close", EOF, [(d_ms, "d"), (5 * d_ms, "5d")]),
    ]
    frame = seen.run.deliveries
    most = [style.ms(float(frame[frame["technique"] == name]["latency_ms"].max())) for name, *_ in rows]
    title = f"Right after an end an event takes up to {most[1]}, after a close {most[2]}; otherwise {most[0]} at most"
    return _panels(seen.run, rows, title, theme)


def stream_boundaries(seen: Boundaries, *, theme: str | None = None) -> go.Figure:
    """Latency along time of multipart streams with the boundary behind each part, and before it.

    Args:
        seen: what :func:`labkit.course.http_streaming.experiments.boundaries` returned.
        theme: ``light`` or ``dark``; the one of ``style.use`` by default.

    Returns:
        A figure: a panel per place of the boundary, latency in ms over the time at which an event was due; theory,
        d and d plus one interval between events, as dashed lines.
    """
    d_ms = float(seen.run.settings["one_way_s"]) * 1e3
    period_ms = 1e3 / float(seen.run.settings["schedule"]["rate_per_s"])
    rows = [
        ("trailing", "boundary behind each part", CHUNKED, [(d_ms, "d")]),
        ("leading", "boundary before each part", EOF, [(d_ms + period_ms, "d + one interval")]),
    ]
    means = [style.ms(seen.run.summary().loc[name, "mean_ms"]) for name, *_ in rows]
    title = f"With the boundary before each part the mean is {means[1]}, behind it {means[0]}"
    return _panels(seen.run, rows, title, theme)


_Row = tuple[str, str, Mark, list[tuple[float, str]]]


def _panels(run: Any, rows: Sequence[_Row], title: str, theme: str | None) -> go.Figure:
    grey, frame, summary = style.theme(theme), run.deliveries, run.summary()
    frame = frame[frame["scheduled"]]
    figure = make_subplots(len(rows), 1, shared_xaxes="all", shared_yaxes="all", vertical_spacing=0.36 / len(rows))
    for number, (name, text, mark, levels) in enumerate(rows, 1):
        mine = frame[frame["technique"] == name].sort_values("due_ns")
        figure.add_scatter(
            x=((mine["due_ns"] - frame["due_ns"].min()).astype(float) / 1e9).round(4), y=mine["latency_ms"].round(2),
            mode="markers", marker={"symbol": mark.symbol, "size": 7, "color": mark.color}, showlegend=False,
            hovertemplate="due %{x:.3f} s<br>%{y:.1f} ms<extra></extra>", row=number, col=1,
        )  # fmt: skip
        lost = int(summary.loc[name, "lost"])
        figure.add_annotation(
            text=f"<b>{text}</b>" + f', <span style="color:{grey.muted}">{lost} not yet whole</span>' * bool(lost),
            x=0, xref="x domain", xanchor="left", y=1, yref="y domain", yanchor="bottom", showarrow=False,
            row=number, col=1,
        )  # fmt: skip
        for level_ms, label in levels:
            figure.add_hline(
                y=level_ms, line={"color": grey.ink, "width": 1, "dash": "3px,3px"}, annotation_text=label,
                annotation_position="right", annotation_font_color=grey.muted, row=number, col=1,
            )  # fmt: skip
    figure.update_layout(
        template=style.template(theme), height=150 + 110 * len(rows), margin={"l": 66, "r": 110, "t": 92, "b": 56},
        title=style.heading(title, "dashed: theory"),
    )  # fmt: skip
    figure.update_yaxes(title_text="latency (ms)", range=[0, float(frame["latency_ms"].max()) * 1.15])
    figure.update_xaxes(title_text="due, after the first event (s)", row=len(rows), col=1)
    return finished(figure)


def _means(run: Any) -> list[tuple[int, confidence.Interval]]:
    frame = run.deliveries
    frame = frame[frame["scheduled"]]
    found = []
    for technique, rows in frame.groupby("technique"):
        if str(technique).startswith("every "):
            mean = confidence.mean_interval((rows["latency_ms"] / 1e3).tolist(), groups=rows["received_ns"].tolist())
            found.append((int(str(technique).removeprefix("every ")), mean))
    return sorted(found)


def _never(run: Any) -> str:
    return style.ms(float(run.summary().loc["never", "mean_ms"]))


def _step(rate: float, rates: Sequence[float], d_s: float) -> dict[str, Any]:
    title, note = _ends(rate, d_s)
    shown = [other == rate for other in rates] + [True]
    told = {"title.text": style.heading(title)["text"], "title.subtitle.text": note}
    return {"label": f"{rate:g}", "method": "update", "args": [{"visible": shown}, told]}


def _ends(rate_per_s: float, d_s: float) -> tuple[str, str]:
    one, ten = (style.ms(recycled_mean_s(rate_per_s, d_s, n) * 1e3) for n in (1, 10))
    title = f"At {rate_per_s:g} events/s, ending after each event costs a mean of {one}, after ten {ten}"
    return title, f"theory; d = {style.ms(d_s * 1e3)}, the next request is there after g = 2d; a = events in g"


def first_bytes(seen: FirstShown, *, theme: str | None = None) -> go.Figure:
    """How many bytes must be written until each client shows the first event, on a logarithmic scale.

    Args:
        seen: what :func:`labkit.course.http_streaming.experiments.first_shown` returned.
        theme: ``light`` or ``dark``; the one of ``style.use`` by default.

    Returns:
        A figure: a row per client, a mark per framing; an arrow at the right edge where nothing showed before the
        end of the response.
    """
    grey, names = style.theme(theme), list(dict.fromkeys(case.client for case in seen.cases))
    event, limit = seen.cases[0].event_bytes, seen.cases[0].limit_bytes
    figure = go.Figure()
    for framing, mark, off in (("chunked", CHUNKED, -0.17), ("eof", EOF, 0.17)):
        cases = [case for case in seen.cases if case.framing == framing]
        figure.add_scatter(
            x=[case.body_bytes or limit * 1.5 for case in cases], y=[names.index(c.client) + off for c in cases],
            mode="markers", showlegend=False,
            marker={"symbol": [mark.symbol if c.body_bytes else "triangle-right-open" for c in cases], "size": 11,
                    "color": mark.color, "line": {"width": 2, "color": mark.color}},
            customdata=[c.client for c in cases], hovertemplate="%{customdata}: %{x} bytes<extra></extra>",
        )  # fmt: skip
        figure.add_scatter(
            x=[None], y=[None], mode="markers", name={"eof": "body ended by the close"}.get(framing, framing),
            marker={"symbol": mark.symbol, "size": 11, "color": mark.color, "line": {"width": 2, "color": mark.color}},
        )  # fmt: skip
    figure.add_vline(x=event, line={"color": grey.rule, "dash": "dot"})
    _above(figure, "one event", event, grey)
    _above(figure, "nothing before the end", limit * 1.5, grey)
    late = [c for c in seen.cases if c.body_bytes is None or c.body_bytes >= 8 * c.event_bytes]
    held = list(dict.fromkeys(c.client.partition(",")[0].partition(" ")[0] for c in late))
    figure.update_layout(
        template=style.template(theme), height=150 + 36 * len(names), margin={"l": 212, "r": 80, "t": 96, "b": 92},
        legend={"orientation": "h", "x": 0, "yref": "container", "y": 0.012, "yanchor": "bottom"},
        title=style.heading(
            f"{len(dict.fromkeys(c.client for c in late))} of {len(names)} ways of reading hold the first event back: "
            f"{style.joined(held)}",
            "body bytes that the server had written when the program saw the first event (logarithmic)",
        ),
    )  # fmt: skip
    ticks = [64, 256, 1024, 4096]
    figure.update_xaxes(
        type="log", title_text="bytes written", tickvals=ticks, ticktext=[style.number(t) for t in ticks],
        range=[math.log10(event / 1.5), math.log10(limit * 2)],
    )  # fmt: skip
    figure.update_yaxes(
        tickvals=list(range(len(names))), ticktext=names, range=[len(names) - 0.5, -0.5], showgrid=False
    )
    return finished(figure)


def _above(figure: go.Figure, text: str, x: float, grey: style.Theme, anchor: str = "center") -> None:
    """Name a place on a logarithmic x axis, above the plot."""
    figure.add_annotation(
        text=text, x=math.log10(x), y=1, yref="paper", yanchor="bottom", showarrow=False, xanchor=anchor,
        font={"color": grey.muted},
    )  # fmt: skip


def write_steps(seen: Steps, *, theme: str | None = None) -> go.Figure:
    """Latency of a header and its payload by pattern and way of writing, on a logarithmic scale.

    Args:
        seen: what :func:`labkit.course.http_streaming.experiments.two_writes` returned.
        theme: ``light`` or ``dark``; the one of ``style.use`` by default.

    Returns:
        A figure: a row per pattern and way, each event a dot, its median a bar; Linux's shortest delayed
        acknowledgement as a dashed line.
    """
    grey, rows = style.theme(theme), list(seen.samples.items())
    figure = go.Figure()
    for y, ((pattern, _), values) in enumerate(rows):
        mark = EOF if pattern == "asked" else CHUNKED
        figure.add_scatter(
            x=[max(v * 1e3, 0.005) for v in values], y=[y] * len(values), mode="markers", showlegend=False,
            marker={"symbol": mark.symbol, "size": 7, "color": style.rgba(mark.color, 0.6)},
            hovertemplate="%{x:.3f} ms<extra></extra>",
        )  # fmt: skip
        figure.add_scatter(
            x=[_median(values) * 1e3], y=[y], mode="markers", showlegend=not y, name="median", hoverinfo="skip",
            marker={"symbol": "line-ns", "size": 18, "line": {"width": 3.5, "color": grey.ink}},
        )  # fmt: skip
    figure.add_vline(x=STEP_S * 1e3, line={"color": grey.ink, "dash": "dash", "width": 1})
    _above(figure, "40 ms: Linux's shortest delayed acknowledgement", STEP_S * 1e3, grey, "right")
    step, stream = (_median(seen.samples[p, "two writes"]) * 1e3 for p in ("asked", "stream"))
    figure.update_layout(
        template=style.template(theme), height=380, margin={"l": 220, "r": 40, "t": 104, "b": 92},
        legend={"orientation": "h", "x": 0, "yref": "container", "y": 0.012, "yanchor": "bottom"},
        title=style.heading(
            f"Two writes take {style.ms(step)} where the client has just asked, {style.ms(stream)} on a stream",
            "loopback, no delay injected; asked: each answer follows a request; stream: the server writes by itself",
        ),
    )  # fmt: skip
    ticks = [0.01, 0.1, 1, 10, 100]
    figure.update_xaxes(
        type="log", title_text="latency (ms, logarithmic)", tickvals=ticks, ticktext=[f"{t:g}" for t in ticks],
        range=[-2.4, 2.1],
    )  # fmt: skip
    figure.update_yaxes(
        tickvals=list(range(len(rows))), ticktext=[f"{pattern}: {way}" for (pattern, way), _ in rows],
        range=[len(rows) - 0.5, -0.5], showgrid=False,
    )  # fmt: skip
    return finished(figure)


def _median(values: Sequence[float]) -> float:
    return confidence.median_interval(values).value
