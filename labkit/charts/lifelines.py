"""The sequence diagram: client and server as two lines down the page, each write an arrow between them.

Drawn from the recorded reads and writes (``conversation.py``), not from a script: what did not happen is not
shown. Several techniques stand side by side on one axis of time. One panel is drawn in ``panels.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from labkit.charts import style
from labkit.charts.conversation import conversation
from labkit.charts.panels import MARGIN, Drawing, Panel
from labkit.charts.pictures import HEIGHT, finished
from labkit.client.ledger import ConnectionRecord
from labkit.errors import LabkitError
from labkit.measuring.explain import Explanation, arrivals_of
from labkit.measuring.natures import Natures
from labkit.measuring.rounding import counted


def sequence(
    source: Any,
    event_id: int | None = None,
    *,
    techniques: Iterable[str] | None = None,
    subscriber: int | None = None,
    first: int = 12,
) -> go.Figure:
    """The conversation of client and server, as it was recorded.

    Args:
        source: a Run; what ``run.explain`` returned, which says event, techniques and deliveries by itself; or ledger
            records (a ``Ledger`` or connection records) without a run.
        event_id: draw the time from this event's due time until every technique has delivered it.
        techniques: which ones, side by side; all that have a connection by default.
        subscriber: whose connections; by default the one that received the event first, else each technique's first.
        first: without an event, as many arrows as this of the busiest technique, from the beginning.

    Returns:
        A figure, time in ms running down. Arrows slope from the sender's write to the receiver's read where a
        relay recorded the server's end; elsewhere they are level, and the figure says so.

    Raises:
        LabkitError: several topics have an event of that id, and none of them is the empty one.
    """
    grey = style.GREY
    rows = _deliveries(source, event_id, subscriber)
    if isinstance(source, Explanation):
        techniques, event_id = [row["technique"] for row in source.rows], source.event_id
        source = source.run
    panels = _panels(source, event_id, techniques, subscriber, rows)
    if not panels:
        figure = go.Figure(layout={"template": style.template()})
        return finished(figure.update_layout(title=style.heading("No conversation was recorded"), height=HEIGHT))
    window_ns, zero_ns = _window(panels, first)
    figure = make_subplots(1, len(panels), shared_yaxes=True, horizontal_spacing=0.06 / len(panels))
    span_ms = (window_ns[1] - window_ns[0]) / 1e6
    start_ms = (window_ns[0] - zero_ns) / 1e6
    drawings = [
        Drawing(figure, panel, column, len(panels), window_ns, zero_ns, grey) for column, panel in enumerate(panels, 1)
    ]
    for drawing in drawings:
        drawing.draw()
    since = f"event {event_id} was due" if event_id is not None else "the first byte"
    figure.update_xaxes(range=[-0.09, 1.09], visible=False, fixedrange=True)
    figure.update_yaxes(range=[start_ms + span_ms, start_ms])
    figure.update_yaxes(title_text=f"time since {since} (ms)", ticks="outside", col=1)
    figure.update_layout(
        template=style.template(), height=HEIGHT + 90, margin=MARGIN, showlegend=False, hovermode="closest",
        title=style.heading(_title(panels, window_ns, event_id), _note(drawings, event_id)),
    )  # fmt: skip
    return finished(figure)


# Which arrows, which stretch of time


def _deliveries(source: Any, event_id: int | None, subscriber: int | None) -> dict[str, dict[str, Any]]:
    """By technique the delivery of the event that is meant: the one that ``explain`` tells of."""
    if isinstance(source, Explanation):
        rows = list(source.rows)
    elif event_id is None or not hasattr(source, "deliveries"):
        rows = []
    else:
        _check_one(source, event_id)
        rows = arrivals_of(source, event_id, subscriber=subscriber)
    return {row["technique"]: row for row in rows}


def _check_one(run: Any, event_id: int) -> None:
    """See to it that one event is meant, and not one of each technique's."""
    frame = run.deliveries
    topics = list(dict.fromkeys(frame.loc[frame["event_id"] == event_id, "topic"]))
    if len(topics) > 1 and "" not in topics:
        shown = ", ".join(topics[:8]) + (", ..." if len(topics) > 8 else "")
        raise LabkitError(
            f"event {event_id} is in {len(topics)} topics ({shown}): say which, with "
            f"sequence(run.explain({event_id}, topic=...))"
        )


