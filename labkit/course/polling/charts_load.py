"""The charts of 01_polling that are about cost: bytes, the cost surface, the server's burden, revalidation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from labkit import theory
from labkit.charts import style
from labkit.charts.pictures import finished
from labkit.claims import recording
from labkit.course.polling.seen import Costs
from labkit.course.polling.seen_load import Burden, Revalidated
from labkit.techniques.polling import POLLING
from labkit.theory import Mark

LEGEND = {"orientation": "h", "x": 0, "yref": "container", "y": 0.012, "yanchor": "bottom"}
SLIDER_S = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
KINDS = {
    "closed each time": Mark("#D55E00", "circle", "solid"),
    "kept alive": Mark("#E69F00", "square", "dash"),
    "websocket": Mark("#0072B2", "cross", "longdash"),
}
NAMES = {
    "closed each time": "polls, closed each time",
    "kept alive": "polls, kept alive",
    "websocket": "WebSocket, held",
}


def poll_costs(seen: Costs, *, theme: str | None = None) -> go.Figure:
    """Bytes per event over 1/(lambda T), and the share of empty answers over lambda T, with their theory.

    Args:
        seen: what ``experiments.polling.costs`` gave.
        theme: ``light`` or ``dark``; the one of ``style.use`` by default.
    """
    grey, mark, table = style.theme(theme), POLLING.mark, seen.table()
    figure = make_subplots(1, 2, horizontal_spacing=0.1, subplot_titles=["bytes per event", "share of empty answers"])
    each = seen.frame[seen.frame["events"] > 0]
    sums = seen.frame.groupby("interval_s")[["polls", "events"]].sum()
    x = (sums["polls"] / sums["events"]).tolist()
    steps = [0.0, float((each["polls"] / each["events"]).max()) * 1.05]
    shares = [4.5 * i / 30 for i in range(31)]
    for column, xs, ys in (
        (1, steps, [seen.event_bytes + seen.empty_bytes * s for s in steps]),
        (2, shares, [math.exp(-s) for s in shares]),
    ):
        figure.add_scatter(
            x=xs, y=ys, mode="lines", name="theory", legendgroup="theory", showlegend=column == 1, row=1, col=column,
            line={"color": grey.ink, "width": 1, "dash": "3px,3px"}, hoverinfo="skip",
        )  # fmt: skip
    figure.add_scatter(
        x=each["polls"] / each["events"], y=each["bytes"] / each["events"], mode="markers", name="one topic",
        row=1, col=1, hoverinfo="skip",
        marker={"symbol": "circle-open", "size": 5, "color": mark.color, "opacity": 0.5},
    )  # fmt: skip
    for column, xs, ys in (
        (1, x, table["bytes/event"].tolist()),
        (2, [seen.rate_per_s * t for t in table.index], table["empty"].tolist()),
    ):
        figure.add_scatter(
            x=xs, y=ys, mode="markers", name="measured", legendgroup="measured", showlegend=column == 1,
            marker={"symbol": mark.symbol, "size": 10, "color": mark.color}, row=1, col=column,
            customdata=list(table.index), hovertemplate="T = %{customdata:g} s: %{y:.3~g}<extra></extra>",
        )  # fmt: skip
    first, last = float(table["bytes/event"].iloc[0]), float(table["bytes/event"].iloc[-1])
    figure.update_layout(
        template=style.template(theme), height=400, margin={"l": 70, "r": 24, "t": 106, "b": 100}, legend=LEGEND,
        title=style.heading(
            f"An event costs {style.number(last)} bytes with T = {table.index[-1]:g} s, "
            f"{style.number(first)} with T = {table.index[0]:g} s",
            f"theory: b + h/(λT), b = {seen.event_bytes:.0f}, h = {seen.empty_bytes:.0f} bytes, and exp(-λT); "
            f"λ = {seen.rate_per_s:g} events/s",
        ),
    )  # fmt: skip
    figure.update_xaxes(title_text="1/(λT): polls for each event", rangemode="tozero", ticks="outside", col=1)
    figure.update_xaxes(title_text="λT: events in each interval", rangemode="tozero", ticks="outside", col=2)
    figure.update_yaxes(rangemode="tozero")
    figure.update_yaxes(title_text="bytes per event, both ways (B)", col=1)
    figure.update_annotations(font_size=13)
    return finished(figure)


def knees_s(seen: Costs) -> tuple[float, float]:
    """The two ends of the bargain, in seconds of T: below 4d half the interval gains less than one transit, and above
    h/(b lambda) the polls cost less than the events' own bytes."""
    return 4 * seen.one_way_s, seen.empty_bytes / (seen.event_bytes * seen.rate_per_s)


