"""The decision map: event rate against tolerated staleness, coloured by the technique that costs the least."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import plotly.graph_objects as go

from labkit.charts import style
from labkit.charts.pictures import finished
from labkit.choosing.choice import Choice
from labkit.choosing.figures import MEASURED
from labkit.choosing.flips import named
from labkit.choosing.needs import Needs
from labkit.choosing.options import Option, evaluate
from labkit.measuring.natures import Natures
from labkit.measuring.rounding import counted
from labkit.measuring.tallies import BROWSER
from labkit.techniques import find

RATES_PER_S = (1e-4, 200.0)
STALENESS_S = (0.02, 3600.0)
COLUMNS, ROWS = 48, 36
PAID: dict[str, tuple[tuple[str, float], ...]] = {
    "the server's work": (),
    "bytes": (("per_gb", 1.0),),
    "requests": (("per_million_requests", 1.0),),
    "connections held": (("per_connection_hour", 1.0),),
}
YOURS = "your prices"
NAMES = tuple(MEASURED)
ALIKE = len(NAMES)
"""The number of an area in which a stream is the cheapest, but not beyond the ranges of another stream's figures."""
NOTHING, HATCHED = -1, -2
ALIKE_COLOR, ALIKE_NAME = "#44AA99", "streams, alike"
RATE_TICKS = {1 / 3600: "1/h", 1 / 60: "1/min", 0.1: "0.1/s", 1.0: "1/s", 10.0: "10/s", 100.0: "100/s"}
STALENESS_TICKS = {
    0.05: "50 ms",
    0.15: "150 ms",
    1.0: "1 s",
    10.0: "10 s",
    60.0: "1 min",
    600.0: "10 min",
    3600.0: "1 h",
}


def decision_map(choice: Choice, comparison: Any = None) -> go.Figure:
    """Which technique costs the least, for every event rate and every tolerated staleness.

    Args:
        choice: what :func:`labkit.choose` gave; its other inputs hold for the whole map.
        comparison: a run, or a comparison, whose techniques are drawn where they were: at its event rate, by the
            latest event that each had. What a page received did not come through the run's network: left out.

    Returns:
        A figure with a slider over what is paid for. Solid: where interval polling begins to cost the least, by the
        models; the hatched band beside it is as wide as the figures' ranges. The star is the choice itself; what lies
        off the map is drawn beside it.
    """
    grey = style.GREY
    paid = ({YOURS: choice.needs.prices} if choice.needs.prices else {}) | PAID
    figure, layers = go.Figure(), {}
    for at, (name, prices) in enumerate(paid.items()):
        before = len(figure.data)
        won = _add_areas(figure, replace(choice.needs, prices=prices), choice.figures, grey, shown=at == 0)
        layers[name] = (before, len(figure.data), won)
    always = len(figure.data)
    _add_points(figure, choice, comparison, grey)
    first = next(iter(layers))
    figure.update_layout(
        template=style.template(), height=610, margin={"l": 78, "r": 24, "t": 84, "b": 240},
        legend={"orientation": "h", "x": 0, "y": -0.19, "yanchor": "top"},
        title=_heading(choice, first, layers[first][2]),
        sliders=[{
            "steps": [_step(choice, name, layers, always, len(figure.data)) for name in layers],
            "currentvalue": {"prefix": "what is paid for: "}, "pad": {"t": 160}, "x": 0, "len": 0.9,
        }],
    )  # fmt: skip
    figure.update_xaxes(
        type="log", range=_range(RATES_PER_S, [x for trace in figure.data[always:] for x in trace.x]),
        title_text="events, each to every client",
        tickvals=list(RATE_TICKS), ticktext=list(RATE_TICKS.values()), showgrid=False, ticks="outside",
        showline=True, mirror=True,
    )  # fmt: skip
    figure.update_yaxes(
        type="log", range=_range(STALENESS_S, [y for trace in figure.data[always:] for y in trace.y]),
        title_text="tolerated staleness at the worst",
        tickvals=list(STALENESS_TICKS), ticktext=list(STALENESS_TICKS.values()), showgrid=False, ticks="outside",
        showline=True, mirror=True,
    )  # fmt: skip
    return finished(figure)


def _range(ends: tuple[float, float], points: Sequence[float]) -> list[float]:
    """A logarithmic axis of the map that holds these points as well, with room for their marks."""
    low, high = ends
    beside = [point for point in points if point > 0 and not low <= point <= high]
    return [
        math.log10(min([low, *(0.7 * point for point in beside)])),
        math.log10(max([high, *(p / 0.7 for p in beside)])),
    ]


def _grid(low: float, high: float, count: int) -> list[float]:
    return [low * (high / low) ** (i / (count - 1)) for i in range(count)]