def _panels(
    source: Any,
    event_id: int | None,
    techniques: Iterable[str] | None,
    subscriber: int | None,
    rows: Mapping[str, Mapping[str, Any]],
) -> list[Panel]:
    ledger = getattr(source, "ledger", source)
    records: list[ConnectionRecord] = list(getattr(ledger, "connections", ledger))
    settings = getattr(source, "settings", None) or {}
    known = list(dict.fromkeys(r.technique for r in records if r.hop == "client"))
    order = [t for t in settings.get("techniques", known) if t in known]
    panels, natures = [], Natures(settings)
    for technique in order if techniques is None else techniques:
        row = rows.get(technique)
        whose = subscriber if row is None else int(row["subscriber"])
        arrows = conversation(records, technique, whose, natures.kind(technique))
        panel = Panel(technique, natures, arrows, event_id=event_id)
        _place_event(panel, row)
        if panel.arrows and (event_id is None or panel.received_ns):
            panels.append(panel)
    return panels


def _place_event(panel: Panel, row: Mapping[str, Any] | None) -> None:
    """When the event was due, published and received, by its delivery where there is one."""
    if row is None:
        panel.received_ns = None if panel.carrier is None else panel.carrier.client_ns
        return
    import pandas as pd

    for name in ("due_ns", "published_ns", "received_ns"):
        if not pd.isna(row[name]):
            setattr(panel, name, int(row[name]))


def _window(panels: Sequence[Panel], first: int) -> tuple[tuple[int, int], int]:
    """From when until when, and which moment is 0 (all in ns of the kit's clock)."""
    received = [p.received_ns for p in panels if p.received_ns is not None]
    if panels[0].event_id is None or not received:
        start = min(p.arrows[0].first_ns for p in panels)
        ends = [p.arrows[min(first, len(p.arrows)) - 1].last_ns for p in panels]
        stop = min((e for p, e in zip(panels, ends, strict=True) if len(p.arrows) > first), default=max(ends))
        stop = max(stop, start + 1_000_000)  # one write that was never answered takes no time
        return (start - (stop - start) // 20, stop + (stop - start) // 20), start
    begun = [p.due_ns or p.published_ns for p in panels if p.due_ns or p.published_ns]
    begun = begun or [p.carrier.first_ns for p in panels if p.carrier]
    zero, stop = min(b for b in begun if b is not None), max(received)
    travel = [p.carrier.last_ns - p.carrier.first_ns for p in panels if p.carrier]
    pad = max(int(0.1 * (stop - zero)), int(0.7 * max(travel, default=0)), 500_000)
    return (zero - pad, stop + pad), zero


# Words


def _title(panels: Sequence[Panel], window_ns: tuple[int, int], event_id: int | None) -> str:
    natures = panels[0].natures
    took = {p.technique: (p.received_ns - p.due_ns) / 1e6 for p in panels if p.received_ns and p.due_ns}
    if event_id is not None and took:
        fast, slow = min(took, key=lambda t: took[t]), max(took, key=lambda t: took[t])
        near = [t for t in took if took[t] <= 1.05 * took[fast]]
        text = f"Event {event_id} reaches {natures.group(near)} after {style.ms(took[fast])}"
        return text if slow in near else f"{text}, {natures.short(slow)} after {style.ms(took[slow])}"
    said = []
    for panel in (panels[0], panels[-1])[: len(panels)]:
        arrows = panel.within(window_ns)
        asked = sum(a.asks for a in arrows)
        came = sum(len(a.event_ids) for a in arrows)
        times = "once" if asked == 1 else counted(asked, "time")
        said.append(f"{natures.short(panel.technique)} asks {times} for {counted(came, 'event')}")
    return f"In the first {style.seconds((window_ns[1] - window_ns[0]) / 1e9)} {style.joined(said)}"


def _note(drawings: Sequence[Drawing], event_id: int | None) -> str:
    text = "arrows slope from the sender's write to the receiver's read"
    if not all(drawing.panel.recorded for drawing in drawings):
        text = "times at the server were not recorded: arrows are drawn level, at the client's time"
    if event_id is None:
        return text
    waits = "; thick bar: it waits at the server" if any(drawing.has_bar for drawing in drawings) else ""
    return f"{text}; dot: event {event_id} is published{waits}"
