"""The charts of 02_long_polling: the closed form against measurement, headers, hold time-outs, equal requests."""

from __future__ import annotations

import math
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from labkit import theory
from labkit.charts import style
from labkit.charts.pictures import finished
from labkit.course.long_polling.seen import LONG, Equal, Rates, Sizes
from labkit.course.long_polling.seen_held import Valley
from labkit.techniques.http_streaming import HTTP_STREAMING
from labkit.techniques.long_polling import LONG_POLLING
from labkit.techniques.polling import POLLING

LEGEND = {"orientation": "h", "x": 0, "yref": "container", "y": 0.012, "yanchor": "bottom"}
DELAYS_S = (0.01, 0.02, 0.05, 0.1, 0.2)
MANY = 60


def long_poll_rates(seen: Rates, *, theme: str | None = None) -> go.Figure:
    """Mean latency, requests a second and requests per event over the event rate; theory as lines.

    Args:
        seen: what ``experiments.long_polling.rates`` gave.
        theme: ``light`` or ``dark``; the one of ``style.use`` by default.
    """
    grey, mark, d, table = style.theme(theme), LONG_POLLING.mark, seen.one_way_s, seen.table()
    low, high = float(table.index[0]), float(table.index[-1])
    swept = [low * (high / low) ** (i / MANY) for i in range(MANY + 1)]
    gap_s = theory.request_gap(d)
    mean = [theory.long_polling_mean(rate, d, 30.0, gap_s) * 1e3 for rate in swept]
    asked = [theory.long_polling_requests_per_s(rate, d, 30.0) for rate in swept]
    each = [theory.long_polling_requests_per_event(rate, d, 30.0) for rate in swept]
    panels: tuple[tuple[str, Any, list[float]], ...] = (
        ("mean latency (ms)", table["mean_ms"], mean),
        ("requests a second", table["requests_per_s"], asked),
        ("requests per event", 1 / table["events_per_answer"], each),
    )
    figure = make_subplots(1, 3, horizontal_spacing=0.085, subplot_titles=[name for name, *_ in panels])
    for column, (name, measured, expected) in enumerate(panels, 1):
        figure.add_scatter(
            x=swept, y=expected, mode="lines", name="long polling, theory", legendgroup="theory",
            showlegend=column == 1,
            line={"color": grey.ink, "width": 1.2, "dash": "3px,3px"}, hoverinfo="skip", row=1, col=column,
        )  # fmt: skip
        figure.add_scatter(
            x=list(table.index), y=measured.round(3), mode="markers", name="long polling, measured",
            legendgroup="measured", showlegend=column == 1, row=1, col=column,
            marker={"symbol": mark.symbol, "size": 9, "color": mark.color},
            hovertemplate=f"%{{x:g}} events/s: %{{y:.3~g}} {name}<extra></extra>",
        )  # fmt: skip
        figure.add_scatter(
            x=[low, high], y=[d * 1e3 if column == 1 else 0.0] * 2, mode="lines", name="a stream, theory",
            legendgroup="stream", showlegend=column == 1, hoverinfo="skip", row=1, col=column,
            line={"color": HTTP_STREAMING.mark.color, "width": 1.5, "dash": "dot"},
        )  # fmt: skip
    if table["stream_ms"].notna().any():
        stream = HTTP_STREAMING.mark
        figure.add_scatter(
            x=list(table.index), y=table["stream_ms"].round(1), mode="markers", name="a stream, measured", row=1, col=1,
            marker={"symbol": stream.symbol, "size": 8, "color": stream.color},
            hovertemplate="%{x:g} events/s: %{y:.0f} ms, a stream<extra></extra>",
        )  # fmt: skip
    ticks = [t for t in style.log_ticks(low, high, 6) if low <= t <= high]
    figure.update_xaxes(
        type="log", range=[math.log10(low) - 0.08, math.log10(high) + 0.08], tickvals=ticks,
        ticktext=[style.number(t) for t in ticks], title_text="events a second",
    )  # fmt: skip
    figure.update_yaxes(rangemode="tozero")
    figure.update_annotations(font_size=13)
    first, last = table.iloc[0], table.iloc[-1]
    figure.update_layout(
        template=style.template(theme), height=400, margin={"l": 60, "r": 24, "t": 112, "b": 96}, legend=LEGEND,
        title=style.heading(
            f"From {low:g} to {high:g} events a second "
            f"{style.ms(first['mean_ms'])} become {style.ms(last['mean_ms'])}, "
            f"{first['requests_per_s']:.1f} requests a second become {last['requests_per_s']:.1f}",
            f"d = {style.ms(d * 1e3)}; logarithmic rates; a stream asks once",
        ),
    )  # fmt: skip
    return finished(figure)