def poll_surface(seen: Costs, *, theme: str | None = None) -> go.Figure:
    """Mean latency against requests and against bytes an hour; a slider moves T along both curves.

    Args:
        seen: what ``experiments.polling.costs`` gave.
    """
    grey, mark, table = style.theme(theme), POLLING.mark, seen.table()
    figure = make_subplots(1, 2, shared_yaxes=True, horizontal_spacing=0.04)
    steps = [0.02 * 5000 ** (i / 60) for i in range(61)]
    for column, cost in ((1, 0), (2, 1)):
        points = [_point(seen, t) for t in steps]
        figure.add_scatter(
            x=[p[cost] for p in points], y=[p[2] for p in points], mode="lines", name="theory", legendgroup="theory",
            showlegend=column == 1, line={"color": grey.ink, "width": 1, "dash": "3px,3px"}, row=1, col=column,
            hoverinfo="skip",
        )  # fmt: skip
        figure.add_scatter(
            x=table[("requests/hour", "bytes/hour")[cost]], y=table["mean_ms"], mode="markers", name="measured",
            legendgroup="measured", showlegend=column == 1, row=1, col=column, hoverinfo="skip",
            marker={"symbol": mark.symbol, "size": 8, "color": mark.color},
        )  # fmt: skip
        knees = [_point(seen, t) for t in knees_s(seen)]
        figure.add_scatter(
            x=[p[cost] for p in knees], y=[p[2] for p in knees], mode="markers", name="the two knees",
            row=1, col=column, legendgroup="knees", showlegend=column == 1, hoverinfo="skip",
            marker={"symbol": "star-open", "size": 14, "color": grey.ink, "line": {"width": 1.5}},
        )  # fmt: skip
    fixed, start = len(figure.data), SLIDER_S.index(1.0)
    for at, interval_s in enumerate(SLIDER_S):
        point = _point(seen, interval_s)
        for column, cost in ((1, 0), (2, 1)):
            figure.add_scatter(
                x=[point[cost]], y=[point[2]], mode="markers", visible=at == start, showlegend=False, row=1, col=column,
                hoverinfo="skip",
                marker={"symbol": "circle-open", "size": 18, "color": mark.color, "line": {"width": 3}},
            )  # fmt: skip
    _slider(figure, seen, fixed, start)
    left, right = knees_s(seen)
    figure.update_layout(
        template=style.template(theme), height=500, margin={"l": 74, "r": 30, "t": 112, "b": 160},
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1.01, "yanchor": "bottom"},
        title=style.heading(
            f"Requests buy latency down to T = {style.seconds(left)}; bytes are saved up to T = {style.seconds(right)}",
            f"one client, λ = {seen.rate_per_s:g} events/s, d = {style.ms(seen.one_way_s * 1e3)}; logarithmic scales",
        ),
    )  # fmt: skip
    figure.update_xaxes(type="log", dtick=1, exponentformat="none", tickformat=",d", ticks="outside")
    figure.update_xaxes(title_text="requests an hour", col=1)
    ticks = style.log_ticks(_point(seen, 100.0)[1], _point(seen, 0.02)[1], 5)
    figure.update_xaxes(title_text="kB an hour", tickvals=ticks, ticktext=[style.number(t / 1e3) for t in ticks], col=2)
    figure.update_yaxes(type="log", dtick=1)
    figure.update_yaxes(title_text="mean latency (ms)", col=1)
    return finished(figure)


