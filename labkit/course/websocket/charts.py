"""The charts of 05_websocket: frame headers, traffic both ways, dead peers, compression, bare TCP beside it."""

from __future__ import annotations

import math
from statistics import median

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from labkit.charts import style
from labkit.charts.pictures import finished
from labkit.course.websocket.seen import Beside, BothWays, DeadPeers, Deflated, Headers
from labkit.theory import Mark
from labkit.wire.frames import header_bytes

UP = Mark("#D55E00", "triangle-up", "dash")
DOWN = Mark("#0072B2", "triangle-down", "solid")
MODES = (("#8A8A8A", ""), ("#0072B2", "/"), ("#E69F00", "x"))
PAYLOADS = (1, 5, 20, 50, 125, 126, 500, 2000, 10_000, 65_535, 65_536, 1_000_000)


def frame_headers(seen: Headers, *, theme: str | None = None) -> go.Figure:
    """Header bytes over the payload, theory and wire; the slider moves a payload along both.

    Args:
        seen: what :func:`labkit.course.websocket.experiments.headers` counted.
        theme: ``light`` or ``dark``; the one of ``style.use`` by default.
    """
    grey, figure = style.theme(theme), go.Figure()
    edges = [1, 125, 126, 65_535, 65_536, 2_000_000]
    for sender, mark in (("server", DOWN), ("client", UP)):
        figure.add_scatter(
            x=edges, y=[header_bytes(n, sender == "client") for n in edges], mode="lines", hoverinfo="skip",
            name=f"theory, from the {sender}", line={"color": mark.color, "width": 1.5, "dash": mark.dash},
        )  # fmt: skip
        wire = [f for f in seen.frames if f.sender == sender]
        figure.add_scatter(
            x=[max(1, f.payload_bytes) for f in wire], y=[f.header_bytes for f in wire], mode="markers",
            name=f"on the wire, from the {sender}", customdata=[f.payload_bytes for f in wire],
            marker={"symbol": mark.symbol, "size": 11, "color": mark.color},
            hovertemplate="payload %{customdata} B<br>header %{y} B<extra></extra>",
        )  # fmt: skip
    fixed = len(figure.data)
    for at, payload in enumerate(PAYLOADS):
        down, up = header_bytes(payload, False), header_bytes(payload, True)
        said = f"{payload:,} B: ".replace(",", "\u202f") + f"+{_share(down, payload)} down, +{_share(up, payload)} up"
        figure.add_scatter(
            x=[payload] * 3, y=[down, up, 12], mode="lines+markers+text", visible=at == 2, showlegend=False,
            text=["", "", f" {said} "], textposition="middle left" if payload > 1000 else "middle right",
            line={"color": grey.ink, "width": 1}, marker={"symbol": "line-ew-open", "size": 14, "color": grey.ink},
            textfont={"color": grey.ink}, hoverinfo="skip", cliponaxis=False,
        )  # fmt: skip
    steps = [
        {
            "label": f"{payload}",
            "method": "update",
            "args": [{"visible": [True] * fixed + [i == at for i in range(len(PAYLOADS))]}],
        }
        for at, payload in enumerate(PAYLOADS)
    ]
    figure.update_layout(
        template=style.template(theme), height=470, margin={"l": 66, "r": 30, "b": 150, "t": 122},
        sliders=[{"steps": steps, "active": 2, "currentvalue": {"prefix": "payload (B): "}, "pad": {"t": 52}}],
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        title=style.heading(
            f"From a client a header adds {_share(6, 20)} to 20 bytes, and {_share(8, 10_000)} to 10 000 bytes",
            "bytes that WebSocket adds to one message, either way",
        ),
    )  # fmt: skip
    figure.update_xaxes(
        type="log", title_text="payload (B), logarithmic; 0 is drawn at 1", range=[-0.08, 6.3],
        tickvals=[10**n for n in range(7)], ticktext=[style.number(10.0**n) for n in range(7)],
    )  # fmt: skip
    figure.update_yaxes(title_text="header (B)", range=[0, 16], tickvals=[0, 2, 4, 6, 8, 10, 14])
    return finished(figure)