def _add_areas(
    figure: go.Figure, needs: Needs, figures: Mapping[str, Any], grey: style.Greys, *, shown: bool
) -> dict[str, float]:
    """The coloured cells, their names, and polling's border; returns the share of the map that each has won."""
    rates, stalenesses = _grid(*RATES_PER_S, COLUMNS), _grid(*STALENESS_S, ROWS)
    cells: list[list[int]] = []
    for staleness_s in stalenesses:
        ranked = (evaluate(replace(needs, rate_per_s=rate, staleness_s=staleness_s), figures) for rate in rates)
        cells.append([_area(options) for options in ranked])
    figure.add_heatmap(
        x=np.array(rates), y=np.array(stalenesses), z=np.array(cells, dtype=np.int8), zmin=-1.5, zmax=ALIKE + 0.5,
        colorscale=_colors(grey), showscale=False, opacity=0.55, visible=shown, hoverinfo="skip",
    )  # fmt: skip
    borders = [
        [_polling_from(replace(needs, rate_per_s=rate), figures, ends) for rate in rates]
        for ends in (("low", "high"), ("value", "value"), ("high", "low"))
    ]
    _add_names(figure, _beside(cells, stalenesses, borders), rates, stalenesses, grey, shown)
    _add_border(figure, borders, rates, grey, shown)
    flat = [cell for row in cells for cell in row]
    return {_area_name(number): flat.count(number) / len(flat) for number in range(ALIKE + 1)}


def _area(options: list[Option]) -> int:
    best = options[0]
    if not best.feasible:
        return NOTHING
    alike = best.kind == "stream" and any(o.kind == "stream" and o.is_alike(best) for o in options[1:])
    return ALIKE if alike else NAMES.index(best.technique)


def _area_name(number: int) -> str:
    if number == NOTHING:
        return "none can do it, or pays"
    return ALIKE_NAME if number == ALIKE else named(NAMES[number])


def _colors(grey: style.Greys) -> list[list[Any]]:
    colors = [grey.paper, *(find(name).mark.color for name in NAMES), ALIKE_COLOR]
    return [[(n + side) / len(colors), color] for n, color in enumerate(colors) for side in (0, 1)]


def _add_names(
    figure: go.Figure, cells: list[list[int]], rates: list[float], stalenesses: list[float], grey: style.Greys,
    shown: bool,
) -> None:  # fmt: skip
    """Each area's name in its middle, so that nothing is said by colour alone."""
    x, y, text = [], [], []
    for number in range(NOTHING, ALIKE + 1):
        room = partial(_room, cells, len(_area_name(number)))
        column, row = max(_places(cells, number), key=lambda place: room(*place), default=(0, 0))
        if cells[row][column] == number and room(column, row) >= (1 if number == NOTHING else 2):
            x.append(rates[column])
            y.append(stalenesses[row])
            text.append(f"<b>{_area_name(number)}</b>")
    figure.add_scatter(
        x=x, y=y, text=text, mode="text", visible=shown, showlegend=False, hoverinfo="skip",
        textfont={"size": 14, "color": grey.ink},
    )  # fmt: skip


def _beside(cells: list[list[int]], stalenesses: list[float], borders: list[list[float | None]]) -> list[list[int]]:
    """The cells without those that the hatched band covers: no name is to stand there."""
    least, _, most = borders
    return [
        [
            HATCHED if low is not None and low <= y <= (high or math.inf) else cell
            for cell, low, high in zip(row, least, most, strict=True)
        ]
        for row, y in zip(cells, stalenesses, strict=True)
    ]


def _places(cells: list[list[int]], number: int) -> Iterator[tuple[int, int]]:
    return ((c, r) for r, row in enumerate(cells) for c, cell in enumerate(row) if cell == number)


def _room(cells: list[list[int]], letters: int, column: int, row: int) -> float:
    """How many times a name of so many letters would fit around a cell: some 110 are as wide as the map."""
    line, stack = cells[row], [some[column] for some in cells]
    across = min(_run(line[column:]), _run(line[column::-1])) / (letters * COLUMNS / 220)
    return min(across, _run(stack[row:]), _run(stack[row::-1]))


def _run(values: list[int]) -> int:
    """How many of the values from the first on are equal to it."""
    return next((n for n, value in enumerate(values) if value != values[0]), len(values))


