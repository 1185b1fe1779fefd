"""Reconnections, an event's bytes, heartbeats along time, and what noticing a dead link costs."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from labkit.charts import style
from labkit.charts.pictures import finished
from labkit.course.sse.seen import OURS, Beats, Framing, Heartbeats, Returns
from labkit.techniques.sse import SSE
from labkit.theory import Mark

KERNEL = SSE.mark
PAGE = Mark("#D55E00", "circle-open", "dot")
SENT = "line-ns"
INTERVALS_S = (0.15, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0)
TICKS = (0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200)
PARTS = {
    "data:": ("framing", ""),
    "line ends of the block": ("framing", "/"),
    "a space after it": ("framing", "x"),
    "id: and its line end": ("envelope", "\\"),
    "the id itself": ("envelope", ""),
    "chunk": ("headers", "."),
}
"""Which colour a part has, and which pattern, so that it is not told by its colour alone."""


def reconnections(seen: Returns, *, theme: str | None = None) -> go.Figure:
    """Time away over the reconnection time that the stream had asked for.

    Args:
        seen: what :func:`labkit.course.sse.experiments.returns` gave.
        theme: ``light`` or ``dark``; the one of ``style.use`` by default.

    Returns:
        A figure: one mark for each reconnection, by how many per cent it was away longer than it had been told.
    """
    grey, figure = style.theme(theme), go.Figure()
    labels = [f"{1e3 * retry_s:.0f}" for retry_s in sorted(seen.gaps_s[OURS])]
    figure.add_hrect(y0=-10, y1=10, fillcolor=style.rgba(KERNEL.color, 0.15), line_width=0, layer="below")
    figure.add_hline(y=0, line={"color": grey.ink, "width": 1, "dash": "3px,3px"})
    figure.add_annotation(
        x=0.7, xref="paper", y=0, text="theory: as long as retry says", yanchor="top", showarrow=False,
        font={"size": 11, "color": grey.muted},
    )  # fmt: skip
    for number, (client, by_retry) in enumerate(seen.gaps_s.items()):
        mark, x, y = KERNEL if client == OURS else PAGE, [], []
        for at, retry_s in enumerate(sorted(by_retry)):
            gaps_s = by_retry[retry_s]
            x += [at + 0.4 * (number + i / len(gaps_s)) / len(seen.gaps_s) - 0.2 for i in range(len(gaps_s))]
            y += [100 * (gap_s / retry_s - 1) for gap_s in gaps_s]
        figure.add_scatter(
            x=x, y=y, mode="markers", name=client, hovertemplate="%{y:.1f} %<extra></extra>",
            marker={"symbol": mark.symbol, "size": 8, "color": mark.color},
        )  # fmt: skip
    off = {
        client: max(abs(gap_s / retry_s - 1) for retry_s, gaps_s in by_retry.items() for gap_s in gaps_s)
        for client, by_retry in seen.gaps_s.items()
    }
    figure.update_layout(
        template=style.template(theme), height=410, margin={"l": 70, "r": 30, "b": 60, "t": 108}, showlegend=True,
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        title=style.heading(
            "Back when retry says: " + ", ".join(f"{name} at most {most:.1%} off" for name, most in off.items()),
            "each mark: from the end of one stream to the next request, at the server; band: within 10 %",
        ),
    )  # fmt: skip
    figure.update_xaxes(
        title_text="retry, as the stream had said (ms)", tickvals=[*range(len(labels))], ticktext=labels
    )
    most = 100 * max(0.12, *off.values())
    figure.update_yaxes(title_text="time away against retry (%)", range=[-1.15 * most, 1.15 * most], ticksuffix=" %")
    return finished(figure)


def event_bytes(seen: Framing, *, theme: str | None = None) -> go.Figure:
    """What an event costs besides its payload: claimed, in the barest stream, in a lab's own.

    Args:
        seen: what :func:`labkit.course.sse.experiments.framing` gave.
    """
    figure, grey = go.Figure(), style.theme(theme)
    rows = ["this lab", "barest stream", "claimed (HPBN)"]
    for part, (category, pattern) in PARTS.items():
        values = [seen.lab.get(part, 0.0), seen.bare.get(part, 0.0), 5.0 if part == "data:" else 0.0]
        figure.add_bar(
            y=rows, x=values, name=part, orientation="h", hovertemplate=f"%{{x:.3g}} bytes: {part}<extra></extra>",
            marker={"color": style.CATEGORY_COLORS[category], "line": {"color": grey.ink, "width": 0.7},
                    "pattern": {"shape": pattern, "fgcolor": grey.ink, "fillmode": "overlay", "solidity": 0.25}},
        )  # fmt: skip
    for row, total in zip(rows, (seen.lab_bytes, seen.bare_bytes, 5.0), strict=True):
        figure.add_annotation(
            x=total, y=row, text=f"{total:.3g} bytes", xanchor="left", xshift=6, showarrow=False,
            font={"color": grey.ink},
        )  # fmt: skip
    figure.update_layout(
        template=style.template(theme), barmode="stack", height=340, bargap=0.4,
        margin={"l": 120, "r": 40, "t": 84, "b": 110}, legend={"orientation": "h", "y": -0.34, "traceorder": "normal"},
        title=style.heading(
            f"An event needs {seen.bare_bytes:g} bytes of framing; here {seen.lab_bytes:.3g} lie around its payload",
            f"bytes per event besides its payload of {seen.payload_bytes:g} bytes; chunk: HTTP's own framing",
        ),
    )  # fmt: skip
    figure.update_xaxes(title_text="bytes per event", range=[0, 1.2 * seen.lab_bytes])
    return finished(figure)


def heartbeats(seen: Heartbeats, *, theme: str | None = None) -> go.Figure:
    """Heartbeats sent, heartbeats that the client's code saw, and when its watchdog went off; stalls shaded.

    Args:
        seen: what :func:`labkit.course.sse.experiments.heartbeats` gave.
    """
    grey, figure = style.theme(theme), go.Figure()
    names = [_lane(stream) for stream in seen.streams]

    def seconds(times_ns: Sequence[int]) -> list[float]:
        return [(t_ns - seen.started_ns) / 1e9 for t_ns in times_ns]

    kinds = (
        ("sent_ns", "sent", {"symbol": SENT, "size": 12, "color": grey.muted, "line": {"width": 1.5}}),
        ("seen_ns", "seen by the client's code", {"symbol": KERNEL.symbol, "size": 8, "color": "#0072B2"}),
        ("alarms_ns", "the watchdog goes off", {"symbol": "x", "size": 11, "color": "#D55E00"}),
    )
    for (field, name, marker), up in zip(kinds, (-0.18, 0.06, 0.3), strict=True):
        x = [t for stream in seen.streams for t in seconds(getattr(stream, field))]
        y = [at + up for at, stream in enumerate(seen.streams) for _ in getattr(stream, field)]
        figure.add_scatter(
            x=x, y=y, mode="markers", name=name, marker=marker, hovertemplate="%{x:.3f} s<extra></extra>"
        )
    for number, (began_ns, ended_ns) in enumerate(seen.stalls_ns):
        began_s, ended_s = seconds((began_ns, ended_ns))
        figure.add_vrect(x0=began_s, x1=ended_s, fillcolor=grey.rule, opacity=0.25, line_width=0, layer="below")
        if not number:
            figure.add_annotation(
                x=began_s, y=1, yref="paper", text="the link stalls", xanchor="left", yanchor="bottom",
                showarrow=False, font={"size": 11, "color": grey.muted},
            )  # fmt: skip
    comments = sum(len(s.seen_ns) for s in seen.streams if s.kind == "comment")
    sent = sum(len(s.sent_ns) for s in seen.streams if s.kind == "comment")
    figure.update_layout(
        template=style.template(theme), height=230 + 65 * len(names), margin={"l": 200, "r": 24, "t": 96, "b": 96},
        legend={"orientation": "h", "yref": "container", "y": 0.01, "yanchor": "bottom", "x": 0},
        title=style.heading(
            f"Of {sent} comments the client's code sees {comments}; it notices a stall by named events alone",
            f"a heartbeat every {style.seconds(seen.beat_s)}, a watchdog of {style.seconds(seen.watchdog_s)}",
        ),
    )  # fmt: skip
    figure.update_xaxes(title_text="time (s)", showgrid=False)
    figure.update_yaxes(tickvals=list(range(len(names))), ticktext=names, range=[len(names) - 0.4, -0.6])
    return finished(figure)


def _lane(stream: Beats) -> str:
    return f"{stream.kind}s,<br>{'kernel' if stream.client == OURS else 'this page'}"


def noticing(seen: Heartbeats, *, missed: int = 3, beat_bytes: int = 18, theme: str | None = None) -> go.Figure:
    """What it costs to notice a dead link sooner: bytes an hour over the time to notice. The slider sets the interval.

    Args:
        seen: a run, whose own times are drawn beside theory.
        missed: after how many intervals of silence the watchdog goes off.
        beat_bytes: bytes of one heartbeat in the stream, TCP and IP not counted.
    """
    grey, figure = style.theme(theme), go.Figure()
    spans_s = [((missed - 1) * beat_s, missed * beat_s) for beat_s in INTERVALS_S]
    hourly = [beat_bytes * 3600 / beat_s for beat_s in INTERVALS_S]
    figure.add_scatter(
        x=[(low + high) / 2 for low, high in spans_s], y=hourly, mode="lines", hoverinfo="skip",
        name=f"theory: {missed - 0.5:g} intervals on average", line={"color": grey.ink, "width": 1, "dash": "3px,3px"},
    )  # fmt: skip
    measured = [t for s in seen.streams if s.kind == "named event" for t in seen.noticed_s(s) if t is not None]
    figure.add_scatter(
        x=measured, y=[beat_bytes * 3600 / seen.beat_s] * len(measured), mode="markers", name="this run",
        marker={"symbol": KERNEL.symbol, "size": 9, "color": KERNEL.color}, hovertemplate="%{x:.3f} s<extra></extra>",
    )  # fmt: skip
    for at, (low_s, high_s) in enumerate(spans_s):
        beat_s = INTERVALS_S[at]
        said = f"every {style.seconds(beat_s)}: after {style.seconds(low_s)} to {style.seconds(high_s)}"
        said += f", {style.number(hourly[at] / 1e3)} kB an hour"
        figure.add_scatter(
            x=[low_s, (low_s + high_s) / 2, high_s], y=[hourly[at]] * 3, mode="lines+markers+text", visible=at == 5,
            text=["", said, ""], textposition="top right" if at < len(spans_s) / 2 else "bottom left", showlegend=False,
            marker={"symbol": ["line-ns", "square", "line-ns"], "size": [14, 11, 14], "color": "#E69F00",
                    "line": {"width": 2, "color": "#E69F00"}},
            line={"color": "#E69F00", "width": 2}, textfont={"color": grey.ink}, hoverinfo="skip", cliponaxis=False,
        )  # fmt: skip
    steps = [
        {"label": f"{beat_s:g}", "method": "update",
         "args": [{"visible": [True, True, *(i == at for i in range(len(INTERVALS_S)))]}]}
        for at, beat_s in enumerate(INTERVALS_S)
    ]  # fmt: skip
    (low, low_kb), (high, high_kb) = (
        (style.seconds(sum(spans_s[at]) / 2), style.number(hourly[at] / 1e3)) for at in (1, len(spans_s) - 1)
    )
    figure.update_layout(
        template=style.template(theme), height=440, margin={"l": 80, "r": 40, "b": 130, "t": 84},
        sliders=[{
            "steps": steps, "active": 5, "currentvalue": {"prefix": "a heartbeat every (s): "}, "pad": {"t": 54},
        }],
        legend={"x": 1, "xanchor": "right", "y": 0.98},
        title=style.heading(
            f"Noticing in {low} costs {low_kb} kB an hour, in {high} {high_kb} kB",
            f"logarithmic scales; {beat_bytes} bytes a heartbeat, TCP/IP not counted; bar: {missed - 1} to {missed} "
            "intervals",
        ),
    )  # fmt: skip
    figure.update_xaxes(
        type="log", title_text="time until a dead link is noticed (s)", range=[-0.7, 2.4], tickvals=TICKS
    )
    figure.update_yaxes(type="log", title_text="heartbeats (bytes an hour)")
    return finished(figure)
