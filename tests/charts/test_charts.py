"""The charts say what the run holds: theory beside it, units on every axis, titles computed from it."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import random
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import plotly.io as pio
import pytest

import labkit
from labkit import charts, theory
from labkit.charts import pictures, style
from labkit.charts.conversation import conversation, server_side
from labkit.claims.predicting import predict
from labkit.client.ledger import Ledger
from labkit.errors import LabkitError
from labkit.measuring.natures import Natures
from labkit.painter import Painter
from labkit.techniques.exhibits import EXHIBITS
from labkit.webpage.settings import COMM_NATURE
from marking import mark
from natures import told

TECHNIQUES = ("polling", "long-polling", "http-streaming", "sse", "websocket", "plugin-socket")
FRAMING_BYTES = {"http-streaming": 6, "sse": 32, "websocket": 2, "plugin-socket": 1}
UNITS = ("(ms", "(s)", "(B)", "(d = ")
S = 1_000_000_000


@pytest.fixture(autouse=True)
def no_predictions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LABKIT_CLAIMS", str(tmp_path / "claims.jsonl"))


# A simulated run: the same Poisson events through every technique, over a link of one_way_s


class Wire:
    """A simulated connection: what the client, and both sides of a link, put down."""

    def __init__(self, ledger: Ledger, technique: str, port: int, d_s: float, link: bool) -> None:
        self.d_s = d_s
        where = {"local": ("127.0.0.1", port), "remote": ("127.0.0.1", 9000)}
        self.client = ledger.opened(technique, 0, t_ns=0, **where)
        self.client.segments_out = self.client.segments_in = 3
        self.far = None
        if link:
            ledger.opened("", port, local=where["remote"], remote=where["local"], t_ns=1, hop="link.near")
            far_end = {"local": ("127.0.0.1", port + 500), "remote": ("127.0.0.1", 8000)}
            self.far = ledger.opened("", port, t_ns=2, hop="link.far", **far_end)

    def out(self, t_s: float, label: str, size: int = 120) -> float:
        mark(self.client, "out", self.client.bytes_out, self.client.bytes_out + size, "headers", label)
        self.client.transferred("out", b"x" * size, round(t_s * S))
        if self.far is not None:
            self.far.transferred("out", b"x" * size, round((t_s + self.d_s) * S))
        self.client.requests += 1
        self.client.segments_out += 1
        return t_s + self.d_s

    def back(self, t_s: float, parts: list[tuple[int, str, str, int | None]], lag_s: float) -> float:
        start = stop = self.client.bytes_in
        for size, category, label, event_id in parts:
            mark(self.client, "in", stop, stop + size, category, label, event_id)
            stop += size
        self.client.transferred("in", b"x" * (stop - start), round((t_s + self.d_s + lag_s) * S))
        if self.far is not None:
            self.far.transferred("in", b"x" * (stop - start), round(t_s * S))
        self.client.segments_in += 1
        self.client.segments_out += 1
        return t_s + self.d_s + lag_s


def event_parts(ids: list[int], framing: int, payload: int) -> list[tuple[int, str, str, int | None]]:
    parts: list[tuple[int, str, str, int | None]] = []
    for i in ids:
        parts += [(18, "envelope", f"event {i}", i), (payload, "payload", f"event {i}", i)]
    return parts + ([(framing, "framing", "chunk", None)] if framing else [])


def arrivals(
    technique: str, wire: Wire, due_s: list[float], rng: random.Random, T: float, payload: int
) -> Iterator[tuple[int, float]]:
    """The simulated conversation: yields (event id, received)."""
    head, n = (140, "headers", "200, headers", None), len(due_s)

    def lag() -> float:
        return 0.0004 + rng.expovariate(1 / 0.0006)

    if technique == "polling":
        done, t = 0, 0.13
        while done < n:
            at = wire.out(t, "GET /polling")
            ids = [i + 1 for i in range(done, n) if due_s[i] <= at]
            end = [(30, "envelope", "JSON", None)]
            got = wire.back(at + 0.0002, [head, *event_parts(ids, 0, payload), *end], lag())
            yield from ((i, got) for i in ids)
            done, t = done + len(ids), t + T
    elif technique == "long-polling":
        done, t = 0, 0.0
        while done < n:
            at = wire.out(t, "GET /long-polling")
            at = max(at, due_s[done])
            ids = [i + 1 for i in range(done, n) if due_s[i] <= at]
            t = wire.back(at + 0.0002, [head, *event_parts(ids, 0, payload), (30, "envelope", "JSON", None)], lag())
            yield from ((i, t) for i in ids)
            done += len(ids)
    else:
        at = wire.out(0.0, f"GET /{technique}")
        wire.back(at, [head], lag())
        for i, due in enumerate(due_s, 1):
            yield i, wire.back(max(due, at), event_parts([i], FRAMING_BYTES[technique], payload), lag())


def make_run(
    *, techniques: tuple[str, ...] = TECHNIQUES, d_s: float = 0.05, link: bool = True, rate: float = 5.0,
    duration_s: float = 8.0, T: float = 1.0, payload: int = 20, seed: int = 3,
) -> Any:  # fmt: skip
    rng = random.Random(seed)
    due_s, t = [], 0.3
    while (t := t + rng.expovariate(rate)) < duration_s + 0.3:
        due_s.append(t)
    ledger, rows = Ledger(), []
    for number, technique in enumerate(techniques):
        wire = Wire(ledger, technique, 40_000 + number, d_s, link)
        for i, got in arrivals(technique, wire, due_s, rng, T, payload):
            due, received = round(due_s[i - 1] * S), round(got * S)
            rows.append(
                {"technique": technique, "client": "python", "subscriber": 0, "topic": "", "event_id": i,
                 "due_ns": due, "published_ns": due + 60_000, "received_ns": received,
                 "latency_ms": (received - due) / 1e6, "payload_bytes": payload, "scheduled": True}
            )  # fmt: skip
    frame = pd.DataFrame(rows).astype({"due_ns": "Int64", "published_ns": "Int64", "technique": "string"})
    return SimpleNamespace(
        deliveries=frame, ledger=ledger, failures={}, summary=lambda: summary_of(frame, ledger),
        settings=told({"techniques": list(techniques), "one_way_s": d_s, "poll_interval_s": T, "hold_s": 30.0,
                       "schedule": {"name": "poisson", "settings": {"rate_per_s": rate}}}),
    )  # fmt: skip


def summary_of(frame: pd.DataFrame, ledger: Ledger) -> pd.DataFrame:
    rows = {}
    for c in ledger.of():
        events = int((frame["technique"] == c.technique).sum())
        parts = {**c.by_category, "tcp_ip": c.tcp_ip_bytes}
        per_event = {f"{name}_per_event": size / events for name, size in parts.items()}
        rows[c.technique] = {"events": events, "lost": 0, "duplicated": 0, "out_of_order": 0, **per_event}
    return pd.DataFrame.from_dict(rows, orient="index")


@pytest.fixture(scope="module")
def run() -> Any:
    return make_run()


def named(figure: go.Figure, name: str) -> Any:
    """The one trace of that name."""
    (trace,) = (t for t in figure.data if t.name == name)
    return trace


def text_of(figure: go.Figure) -> list[str]:
    return [a.text for a in figure.layout.annotations]


# Every chart


@pytest.mark.parametrize("chart", [charts.latency, charts.timeline, charts.overhead, charts.sequence])
def test_every_axis_that_shows_numbers_has_a_unit(chart: Any, run: Any) -> None:
    figure = chart(run)
    for axis in [*figure.select_xaxes(), *figure.select_yaxes()]:
        shows_names = axis.ticktext is not None and not any(t[0].isdigit() for t in axis.ticktext)
        matched = axis.showticklabels is False or axis.visible is False
        if not (shows_names or matched):
            assert axis.title.text and any(unit in axis.title.text for unit in UNITS), axis


@pytest.mark.parametrize("chart", [charts.latency, charts.timeline, charts.overhead, charts.sequence])
def test_an_empty_run_gives_a_figure_that_says_so(chart: Any, run: Any) -> None:
    empty = SimpleNamespace(
        deliveries=run.deliveries.iloc[:0], ledger=Ledger(), failures={}, settings=run.settings,
        summary=lambda: run.summary().assign(events=0),
    )  # fmt: skip
    assert "No " in chart(empty).layout.title.text


def test_no_two_techniques_share_a_colour_or_a_symbol_or_a_dash() -> None:
    marks = [*(t.mark for t in labkit.TECHNIQUES), COMM_NATURE.mark]
    for part in ("color", "symbol", "dash"):
        assert len({getattr(mark, part) for mark in marks}) == len(marks)


def test_no_exhibit_shares_a_colour_or_a_symbol_with_another_technique() -> None:
    marks = [t.mark for t in (*labkit.TECHNIQUES, *EXHIBITS)]
    for part in ("color", "symbol"):
        assert len({getattr(mark, part) for mark in marks}) == len(marks)


def test_techniques_that_state_no_mark_have_one_each_and_keep_it() -> None:
    ours = {technique.mark for technique in labkit.TECHNIQUES}
    strangers = [f"carrier-pigeon {n}" for n in range(5)]
    natures = Natures({"techniques": ["sse", *strangers]})
    marks = {natures.mark(name) for name in strangers}
    assert len(marks) == 5 and not marks & ours
    assert Natures({}).mark("carrier-pigeon") == Natures({}).mark("carrier-pigeon")


def test_a_run_that_tells_nothing_of_its_techniques_is_drawn_by_their_names(run: Any) -> None:
    silent = SimpleNamespace(**{**vars(run), "settings": {n: v for n, v in run.settings.items() if n != "natures"}})
    figure = charts.latency(silent)
    assert list(figure.layout.yaxis.ticktext) == list(TECHNIQUES)
    assert not any(t.name and "theory" in t.name for t in figure.data)
    for chart in (charts.timeline, charts.overhead, charts.sequence):
        assert chart(silent).layout.title.text


# Latency


@pytest.mark.parametrize(
    ("schedule", "changes", "said"),
    [
        ({"name": "none", "rate_per_s": None}, [], " events, a poll every 1\u00a0s, one transit 50\u00a0ms"),
        (
            {"name": "poisson", "rate_per_s": 5.0},
            [{"t_s": 1.0, "one_way_s": 0.05}, {"t_s": 2.0, "rate_per_s": 5.0, "source": "poisson"}],
            " events at 5 per second, Poisson, a poll every 1\u00a0s, one transit 50\u00a0ms; "
            "one-way delay, event rate and source changed during the run",
        ),
    ],
)
def test_a_run_without_an_end_says_under_what_it_was_made(
    run: Any, schedule: dict[str, Any], changes: list[dict[str, Any]], said: str
) -> None:
    told = {**run.settings, "schedule": {**schedule, "settings": {"rate_per_s": 5.0}}, "changes": changes}
    note = charts.latency(SimpleNamespace(**{**vars(run), "settings": told})).layout.title.subtitle.text
    assert note.lstrip("0123456789") == said


def test_latency_draws_every_delivery_with_its_identity(run: Any) -> None:
    dots = named(charts.latency(run), "polling")
    frame = run.deliveries[run.deliveries["technique"] == "polling"]
    assert list(dots.x) == pytest.approx(list(frame["latency_ms"]), abs=1e-3)
    assert list(dots.customdata[3]) == [frame["event_id"].iloc[3], "polling", 0]


def test_latency_draws_the_expected_range_and_mean(run: Any) -> None:
    figure = charts.latency(run)
    assert named(figure, "polling: theory, mean").x == pytest.approx((550.0,))
    assert sorted(set(named(figure, "polling: theory, range").x)) == pytest.approx([50.0, 1050.0])
    long_polling = theory.long_polling_latency(5.0, 0.05, 30.0, 0.1)
    assert named(figure, "long-polling: theory, mean").x == pytest.approx((long_polling.mean_s * 1e3,))
    for technique in TECHNIQUES[2:]:
        assert named(figure, f"{technique}: theory, mean").x == pytest.approx((50.0,))


def test_latency_draws_no_theory_where_there_is_none(run: Any) -> None:
    settings = told({**run.settings, "schedule": {"name": "periodic", "settings": {"rate_per_s": 5.0}}})
    names = {t.name for t in charts.latency(SimpleNamespace(**{**vars(run), "settings": settings})).data}
    assert "long-polling: theory, mean" not in names
    assert "polling: theory, mean" in names


def test_latency_marks_median_95th_percentile_and_mean(run: Any) -> None:
    figure, polling = charts.latency(run), run.deliveries.query("technique == 'polling'")["latency_ms"]
    assert named(figure, "polling: median").x == pytest.approx((polling.median(),))
    assert named(figure, "polling: 95th percentile").x == pytest.approx((polling.quantile(0.95),))
    assert named(figure, "polling: mean").x == pytest.approx((polling.mean(),))


def test_latency_title_is_computed_from_the_run(run: Any) -> None:
    mean = run.deliveries.query("technique == 'polling'")["latency_ms"].mean()
    title = charts.latency(run).layout.title.text
    assert title.startswith(f"Polling waits {mean:.0f}\u00a0ms on average, the streams 5")
    assert "one transit: 50\u00a0ms" in title
    assert charts.latency(make_run(T=3.0, d_s=0.1)).layout.title.text != title
    assert "take" in charts.latency(make_run(techniques=TECHNIQUES[2:])).layout.title.text


def test_latency_axis_is_logarithmic_only_where_it_must_be(run: Any) -> None:
    wide, narrow = charts.latency(run), charts.latency(make_run(techniques=("sse", "websocket")))
    assert (wide.layout.xaxis.type, narrow.layout.xaxis.type) == ("log", "linear")
    assert "logarithmic" in wide.layout.xaxis.title.text
    assert "logarithmic" not in narrow.layout.xaxis.title.text
    low, high = wide.layout.xaxis.range
    assert low < math.log10(50)
    assert high > math.log10(1050)


def test_a_theory_of_zero_stands_at_the_edge_of_a_logarithmic_axis() -> None:
    figure = charts.latency(make_run(d_s=0.0, link=False))
    edge = 10 ** figure.layout.xaxis.range[0]
    assert named(figure, "sse: theory, mean").x == pytest.approx((edge,))
    assert sorted(set(named(figure, "polling: theory, range").x)) == pytest.approx([edge, 1000.0])
    assert any("theory 0\u00a0ms" in text for text in text_of(figure))


def test_latency_has_a_second_axis_in_transits_where_there_is_a_delay(run: Any) -> None:
    axis = charts.latency(run).layout.xaxis2
    assert dict(zip(axis.ticktext, axis.tickvals, strict=True))["3\u202fd"] == pytest.approx(150.0)
    assert "xaxis2" not in charts.latency(make_run(d_s=0.0, link=False)).layout


@pytest.mark.parametrize(("value", "unit", "ms"), [(0.4, "", 400.0), (0.4, "s", 400.0), (400, "ms", 400.0)])
def test_latency_draws_the_prediction(value: float, unit: str, ms: float, run: Any) -> None:
    predict("P1", value, unit, one_way_s=0.05)
    figure = charts.latency(run)
    assert named(figure, "polling: prediction").x == pytest.approx((ms, ms))
    (said,) = [each for each in figure.layout.annotations if "you predicted 400\u00a0ms" in each.text]
    assert said.xref == "paper" and said.x >= 1 and said.xanchor == "left"  # beside the plot, where nothing lies
    assert figure.layout.height > charts.latency(make_run(d_s=0.04)).layout.height  # a third line has room


def test_a_prediction_for_other_conditions_is_not_drawn(run: Any) -> None:
    predict("P1", 0.4, one_way_s=0.2)
    figure = charts.latency(run)
    assert "polling: prediction" not in [trace.name for trace in figure.data]
    assert not any("predicted" in text for text in text_of(figure))


def test_a_prediction_far_off_is_still_on_the_chart(run: Any) -> None:
    predict("P1", 20, "s", one_way_s=0.05)
    assert charts.latency(run).layout.xaxis.range[1] > math.log10(20_000)


def test_latency_says_what_was_lost_and_what_failed(run: Any) -> None:
    summary = run.summary().assign(lost=[0, 2, 0, 0, 0, 0])
    broken = SimpleNamespace(**{**vars(run), "failures": {"sse": "ConnectionLost"}, "summary": lambda: summary})
    figure = charts.latency(broken)
    rows = dict(zip(TECHNIQUES, text_of(figure), strict=True))
    assert "2 lost" in rows["long-polling"]
    assert "failed" in rows["sse"]
    assert "SSE failed: ConnectionLost" in figure.layout.title.subtitle.text


def test_a_technique_that_failed_at_once_keeps_its_row(run: Any) -> None:
    frame = run.deliveries[run.deliveries["technique"] != "sse"]
    figure = charts.latency(SimpleNamespace(**{**vars(run), "deliveries": frame, "failures": {"sse": "Refused"}}))
    assert "SSE" in figure.layout.yaxis.ticktext


def test_a_technique_that_lost_everything_keeps_its_row(run: Any) -> None:
    frame = run.deliveries[run.deliveries["technique"] != "sse"]
    summary = run.summary()
    summary.loc["sse", ["events", "lost"]] = 0, 40
    silent = SimpleNamespace(**{**vars(run), "deliveries": frame, "summary": lambda: summary})
    for figure in (charts.latency(silent), charts.timeline(silent)):
        assert any("40 lost" in text for text in text_of(figure))


def test_events_of_others_are_left_out(run: Any) -> None:
    frame = run.deliveries.assign(scheduled=run.deliveries["event_id"] != 5)
    dots = named(charts.latency(SimpleNamespace(**{**vars(run), "deliveries": frame})), "sse")
    assert 5 not in [row[0] for row in dots.customdata]


def test_events_of_several_topics_are_counted_each(run: Any) -> None:
    other = run.deliveries.assign(topic="other")
    both = SimpleNamespace(**{**vars(run), "deliveries": pd.concat([run.deliveries, other], ignore_index=True)})
    events = 2 * run.deliveries["event_id"].nunique()
    assert charts.latency(both).layout.title.subtitle.text.startswith(f"{events} events ")


def test_the_page_has_a_row_of_its_own_without_theory(run: Any) -> None:
    page = run.deliveries.query("technique == 'sse'").assign(client="browser")
    both = SimpleNamespace(**{**vars(run), "deliveries": pd.concat([run.deliveries, page], ignore_index=True)})
    figure = charts.latency(both)
    assert "SSE (browser)" in figure.layout.yaxis.ticktext
    assert "sse (browser): theory, mean" not in {t.name for t in figure.data}


def test_many_deliveries_are_thinned_and_the_slowest_stays() -> None:
    many = make_run(techniques=("sse", "polling"), rate=300.0, duration_s=10.0)
    figure = charts.latency(many)
    dots, all_ms = named(figure, "sse"), many.deliveries.query("technique == 'sse'")["latency_ms"]
    assert len(dots.x) < 700 < len(all_ms)
    assert max(dots.x) == pytest.approx(all_ms.max(), abs=1e-3)
    assert "deliveries drawn" in figure.layout.title.subtitle.text


def test_without_due_times_intervals_are_drawn(run: Any) -> None:
    unknown = run.deliveries.assign(latency_ms=float("nan"), due_ns=pd.NA, published_ns=pd.NA)
    foreign = SimpleNamespace(**{**vars(run), "deliveries": unknown})
    figure = charts.latency(foreign)
    assert figure.layout.title.text.startswith("A delivery every ")
    assert "due times are unknown" in figure.layout.xaxis.title.text
    timeline = charts.timeline(foreign)
    assert timeline.layout.yaxis.title.text == "interval (ms)"
    assert timeline.layout.title.text.startswith("From one delivery to the next: ")
    assert {axis.title.text for axis in timeline.select_xaxes() if axis.title.text} == {"received, after the start (s)"}
    said = json.dumps(timeline.to_plotly_json(), default=str)
    assert not re.search(r"\b(due|theory|latency|takes?)\b", said)


def test_of_somebody_elses_server_that_brought_nothing_no_theory_is_drawn(run: Any) -> None:
    nothing = {"deliveries": run.deliveries[:0], "foreign": True, "failures": {"sse": "no connection"}}
    figure = charts.timeline(SimpleNamespace(**{**vars(run), **nothing}))
    assert not any("theory" in (trace.name or "") for trace in figure.data)
    assert figure.layout.title.text == "Too few deliveries for an interval"
    assert "latency" not in json.dumps(figure.to_plotly_json(), default=str)


def test_a_conversation_of_one_write_is_drawn() -> None:
    ledger = Ledger()
    ledger.opened("sse", 0, local=("", 1), remote=("", 2), t_ns=0).transferred("out", b"GET", 5)
    assert charts.sequence(ledger).data


# Timeline


def test_timeline_runs_from_the_first_due_time_and_carries_identity(run: Any) -> None:
    dots = named(charts.timeline(run), "websocket")
    frame = run.deliveries.query("technique == 'websocket'")
    since_s = (frame["due_ns"] - frame["due_ns"].min()).astype(float) / 1e9
    assert list(dots.x) == pytest.approx(list(since_s), abs=1e-5)
    assert list(dots.customdata[0]) == [1, "websocket", 0]
    assert (dots.marker.color, dots.marker.symbol) == ("#00487F", "cross")


def test_timeline_draws_theory_in_every_panel(run: Any) -> None:
    figure = charts.timeline(run)
    assert set(named(figure, "polling: theory, mean").y) == {550.0}
    assert set(named(figure, "polling: theory, range").y) == {50.0, 1050.0}
    assert len([t for t in figure.data if t.name.endswith("theory, mean")]) == len(TECHNIQUES)


def test_timeline_shades_spans(run: Any) -> None:
    figure = charts.timeline(run, spans=[(3.0, 4.2, "cell busy")])
    assert {(shape.x0, shape.x1) for shape in figure.layout.shapes} == {(3.0, 4.2)}
    assert text_of(figure).count("cell busy") == 2  # once a column


def test_timeline_counts_from_the_start_of_the_run_as_its_spans_do(run: Any) -> None:
    begun = SimpleNamespace(**{**vars(run), "settings": {**run.settings, "started_ns": -2 * S}})
    first_s = float(run.deliveries["due_ns"].min()) / S
    assert min(named(charts.timeline(begun), "sse").x) == pytest.approx(first_s + 2)
    assert min(named(charts.timeline(run), "sse").x) == 0  # one that does not say when it began


def test_timeline_title_names_the_extremes(run: Any) -> None:
    polling = run.deliveries.query("technique == 'polling'")["latency_ms"]
    title = charts.timeline(run).layout.title.text
    assert title.startswith(f"Polling takes {polling.min():.0f} to {style.ms(polling.max())}, long polling 5")
    assert ", the streams 50 to " in title


def test_timeline_of_a_stream_that_swings_most_names_the_other_streams(run: Any) -> None:
    slow = (run.deliveries["technique"] == "sse") & (run.deliveries["event_id"] == 3)
    late = run.deliveries.assign(latency_ms=run.deliveries["latency_ms"].where(~slow, 5000.0))
    title = charts.timeline(SimpleNamespace(**{**vars(run), "deliveries": late})).layout.title.text
    assert title.startswith("SSE takes 50 to 5\u202f000\u00a0ms, polling and long polling 5")
    assert ", the other streams 50 to " in title


def test_timeline_title_says_one_number_where_two_would_read_the_same(run: Any) -> None:
    level = run.deliveries.assign(latency_ms=52 + run.deliveries["event_id"] % 2 / 10)
    title = charts.timeline(SimpleNamespace(**{**vars(run), "deliveries": level})).layout.title.text
    assert title.endswith(" take 52\u00a0ms")


def test_timeline_draws_events_that_are_due_at_once_side_by_side(run: Any) -> None:
    burst = SimpleNamespace(**{**vars(run), "deliveries": run.deliveries.assign(due_ns=S)})
    figure = charts.timeline(burst)
    drawn = named(figure, "sse")
    assert len(set(drawn.x)) == len(drawn.x) > 10 and drawn.mode == "markers"
    assert "side by side" in figure.layout.title.subtitle.text


# Overhead


def test_overhead_stacks_the_categories_to_the_total(run: Any) -> None:
    figure, summary = charts.overhead(run), run.summary()
    bars = [t for t in figure.data if t.type == "bar" and t.xaxis in (None, "x")]
    titles = [title for part, title in style.CATEGORY_TITLES.items() if part != "tls"]  # nothing of it was encrypted
    assert [bar.name for bar in bars] == titles
    totals = [sum(bar.x[row] for bar in bars) for row in range(len(TECHNIQUES))]
    assert totals == pytest.approx(list(summary.filter(like="_per_event").sum(axis=1)))
    assert f"<b>{style.number(totals[0])}</b>" in text_of(figure)


def test_overhead_hatches_what_is_derived(run: Any) -> None:
    patterns = {bar.name: bar.marker.pattern.shape for bar in charts.overhead(run).data}
    assert [name for name, shape in patterns.items() if shape] == ["TCP/IP headers (derived)"]


def test_overhead_never_has_a_logarithmic_scale() -> None:
    figure = charts.overhead(make_run(rate=0.4, duration_s=30.0))
    assert all(axis.type in (None, "linear") for axis in figure.select_xaxes())


def test_overhead_enlarges_the_beginnings_where_costs_differ_much(run: Any) -> None:
    figure = charts.overhead(make_run(rate=0.4, duration_s=30.0))
    whole, enlarged = figure.layout.xaxis, figure.layout.xaxis2
    assert enlarged.range[1] < whole.range[1] / 2
    assert "enlarged (B)" in enlarged.title.text
    assert "\u25b8" in text_of(figure)
    assert "xaxis2" not in charts.overhead(run).layout


def test_overhead_title_is_computed_from_the_run(run: Any) -> None:
    assert charts.overhead(run).layout.title.text.startswith("An event of 20 bytes costs ")
    assert "An event of 500 bytes" in charts.overhead(make_run(payload=500)).layout.title.text


def test_overhead_without_segment_counts_says_so(run: Any) -> None:
    unknown = SimpleNamespace(**{**vars(run), "summary": lambda: run.summary().assign(tcp_ip_per_event=pd.NA)})
    figure = charts.overhead(unknown)
    assert "TCP/IP headers (derived)" not in {t.name for t in figure.data}
    assert "not counted" in figure.layout.title.subtitle.text


def test_overhead_compares_no_total_without_tcp_ip_with_one_that_has_it(run: Any) -> None:
    """A page's bytes are known without it: it is no cheaper for that."""
    summary = run.summary()
    summary.loc["sse"] = summary.loc["websocket"]
    summary["tcp_ip_per_event"] = summary["tcp_ip_per_event"].astype(float)
    summary.loc["sse", "tcp_ip_per_event"] = float("nan")
    two = summary.loc[["sse", "websocket"]]
    title = charts.overhead(SimpleNamespace(**{**vars(run), "summary": lambda: two})).layout.title
    assert title.text.endswith(" bytes over the streams")
    assert title.subtitle.text.endswith("not counted for SSE, and left out of the title")


