"""Bytes per event, by what they were for.

A stack of bars cannot have a logarithmic scale: its lengths would no longer add up. So the same bars are drawn
twice where the dearest technique costs much more than the cheapest: whole, and their beginnings enlarged.
"""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from labkit.charts import layout, style
from labkit.charts.pictures import finished
from labkit.measuring.natures import Natures
from labkit.measuring.rounding import counted

ENLARGE_FROM = 5.0  # dearest over cheapest
_PARTS = tuple(style.CATEGORY_COLORS)
"""A part is a colour and a title in ``style.py`` and a column ``PART_per_event`` of ``measuring/summaries.py``."""


def overhead(run: Any) -> go.Figure:
    """Bytes per event and technique: payload, envelope, framing, HTTP headers, TCP/IP headers (derived).

    Args:
        run: a Run, or anything with ``summary()``.

    Returns:
        A figure: bars in bytes per delivered event, both directions, the total beside each. TCP/IP is hatched,
        since it is derived from segment counts and not read from a socket; left out where those are unknown.
    """
    table, natures, grey = _table(run), Natures(getattr(run, "settings", {})), style.GREY
    if table.empty:
        figure = go.Figure(layout={"template": style.template()})
        return finished(figure.update_layout(title=style.heading("No event was delivered, so none has a cost")))
    totals = table.sum(axis=1)
    enlarged = len(table) > 1 and totals.max() / totals.min() >= ENLARGE_FROM
    figure = make_subplots(1, 2 if enlarged else 1, shared_yaxes=True, column_widths=[0.58, 0.42][: 1 + enlarged],
                           horizontal_spacing=0.045)  # fmt: skip
    figure.update_layout(
        template=style.template(), barmode="stack", bargap=0.42,
        title=style.heading(_title(table, natures), _note(table, natures)),
        margin={"l": 122, "r": 24, "t": 78, "b": 84}, uniformtext={"minsize": 10, "mode": "hide"},
        legend={"orientation": "h", "x": 0, "yref": "container", "y": 0.012, "yanchor": "bottom",
                "traceorder": "normal", "itemwidth": 30},
    )  # fmt: skip
    for part in [p for p in _PARTS if table[p].sum() > 0]:
        _add_bars(figure, table, part, grey, columns=1 + enlarged)
    figure.update_layout(height=max(270, 180 + 45 * len(table)))
    whole = totals.max() * 1.16
    figure.update_xaxes(range=[0, whole], title_text="bytes per event, both directions (B)", ticks="outside", col=1)
    layout.name_rows(
        figure, [natures.short(t) for t in table.index], room=(0.55, 0.55), tickfont_size=13,
        ticks="outside", ticklen=8, tickcolor="rgba(0,0,0,0)",
    )  # fmt: skip
    _name_totals(figure, totals, whole, column=1)
    if enlarged:
        upto = _enlarged_upto(totals)
        figure.update_xaxes(range=[0, upto], title_text=f"the first {upto:.0f} bytes, enlarged (B)", col=2)
        figure.update_xaxes(ticks="outside", col=2)
        _name_totals(figure, totals, upto, column=2)
    return finished(figure)


def _table(run: Any) -> pd.DataFrame:
    """Bytes per event, one row per technique that delivered any and whose bytes were counted."""
    summary = run.summary()
    summary = summary.set_index("technique") if "technique" in summary else summary
    summary = summary[summary["events"] > 0]
    table = pd.DataFrame({part: pd.to_numeric(summary[f"{part}_per_event"]) for part in _PARTS}).astype(float)
    return table[table.drop(columns="tcp_ip").sum(axis=1) > 0].fillna(0.0)


def _title(table: pd.DataFrame, natures: Natures) -> str:
    known = table if (table["tcp_ip"] > 0).all() else table.drop(columns="tcp_ip")  # like is compared with like
    totals, payload = known.sum(axis=1), float(table["payload"].median())
    cheap, dear = totals.idxmin(), totals.idxmax()
    event = f"An event of {counted(payload, 'byte', style.number(payload))} costs"
    least, most = style.number(totals[cheap]), style.number(totals[dear])
    if least == most:
        return f"{event} {least} bytes over {natures.group([str(technique) for technique in table.index])}"
    return f"{event} {least} bytes over {natures.short(str(cheap))}, {most} over {natures.short(str(dear))}"


def _note(table: pd.DataFrame, natures: Natures) -> str:
    unknown = [str(t) for t in table.index[table["tcp_ip"] == 0]]
    if not unknown:
        return "all bytes of both directions; hatched: derived from the kernel's count of segments"
    left_out = f"TCP/IP headers not counted for {natures.group(unknown)}"
    some = len(unknown) < len(table)
    return f"all bytes of both directions; {left_out}{', and left out of the title' * some}"


def _add_bars(figure: go.Figure, table: pd.DataFrame, part: str, grey: style.Greys, *, columns: int) -> None:
    hatch = {"shape": "/", "size": 5, "solidity": 0.35, "fgcolor": grey.muted, "bgcolor": grey.paper}
    for column in range(1, columns + 1):
        figure.add_bar(
            x=table[part],
            y=list(range(len(table))),
            orientation="h",
            text=[style.number(v) if part != "tcp_ip" and v >= 1 else "" for v in table[part]],
            textposition="inside",
            insidetextanchor="middle",
            textangle=0,
            textfont={"size": 11, "color": "#FFFFFF" if part == "payload" else "#1B1B1B"},
            name=style.CATEGORY_TITLES[part],
            legendgroup=part,
            showlegend=column == 1,
            marker={**style.filled(part), "pattern": hatch if part == "tcp_ip" else {}},
            customdata=[[technique, part] for technique in table.index],
            hovertemplate="%{x:.4~g} B " + style.CATEGORY_TITLES[part] + "<extra>%{customdata[0]}</extra>",
            row=1,
            col=column,
        )


def _enlarged_upto(totals: pd.Series[float]) -> float:
    """A round number of bytes that shows the cheaper half of the bars whole."""
    small = totals[totals <= totals.max() / ENLARGE_FROM]
    return math.ceil(float(small.max()) * 1.25 / 50) * 50.0


def _name_totals(figure: go.Figure, totals: pd.Series[float], upto: float, *, column: int) -> None:
    """The total at each bar's end; a bar that leaves the panel says so instead."""
    for y, total in enumerate(totals):
        leaves = total > upto
        figure.add_annotation(
            text="\u25b8" if leaves else f"<b>{style.number(total)}</b>",
            x=upto if leaves else total, y=y, xanchor="left", xshift=-2 if leaves else 5, showarrow=False,
            row=1, col=column,
        )  # fmt: skip
