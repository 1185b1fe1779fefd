"""What the experiments of 08_side_by_side give: the comparison, the server's costs, messages upstream.

Values only, with their tables; how they are judged is in ``side_by_side.py``.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labkit.claims import confidence
from labkit.claims.confidence import Interval

if TYPE_CHECKING:
    import pandas as pd

    from labkit.measuring.run import Run

POST = "post"
"""What a technique without a way up sends its messages by."""


class Shown:
    """Displays as its table, with a sentence before it."""

    caption = ""

    def table(self) -> pd.DataFrame:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{self.caption}\n{self.table().to_string()}"

    def _repr_html_(self) -> str:
        shown = self.table().to_html(border=0, na_rep="", float_format=lambda value: f"{value:,.4g}")
        return f'<p>{html.escape(self.caption)}</p><div style="overflow-x: auto">{shown}</div>'


# The server


@dataclass(frozen=True, repr=False)
class ServerCosts(Shown):
    """What each technique's clients cost a server in a process of its own, its clients in another.

    Attributes:
        memory_kib: growth of the server's resident memory per client held, one value for each batch of clients.
        cpu_us: CPU of the server per client and second, in µs, one value for each round.
        missed: deliveries that did not come.
        why: why it was not run; empty if it was.
    """

    memory_kib: dict[str, tuple[float, ...]] = field(default_factory=dict)
    cpu_us: dict[str, tuple[float, ...]] = field(default_factory=dict)
    missed: dict[str, int] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    why: str = ""

    @property
    def caption(self) -> str:  # type: ignore[override]
        if self.why:
            return f"Not run: {self.why}."
        told = self.settings
        return (
            f"{told['clients']} clients of each technique, {told['rate_per_s']:g} events/s; this kit's implementation "
            "in a process of its own, clients in another; ± 4 standard errors over the rounds."
        )

    def memory(self, technique: str) -> Interval:
        return confidence.mean_interval(self.memory_kib.get(technique, ()))

    def cpu(self, technique: str) -> Interval:
        return confidence.mean_interval(self.cpu_us.get(technique, ()))

    def table(self) -> pd.DataFrame:
        import pandas as pd

        rows = {
            technique: {
                "memory_kib_per_client": self.memory(technique).value,
                "memory_give_or_take": self.memory(technique).half_width,
                "cpu_us_per_client_s": self.cpu(technique).value,
                "cpu_give_or_take": self.cpu(technique).half_width,
                "missed": self.missed.get(technique, 0),
            }
            for technique in self.cpu_us
        }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("technique").round(1)


# Upstream


@dataclass(frozen=True)
class Leg:
    """Messages of one client at one rate.

    Attributes:
        order: the messages' numbers in the order of their event ids.
        latency_s: from due until the server had it, by the message's place in *order*.
        bytes: of both directions on the way up, answers included, message by message, as they were sent.
        connections: how many it took.
        back: the technique by which the client receives.
        back_bytes: what the client's receiving cost in all, for these same messages as events.
    """

    mode: str
    rate_per_s: float
    sent: int
    order: tuple[int, ...]
    latency_s: tuple[float, ...]
    bytes: tuple[int, ...]
    connections: int
    back: str = ""
    back_bytes: int = 0

    @property
    def swapped(self) -> int:
        """Messages that came after a later one."""
        newest, late = -1, 0
        for number in self.order:
            late += number < newest
            newest = max(newest, number)
        return late

    @property
    def lost(self) -> int:
        return self.sent - len(set(self.order))

    @property
    def twice(self) -> int:
        return len(self.order) - len(set(self.order))


@dataclass(frozen=True, repr=False)
class Upstream(Shown):
    """Messages from clients to the server, each mode at each rate."""

    legs: tuple[Leg, ...]
    one_way_s: float
    settings: dict[str, Any]

    @property
    def caption(self) -> str:  # type: ignore[override]
        return (
            f"Messages of {self.settings['payload_bytes']} bytes to the server, one transit "
            f"{self.one_way_s * 1e3:.0f} ms and up to {self.settings['jitter_s'] * 1e3:.0f} ms of jitter; bytes of "
            "both directions, answers included."
        )

    def bytes_of(self, mode: str) -> Interval:
        """Bytes a message of one mode, over all rates."""
        return confidence.mean_interval([size for leg in self.legs if leg.mode == mode for size in leg.bytes])

    def table(self) -> pd.DataFrame:
        import pandas as pd

        rows = [
            {
                "way up": leg.mode,
                "per s": leg.rate_per_s,
                "sent": leg.sent,
                "lost": leg.lost,
                "swapped": leg.swapped,
                "median_ms": _median(leg.latency_s) * 1e3,
                "max_ms": max(leg.latency_s, default=math.nan) * 1e3,
                "bytes a message": sum(leg.bytes) / leg.sent,
                "connections": leg.connections,
                "bytes back an event": leg.back_bytes / leg.sent,
            }
            for leg in self.legs
        ]
        return pd.DataFrame(rows).set_index(["way up", "per s"]).round(1)


# All of it


COLUMNS = {
    "latency": ("mean latency", "ms"),
    "bytes": ("bytes an event", "B"),
    "upstream": ("bytes a message upstream", "B"),
    "cpu": ("server CPU per client", "µs/s"),
    "memory": ("server memory per client", "KiB"),
}


@dataclass(frozen=True, repr=False)
class Comparison(Shown):
    """One trace through every technique, and what its server, its way up and a cut link added to the picture.

    Attributes:
        run: the trace.
        cut: a periodic trace through a link that was cut and healed.
        healed_s: when the link was healed, seconds after the start.
        server: what the clients cost.
        upstream: messages the other way.
    """

    run: Run
    cut: Run
    healed_s: float
    server: ServerCosts
    upstream: Upstream

    caption = "One trace through every technique; lower is better in every column."

    @property
    def settings(self) -> dict[str, Any]:
        return dict(self.run.settings)

    @property
    def techniques(self) -> list[str]:
        return [str(name) for name in self.run.settings["techniques"]]

    def interval(self, column: str, technique: str) -> Interval:
        """The confidence interval of one figure; endless where it was not measured."""
        if column == "cpu":
            return self.server.cpu(technique)
        if column == "memory":
            return self.server.memory(technique)
        if column == "upstream":
            return self.upstream.bytes_of(technique if technique == "websocket" else POST)
        frame = self.run.deliveries
        frame = frame[(frame["technique"] == technique) & (frame["client"] != "browser") & frame["scheduled"]]
        frame = frame.drop_duplicates(["subscriber", "event_id"])
        values = frame["latency_ms" if column == "latency" else "bytes"].astype(float).tolist()
        return confidence.mean_interval(values, groups=frame["event_id"].tolist())

    def whole_s(self, technique: str) -> float:
        """After the link was healed, how long until everything due before then had arrived, in seconds."""
        healed_ns = self.cut.started_ns + self.healed_s * 1e9
        frame = self.cut.deliveries
        frame = frame[(frame["technique"] == technique) & (frame["due_ns"] <= healed_ns) & frame["scheduled"]]
        return max(0.0, (float(frame["received_ns"].max()) - healed_ns) / 1e9) if len(frame) else math.nan

    def table(self) -> pd.DataFrame:
        """One row per technique, the page's own last, with what only the kernel's clients tell left empty."""
        import pandas as pd

        summary, cut, rows = self.run.summary(), self.cut.summary(), {}
        for technique in summary.index:
            row = summary.loc[technique]
            rows[technique] = {"p50_ms": row["p50_ms"], "p95_ms": row["p95_ms"], "max_ms": row["max_ms"]}
            if technique not in self.techniques:
                continue
            rows[technique] |= {
                "bytes/event": row["bytes_per_event"],
                "requests": row["requests"],
                "connections": row["connections"],
                "upstream bytes": self.interval("upstream", technique).value,
                "CPU µs/s": self.server.cpu(technique).value,
                "KiB/client": self.server.memory(technique).value,
                "cut: reconnects": cut.loc[technique, "connections"] - 1,
                "cut: lost": cut.loc[technique, "lost"],
                "cut: whole after s": self.whole_s(technique),
            }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("technique").round(1)


def _median(values: Sequence[float]) -> float:
    return confidence.median_interval(values).value