# Sequence


def test_arrows_slope_by_what_the_relay_recorded(run: Any) -> None:
    event = named(charts.sequence(run, 17), "sse: event 17")
    assert event.x == (1, 0, None)
    assert event.y[1] - event.y[0] == pytest.approx(50.0, rel=0.2)


def test_arrows_are_level_without_a_relay_and_the_figure_says_so() -> None:
    figure = charts.sequence(make_run(link=False), 17)
    event = named(figure, "sse: event 17")
    assert event.y[0] == event.y[1]
    assert "times at the server were not recorded" in figure.layout.title.subtitle.text
    assert not any("waits" in text for text in text_of(figure))


def test_time_runs_down_from_when_the_event_was_due(run: Any) -> None:
    figure = charts.sequence(run, 17)
    start, stop = figure.layout.yaxis.range
    row = run.deliveries.query("technique == 'polling' and event_id == 17").iloc[0]
    assert start > row["latency_ms"] > 0 > stop
    assert named(figure, "polling: event 17").y[1] == pytest.approx(row["latency_ms"])


def test_sequence_title_says_when_the_event_arrived(run: Any) -> None:
    slow = run.deliveries.query("technique == 'polling' and event_id == 17")["latency_ms"].iloc[0]
    title = charts.sequence(run, 17, techniques=["polling", "sse", "websocket"]).layout.title.text
    assert title == f"Event 17 reaches the streams after 51\u00a0ms, polling after {style.ms(slow)}"


