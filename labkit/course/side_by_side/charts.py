"""One trace through every technique: every column as a panel. Ages of information; messages upstream."""

from __future__ import annotations

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from labkit import theory
from labkit.charts import style
from labkit.charts.pictures import finished
from labkit.choosing import MEASURED
from labkit.course.side_by_side.seen import COLUMNS, Comparison, Upstream
from labkit.course.side_by_side.seen_ages import Ages
from labkit.measuring.natures import Natures
from labkit.techniques import find
from labkit.techniques.long_polling import LONG_POLLING
from labkit.techniques.sse import SSE
from labkit.techniques.websocket import WEBSOCKET
from labkit.theory import Mark

WHOLE = ("whole after a cut", "s")
_COUNTED = {2: "Two", 3: "Three", 4: "Four", 5: "Five", 6: "Six"}
WAY_MARKS = {
    "websocket": WEBSOCKET.mark,
    "post": SSE.mark,
    "post, connection each": Mark("#5E8C31", "diamond", "dot"),
    "post, preflight each": Mark("#CC79A7", "x", "dash"),
    "post beside long poll": LONG_POLLING.mark,
}


def side_by_side(comparison: Comparison, *, theme: str | None = None) -> go.Figure:
    """Every column of the comparison: a mark for each technique with its interval, a diamond where theory puts it.

    Args:
        comparison: what ``side_by_side.compare`` gave.
        theme: ``light`` or ``dark``; the one of ``style.use`` by default.
    """
    grey, names, natures = style.theme(theme), comparison.techniques, Natures(comparison.run.settings)
    panels = [*COLUMNS.items(), ("whole", WHOLE)]
    figure = make_subplots(2, 3, shared_yaxes=True, horizontal_spacing=0.03, vertical_spacing=0.24)
    for place, (column, (title, unit)) in enumerate(panels):
        row, col = place // 3 + 1, place % 3 + 1
        _add_column(figure, comparison, column, row, col, grey)
        figure.update_xaxes(title_text=f"{title} ({unit})", rangemode="tozero", ticks="outside", row=row, col=col)
    figure.update_yaxes(
        tickvals=list(range(len(names))), ticktext=[natures.short(name) for name in names],
        range=[len(names) - 0.5, -0.5], tickfont_size=13,
    )  # fmt: skip
    figure.update_layout(
        template=style.template(theme), height=520, margin={"l": 118, "r": 24, "t": 80, "b": 84}, showlegend=True,
        legend={"orientation": "h", "x": 0, "y": -0.17, "yanchor": "top"},
        title=style.heading(_title(comparison), "lower is better; bars: 4 standard errors; framed: the best"),
    )  # fmt: skip
    return finished(figure)


def _add_column(figure: go.Figure, comparison: Comparison, column: str, row: int, col: int, grey: style.Theme) -> None:
    names, values, natures = comparison.techniques, _values(comparison, column), Natures(comparison.run.settings)
    best = min(values, key=lambda name: values[name][0])
    for y, name in enumerate(names):
        mark, (value, error) = natures.mark(name), values[name]
        figure.add_scatter(
            x=[value], y=[y], mode="markers", row=row, col=col, showlegend=False,
            error_x={"type": "data", "array": [error], "thickness": 1.5, "color": grey.ink},
            marker={"symbol": mark.symbol, "size": 12, "color": mark.color,
                    "line": {"width": 2.5 if name == best else 0.5, "color": grey.ink}},
            hovertemplate=f"{natures.short(name)}: %{{x:.4~g}}<extra></extra>",
        )  # fmt: skip
    expected = _theory(comparison, column)
    if expected:
        figure.add_scatter(
            x=list(expected.values()), y=[names.index(name) for name in expected], mode="markers", row=row, col=col,
            marker={"symbol": "diamond-open", "size": 15, "color": grey.ink, "line": {"width": 1}}, name="theory",
            showlegend=column == "latency", hoverinfo="skip",
        )  # fmt: skip


def _values(comparison: Comparison, column: str) -> dict[str, tuple[float, float]]:
    if column == "whole":
        return {name: (comparison.whole_s(name), 0.0) for name in comparison.techniques}
    found = {name: comparison.interval(column, name) for name in comparison.techniques}
    return {name: (interval.value, interval.half_width) for name, interval in found.items()}