def _share(header: int, payload: int) -> str:
    return f"{style.number(100 * header / payload)}\u00a0%"


def both_ways(seen: BothWays, *, theme: str | None = None) -> go.Figure:
    """Latency of each message over the time at which it was sent, both directions on one socket; theory is d.

    Args:
        seen: what :func:`labkit.course.websocket.experiments.both_ways` kept.
        theme: ``light`` or ``dark``; the one of ``style.use`` by default.
    """
    grey, figure = style.theme(theme), go.Figure()
    d_ms = seen.one_way_s * 1e3
    for name, sent, mark in (("client to server", seen.up, UP), ("server to client", seen.down, DOWN)):
        figure.add_scatter(
            x=[round(at, 4) for at, _ in sent], y=[round(took * 1e3, 3) for _, took in sent], mode="markers", name=name,
            marker={"symbol": mark.symbol, "size": 8, "color": mark.color},
            hovertemplate="sent at %{x:.3f} s<br>%{y:.4~g} ms<extra></extra>",
        )  # fmt: skip
    last_s = max([at for at, _ in (*seen.up, *seen.down)], default=1.0)
    figure.add_scatter(
        x=[0, last_s], y=[d_ms, d_ms], mode="lines", name="theory: one transit", hoverinfo="skip",
        line={"color": grey.ink, "width": 1, "dash": "3px,3px"},
    )  # fmt: skip
    medians = [median([took * 1e3 for _, took in sent]) for sent in (seen.up, seen.down) if sent]
    said = style.joined([style.ms(value) for value in medians]) or "nothing arrived"
    figure.update_layout(
        template=style.template(theme), height=360, margin={"l": 66, "r": 24, "b": 96, "t": 84},
        legend={"orientation": "h", "x": 0, "yref": "container", "y": 0.012, "yanchor": "bottom"},
        title=style.heading(
            f"Up and down at once, one transit each: medians {said}",
            f"one WebSocket; {seen.crossed} of {len(seen.up)} messages up crossed one that came down",
        ),
    )  # fmt: skip
    top = max([took * 1e3 for _, took in (*seen.up, *seen.down)], default=d_ms)
    figure.update_yaxes(title_text="latency (ms)", range=[0, max(2 * d_ms, top * 1.1)])
    figure.update_xaxes(title_text="sent, after the start (s)", showgrid=False, ticks="outside", ticklen=3)
    return finished(figure)