def test_the_wait_at_the_server_is_drawn(run: Any) -> None:
    figure = charts.sequence(run, 17)
    published, written = named(figure, "polling: waits").y
    assert published == pytest.approx(0.06)
    assert written == pytest.approx(named(figure, "polling: event 17").y[0])


def test_a_bar_is_announced_where_one_is_drawn_and_nowhere_else(run: Any) -> None:
    waits, streams = charts.sequence(run, 17), charts.sequence(run, 17, techniques=["sse", "websocket"])
    assert "thick bar: it waits" in waits.layout.title.subtitle.text
    assert "bar" not in streams.layout.title.subtitle.text
    assert not any(trace.name.endswith(": waits") for trace in streams.data)
    assert "dot: event 17 is published" in streams.layout.title.subtitle.text


def test_of_two_arrivals_the_first_is_drawn(run: Any) -> None:
    again = run.deliveries.query("technique == 'sse' and event_id == 17").copy()
    again["received_ns"] += S
    twice = SimpleNamespace(**{**vars(run), "deliveries": pd.concat([run.deliveries, again], ignore_index=True)})
    assert charts.sequence(twice, 17) == charts.sequence(run, 17)


def test_labels_come_from_the_marks(run: Any) -> None:
    labels = [arrow.label for arrow in conversation(run.ledger.connections, "polling", kind="poll")]
    assert labels[:2] == ["GET /polling", "200, empty answer"]
    assert any(label.startswith("200, events 1\u2013") for label in labels)
    assert [a.label for a in conversation(run.ledger.connections, "sse")][:3] == ["GET /sse", "200, headers", "event 1"]


