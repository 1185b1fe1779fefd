"""``choose``: the ranking for given needs, where its winner changes, and its display."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.charts import style
from labkit.choosing.figures import PROVENANCE, Figures, figures_of
from labkit.choosing.flips import Flips, flips_of, named, winner
from labkit.choosing.needs import Needs, checked
from labkit.choosing.options import FORMULAS, NOTEBOOKS, Option, evaluate, measured_in
from labkit.choosing.record import record
from labkit.techniques import find

if TYPE_CHECKING:
    import pandas as pd


def choose(
    *,
    rate_per_s: float,
    staleness_s: float,
    payload_bytes: float = 20,
    clients: float = 1000,
    latest_only: bool = False,
    upstream_per_s: float = 0.0,
    one_way_s: float = 0.05,
    tls: bool = False,
    path: str | Iterable[str] = ("plain",),
    prices: Mapping[str, float] | None = None,
    run: Any = None,
    servers: float = 1,
) -> Choice:
    """Which technique to use: the cheapest one that can do what is needed.

    Args:
        rate_per_s: events a second, each to every client; Poisson.
        staleness_s: how late an event may be at the worst, in seconds.
        payload_bytes: of an event, and of a message upstream.
        clients: how many there are at a time.
        latest_only: only the newest event matters.
        upstream_per_s: messages a second from each client.
        one_way_s: one network transit, in seconds.
        tls: whether the connections are encrypted; adds bytes (derived), and hides from intermediaries what they
            would hold back.
        path: what is between: ``plain``, ``buffering-proxy``, ``blocks-upgrade``, ``idle-timeout:30`` (seconds),
            ``ends-tls`` (an intermediary that reads what is inside TLS).
        prices: ``per_gb``, ``per_million_requests``, ``per_connection_hour``. Without any, the server's work is what
            is minimized.
        run: a Run, or a comparison: what it measured replaces the kit's own figures.
        servers: processes that may serve; each has one core and 20 000 connections.

    Raises:
        LabkitError: a parameter makes no sense; it is named.
    """
    needs = checked(
        rate_per_s, staleness_s, payload_bytes, clients, latest_only, upstream_per_s, one_way_s, tls, path, prices,
        servers,
    )  # fmt: skip
    return Choice(needs, figures_of(run), run=run)


@dataclass(frozen=True, repr=False)
class Choice:
    """The ranking. Shows itself as a table, with the sentence that decides."""

    needs: Needs
    figures: Mapping[str, Figures]
    run: Any = field(default=None, compare=False)

    @property
    def options(self) -> list[Option]:
        """Every technique, the best first."""
        return evaluate(self.needs, self.figures)

    @property
    def winner(self) -> str:
        """The technique to use; ``nothing`` where none can do it."""
        return winner(self.needs, self.figures)

    @property
    def sentence(self) -> str:
        """The answer in one or two sentences."""
        best, *others = self.options
        if not best.feasible:
            return f"No technique can do this. {named(best.technique)}: {best.why_not}."
        second = next((option for option in others if option.feasible), None)
        unit = "money" if self.needs.prices else "the server's work"
        if find(best.technique).kind == "poll":
            said = (
                f"Interval polling is the right answer: a poll every {style.seconds(best.every_s)} is never later than "
                f"the {style.seconds(self.needs.staleness_s)} that are tolerated"
            )
        else:
            said = f"{_capital(named(best.technique))} is the cheapest that can do this: at most {_late(best)} late"
        if second is None:
            return f"{said}; nothing else can."
        times = second.cost / best.cost if best.cost else 1.0
        ratio = f"{times:.3g} times as much" if times > 1.02 else "as much"
        close = second.cost_low < best.cost_high
        said += f", and the next, {named(second.technique)}, costs {ratio} in {unit}"
        return said + ("; within the figures' ranges they are alike." if close else ".")

    def table(self) -> pd.DataFrame:
        """One row per technique, the best first; all clients together, an hour each."""
        import pandas as pd

        rows = [
            {
                "technique": option.technique,
                "rank": rank if option.feasible else "",
                "why not": option.why_not,
                "mean (s)": option.mean_s,
                "worst (s)": option.worst_s,
                "requests/h": option.requests_per_h,
                "MB/h": option.bytes_per_h / 1e6,
                "connections": option.connections,
                "core-s/h": option.cpu_s_per_h,
                "MiB": option.memory_mib,
                "cost": option.cost,
                "cost from": option.cost_low,
                "cost to": option.cost_high,
                "measured in": NOTEBOOKS[option.technique],
            }
            for rank, option in enumerate(self.options, 1)
        ]
        return pd.DataFrame(rows).set_index("technique")

    def formulas(self) -> pd.DataFrame:
        """Where each number comes from: its formula, its value here, the notebook that measured what it stands on."""
        import pandas as pd

        rows = []
        for option in self.options:
            values = {
                "mean": option.mean_s,
                "worst": option.worst_s,
                "requests/h": option.requests_per_h,
                "bytes/h": option.bytes_per_h,
                "connections": option.connections,
                "work": option.work_s,
            }
            for figure, formula in FORMULAS[option.technique].items():
                source = measured_in(option.technique, figure)
                rows.append([option.technique, figure, values[figure], formula, source])
        columns = ["technique", "figure", "value", "formula", "measured in"]
        return pd.DataFrame(rows, columns=columns).set_index(["technique", "figure"])

    def flips(self) -> Flips:
        """Where the answer changes: each input alone, from its value up and down to the next winner.

        Returns:
            One :class:`Flip` for each change found, the nearest for each direction; switches and obstacles too.
        """
        return flips_of(self.needs, self.figures)

    def to_adr(self, path: str | Path | None = None) -> str:
        """A decision record in Markdown: context, options, decision, consequences, evidence, what was not run.

        Args:
            path: a file to write it to.
        """
        text = record(self)
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text

    @property
    def note(self) -> str:
        """What the cost is, and whose figures it stands on."""
        if self.needs.prices:
            cost = "money an hour at " + ", ".join(f"{price:g} {name}" for name, price in self.needs.prices)
        else:
            cost = "core-seconds of the server an hour, 4 GiB of memory held valued as one core"
        whose = "Figures of the run that was given; where it has none, " if self.run is not None else "Figures "
        tls = " TLS: 22 bytes a record (derived), 4000 a handshake (assumed)." if self.needs.tls else ""
        up = " A message upstream adds p + m bytes, over the WebSocket or by a POST on a connection beside the other."
        return (
            f"Cost: {cost}. {whose}{PROVENANCE}. TCP/IP headers are not counted.{tls}"
            f"{up if self.needs.upstream_per_s else ''}"
        )

    def __repr__(self) -> str:
        return f"{self.sentence}\n{self.table().to_string(float_format=_number)}\n{self.note}"

    def _repr_html_(self) -> str:
        ranked = self.table().to_html(border=0, float_format=_number, index_names=False)
        formulas = self.formulas().to_html(border=0, float_format=_number)
        return (
            f"<p><b>{html.escape(self.sentence)}</b></p><div style='overflow-x: auto'>{ranked}</div>"
            f"<details><summary>Each number's formula</summary>{formulas}</details>"
            f"<p><small>{html.escape(self.note)}</small></p>"
        )


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _late(option: Option) -> str:
    return style.seconds(option.worst_s)
