"""``choose``: the ranking for given needs, where its winner changes, and its display."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit import files
from labkit.choosing.answering import alike_with, sentence
from labkit.choosing.figures import HERE, PROVENANCE, Figures, figures_of
from labkit.choosing.flips import Flips, flips_of
from labkit.choosing.formulas import FORMULAS, NOTEBOOKS, measured_in, rows_of, stands_on
from labkit.choosing.needs import Needs, checked
from labkit.choosing.options import Option, evaluate, winner
from labkit.choosing.probed import Report
from labkit.choosing.reasons import reasons
from labkit.choosing.record import record
from labkit.choosing.unknown import unknown
from labkit.errors import package
from labkit.measuring.rounding import rounded

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
    path: str | Iterable[str] | Mapping[str, Any] | PathLike[str] | Report = ("plain",),
    prices: Mapping[str, float] | None = None,
    run: Any = None,
    servers: float | None = None,
    held_per_browser: float = 1,
    ordered: bool = False,
    finite: bool = False,
    mobile: bool = False,
    heartbeat_s: float | None = None,
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
            ``ends-tls`` (an intermediary that reads what is inside TLS), ``http2-edge`` (what is nearest the clients
            speaks HTTP/2 to them: no six connections, and a poll's headers cost a quarter). Or what
            ``labkit probe --json`` says of it: its dict, its report or the file's name; the answer says what was taken.
        prices: ``per_gb``, ``per_million_requests``, ``per_connection_hour``. Without any, the server's work is what
            is minimized.
        run: a Run, or a comparison: what it measured replaces the kit's own figures.
        servers: processes that may serve; each has one core and 20 000 connections. None: as many as it takes are
            proposed.
        held_per_browser: streams or held requests that one browser has at a time, over all of its tabs.
        ordered: messages upstream have to arrive in the order in which they were sent.
        finite: a POST begins the stream, and it ends: the tokens of a language model.
        mobile: the clients are phones, whose radio sleeps; heartbeats are then as rare as the path allows.
        heartbeat_s: how often a silent stream says something; by default 15 s, or 0.8 of what the path's idle
            time-out is.

    Raises:
        LabkitError: a parameter makes no sense; it is named.
    """
    needs = checked(
        path, prices, rate_per_s=rate_per_s, staleness_s=staleness_s, payload_bytes=payload_bytes, clients=clients,
        latest_only=latest_only, upstream_per_s=upstream_per_s, one_way_s=one_way_s, tls=tls, servers=servers,
        held_per_browser=held_per_browser, ordered=ordered, finite=finite, mobile=mobile, heartbeat_s=heartbeat_s,
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
        return list(self._ranked)

    @property
    def winner(self) -> str:
        """The technique to use; ``nothing`` where none can do it, or none pays."""
        return winner(self.needs, self.figures)

    @cached_property
    def _ranked(self) -> list[Option]:
        return evaluate(self.needs, self.figures)

    @property
    def alike(self) -> list[str]:
        """What costs as much as the winner within the figures' ranges, and asks for nothing more."""
        return [option.technique for option in alike_with(self._ranked)] if self._ranked[0].feasible else []

    @property
    def sentence(self) -> str:
        """The answer in one or two sentences."""
        return sentence(self.needs, self.figures, self._ranked)

    @cached_property
    def reasons(self) -> list[str]:
        """Why, and what has to be built with it; what was taken from a probe comes first."""
        return reasons(self.needs, self.figures, self._ranked)

    @property
    def unknown(self) -> list[str]:
        """What the arithmetic does not know and could change this answer."""
        return unknown(self.needs, self._ranked[0])

    def table(self) -> pd.DataFrame:
        """One row per technique, the best first; all clients together, an hour each."""
        pd = package("pandas")

        rows = [
            {
                "technique": option.technique,
                "rank": rank if option.feasible else "",
                "against it": option.why_not or option.burden,
                "mean (s)": option.mean_s,
                "worst (s)": option.worst_s,
                "after a cut (s)": option.after_cut_s,
                "servers": option.servers,
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
        pd = package("pandas")

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
                whose = stands_on(option.technique, figure, self.figures[option.technique])
                rows.append([option.technique, figure, values[figure], formula, whose, source])
        columns = ["technique", "figure", "value", "formula", "figures", "measured in"]
        return pd.DataFrame(rows, columns=columns).set_index(["technique", "figure"])

    def sources(self) -> pd.DataFrame:
        """Every figure that the arithmetic stands on, between what it may lie, and where it is from."""
        rows = rows_of(self.figures, tls=self.needs.serves_tls)
        return package("pandas").DataFrame(rows).set_index(["technique", "figure"])

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

        Raises:
            LabkitError: it cannot be written, and why.
        """
        text = record(self)
        if path is not None:
            files.write(path, text)
        return text

    @property
    def note(self) -> str:
        """What the cost is, and whose figures it stands on."""
        if self.needs.prices:
            cost = "money an hour at " + ", ".join(f"{price:g} {name}" for name, price in self.needs.prices)
        else:
            cost = "core-seconds of the server an hour, 4 GiB of memory held valued as one core"
        whose = f"{HERE}: what the run has; the others " if self.run is not None else ""
        tls = " TLS: 22 bytes a record (derived), 4000 a handshake (assumed)." if self.needs.tls else ""
        up = (
            " A message upstream adds p + m bytes, over the WebSocket or by a POST."
            if self.needs.upstream_per_s
            else ""
        )
        return f"Cost: {cost}. Figures {whose}{PROVENANCE}. TCP/IP headers are not counted.{tls}{up}"

    def __repr__(self) -> str:
        said = "".join(f"- {reason}\n" for reason in self.reasons)
        table = self.table().to_string(float_format=rounded)
        return f"{self.sentence}\n{said}{table}\n{self._unknown_said}{self.note}"

    @property
    def _unknown_said(self) -> str:
        return f"Not in this arithmetic, and it could change the answer: {'; '.join(self.unknown)}.\n" * bool(
            self.unknown
        )

    def _repr_html_(self) -> str:
        ranked = self.table().to_html(border=0, float_format=rounded, index_names=False)
        formulas = self.formulas().to_html(border=0, float_format=rounded)
        sources = self.sources().to_html(border=0, float_format=rounded)
        said = "".join(f"<li>{html.escape(reason)}</li>" for reason in self.reasons)
        return (
            f"<p><b>{html.escape(self.sentence)}</b></p><ul>{said}</ul>"
            f"<div style='overflow-x: auto'>{ranked}</div><p>{html.escape(self._unknown_said)}</p>"
            f"<details><summary>Each number's formula</summary>{formulas}</details>"
            f"<details><summary>Each figure, and where it is from</summary>{sources}</details>"
            f"<p><small>{html.escape(self.note)}</small></p>"
        )