def test_no_two_labels_of_a_panel_touch(run: Any) -> None:
    from labkit.charts import lifelines

    panels: list[Any] = []
    kept = lifelines._panels
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lifelines, "_panels", lambda *a: panels.extend(kept(*a)) or panels)
        charts.sequence(run, first=40)
    for panel in panels:
        boxes = panel.taken_px
        for i, (left, right, top, bottom) in enumerate(boxes):
            for other in boxes[i + 1 :]:
                assert right <= other[0] or left >= other[1] or bottom <= other[2] or top >= other[3]


def test_sequence_takes_records_alone(run: Any) -> None:
    figure = charts.sequence(run.ledger, techniques=["sse"])
    assert "first byte (ms)" in figure.layout.yaxis.title.text
    assert "sse asks once" in figure.layout.title.text
    assert named(charts.sequence(run.ledger.connections, 3, techniques=["sse"]), "sse: event 3").x == (1, 0, None)


def test_what_a_client_sends_without_asking_is_no_question() -> None:
    run = make_run(techniques=("polling", "websocket"), link=False)
    (record,) = run.ledger.of("websocket")
    asked = record.transfers[0]
    mark(record, "out", record.bytes_out, record.bytes_out + 6, "framing", "pong")
    record.transferred("out", b"x" * 6, asked.t_ns + S // 10)
    assert "WebSocket asks once for" in charts.sequence(run).layout.title.text


def test_which_of_several_events_of_one_id_is_asked_for(run: Any) -> None:
    topics = run.deliveries["technique"].map(lambda name: "prices" if name == "polling" else "news")
    mixed = SimpleNamespace(**{**vars(run), "deliveries": run.deliveries.assign(topic=topics)})
    with pytest.raises(LabkitError, match=r"event 3 is in 2 topics \(prices, news\): .*explain\(3, topic="):
        charts.sequence(mixed, 3)
    assert "for" in charts.sequence(mixed).layout.title.text
    with_empty = mixed.deliveries.assign(topic=topics.replace("news", ""))
    assert "Event 3" in charts.sequence(SimpleNamespace(**{**vars(run), "deliveries": with_empty}), 3).layout.title.text


def test_the_servers_end_is_the_far_side_of_the_last_relay(run: Any) -> None:
    records = list(run.ledger.connections)
    client = next(run.ledger.of("sse"))
    first = server_side(client, records)
    assert first is not None and first.hop == "link.far"
    ports = {"local": first.remote, "remote": first.local}
    second = Ledger()
    second.opened("", 1, t_ns=3, hop="proxy.near", **ports)
    last = second.opened("", 1, t_ns=4, hop="proxy.far", local=("127.0.0.1", 5), remote=("127.0.0.1", 6))
    assert server_side(client, records + second.connections) is last


def test_a_port_used_twice_belongs_to_the_nearest_in_time(run: Any) -> None:
    client = next(run.ledger.of("sse"))
    later = Ledger()
    ports = {"local": client.remote, "remote": client.local}
    later.opened("", 9, t_ns=90 * S, hop="link.near", **ports)
    later.opened("", 9, t_ns=90 * S, hop="link.far", local=("127.0.0.1", 5), remote=("127.0.0.1", 6))
    assert server_side(client, later.connections + run.ledger.connections).subscriber == client.local[1]


# Pictures


def test_an_unknown_ending_is_refused(run: Any, tmp_path: Any) -> None:
    with pytest.raises(LabkitError, match=r"\.png, \.svg"):
        charts.write(charts.overhead(run), tmp_path / "picture.bmp")


def test_without_a_browser_the_error_says_how_to_get_one(run: Any, tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(pictures, "find_chromium", lambda: None)
    with pytest.raises(LabkitError, match="apt-get install chromium"):
        charts.write(charts.overhead(run), tmp_path / "picture.png")


def test_pictures_are_written(run: Any, tmp_path: Any) -> None:
    if pictures.find_chromium() is None:
        pytest.skip("no Chromium: apt-get install chromium")
    png = charts.write(charts.latency(run), tmp_path / "latency.png").read_bytes()
    assert png.startswith(b"\x89PNG")
    assert int.from_bytes(png[16:20], "big") == 2 * 900
    svg = charts.write(charts.overhead(run), tmp_path / "overhead.svg").read_text()
    assert svg.startswith("<svg")
    assert "An event of 20 bytes" in svg


def test_one_browser_paints_all_pictures_of_a_notebook_and_is_gone_when_it_is_closed(run: Any) -> None:
    if pictures.find_chromium() is None:
        pytest.skip("no Chromium: apt-get install chromium")
    painter, figure = Painter(), charts.latency(run).to_dict()
    try:
        first, browser = painter.png(figure, 900, 400), painter._browser.subprocess
        assert first == painter.png(figure, 900, 400) and painter._browser.subprocess is browser
        assert int.from_bytes(first[16:20], "big") == 900 and int.from_bytes(first[20:24], "big") == 400
    finally:
        painter.close()
    assert browser.poll() is not None and painter._thread is None


def test_a_picture_that_fails_takes_no_chart_with_it_and_the_next_one_gets_another_browser(monkeypatch: Any) -> None:
    pytest.importorskip("kaleido")
    started = []

    class Browser:
        def __init__(self) -> None:
            started.append(self)

        def __await__(self) -> Any:
            yield from asyncio.sleep(0).__await__()
            return self

        async def calc_fig(self, figure: Any, opts: Any) -> bytes:
            if len(started) == 1:
                raise RuntimeError("it crashed")
            return bytes([opts["width"], opts["height"]])

        async def close(self) -> None: ...

    monkeypatch.setattr("kaleido.Kaleido", Browser)
    renderer = pictures.Pictures(90, 45)
    try:
        assert renderer.to_mimebundle({}) == {}
        assert renderer.to_mimebundle({"layout": {"height": 50}}) == {"image/png": base64.b64encode(b"Z2").decode()}
        renderer.to_mimebundle({})
        assert len(started) == 2
    finally:
        pictures.PAINTER.close()


@pytest.mark.parametrize(("last", "said"), [("{bye}\n", 0), ("{no\n", 1)])
def test_the_end_of_the_picture_browser_is_no_error_of_the_reader_s(
    caplog: pytest.LogCaptureFixture, last: str, said: int
) -> None:
    pipe = pytest.importorskip("choreographer.channels.pipe")
    pictures.find_chromium()
    try:
        pipe.wire.deserialize(last)
    except Exception:
        pipe._logger.exception("JSONError decoding message. Ignoring")  # as it does
    assert len(caplog.records) == said
    caplog.clear()


@pytest.mark.parametrize(("logged", "said"), [("Resorting to unclean kill browser.", 0), ("No browser.", 1)])
def test_a_picture_browser_that_takes_long_to_end_is_no_warning_of_the_reader_s(
    caplog: pytest.LogCaptureFixture, logged: str, said: int
) -> None:
    browser_async = pytest.importorskip("choreographer.browser_async")
    pictures.find_chromium()
    browser_async._logger.warning(logged)  # as it does
    assert len(caplog.records) == said
    caplog.clear()


@pytest.mark.parametrize(
    ("before", "browser", "after"),
    [
        ("plotly_mimetype", "/usr/bin/chromium", "plotly_mimetype+labkit"),
        ("plotly_mimetype", None, "plotly_mimetype"),
        ("json", "/usr/bin/chromium", "json"),
    ],
)
def test_static_pictures_are_stored_only_where_nobody_chose_otherwise(
    before: str, browser: str | None, after: str, monkeypatch: Any
) -> None:
    monkeypatch.setattr(pictures, "_looked", False)
    monkeypatch.setattr(pictures, "find_chromium", lambda: browser)
    monkeypatch.delenv("PLOTLY_RENDERER", raising=False)
    was = pio.renderers.default
    try:
        pio.renderers.default = before
        charts.use_static_fallback()
        assert pio.renderers.default == after
        pio.renderers.default = "plotly_mimetype"  # a choice made after the first chart
        charts.use_static_fallback()
        assert pio.renderers.default == "plotly_mimetype"
    finally:
        pio.renderers.default = was
