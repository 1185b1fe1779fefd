"""P4: polls with ``If-None-Match``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labkit import loop
from labkit.charts import layout
from labkit.client.http import HTTPClient
from labkit.course.alone import started_now
from labkit.course.shown import Shown, as_table
from labkit.course.variants import client_of
from labkit.lab.lab import Lab
from labkit.measuring import schedules
from labkit.theory import Mark

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


@dataclass(frozen=True, repr=False)
class Revalidated(Shown):
    """Polls with and without ``If-None-Match``.

    ``frame``: ``events`` held, ``resource_bytes`` (the body that ``after=0`` gets), ``how`` (``cursor`` or ``whole``),
    ``conditional``, ``status`` and ``bytes`` of a poll when nothing has changed, ``changed_status`` and
    ``changed_bytes`` of one after a further event.
    """

    frame: pd.DataFrame
    settings: dict[str, Any] = field(default_factory=dict)

    def saved(self, how: str) -> pd.DataFrame:
        """Bytes that the condition saves on a poll without news, and costs on one with news, by resource size."""
        part = self.frame[self.frame["how"] == how]
        plain = part[~part["conditional"]].set_index("resource_bytes")
        asked = part[part["conditional"]].set_index("resource_bytes")
        return plain[["bytes"]].assign(
            saved=plain["bytes"] - asked["bytes"], extra=asked["changed_bytes"] - plain["changed_bytes"]
        )

    def table(self) -> pd.DataFrame:
        """Bytes of a poll without news, by resource size."""
        named = self.frame.assign(
            poll=self.frame["how"] + self.frame["conditional"].map({True: ", If-None-Match", False: ""})
        )
        return named.pivot_table("bytes", "resource_bytes", "poll", sort=False)

    def chart(self) -> go.Figure:
        """Bytes of a poll without news over the resource's size, and the share of such polls from which 304 pays."""
        marks = {
            "whole": Mark("#B84300", "circle", "solid"),
            "cursor": Mark("#0072B2", "cross", "longdash"),
        }
        figure = layout.panels(
            "a poll without news", "304 pays where more polls than this are empty", horizontal_spacing=0.1
        )
        for how, mark in marks.items():
            saved = self.saved(how)
            for conditional in (False, True):
                part = self.frame[(self.frame["how"] == how) & (self.frame["conditional"] == conditional)]
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
        figure.update_xaxes(type="log", title_text="size of the resource (B)", tickvals=[50, 100, 200, 500, 1000, 2000],
                            ticks="outside")  # fmt: skip
        figure.update_yaxes(type="log", title_text="bytes, both ways (B)", tickvals=[300, 500, 1000, 2000, 3000], col=1)
        figure.update_yaxes(range=[0, 1], tickformat=".0%", title_text="share of empty polls", col=2)
        cursor, whole = self.saved("cursor"), self.saved("whole")
        return layout.dressed(
            figure,
            f"304 saves {cursor['saved'].mean():.0f} bytes of a poll with a cursor, without one the resource itself",
            f"a poll with news costs {cursor['extra'].mean():.0f} more with an ETag; bytes on logarithmic scales; "
            f"largest resource: {whole.index[-1]} bytes",
            height=410, margin=(70, 24, 106, 100),
        )  # fmt: skip


def revalidate(lab: Lab, sizes: tuple[int, ...] = (0, 1, 2, 3, 4, 6, 8, 16, 32, 64)) -> Revalidated:
    """Poll topics that hold so many events of 20 bytes, with a cursor and for the whole, plainly and with an ETag."""
    topic = f"resource-{time.monotonic_ns()}"
    rows = [row for size in sizes for row in _revalidate(lab, f"{topic}-{size}", size)]
    return Revalidated(as_table(rows), started_now())


def _revalidate(lab: Lab, topic: str, size: int) -> Iterator[dict[str, Any]]:
    for number in range(size):
        lab.publish(schedules.payload(number + 1, 20), topic)
    cursor = lab.cursor(topic)
    cases = [(how, conditional) for how in ("cursor", "whole") for conditional in (False, True)]
    client = client_of(lab.url_of("polling"), "polling", topic)
    try:
        before = {case: loop.run(_poll(client, cursor, *case)) for case in cases}
        etags = {case: found[3] for case, found in before.items()}
        again = {case: loop.run(_poll(client, cursor, *case, etag=etags[case])) for case in cases}
        lab.publish(schedules.payload(size + 1, 20), topic)
        changed = {case: loop.run(_poll(client, cursor, *case, etag=etags[case])) for case in cases}
    finally:
        client.close()
    for case in cases:
        how, conditional = case
        yield {
            "events": size,
            "resource_bytes": before["whole", False][2],
            "how": how,
            "conditional": conditional,
            "status": again[case][0],
            "bytes": again[case][1],
            "changed_status": changed[case][0],
            "changed_bytes": changed[case][1],
        }


async def _poll(
    client: HTTPClient, cursor: str, how: str, conditional: bool, *, etag: str = ""
) -> tuple[int, int, int, str]:
    """Status, bytes both ways, bytes of the body, and the ETag of one poll."""
    http = await client.connected()
    before = http.record.bytes_total
    query = {"after": "0" if how == "whole" else cursor, "etag": "1" if conditional else None}
    await client.ask(query, {"If-None-Match": etag} if conditional and etag else {})
    response, text = await client.answer()
    return response.status, http.record.bytes_total - before, len(text.encode()), response.headers.get("etag", "")
