"""What each technique's file says to expect: a latency for these options on this path, or why there is none."""

from __future__ import annotations

import functools
from typing import Any

import pytest

import labkit
from labkit import theory
from labkit.measuring.natures import asked, told_of
from labkit.techniques import TECHNIQUES, find
from labkit.techniques.exhibits import EXHIBITS
from labkit.theory import Expectation, Mark, Nature, Path, Silent
from labkit.theory.path import HOLD_S

POISSON = Path(one_way_s=0.05, rate_per_s=5.0, poisson=True)
PERIODIC = Path(one_way_s=0.05, rate_per_s=5.0)
STREAMS = [t for t in TECHNIQUES if t.kind == "stream"]


def expected(name: str, path: Path = POISSON, **options: Any) -> Expectation:
    found = find(name).expect(options, path)
    assert isinstance(found, Expectation)
    return found


def why(name: str, path: Path = POISSON, **options: Any) -> str:
    found = find(name).expect(options, path)
    assert isinstance(found, Silent)
    return found.why


def test_polling_follows_its_interval_and_its_connections() -> None:
    assert expected("polling").mean_s == pytest.approx(0.55)
    assert expected("polling", Path(one_way_s=0.4), interval_s=0.5).max_s == pytest.approx(1.2)
    assert expected("polling", interval_s=2.0).mean_s == pytest.approx(1.05)
    assert expected("polling", wait_after_answer=True).mean_s == pytest.approx(0.6)
    for fresh in ({"keep_alive": False}, {"http_version": "1.0"}):
        assert expected("polling", wait_after_answer=True, **fresh).mean_s == pytest.approx(0.65)


def test_long_polling_follows_the_rate_the_hold_and_its_connections() -> None:
    assert expected("long-polling").mean_s == theory.long_polling_latency(5.0, 0.05, 30.0, 0.1).mean_s
    assert expected("long-polling", hold_s=0.2).mean_s == theory.long_polling_latency(5.0, 0.05, 0.2, 0.1).mean_s
    held = Path(one_way_s=0.05, rate_per_s=5.0, poisson=True, hold_s=0.2)
    assert expected("long-polling", held).mean_s == theory.long_polling_latency(5.0, 0.05, 0.2, 0.1).mean_s
    for fresh in ({"keep_alive": False}, {"http_version": "1.0"}):
        assert expected("long-polling", **fresh).max_s == pytest.approx(0.25)


@pytest.mark.parametrize("technique", STREAMS, ids=lambda t: t.name)
def test_a_stream_takes_one_transit(technique: Any) -> None:
    found = technique.expect({}, PERIODIC)
    assert (found.min_s, found.mean_s, found.max_s) == (0.05, 0.05, 0.05)


@pytest.mark.parametrize(
    ("name", "path", "options", "clause"),
    [
        ("long-polling", PERIODIC, {}, "Poisson"),
        ("long-polling", Path(one_way_s=0.05, poisson=True), {}, "Poisson"),
        ("http-streaming", POISSON, {"format": "multipart", "boundary": "leading"}, "leading boundary"),
        ("polling", Path.of({"one_way_s": 0.05, "steady": False}), {}, "changed"),
    ],
)
def test_where_a_closed_form_does_not_hold_the_technique_says_why(
    name: str, path: Path, options: dict[str, Any], clause: str
) -> None:
    assert clause in why(name, path, **options)


def test_a_multipart_stream_with_its_boundary_behind_takes_one_transit() -> None:
    assert expected("http-streaming", format="multipart").mean_s == 0.05
    assert expected("http-streaming", boundary="leading").mean_s == 0.05  # of lines, it has no part


@pytest.mark.parametrize("technique", [*TECHNIQUES, *EXHIBITS], ids=lambda t: t.name)
def test_what_a_run_tells_is_plain_and_read_again(technique: Any) -> None:
    settings = {"one_way_s": 0.05, "schedule": {"name": "poisson", "rate_per_s": 5.0}, "techniques": [technique.name]}
    plain = told_of([technique], settings)[technique.name]
    nature = Nature.read(plain)
    assert nature.plain() == plain
    assert (nature.title, nature.short, nature.kind) == (technique.title, technique.short, technique.kind)
    assert nature.mark == technique.mark and isinstance(nature.mark, Mark)


def test_a_run_asks_with_the_options_that_it_had() -> None:
    settings = {"poll_interval_s": 0.2, "hold_s": 5.0, "options": {"polling": {"etag": True}}}
    assert asked(find("polling"), settings) == {"interval_s": 0.2, "etag": True}
    assert asked(find("long-polling"), settings) == {"hold_s": 5.0}
    assert asked(find("sse"), settings) == {}


def test_of_somebody_elses_server_nothing_is_expected() -> None:
    told = told_of([find("sse")], {"server": "elsewhere", "one_way_s": 0.05})
    assert told["sse"]["expected"] is None and "unknown" in told["sse"]["silent"]


def test_a_page_holds_a_poll_for_as_long_as_the_rest_of_the_kit() -> None:
    script = labkit.source("long-polling", side="page")
    assert f"const HOLD_S = {HOLD_S:g};" in str(script)


def test_a_client_that_goes_its_own_way_takes_no_theory_along() -> None:
    sse = find("sse")

    async def own(opening: Any, **_: Any) -> Any:
        yield opening

    @functools.wraps(sse.client)
    def same(opening: Any, **options: Any) -> Any:
        return sse.client(opening, **options)

    assert isinstance(sse.variant("own", own).expect({}, POISSON), Silent)
    for kept in (sse.variant("same", same), sse.variant("renamed")):
        found = kept.expect({}, POISSON)
        assert isinstance(found, Expectation) and found.mean_s == 0.05