def header_share(seen: Sizes, *, theme: str | None = None) -> go.Figure:
    """Bytes of one exchange by payload: payload, envelope, headers; and how many segments its answer fills.

    Args:
        seen: what ``experiments.long_polling.payloads`` gave.
    """
    grey, table = style.theme(theme), seen.table()
    names, figure = [f"{int(size)} B" for size in table.index], go.Figure()
    for category, values in (
        ("payload", [float(size) for size in table.index]),
        ("envelope", table["envelope"]),
        ("headers", table["headers"]),
    ):  # fmt: skip
        figure.add_bar(
            y=names, x=[round(float(v), 1) for v in values], orientation="h", name=style.CATEGORY_TITLES[category],
            marker={"color": style.CATEGORY_COLORS[category]}, hovertemplate="%{x:.0f} bytes<extra>%{y}</extra>",
        )  # fmt: skip
    for name, (size, row) in zip(names, table.iterrows(), strict=True):
        packets = "one packet" if row["segments"] == 1 else f"{row['segments']:.0f} packets"
        figure.add_annotation(
            x=float(size) + row["envelope"] + row["headers"], y=name, showarrow=False,
            text=f"{row['share_of_headers']:.0%} headers; the answer in {packets}", xanchor="left", xshift=6,
            font={"color": grey.ink, "size": 12},
        )  # fmt: skip
    figure.update_layout(
        template=style.template(theme), barmode="stack", height=340, legend={**LEGEND, "traceorder": "normal"},
        margin={"l": 70, "r": 24, "t": 84, "b": 96},
        title=style.heading(
            f"Headers take {table['headers'].mean():.0f} bytes of each exchange, whatever it carries",
            "request and answer; one event an answer; TCP/IP not counted; packets: of 1460 bytes at most, derived",
        ),
    )  # fmt: skip
    widest = max(float(size) + row["envelope"] + row["headers"] for size, row in table.iterrows())
    figure.update_xaxes(title_text="bytes of one exchange, both directions", range=[0, widest * 1.42])
    figure.update_yaxes(title_text="payload", autorange="reversed")
    return finished(figure)


def hold_valley(seen: Valley, *, theme: str | None = None) -> go.Figure:
    """What waiting costs over the hold time-out: requests, broken connections, and the share of time deaf.

    Args:
        seen: what ``experiments.long_polling.valley`` gave.
    """
    grey, mark, table = style.theme(theme), LONG_POLLING.mark, seen.table()
    figure = make_subplots(1, 2, horizontal_spacing=0.12, subplot_titles=["what it asks, and what breaks", "time deaf"])
    for values, name, symbol, dash in (
        ("requests_per_min", "requests", mark.symbol, "solid"),
        ("broken_per_min", "broken connections", "x", "dot"),
    ):
        figure.add_scatter(
            x=list(table.index), y=table[values], mode="lines+markers", name=name, row=1, col=1,
            line={"color": mark.color if dash == "solid" else grey.ink, "dash": dash, "width": 1.5}, cliponaxis=False,
            marker={"symbol": symbol, "size": 9}, hovertemplate="hold %{x:g} s: %{y:.0f} a minute<extra></extra>",
        )  # fmt: skip
    figure.add_scatter(
        x=list(table.index), y=(table["deaf_share"] * 100).round(1), mode="lines+markers", row=1, col=2,
        showlegend=False, line={"color": grey.ink, "dash": "dot", "width": 1.5}, marker={"symbol": "x", "size": 9},
        hovertemplate="hold %{x:g} s: deaf for %{y:.0f} % of the time<extra></extra>",
    )  # fmt: skip
    figure.update_annotations(font_size=13)
    for column in (1, 2):
        figure.add_vline(
            x=seen.idle_timeout_s, line={"color": grey.muted, "dash": "dash", "width": 1}, row=1, col=column
        )
        figure.add_annotation(  # on a logarithmic axis an annotation's place is a logarithm, a shape's is not
            x=math.log10(seen.idle_timeout_s), yref=f"y{column if column > 1 else ''} domain", y=1, text="idle limit",
            showarrow=False, xanchor="left", yanchor="top", font={"size": 11, "color": grey.muted}, row=1, col=column,
        )  # fmt: skip
    ticks = list(table.index)
    figure.update_xaxes(
        type="log", tickvals=ticks, ticktext=[f"{t:g}" for t in ticks], title_text="hold time-out (s)",
        range=[math.log10(ticks[0]) - 0.1, math.log10(ticks[-1]) + 0.1],
    )  # fmt: skip
    most = float(table["requests_per_min"].max())
    figure.update_yaxes(title_text="a minute", range=[-0.04 * most, 1.04 * most], col=1)
    figure.update_yaxes(title_text="% of the time", range=[-4, 104], col=2)
    unbroken = table[table["broken_per_min"] == 0]
    best = f"{unbroken['requests_per_min'].idxmin():g} s" if len(unbroken) else "none"
    figure.update_layout(
        template=style.template(theme), height=380, legend=LEGEND, margin={"l": 66, "r": 24, "t": 112, "b": 96},
        title=style.heading(
            f"The hold that breaks nothing and asks least often: {best}, under a limit of {seen.idle_timeout_s:g} s",
            "an intermediary that says nothing when it drops an idle connection; a clock fifty times too fast",
        ),
    )  # fmt: skip
    return finished(figure)


