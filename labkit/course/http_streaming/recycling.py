"""S3: streams that are ended now and then, and asked for again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit.charts import layout, style
from labkit.claims import confidence
from labkit.course import variants
from labkit.course.alone import ready
from labkit.course.asking import at_rate
from labkit.course.http_streaming import charts
from labkit.course.shown import OfRun
from labkit.lab.lab import Lab
from labkit.measuring import schedules
from labkit.measuring.measurement import measure
from labkit.measuring.run import Run
from labkit.measuring.schedules import Planned, Schedule
from labkit.techniques import Technique
from labkit.techniques.http_streaming import HTTP_STREAMING

if TYPE_CHECKING:
    import plotly.graph_objects as go

SWEEP = (1, 2, 5, 10, 20)
ONE_WAY_S = 0.05
COUNTED = {1: "each event", 10: "ten"}
KEPT, CLOSED = "recycled", "recycled, EOF"
RATES_PER_S = (1, 2, 4, 8, 16, 32, 64)
ENDS_AFTER = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50)


def recycled_mean_s(rate_per_s: float, one_way_s: float, every: int) -> float:
    """Mean latency of a stream that is ended every N events, in seconds, as theory has it."""
    return at_rate(HTTP_STREAMING, rate_per_s, one_way_s, recycle=every).mean_s


def longest_s(one_way_s: float, every: int, **options: Any) -> float:
    """The longest latency of a stream that is ended every N events, in seconds, as theory has it at any rate."""
    return at_rate(HTTP_STREAMING, 1.0, one_way_s, recycle=every, **options).max_s


def variant(name: str, **options: Any) -> Technique:
    """HTTP streaming with other options under another name, so that several can be measured side by side."""
    return variants.variant(name, "http-streaming", **options)


@dataclass(frozen=True)
class Recycled(OfRun):
    """One run with events right after ends: of a stream never recycled, of one every N events, and so with EOF."""

    run: Run
    every: int

    def longest_s(self, name: str) -> float:
        """What comes right after an end, as theory has it."""
        return longest_s(self.one_way_s, self.every, **({"framing": "eof"} if name == CLOSED else {}))

    def chart(self) -> go.Figure:
        """Latency along time of streams that are never ended, ended and asked for again, and ended by the close.

        Returns:
            A figure: a panel per stream, latency in ms over the time at which an event was due; what theory expects,
            of an event while the stream lasts and of one right after its end, as dashed lines.
        """
        d_ms, ended = self.one_way_s * 1e3, f"ended every {self.every} events"
        kept_ms, closed_ms = (self.longest_s(name) * 1e3 for name in (KEPT, CLOSED))
        rows = [
            ("http-streaming", "never ended", charts.STREAM, [(d_ms, "d")]),
            (KEPT, f"{ended}, same connection", charts.CHUNKED, [(d_ms, "d"), (kept_ms, "3d")]),
            (CLOSED, f"{ended} by the close", charts.EOF, [(d_ms, "d"), (closed_ms, "5d")]),
        ]
        frame = self.run.deliveries
        most = [style.ms(float(frame[frame["technique"] == name]["latency_ms"].max())) for name, *_ in rows]
        title = f"Right after an end an event takes up to {most[1]}, after a close {most[2]}; "
        return charts.along_time(self.run, rows, f"{title}otherwise {most[0]} at most", burst=self.every + 1)


def recycled(lab: Lab, *, bursts: int = 30, every: int = 3, one_way_s: float = ONE_WAY_S) -> Recycled:
    """Recycle streams every so many events, kept alive and by EOF, and publish bursts of one event more.

    So in each burst one event comes 10 ms after an end, wherever in the burst the end falls.

    Raises:
        ValueError: no event between ends; a transit below 40 ms, of which 10 ms would be too large a part.
    """
    ready(lab, every=(every, 1), bursts=(bursts, 1), one_way_s=(one_way_s, 0.04))
    techniques = [HTTP_STREAMING, variant(KEPT, recycle=every), variant(CLOSED, recycle=every, framing="eof")]
    times = [8 * one_way_s * burst + 0.01 * n for burst in range(bursts) for n in range(every + 1)]
    return Recycled(measure(lab, techniques, _at(times), one_way_s=one_way_s, settle_s=1.0), every)


def _at(times_s: Sequence[float]) -> Schedule:
    planned = [Planned(at_s, f"{number}") for number, at_s in enumerate(times_s)]
    return Schedule("right after each end", {"events": len(planned)}, times_s[-1], None, False, lambda: iter(planned))


@dataclass(frozen=True)
class Swept(OfRun):
    """Streams recycled every 1 to 20 events beside one that never ends, in one run."""

    run: Run

    @property
    def rate_per_s(self) -> float:
        return float(self.run.settings["schedule"]["rate_per_s"])

    def means(self) -> dict[int, confidence.Interval]:
        """The mean latency of each stream that is ended, by the number of events after which it is, in seconds."""
        frame, found = self.run.deliveries, {}
        for technique, rows in frame[frame["scheduled"]].groupby("technique"):
            if str(technique).startswith("every "):
                every = int(str(technique).removeprefix("every "))
                groups = rows["received_ns"].tolist()
                found[every] = confidence.mean_interval((rows["latency_ms"] / 1e3).tolist(), groups=groups)
        return dict(sorted(found.items()))

    def chart(self) -> go.Figure:
        """Mean latency over the number of events after which a stream is ended; the slider sets theory's event rate.

        Returns:
            A figure: the mean of each stream in ms with its interval at 99.8 %, over N on a logarithmic scale; theory
            at the run's own rate and, with the slider, at others; one transit as a dotted line.
        """
        grey, d_s, ran_at, found = style.GREY, self.one_way_s, self.rate_per_s, self.means()
        rates, figure = sorted({*map(float, RATES_PER_S), ran_at}), layout.blank()
        for rate in rates:
            means_ms = [recycled_mean_s(rate, d_s, n) * 1e3 for n in ENDS_AFTER]
            layout.add_theory(
                figure, ENDS_AFTER, means_ms, width=1.2, name=f"theory at {rate:g} events/s",
                legendgroup=None, visible=rate == ran_at,
            )  # fmt: skip
        figure.add_scatter(
            x=list(found), y=[i.value * 1e3 for i in found.values()], mode="markers",
            name=f"measured at {ran_at:g} events/s, at 99.8 %",
            error_y={"array": [i.half_width * 1e3 for i in found.values()], "width": 4, "color": charts.STREAM.color},
            marker={"symbol": charts.STREAM.symbol, "size": 10, "color": charts.STREAM.color},
            hovertemplate="ended every %{x} events: %{y:.1f} ms<extra></extra>",
        )  # fmt: skip
        never = style.ms(float(self.run.summary().loc["never", "mean_ms"]))
        figure.add_hline(
            y=d_s * 1e3, line={"color": grey.rule, "dash": "dot"}, annotation_position="bottom right",
            annotation_text=f"one transit; never ended, measured: {never}", annotation_font_color=grey.muted,
        )  # fmt: skip
        ticks = [n for n in ENDS_AFTER if n in (1, 2, 5, 10, 20, 50)]
        figure.update_xaxes(
            type="log", title_text="events after which the response is ended (logarithmic)", tickvals=ticks,
            ticktext=[str(n) for n in ticks], range=[-0.06, math.log10(55)],
        )  # fmt: skip
        top = max(*(i.high for i in found.values()), *(recycled_mean_s(r, d_s, 1) for r in rates))
        figure.update_yaxes(title_text="mean latency (ms)", range=[d_s * 1e3 * 0.86, top * 1e3 * 1.04])
        titles = {rate: f"Theory: at {rate:g} events/s, {_costs(rate, d_s)}" for rate in rates}
        costs = [f"after {COUNTED[n]} {style.ms(i.value * 1e3)}" for n, i in found.items() if n in COUNTED]
        titles[ran_at] = f"An event takes {never} on average; where the stream is ended {style.joined(costs)}"
        note = f"d = {style.ms(d_s * 1e3)}; theory: what comes in the 2d until the next request is there waits for it"
        steps: list[dict[str, Any]] = []
        for rate, title in titles.items():
            told = {"title.text": style.heading(title)["text"], "title.subtitle.text": note}
            visible = [other == rate for other in rates] + [True]
            steps.append({"label": f"{rate:g}", "method": "update", "args": [{"visible": visible}, told]})
        return layout.dressed(
            figure, titles[ran_at], note, height=470, margin=(70, 40, 84, 150),
            legend={"x": 1, "xanchor": "right", "y": 0.98},
            sliders=[{"steps": steps, "active": rates.index(ran_at), "pad": {"t": 56},
                      "currentvalue": {"prefix": "events a second, in theory: "}}],
        )  # fmt: skip


def _costs(rate_per_s: float, d_s: float) -> str:
    one, ten = (style.ms(recycled_mean_s(rate_per_s, d_s, n) * 1e3) for n in (1, 10))
    return f"ending after each event costs a mean of {one}, after ten {ten}"


def sweep(lab: Lab, *, rate_per_s: float = 16.0, duration_s: float = 8.0, one_way_s: float = ONE_WAY_S) -> Swept:
    """Streams recycled every 1 to 20 events beside one that never ends, all at once, through one link.

    The techniques of the run are called ``every 1``, ``every 2``..., and ``never``.
    """
    techniques = [*(variant(f"every {n}", recycle=n) for n in SWEEP), variant("never")]
    schedule = schedules.poisson(rate_per_s, duration_s, seed=3)
    return Swept(measure(lab, techniques, schedule, one_way_s=one_way_s))