def dead_peers(seen: DeadPeers, *, theme: str | None = None) -> go.Figure:
    """When each peer whose link went silent was noticed, beside what its ping clock lets one expect.

    Args:
        seen: what :func:`labkit.course.websocket.experiments.dead_peers` kept.
        theme: ``light`` or ``dark``; the one of ``style.use`` by default.
    """
    grey, figure, rows = style.theme(theme), go.Figure(), list(seen.peers)
    names = [f"peer {n}" if p.implementation == "labkit" else p.implementation for n, p in enumerate(rows, 1)]
    known = [(p.expected_s, n) for n, p in enumerate(rows) if math.isfinite(p.expected_s)]
    figure.add_scatter(
        x=[at for at, _ in known], y=[n for _, n in known], mode="markers", name="theory: next ping + its time-out",
        marker={"symbol": "diamond-open", "size": 13, "color": grey.ink, "line": {"width": 1.5}}, hoverinfo="skip",
    )  # fmt: skip
    noticed = [(p.noticed_s, n) for n, p in enumerate(rows) if p.noticed_s is not None]
    figure.add_scatter(
        x=[round(at, 4) for at, _ in noticed], y=[n for _, n in noticed], mode="markers", name="noticed",
        marker={"symbol": "cross", "size": 9, "color": "#0072B2"}, hovertemplate="%{x:.3f} s<extra></extra>",
    )  # fmt: skip
    limit_s = 1.1 * (seen.interval_s + seen.timeout_s)
    figure.add_vline(x=limit_s, line={"color": grey.muted, "width": 1, "dash": "dot"})
    figure.add_annotation(
        x=limit_s, y=1, yref="y domain", yanchor="bottom", xanchor="left", showarrow=False,
        text="interval + time-out + 10 %", font={"size": 11, "color": grey.muted},
    )  # fmt: skip
    for n, peer in enumerate(rows):
        if peer.noticed_s is None:
            figure.add_annotation(
                x=seen.watched_s, y=n, text=f"not noticed in {style.number(seen.watched_s)} s \u25b8", showarrow=False,
                xanchor="right", font={"size": 12, "color": grey.ink},
            )  # fmt: skip
    ours = [p.noticed_s for p in seen.of("labkit") if p.noticed_s is not None]
    last = f"within {style.seconds(max(ours))}" if ours else "never"
    figure.update_layout(
        template=style.template(theme), height=180 + 26 * len(rows), margin={"l": 150, "r": 24, "b": 96, "t": 92},
        legend={"orientation": "h", "x": 0, "yref": "container", "y": 0.012, "yanchor": "bottom"},
        title=style.heading(
            f"A ping every {style.seconds(seen.interval_s)} finds a dead peer {last}; without pings nobody notices",
            "all links go silent at 0; a ping may take as long as the time between two",
        ),
    )  # fmt: skip
    figure.update_yaxes(tickvals=list(range(len(rows))), ticktext=names, range=[len(rows) - 0.4, -0.6], showgrid=False)
    figure.update_xaxes(title_text="after the links went silent (s)", range=[0, seen.watched_s * 1.02])
    return finished(figure)


def deflated(seen: Deflated, *, theme: str | None = None) -> go.Figure:
    """What permessage-deflate leaves of each kind of message, and what it costs the server.

    Args:
        seen: what :func:`labkit.course.websocket.experiments.deflate` kept.
        theme: ``light`` or ``dark``; the one of ``style.use`` by default.
    """
    modes, kinds = list(seen.cpu_us), list(seen.payload_bytes)
    cpu = {mode: median(seen.cpu_us[mode]) for mode in modes}
    panels = make_subplots(
        1, 3, column_widths=[0.5, 0.25, 0.25], horizontal_spacing=0.1,
        subplot_titles=["bytes on the wire (% of plain)", "server CPU (µs a message)", "memory (KiB a connection)"],
    )  # fmt: skip
    for (color, shape), mode in zip(MODES, modes, strict=True):
        fill = {"color": color, "pattern": {"shape": shape, "size": 6, "solidity": 0.25}}
        left = [100 * seen.wire_bytes[kind][mode] / seen.wire_bytes[kind][modes[0]] for kind in kinds]
        named = [f"{kind}<br>{seen.payload_bytes[kind]:.0f} B" for kind in kinds]
        bars: list[tuple[int, list[str], list[float]]] = [
            (1, named, left), (2, ["page"], [cpu[mode]]), (3, [""], [seen.rss_bytes[mode] / 1024])
        ]  # fmt: skip
        for column, x, y in bars:
            panels.add_bar(
                x=x, y=y, marker=fill, name=mode, legendgroup=mode, showlegend=column == 1, row=1, col=column,
                text=[style.number(v) for v in y], textposition="outside", textfont={"size": 11}, cliponaxis=False,
                hovertemplate="%{y:.4~g}<extra>" + mode + "</extra>",
            )  # fmt: skip
    kept = modes[1]
    share = [100 * seen.wire_bytes[kind][kept] / seen.wire_bytes[kind][modes[0]] for kind in kinds]
    panels.update_layout(
        template=style.template(theme), barmode="group", height=400, margin={"l": 52, "r": 24, "b": 104, "t": 112},
        legend={"orientation": "h", "x": 0, "yref": "container", "y": 0.012, "yanchor": "bottom"},
        title=style.heading(
            f"Deflate leaves {style.number(share[0])} % of {kinds[0]}, {style.number(share[1])} % of a {kinds[1]} and "
            f"{style.number(share[-1])} % of {kinds[-1]}",
            "echo at a server in a process of its own; CPU is the median of the rounds",
        ),
    )  # fmt: skip
    panels.update_annotations(font={"size": 12})
    panels.update_yaxes(rangemode="tozero")
    panels.update_xaxes(showgrid=False)
    return finished(panels)