def _add_border(
    figure: go.Figure, borders: list[list[float | None]], rates: list[float], grey: style.Greys, shown: bool
) -> None:
    """Where interval polling begins to win, as the models have it and as the figures' ranges allow."""
    least, value, most = borders
    most = [
        STALENESS_S[1] if last is None and first is not None else last for first, last in zip(least, most, strict=True)
    ]
    band = {"color": grey.muted, "width": 1, "dash": "dot"}
    for border, fill in ((least, None), (most, "tonexty")):
        figure.add_scatter(
            x=np.array(rates), y=np.array(border, dtype=float), mode="lines", line=band, visible=shown, fill=fill,
            hoverinfo="skip", fillcolor="rgba(0,0,0,0)",
            fillpattern={"shape": "/", "size": 7, "solidity": 0.2, "fgcolor": grey.muted},
            showlegend=fill is not None, name="as far as the figures' ranges let it move",
        )  # fmt: skip
    figure.add_scatter(
        x=np.array(rates), y=np.array(value, dtype=float), mode="lines", line={"color": grey.ink, "width": 2},
        visible=shown, hoverinfo="skip",
        name="from here up interval polling costs the least (theory)",
    )  # fmt: skip


def _polling_from(needs: Needs, figures: Mapping[str, Any], ends: tuple[str, str]) -> float | None:
    """The staleness from which on polling is the cheapest; None if it never is on this map."""
    low, high = STALENESS_S
    if not _polling_wins(replace(needs, staleness_s=high), figures, ends):
        return None
    while high / low > 1.02:
        middle = math.sqrt(low * high)
        if _polling_wins(replace(needs, staleness_s=middle), figures, ends):
            high = middle
        else:
            low = middle
    return high


def _polling_wins(needs: Needs, figures: Mapping[str, Any], ends: tuple[str, str]) -> bool:
    options = evaluate(needs, figures)
    mine = next(option for option in options if option.kind == "poll")
    rivals = [o for o in options if o is not mine and o.feasible and bool(o.burden) <= bool(mine.burden)]
    others = [(_cost(option, ends[1]), option.work_s) for option in rivals]
    return mine.feasible and all((_cost(mine, ends[0]), mine.work_s) <= other for other in others)


def _cost(option: Option, end: str) -> float:
    return option.cost if end == "value" else option.cost_low if end == "low" else option.cost_high


def _add_points(figure: go.Figure, choice: Choice, comparison: Any, grey: style.Greys) -> None:
    figure.add_scatter(
        x=[choice.needs.rate_per_s], y=[choice.needs.staleness_s], mode="markers", name="what was asked for",
        marker={"symbol": "star", "size": 20, "color": grey.paper, "line": {"width": 2, "color": grey.ink}},
        hoverinfo="skip",
    )  # fmt: skip
    run = getattr(comparison, "run", comparison)
    natures = Natures(getattr(run, "settings", {}))
    for technique, rate, latest_s in _measured(run) if run is not None else ():
        mark = natures.mark(technique)
        figure.add_scatter(
            x=[rate], y=[latest_s], mode="markers", name=f"{natures.short(technique)} in this run",
            marker={"symbol": mark.symbol, "size": 11, "color": mark.color, "line": {"width": 1.5, "color": grey.ink}},
            hovertemplate=f"{technique}: latest event {style.seconds(latest_s)} late<extra></extra>",
        )  # fmt: skip


def _measured(run: Any) -> Iterator[tuple[str, float, float]]:
    rate = float((run.settings.get("schedule") or {}).get("rate_per_s") or 0.0)
    summary = run.summary()
    for technique in summary.index:
        if rate and summary.loc[technique, "events"] and not str(technique).endswith(BROWSER):
            yield str(technique), rate, float(summary.loc[technique, "max_ms"]) / 1e3


def _step(choice: Choice, name: str, layers: dict[str, Any], always: int, traces: int) -> dict[str, Any]:
    start, stop, won = layers[name]
    visible = [start <= i < stop or i >= always for i in range(traces)]
    return {
        "label": name,
        "method": "update",
        "args": [{"visible": visible}, {"title": _heading(choice, name, won)}],
    }


def _heading(choice: Choice, paid: str, won: Mapping[str, float]) -> dict[str, Any]:
    best = max(won, key=lambda name: won[name])
    said = "a stream costs" if best == ALIKE_NAME else f"{best} costs"
    title = f"Where {paid} are paid for" if paid != "the server's work" else "Where the server's work is paid for"
    needs = choice.needs
    note = (
        f"{counted(needs.clients, 'client', style.number(needs.clients))}, "
        f"{counted(needs.payload_bytes, 'byte', style.number(needs.payload_bytes))} an event, one transit "
        f"{style.seconds(needs.one_way_s)}{', newest only' if needs.latest_only else ''}"
        f"{', TLS' if needs.tls else ''}; "
        "background and lines: theory with measured figures; marks: measured"
    )
    return style.heading(f"{title}, {said} the least on {won[best]:.0%} of this map", note)