def _point(seen: Costs, interval_s: float) -> tuple[float, float, float]:
    """Requests and bytes an hour, and mean latency in ms, of an interval."""
    expected = theory.polling_latency(interval_s, seen.one_way_s)
    requests = 3600 / theory.polling_period(interval_s, seen.one_way_s)
    return requests, requests * seen.empty_bytes + 3600 * seen.rate_per_s * seen.event_bytes, expected.mean_s * 1e3


def _slider(figure: go.Figure, seen: Costs, fixed: int, start: int) -> None:
    steps: list[dict[str, Any]] = []
    for at, interval_s in enumerate(SLIDER_S):
        requests, size, latency_ms = _point(seen, interval_s)
        told = f"{interval_s:g} s: {style.seconds(latency_ms / 1e3)}, {style.number(requests)} requests and "
        told += f"{style.number(size / 1e3)} kB an hour"
        shown = [True] * fixed + [i == at for i in range(len(SLIDER_S)) for _ in range(2)]
        steps.append({"label": f"{interval_s:g}", "value": told, "method": "update", "args": [{"visible": shown}]})
        steps[-1]["args"].append({"annotations": [_told(told)]})
    figure.update_layout(
        sliders=[{"active": start, "steps": steps, "currentvalue": {"prefix": "T (s): "}, "pad": {"t": 62}}],
        annotations=[_told(steps[start]["value"])],
    )


def _told(text: str) -> dict[str, object]:
    return {"text": f"T = {text}", "x": 0, "xref": "paper", "xanchor": "left", "y": 1.01, "yref": "paper",
            "yanchor": "bottom", "showarrow": False, "font": {"size": 13}}  # fmt: skip


