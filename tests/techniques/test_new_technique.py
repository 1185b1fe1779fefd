"""What one file and one line give a technique that exists nowhere else: JSON text sequences (``json_seq.py``)."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator

import pytest
from json_seq import JSON_SEQ, RS, record
from ordinary import NAMELESS, PLAIN

import labkit
from labkit import charts
from labkit.course.side_by_side.comparison import Comparison
from labkit.course.side_by_side.messages import Upstream
from labkit.course.side_by_side.servers import ServerCosts
from labkit.errors import BadTechnique, DurationError, LabkitError, UnknownOption
from labkit.measuring.listening import listen
from labkit.measuring.natures import SPARE, Natures
from labkit.measuring.run import Run
from labkit.room.panel import Panel
from labkit.techniques import TECHNIQUES, Technique, find

ONE_WAY_S = 0.02
NAME = JSON_SEQ.name
S = 1_000_000_000


@pytest.fixture(scope="module")
def lab() -> Iterator[labkit.Lab]:
    with labkit.Lab("new-technique", techniques=(*TECHNIQUES, JSON_SEQ)) as lab:
        yield lab


@pytest.fixture(scope="module")
def run(lab: labkit.Lab) -> Run:
    schedule = labkit.poisson(rate_per_s=20, duration_s=0.6, seed=7)
    return labkit.measure(lab, [NAME, "polling"], schedule, ONE_WAY_S, poll_interval_s=0.1, progress=False)


# Each item of what a new technique gets


def test_it_is_measured(run: Run) -> None:
    events = len(run.published)
    row = run.summary().loc[NAME]
    assert (row["events"], row["lost"], row["duplicated"], row["connections"]) == (events, 0, 0, 1)
    assert run.failures == {}


def test_the_table_has_its_bytes_by_what_they_were_for(run: Run) -> None:
    row = run.summary().loc[NAME]
    parts = [row[f"{name}_per_event"] for name in ("payload", "envelope", "framing", "headers")]
    assert all(part > 0 for part in parts) and sum(parts) == pytest.approx(row["bytes_per_event"])


def test_its_theory_stands_beside_it(run: Run) -> None:
    assert run.summary().loc[NAME, "expected_mean_ms"] == pytest.approx(ONE_WAY_S * 1e3)
    (drawn,) = (t for t in charts.latency(run).data if t.name == f"{NAME}: theory, mean")
    assert drawn.x == pytest.approx((ONE_WAY_S * 1e3,))


def test_its_colour_symbol_and_name_are_in_every_chart(run: Run) -> None:
    (dots,) = (t for t in charts.latency(run).data if t.name == NAME)
    assert (dots.marker.symbol, dots.marker.line.color) == (JSON_SEQ.mark.symbol, JSON_SEQ.mark.color)
    assert "JSON-seq" in charts.latency(run).layout.yaxis.ticktext
    assert any("<b>JSON-seq</b>" in a.text for a in charts.timeline(run).layout.annotations)
    assert any("<b>JSON-seq</b>" in a.text for a in charts.sequence(run, 3).layout.annotations)
    names = [text for axis in charts.overhead(run).select_yaxes() for text in axis.ticktext or ()]
    assert "JSON-seq" in names


def test_a_saved_run_draws_it_where_no_descriptor_is_at_hand(run: Run, tmp_path: object) -> None:
    loaded = labkit.load(run.save(f"{tmp_path}/run.parquet"))
    assert loaded.summary().loc[NAME, "expected_mean_ms"] == pytest.approx(ONE_WAY_S * 1e3)
    assert Natures(loaded.settings).mark(NAME) == JSON_SEQ.mark
    assert charts.latency(loaded).to_json() == charts.latency(run).to_json()


def test_the_control_room_has_it_with_its_theory_and_its_open_request(lab: labkit.Lab) -> None:
    panel = Panel(lab, [NAME], rate_per_s=40, one_way_s=ONE_WAY_S)
    try:
        assert panel._controls.techniques[NAME].description == "JSON-seq"
        panel.start()
        assert panel._runs.drawn is not None and panel._runs.live is not None
        assert [mean_ms for _, mean_ms in panel._runs.drawn.board.theory[NAME]] == [pytest.approx(ONE_WAY_S * 1e3)]
        assert panel._runs.drawn.board.natures.mark(NAME) == JSON_SEQ.mark
        assert panel._runs.live.sample().open[NAME] == (1, 1)
        panel.poll_interval_s = 0.3  # which it does not take: nothing starts again
        assert panel._runs.live.sample().open[NAME] == (1, 1)
        panel.stop()
        assert panel.run.summary().loc[NAME, "lost"] == 0
    finally:
        panel.close()


def test_it_stands_in_the_comparison(run: Run) -> None:
    seen = Comparison(run, run, 0.1, ServerCosts(why="not here"), Upstream((), ONE_WAY_S, {}))
    assert NAME in seen.table().index
    figure = seen.chart()
    assert "JSON-seq" in figure.layout.yaxis.ticktext
    assert JSON_SEQ.mark.symbol in {trace.marker.symbol for trace in figure.data}


def test_its_source_is_all_that_is_written_of_it(lab: labkit.Lab) -> None:
    text = str(labkit.source(JSON_SEQ))
    assert text == str(labkit.source(NAME))
    for written in ('RS = b"\\x1e"', "def record(", "class JSONSeqHandler", "async def subscribe(", "JSON_SEQ = Tech"):
        assert written in text


def test_one_event_of_it_is_explained(run: Run) -> None:
    text = str(run.explain(3, NAME))
    assert "record separator" in text and "payload" in text


def test_it_keeps_the_contract(lab: labkit.Lab) -> None:
    if not hasattr(labkit, "contract"):
        pytest.skip("the package has no contract yet")
    assert labkit.contract(JSON_SEQ)


def test_its_bytes_are_dissected() -> None:
    try:
        importlib.import_module("labkit.wire.dissect")
    except ModuleNotFoundError:
        pytest.skip("the package has no dissector yet")
    assert JSON_SEQ.body


# What the kit says of it by itself


def test_the_kits_own_files_are_printed_whole() -> None:
    text = str(labkit.source("sse"))
    for written in (
        "WHATWG HTML section 9.2",
        "def block(",
        "class SSEHandler",
        "async def subscribe(",
        "SSE = Techni",
    ):
        assert written in text


def test_of_a_file_with_several_the_source_is_what_belongs_to_one() -> None:
    text = str(labkit.source(PLAIN))
    assert "class PlainHandler(" in text and "PLAIN = Technique(" in text
    assert "NAMELESS" not in text


def test_without_a_mark_a_kind_and_a_theory_it_is_drawn_all_the_same(lab: labkit.Lab) -> None:
    run = labkit.measure(lab, [NAMELESS], labkit.periodic(20, 0.4), ONE_WAY_S, progress=False)
    assert run.summary()["events"].tolist() == [8]
    natures = Natures(run.settings)
    assert (natures.short("nameless"), natures.mark("nameless")) == ("nameless", SPARE[0])
    assert run.settings["natures"]["nameless"]["silent"] == "it states no theory"
    assert run.summary()["expected_mean_ms"].isna().all()
    assert "nameless" in charts.latency(run).layout.yaxis.ticktext


# An ordinary Tornado handler


@pytest.mark.parametrize("process", [False, True])
def test_a_handler_may_be_any_tornado_handler(process: bool) -> None:
    with labkit.Lab("plain", techniques=(*TECHNIQUES, PLAIN), process=process) as lab:
        run = labkit.measure(lab, ["plain", "sse"], labkit.periodic(20, 0.5), ONE_WAY_S, progress=False)
        lab.publish("x", topic="mine")
        lab.publish("y", topic="mine")
        assert run.failures == {}
        assert run.summary()["events"].to_dict() == {"plain": 10, "sse": 10}
        assert (run.summary()[["lost", "duplicated", "gaps"]] == 0).all(axis=None)


# Bad ones


def changed(**changes: object) -> Technique:
    return Technique(**{name: getattr(JSON_SEQ, name) for name in JSON_SEQ.__slots__} | changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("techniques", "said"),
    [
        ((*TECHNIQUES, JSON_SEQ, changed(route="/other")), "two techniques are called 'json-seq'"),
        ((*TECHNIQUES, changed(route="/events")), "json-seq: the route '/events' is taken by the lab itself"),
        ((*TECHNIQUES, changed(route="/page/mine")), "json-seq: the route '/page/mine' is taken by the lab itself"),
        ((*TECHNIQUES, changed(route="/sse")), "json-seq: the route '/sse' is taken by sse"),
        ((changed(route="json-seq"),), "json-seq: the route 'json-seq' begins with no slash; try '/json-seq'"),
        ((changed(handler=None),), "json-seq has no handler: on the HTTP port somebody has to answer to '/json-seq'"),
        ((*TECHNIQUES, record), "is no technique"),
        ((None,), "None is no technique"),
    ],
)
@pytest.mark.parametrize("process", [False, True])
def test_a_bad_one_is_refused_in_a_sentence_and_leaves_the_lab_as_it_is(
    lab: labkit.Lab, techniques: tuple[Technique, ...], said: str, process: bool
) -> None:
    with pytest.raises(BadTechnique) as refused:
        labkit.Lab("new-technique", techniques=techniques, process=process)
    assert said in str(refused.value) and "\n" not in str(refused.value)
    assert not lab.closed and lab.publish("still there") > 0


def test_one_name_twice_is_no_run(lab: labkit.Lab) -> None:
    with pytest.raises(BadTechnique, match="two techniques are called 'sse'"):
        labkit.measure(lab, ["sse", "sse"], labkit.periodic(20, 0.1), progress=False)


@pytest.mark.parametrize(
    ("technique", "given", "said"),
    [
        ("sse", "retrys", "sse has no option 'retrys'; it takes retry_s, give_up_s, conflate, http_version"),
        ("sse", "interval_s", "sse has no option 'interval_s'"),
        ("plugin-socket", "conflate", "plugin-socket has no option 'conflate'; it takes none"),
        (NAME, "deflate", "json-seq has no option 'deflate'; it takes conflate"),
    ],
)
def test_an_option_that_no_half_knows_is_refused_with_those_that_there_are(
    lab: labkit.Lab, technique: str, given: str, said: str
) -> None:
    before = lab.cursor()
    with pytest.raises(UnknownOption) as refused:
        labkit.measure(lab, [technique], labkit.periodic(20, 0.1), options={technique: {given: 3}}, progress=False)
    assert said in str(refused.value) and isinstance(refused.value, LabkitError)
    assert lab.cursor() == before


def test_an_option_that_no_half_knows_is_refused_by_connect_too(lab: labkit.Lab) -> None:
    with pytest.raises(UnknownOption, match="retrys"):
        JSON_SEQ.connect(lab.url_of(NAME), retrys=3)


@pytest.mark.parametrize("value", [float("nan"), -1, "1", None, True])
@pytest.mark.parametrize(("technique", "option"), [("polling", "interval_s"), ("sse", "retry_s"), ("sse", "give_up_s")])
def test_what_is_no_duration_is_named_and_storms_no_server(
    lab: labkit.Lab, technique: str, option: str, value: object
) -> None:
    said, url = rf"{option} must be a number of seconds, 0 or more, not ", lab.url_of(technique)
    with pytest.raises(DurationError, match=said):
        find(technique).connect(url, **{option: value})
    with pytest.raises(DurationError, match=said):
        listen(url, technique, seconds=0.05, progress=False, **{option: value})
    with pytest.raises(DurationError, match=said):
        find(technique).variant("wrong", **{option: value})


@pytest.mark.parametrize("name", ["silence_s", "answer_s"])
def test_how_long_a_server_may_say_nothing_is_a_duration_without_an_end_or_with(lab: labkit.Lab, name: str) -> None:
    for value in (float("nan"), -1.0, "1"):
        with pytest.raises(DurationError, match=f"{name} must be a number of seconds, 0 or more, not "):
            find("sse").connect(lab.url_of("sse"), **{name: value})
    find("sse").connect(lab.url_of("sse"), **{name: math.inf})
    find("long-polling").connect(lab.url_of("long-polling"), hold_s=None)


def test_a_variants_own_options_are_not_to_be_chosen(lab: labkit.Lab) -> None:
    often = next(t for t in TECHNIQUES if t.kind == "poll").variant("often", interval_s=0.05)
    run = labkit.measure(lab, [often], labkit.periodic(20, 0.4), poll_interval_s=5.0, progress=False)
    assert run.summary().loc["often", "expected_mean_ms"] == pytest.approx(25)
    assert run.summary().loc["often", "requests"] >= 4
    with pytest.raises(UnknownOption, match="often has no option 'interval_s'"):
        often.connect(lab.url_of("polling"), interval_s=1.0)


def test_separators_are_those_of_rfc_7464() -> None:
    assert RS == b"\x1e"
