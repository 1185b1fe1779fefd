"""L1b: polling that asks as often as long polling does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit import theory
from labkit.charts import layout, style
from labkit.course.asking import at_rate
from labkit.course.long_polling.polls import ENDLESS_S, LONG, ONE_WAY_S, swept
from labkit.course.shown import OfRun, Shown, as_table
from labkit.course.variants import several, topic_of, variant
from labkit.lab.lab import Lab
from labkit.measuring import schedules
from labkit.measuring.measurement import measure
from labkit.measuring.run import Run
from labkit.techniques.http_streaming import HTTP_STREAMING
from labkit.techniques.long_polling import LONG_POLLING
from labkit.techniques.polling import POLLING

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


DELAYS_S = (0.01, 0.02, ONE_WAY_S, 0.1, 0.2)


@dataclass(frozen=True, repr=False)
class Equal(OfRun, Shown):
    """Long polling and interval polling that ask equally often, at a low and at a high event rate.

    Attributes:
        rates: topic -> events a second.
        pairs: events a second -> the technique of the poller whose interval was made for it.
    """

    run: Run
    rates: dict[str, float]
    pairs: dict[float, str]

    def topics(self, rate: float) -> list[str]:
        return [topic for topic, r in self.rates.items() if r == rate]

    def expected_s(self, rate: float) -> float:
        """By how much sooner than polling theory expects an event by long polling."""
        d, gap_s = self.one_way_s, theory.request_gap(self.one_way_s)
        poll_s = theory.polling_latency(1 / theory.long_polling_requests_per_s(rate, d, ENDLESS_S), d).mean_s
        return poll_s - theory.long_polling_mean(rate, d, ENDLESS_S, gap_s)

    def requests(self, technique: str, rate: float) -> int:
        """How many requests a technique's clients sent for the topics of one rate, from the first event to the last.

        Each is one write. A poller asks before and after as well, and a long poll waits.
        """
        topics, frame = self.topics(rate), self.run.deliveries
        due_ns = frame["due_ns"][frame["topic"].isin(topics)]
        first_ns, last_ns = int(due_ns.min()), int(due_ns.max())
        return sum(
            transfer.direction == "out" and first_ns <= transfer.t_ns <= last_ns
            for record in self.run.ledger.of(technique)
            if topic_of(record) in topics
            for transfer in record.transfers
        )

    def table(self) -> pd.DataFrame:
        """One row for each rate: requests and mean latency of both."""
        frame, rows = self.run.deliveries, []
        for rate, poller in self.pairs.items():
            for name in (LONG, poller):
                mine = frame[(frame["technique"] == name) & frame["topic"].isin(self.topics(rate))]
                rows.append((rate, name, self.requests(name, rate), float(mine["latency_ms"].mean())))
        return as_table(rows, ["rate_per_s", "technique", "requests", "mean_ms"]).set_index("rate_per_s")

    def chart(self, *, rate_per_s: float = 4.0) -> go.Figure:
        """Long polling, polling that asks as often, and a stream, over the event rate; a slider for d.

        The means that were measured are drawn where the slider is at their d.

        Args:
            rate_per_s: where the sentence in the title is read off.
        """
        figure, rates = layout.blank(), swept(0.1, 100.0)
        for d in DELAYS_S:
            long = [_held_s(rate, d) * 1e3 for rate in rates]
            poll = [_polled_s(rate, d) * 1e3 for rate in rates]
            for name, values, mark in (
                ("polling, asking as often", poll, POLLING.mark), ("long polling", long, LONG_POLLING.mark),
                ("a stream", [at_rate(HTTP_STREAMING, rate, d).mean_s * 1e3 for rate in rates], HTTP_STREAMING.mark),
            ):  # fmt: skip
                figure.add_scatter(
                    x=rates, y=values, mode="lines", name=name, visible=d == ONE_WAY_S,
                    line={"color": mark.color, "dash": mark.dash, "width": 2},
                    hovertemplate="%{x:.2~g} events/s: %{y:.3~g} ms<extra>" + name + "</extra>",
                )  # fmt: skip
        lines, table = len(figure.data), self.table().reset_index()
        for is_long, part in table.groupby(table["technique"].eq(LONG)):
            mark, name = (LONG_POLLING if is_long else POLLING).mark, "long polling" if is_long else "polling"
            figure.add_scatter(
                x=part["rate_per_s"], y=part["mean_ms"].round(1), mode="markers",
                visible=self.one_way_s == ONE_WAY_S, name=f"{name}, measured", customdata=part["requests"],
                marker={"symbol": mark.symbol, "size": 11, "color": mark.color,
                        "line": {"color": style.GREY.ink, "width": 1}},
                hovertemplate="%{x:g} events/s: %{y:.0f} ms at %{customdata} requests<extra></extra>",
            )  # fmt: skip
        steps = []
        for at, d in enumerate(DELAYS_S):
            measured = abs(self.one_way_s - d) < 1e-9
            visible = [i // 3 == at for i in range(lines)] + [measured] * (len(figure.data) - lines)
            steps.append({"label": f"{d * 1e3:g}", "method": "update", "args": [{"visible": visible}]})
        figure.update_xaxes(
            type="log", tickvals=[0.1, 1, 10, 100], ticktext=["0.1", "1", "10", "100"], title_text="events a second"
        )
        figure.update_yaxes(
            type="log", range=[0.9, 4.1], tickvals=[10, 100, 1000, 10000], title_text="mean latency (ms)"
        )
        often = theory.long_polling_requests_per_s(rate_per_s, ONE_WAY_S, ENDLESS_S)
        held_s, polled_s = _held_s(rate_per_s, ONE_WAY_S), _polled_s(rate_per_s, ONE_WAY_S)
        return layout.dressed(
            figure,
            f"At {rate_per_s:g} events/s, {often:.1f} requests a second and d = 50 ms: {style.ms(held_s * 1e3)} "
            f"against {polled_s * 1e3:.0f} ms",
            "lines: theory; both axes logarithmic; to the right they meet",
            height=470, margin=(70, 30, 84, 140), legend={"x": 0.99, "xanchor": "right", "y": 0.98},
            sliders=[{"steps": steps, "active": DELAYS_S.index(ONE_WAY_S), "currentvalue": {"prefix": "d (ms): "},
                      "pad": {"t": 52}}],
        )  # fmt: skip


def _held_s(rate_per_s: float, one_way_s: float) -> float:
    """Mean latency of long polling that theory expects."""
    return at_rate(LONG_POLLING, rate_per_s, one_way_s, hold_s=ENDLESS_S).mean_s


def _polled_s(rate_per_s: float, one_way_s: float) -> float:
    """And of polling that asks as often."""
    interval_s = 1 / theory.long_polling_requests_per_s(rate_per_s, one_way_s, ENDLESS_S)
    return at_rate(POLLING, rate_per_s, one_way_s, interval_s=interval_s).mean_s


def equal_requests(
    lab: Lab,
    *,
    low_per_s: float = 4.0,
    high_per_s: float = 40.0,
    duration_s: float = 7.0,
    one_way_s: float = ONE_WAY_S,
) -> Equal:
    """Long polling beside a poller that asks as often as it does, at a low and at a high event rate."""
    rate_of = {f"rare, {number}": low_per_s for number in range(4)}
    rate_of |= {f"often, {number}": high_per_s for number in range(2)}
    interval_s = {r: 1 / theory.long_polling_requests_per_s(r, one_way_s, ENDLESS_S) for r in (low_per_s, high_per_s)}
    pollers = {rate: f"polling every {s:.3g} s" for rate, s in interval_s.items()}
    variants = [variant(pollers[rate], "polling", interval_s=s) for rate, s in interval_s.items()]
    plan = several({t: schedules.poisson(r, duration_s, seed=20 + n) for n, (t, r) in enumerate(rate_of.items())})
    run = measure(
        lab, [LONG, *variants], plan, one_way_s=one_way_s, hold_s=ENDLESS_S, poll_interval_s=max(interval_s.values())
    )
    return Equal(run, rate_of, pollers)