def poll_burden(seen: Burden, *, theme: str | None = None) -> go.Figure:
    """Server CPU for each client over the poll interval, and the memory of a held client, by kind of client.

    Args:
        seen: what ``experiments.polling.weigh`` gave.
    """
    if seen.why:
        return finished(
            go.Figure(layout={"template": style.template(theme), "title": style.heading(f"Not run: {seen.why}")})
        )
    figure = make_subplots(1, 2, column_widths=[0.6, 0.4], horizontal_spacing=0.19,
                           subplot_titles=["CPU of the server", "memory of the server"])  # fmt: skip
    steps = [0.2, 300.0]
    for kind, mark in KINDS.items():
        cost = _mean(seen.cpu_us[kind])
        held = kind == "websocket"
        figure.add_scatter(
            x=steps, y=[cost / (seen.heartbeat_s if held else t) for t in steps], mode="lines", name=NAMES[kind],
            line={"color": mark.color, "width": 2, "dash": mark.dash}, row=1, col=1, hoverinfo="skip",
        )  # fmt: skip
        if not held:
            figure.add_scatter(
                x=[_mean(seen.balance_s(kind))], y=[_mean(seen.cpu_us["websocket"]) / seen.heartbeat_s], mode="markers",
                marker={"symbol": mark.symbol, "size": 11, "color": mark.color}, showlegend=False, row=1, col=1,
                hovertemplate="equal at T = %{x:.0f} s<extra></extra>",
            )  # fmt: skip
        memory = _mean(seen.memory_kib[kind])
        figure.add_bar(
            x=[memory], y=[NAMES[kind].replace(", ", ",<br>")], orientation="h", showlegend=False, row=1, col=2,
            marker={"color": mark.color}, text=[f"{style.number(memory)} KiB"], textposition="outside",
            cliponaxis=False,
        )  # fmt: skip
    at_s, guess = _mean(seen.balance_s("closed each time")), recording.prediction("P3")
    if guess is not None and guess.value > 0:
        at = min(300.0, max(0.2, guess.value))
        ends = [_mean(seen.cpu_us["kept alive"]) / interval_s for interval_s in steps]
        figure.add_scatter(
            x=[at, at], y=ends, mode="lines", name="your prediction", row=1, col=1, hoverinfo="skip",
            line={"color": style.theme(theme).muted, "width": 1.5, "dash": "dot"},
        )  # fmt: skip
    figure.update_layout(
        template=style.template(theme), height=410, margin={"l": 74, "r": 60, "t": 106, "b": 98}, legend=LEGEND,
        bargap=0.5,
        title=style.heading(
            f"A poller that closes each time holds no memory; below T = {style.seconds(at_s)} it costs more CPU",
            f"than a held WebSocket, silent but for a heartbeat every {seen.heartbeat_s:g} s; "
            "CPU for one poll is measured, the lines divide it by T",
        ),
    )  # fmt: skip
    figure.update_xaxes(type="log", title_text="poll interval T (s)", tickvals=[0.2, 1, 5, 20, 60, 300],
                        ticks="outside", range=[math.log10(0.2), math.log10(300)], col=1)  # fmt: skip
    figure.update_yaxes(type="log", title_text="µs of CPU in a second", tickvals=[0.1, 1, 10, 100, 1000], col=1)
    figure.update_xaxes(
        title_text="KiB for each client held", range=[0, 1.3 * _mean(seen.memory_kib["websocket"])], col=2
    )
    figure.update_yaxes(showgrid=False, col=2)
    figure.update_annotations(font_size=13)
    return finished(figure)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def poll_revalidation(seen: Revalidated, *, theme: str | None = None) -> go.Figure:
    """Bytes of a poll without news over the size of the resource, and the share of such polls from which 304 pays.

    Args:
        seen: what ``experiments.polling.revalidate`` gave.
    """
    marks = {"whole": Mark("#D55E00", "circle", "solid"), "cursor": Mark("#0072B2", "cross", "longdash")}
    titles = ["a poll without news", "304 pays where more polls than this are empty"]
    figure = make_subplots(1, 2, horizontal_spacing=0.1, subplot_titles=titles)
    for how, mark in marks.items():
        saved = seen.saved(how)
        for conditional in (False, True):
            part = seen.frame[(seen.frame["how"] == how) & (seen.frame["conditional"] == conditional)]
            name = ("the whole" if how == "whole" else "with a cursor") + (", 304" if conditional else ", 200")
            figure.add_scatter(
                x=part["resource_bytes"], y=part["bytes"], mode="lines+markers", name=name, row=1, col=1,
                line={"color": mark.color, "width": 1.5, "dash": "dot" if conditional else "solid"},
                marker={"symbol": f"{mark.symbol}{'-open' if conditional else ''}", "size": 8},
            )  # fmt: skip
        share = saved["extra"].clip(lower=0) / (saved["extra"].clip(lower=0) + saved["saved"].clip(lower=1e-9))
        figure.add_scatter(
            x=saved.index, y=share, mode="lines+markers", showlegend=False, row=1, col=2,
            line={"color": mark.color, "width": 1.5, "dash": mark.dash}, marker={"symbol": mark.symbol, "size": 8},
        )  # fmt: skip
    cursor, whole = seen.saved("cursor"), seen.saved("whole")
    figure.update_layout(
        template=style.template(theme), height=410, margin={"l": 70, "r": 24, "t": 106, "b": 100}, legend=LEGEND,
        title=style.heading(
            f"304 saves {cursor['saved'].mean():.0f} bytes of a poll with a cursor, without one the resource itself",
            f"a poll with news costs {cursor['extra'].mean():.0f} more with an ETag; bytes on logarithmic scales; "
            f"largest resource: {whole.index[-1]} bytes",
        ),
    )  # fmt: skip
    figure.update_xaxes(type="log", title_text="size of the resource (B)", tickvals=[50, 100, 200, 500, 1000, 2000],
                        ticks="outside")  # fmt: skip
    figure.update_yaxes(type="log", title_text="bytes, both ways (B)", tickvals=[300, 500, 1000, 2000, 3000], col=1)
    figure.update_yaxes(range=[0, 1], tickformat=".0%", title_text="share of empty polls", col=2)
    figure.update_annotations(font_size=13)
    return finished(figure)