def against_tcp(seen: Beside, *, theme: str | None = None) -> go.Figure:
    """WebSocket over bare TCP: bytes and round trips, theory and measurement, beside the published bounds.

    Args:
        seen: what :func:`labkit.course.websocket.experiments.against_tcp` kept.
        theme: ``light`` or ``dark``; the one of ``style.use`` by default.
    """
    grey, figure, sizes = style.theme(theme), go.Figure(), list(seen.bytes)
    steps = [10 ** (i / 12) for i in range(12 * 4 + 6)]
    figure.add_scatter(
        x=steps, y=[_byte_ratio(n) for n in steps], mode="lines", name="theory: (2n + headers) / 2n", hoverinfo="skip",
        line={"color": grey.ink, "width": 1, "dash": "3px,3px"},
    )  # fmt: skip
    figure.add_scatter(
        x=sizes, y=[seen.ratio_of_bytes(n) for n in sizes], mode="markers", name="bytes",
        marker={"symbol": "circle", "size": 10, "color": "#0072B2"},
        hovertemplate="payload %{x} B<br>%{y:.3f} times the bytes<extra></extra>",
    )  # fmt: skip
    times = [median(w / t for w, t in seen.trips_s[n]) for n in sizes]
    figure.add_scatter(
        x=sizes, y=times, mode="markers", name=f"round trip across {style.ms(seen.one_way_s * 1e3)}",
        marker={"symbol": "x", "size": 9, "color": "#D55E00"},
        hovertemplate="payload %{x} B<br>%{y:.3f} times the time<extra></extra>",
    )  # fmt: skip
    for bound, text in ((5.0, "bytes: up to 5 times (Agarwal 2012)"), (3.0, "delay: up to 3 times (Agarwal 2012)")):
        figure.add_hline(y=bound, line={"color": grey.muted, "width": 1, "dash": "dot"})
        figure.add_annotation(
            x=1, xref="x domain", xanchor="right", y=bound, yanchor="bottom", text=text, showarrow=False,
            font={"size": 11, "color": grey.muted},
        )  # fmt: skip
    small, large = min(sizes), max(sizes)
    said = f"{seen.ratio_of_bytes(small):.2f} times at {style.number(small)} B"
    said += f", {seen.ratio_of_bytes(large):.2f} at {style.number(large)} B"
    figure.update_layout(
        template=style.template(theme), height=400, margin={"l": 66, "r": 24, "b": 104, "t": 84},
        legend={"orientation": "h", "x": 0, "yref": "container", "y": 0.012, "yanchor": "bottom"},
        title=style.heading(
            f"Echo against bare TCP: bytes {said}; round trips {median(times):.2f} times",
            "both in the same run, through links of the same delay; the handshake is not counted",
        ),
    )  # fmt: skip
    figure.update_xaxes(
        type="log", title_text="payload (B), logarithmic", range=[-0.1, math.log10(large) + 0.15],
        tickvals=[1, 10, 100, 1000, 10_000],
    )  # fmt: skip
    figure.update_yaxes(title_text="times bare TCP", range=[0, 5.7])
    return finished(figure)


def _byte_ratio(payload: float) -> float:
    both = header_bytes(int(payload), True) + header_bytes(int(payload), False)
    return (2 * payload + both) / (2 * payload)