def _theory(comparison: Comparison, column: str) -> dict[str, float]:
    """The mean latency, and bytes an event by the kit's own figures for an exchange, an event and a beginning."""
    summary = comparison.run.summary()
    if column == "latency":
        return {name: float(summary.loc[name, "expected_mean_ms"]) for name in comparison.techniques}
    if column != "bytes":
        return {}
    told = comparison.run.settings
    schedule = told["schedule"]
    rate_per_s, payload = float(schedule["rate_per_s"]), float(schedule["settings"].get("payload_bytes", 20))
    asked = {
        "polling": theory.polling_requests_per_event(rate_per_s, told["poll_interval_s"]),
        "long-polling": theory.long_polling_requests_per_event(rate_per_s, told["one_way_s"], told["hold_s"]),
    }
    events = len(comparison.run.published)
    return {
        name: payload
        + MEASURED[name].event_bytes
        + MEASURED[name].exchange_bytes.value * asked.get(name, 0.0)
        + MEASURED[name].open_bytes / events
        for name in comparison.techniques
        if name in MEASURED
    }


def _title(comparison: Comparison) -> str:
    best: dict[str, list[str]] = {}
    for column, (title, _) in (*COLUMNS.items(), ("whole", WHOLE)):
        values = _values(comparison, column)
        best.setdefault(min(values, key=lambda name: values[name][0]), []).append(title)
    most = max(best, key=lambda name: len(best[name]))
    if len(best) == 1:
        return f"{Natures(comparison.run.settings).short(most)} is the best in every column of this run"
    return f"{_COUNTED[len(best)]} techniques share the first places; none of them has all {len(COLUMNS) + 1}"


# The newest value


def ages(seen: Ages, *, theme: str | None = None) -> go.Figure:
    """Mean age of information over the event rate, and over the bytes that it took.

    Args:
        seen: what ``side_by_side.ages`` gave.
        theme: ``light`` or ``dark``; the one of ``style.use`` by default.
    """
    grey = style.theme(theme)
    figure = make_subplots(1, 2, shared_yaxes=True, horizontal_spacing=0.05)
    for name in dict.fromkeys(point.name for point in seen.points):
        mine = [point for point in seen.points if point.name == name]
        base = find(mine[0].technique).mark
        symbol = f"{base.symbol}-open" if mine[0].conflate else base.symbol
        for col, x in ((1, [p.rate_per_s for p in mine]), (2, [p.bytes_per_s / 1e3 for p in mine])):
            figure.add_scatter(
                x=x, y=[p.mean_s * 1e3 for p in mine], mode="lines+markers", name=_told(name), legendgroup=name,
                showlegend=col == 1, row=1, col=col, line={"color": base.color, "width": 1.5, "dash": base.dash},
                marker={"symbol": symbol, "size": 10 if mine[0].conflate else 8, "color": base.color},
                hovertemplate=f"{name}: %{{y:.0f}} ms<extra></extra>",
            )  # fmt: skip
    _add_age_theory(figure, seen, grey)
    capacity = seen.capacity_per_s
    for col, limit, unit in ((1, capacity, "events/s"), (2, seen.rate_bytes_per_s / 1e3, "kB/s")):
        figure.add_vline(x=limit, line={"color": grey.muted, "width": 1, "dash": "dot"}, row=1, col=col)
        figure.add_annotation(
            text=f"the link: {limit:,.0f} {unit}", x=limit, y=1, yref="y domain", yanchor="bottom", showarrow=False,
            font={"size": 11, "color": grey.muted}, row=1, col=col,
        )  # fmt: skip
    figure.update_yaxes(title_text="mean age of the newest value held (ms)", rangemode="tozero", row=1, col=1)
    figure.update_yaxes(rangemode="tozero", row=1, col=2)
    figure.update_xaxes(title_text="events published (1/s)", rangemode="tozero", row=1, col=1)
    figure.update_xaxes(title_text="bytes until the newest was held (kB/s)", rangemode="tozero", row=1, col=2)
    figure.update_layout(
        template=style.template(theme), height=480, margin={"l": 74, "r": 24, "t": 96, "b": 110},
        legend={"orientation": "h", "x": 0, "y": -0.18, "yanchor": "top"},
        title=style.heading(_age_title(seen), seen.caption),
    )  # fmt: skip
    return finished(figure)


def _told(name: str) -> str:
    technique, comma, rest = name.partition(",")
    return f"{find(technique).short}{comma}{rest}"


def _add_age_theory(figure: go.Figure, seen: Ages, grey: style.Theme) -> None:
    """Only where every event is delivered: what conflation leaves depends on the buffers in between."""
    mine = [p for p in seen.points if p.technique == seen.points[0].technique and not p.conflate]
    figure.add_scatter(
        x=[p.rate_per_s for p in mine], y=[p.theory_s * 1e3 for p in mine], mode="markers+lines", row=1, col=1,
        name="theory: every event, for this trace", line={"color": grey.ink, "width": 1, "dash": "3px,3px"},
        marker={"symbol": "diamond-open", "size": 13, "color": grey.ink}, hoverinfo="skip",
    )  # fmt: skip