def equal_requests(seen: Equal | None = None, *, rate_per_s: float = 4.0, theme: str | None = None) -> go.Figure:
    """Theory, with a slider for d: long polling, polling that asks as often, and a stream, over the event rate.

    Args:
        seen: what ``experiments.long_polling.equal_requests`` gave: its means are drawn where the slider is at its d.
        rate_per_s: where the sentence in the title is read off.
    """
    figure, grey = go.Figure(), style.theme(theme)
    swept = [0.1 * 1000 ** (i / MANY) for i in range(MANY + 1)]
    for at, d in enumerate(DELAYS_S):
        gap_s = theory.request_gap(d)
        long = [theory.long_polling_mean(rate, d, 30.0, gap_s) * 1e3 for rate in swept]
        poll = [(d + 0.5 / theory.long_polling_requests_per_s(rate, d, 30.0)) * 1e3 for rate in swept]
        for name, values, mark in (
            ("polling, asking as often", poll, POLLING.mark), ("long polling", long, LONG_POLLING.mark),
            ("a stream", [d * 1e3] * len(swept), HTTP_STREAMING.mark),
        ):  # fmt: skip
            figure.add_scatter(
                x=swept, y=values, mode="lines", name=name, visible=DELAYS_S[at] == 0.05,
                line={"color": mark.color, "dash": mark.dash, "width": 2},
                hovertemplate="%{x:.2~g} events/s: %{y:.3~g} ms<extra>" + name + "</extra>",
            )  # fmt: skip
    lines = len(figure.data)
    if seen is not None:
        _add_equal(figure, seen, grey)
    steps = []
    for at, d in enumerate(DELAYS_S):
        measured = seen is not None and abs(float(seen.settings["one_way_s"]) - d) < 1e-9
        visible = [i // 3 == at for i in range(lines)] + [measured] * (len(figure.data) - lines)
        steps.append({"label": f"{d * 1e3:g}", "method": "update", "args": [{"visible": visible}]})
    often = theory.long_polling_requests_per_s(rate_per_s, 0.05, 30.0)
    mean_ms = theory.long_polling_mean(rate_per_s, 0.05, 30.0, theory.request_gap(0.05)) * 1e3
    figure.update_layout(
        template=style.template(theme), height=470, margin={"l": 70, "r": 30, "t": 84, "b": 140},
        legend={"x": 0.99, "xanchor": "right", "y": 0.98},
        sliders=[
            {"steps": steps, "active": DELAYS_S.index(0.05), "currentvalue": {"prefix": "d (ms): "}, "pad": {"t": 52}}
        ],
        title=style.heading(
            f"At {rate_per_s:g} events/s, {often:.1f} requests a second and d = 50 ms: {style.ms(mean_ms)} "
            f"against {(0.05 + 0.5 / often) * 1e3:.0f} ms",
            "lines: theory; both axes logarithmic; to the right they meet",
        ),
    )  # fmt: skip
    ticks = [0.1, 1, 10, 100]
    figure.update_xaxes(type="log", tickvals=ticks, ticktext=["0.1", "1", "10", "100"], title_text="events a second")
    figure.update_yaxes(type="log", range=[0.9, 4.1], tickvals=[10, 100, 1000, 10000], title_text="mean latency (ms)")
    return finished(figure)


def _add_equal(figure: go.Figure, seen: Equal, grey: style.Theme) -> None:
    """The means of a run, one mark for each technique and rate."""
    table = seen.table().reset_index()
    for kind, part in table.groupby(table["technique"].eq(LONG)):
        mark = (LONG_POLLING if kind else POLLING).mark
        figure.add_scatter(
            x=part["rate_per_s"], y=part["mean_ms"].round(1), mode="markers",
            visible=seen.settings["one_way_s"] == 0.05,
            name=f"{'long polling' if kind else 'polling'}, measured", customdata=part["requests"],
            marker={"symbol": mark.symbol, "size": 11, "color": mark.color, "line": {"color": grey.ink, "width": 1}},
            hovertemplate="%{x:g} events/s: %{y:.0f} ms at %{customdata} requests<extra></extra>",
        )  # fmt: skip