def _age_title(seen: Ages) -> str:
    top = max(point.rate_per_s for point in seen.points)
    ages_ms = {p.conflate: p.mean_s for p in seen.points if p.rate_per_s == top and p.technique != "polling"}
    if set(ages_ms) != {True, False} or top <= seen.capacity_per_s:
        return "Age of information over the event rate"
    return (
        f"At {top / seen.capacity_per_s:.2g} times the link's rate: {style.seconds(ages_ms[False])} old if every event "
        f"is delivered, {style.seconds(ages_ms[True])} if only the newest"
    )


# Upstream


def upstream(seen: Upstream, *, theme: str | None = None) -> go.Figure:
    """Bytes a message upstream, and the latency of the middle message over the rate, for each way up.

    Args:
        seen: what ``side_by_side.upstream`` gave.
        theme: ``light`` or ``dark``; the one of ``style.use`` by default.
    """
    grey, modes = style.theme(theme), list(dict.fromkeys(leg.mode for leg in seen.legs))
    figure = make_subplots(1, 2, horizontal_spacing=0.12, column_widths=[0.45, 0.55])
    for y, mode in enumerate(modes):
        mark = WAY_MARKS[mode]
        mine, size = [leg for leg in seen.legs if leg.mode == mode], seen.bytes_of(mode).value
        figure.add_bar(
            x=[size], y=[y], orientation="h", marker={"color": mark.color}, showlegend=False, row=1, col=1,
            text=[style.number(size)], textposition="outside", cliponaxis=False, hoverinfo="skip", width=0.55,
        )  # fmt: skip
        figure.add_scatter(
            x=[leg.rate_per_s for leg in mine], y=[_middle(leg.latency_s) * 1e3 for leg in mine], mode="lines+markers",
            name=_way(mode), line={"color": mark.color, "dash": mark.dash},
            marker={"symbol": mark.symbol, "size": 9, "color": mark.color}, row=1, col=2, hoverinfo="y+name",
        )  # fmt: skip
    d_ms = (seen.one_way_s + float(seen.settings.get("jitter_s", 0.0)) / 2) * 1e3
    rates = sorted({leg.rate_per_s for leg in seen.legs})
    for transits, dash in ((1, "3px,3px"), (3, "8px,4px")):
        figure.add_scatter(
            x=rates, y=[transits * d_ms] * len(rates), mode="lines", hoverinfo="skip", row=1, col=2,
            name="theory: 3d, a connection each" if transits > 1 else "theory: d, kept alive",
            line={"color": grey.ink, "width": 1, "dash": dash},
        )  # fmt: skip
    figure.update_yaxes(tickvals=list(range(len(modes))), ticktext=[_way(m) for m in modes], autorange="reversed",
                        showgrid=False, row=1, col=1)  # fmt: skip
    figure.update_xaxes(title_text="bytes a message, both directions (B)", row=1, col=1)
    figure.update_xaxes(range=[0, 1.15 * max(seen.bytes_of(mode).value for mode in modes)], row=1, col=1)
    middles = [_middle(leg.latency_s) * 1e3 for leg in seen.legs]
    ticks = style.log_ticks(min(d_ms, *middles) / 1.2, max(3 * d_ms, *middles) * 1.2, 7)
    figure.update_yaxes(
        type="log", title_text="until the server had it, median (ms)", tickvals=ticks,
        ticktext=[style.number(tick) for tick in ticks], row=1, col=2,
    )  # fmt: skip
    figure.update_xaxes(type="log", title_text="messages of one client (1/s)", tickvals=rates, row=1, col=2)
    over, posted = seen.bytes_of("websocket").value, seen.bytes_of("post").value
    swapped = sum(leg.swapped for leg in seen.legs if leg.mode != "websocket")
    told = f"A message costs {style.number(over)} bytes over the WebSocket, {style.number(posted)} by POST"
    figure.update_layout(
        template=style.template(theme), height=450, margin={"l": 160, "r": 24, "t": 80, "b": 116},
        legend={"orientation": "h", "x": 0, "y": -0.2, "yanchor": "top"},
        title=style.heading(f"{told}; {swapped} POSTs came after a later one", seen.caption),
    )  # fmt: skip
    return finished(figure)


def _way(mode: str) -> str:
    return WEBSOCKET.short if mode == "websocket" else mode.replace("post", "POST")


def _middle(values: tuple[float, ...]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2] if ordered else float("nan")
