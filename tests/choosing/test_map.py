"""The decision map: its areas, its names, its border and what its slider asks."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

import labkit
from labkit.choosing import Choice
from labkit.choosing import map as choosing_map
from labkit.choosing.map import ALIKE, NAMES


@pytest.fixture(scope="module")
def run() -> labkit.Run:
    with labkit.Lab("mapping") as lab:
        schedule = labkit.poisson(rate_per_s=20, duration_s=1, seed=3)
        return labkit.measure(lab, schedule=schedule, one_way_s=0.01, poll_interval_s=0.2)


@pytest.fixture(scope="module")
def priced() -> Choice:
    return labkit.choose(rate_per_s=8, staleness_s=1.5, prices={"per_gb": 0.09})


@pytest.fixture(scope="module")
def mapped(priced: Choice, run: labkit.Run) -> Any:
    """The map of it, with a run, in a third of the columns and rows: several tests look at it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choosing_map, "COLUMNS", 16)
        patch.setattr(choosing_map, "ROWS", 12)
        return choosing_map.decision_map(priced, run)


def test_the_map_is_coloured_by_the_winner(priced: Choice, mapped: Any) -> None:
    maps = [trace for trace in mapped.data if trace.type == "heatmap"]
    assert len(maps) == 5
    for needs, cells in ((priced.needs, maps[0]), (replace(priced.needs, prices=()), maps[1])):
        for row, column in ((0, 0), (7, 2), (11, 2), (10, 13), (3, 10), (7, 15)):
            asked = replace(needs, rate_per_s=float(cells.x[column]), staleness_s=float(cells.y[row]))
            winner, number = Choice(asked, priced.figures).winner, int(cells.z[row][column])
            if number == ALIKE:
                assert winner in ("http-streaming", "sse", "websocket")
            else:
                assert winner == ("nothing" if number < 0 else NAMES[number])


def test_the_maps_slider_asks_what_is_paid_for(mapped: Any) -> None:
    labels = [step.label for step in mapped.layout.sliders[0].steps]
    assert labels == ["your prices", "the server's work", "bytes", "requests", "connections held"]
    assert len({step.args[1]["title"]["text"] for step in mapped.layout.sliders[0].steps}) == 5


def test_the_maps_names_stand_in_their_areas_and_beside_the_band(mapped: Any) -> None:
    known = {choosing_map._area_name(number): number for number in range(choosing_map.NOTHING, ALIKE + 1)}
    for first in (i for i, trace in enumerate(mapped.data) if trace.type == "heatmap"):
        cells, names, least, most = mapped.data[first : first + 4]
        assert names.text
        for x, y, text in zip(names.x, names.y, names.text, strict=True):
            column = list(cells.x).index(x)
            assert cells.z[list(cells.y).index(y)][column] == known[text.removeprefix("<b>").removesuffix("</b>")]
            assert not least.y[column] <= y <= most.y[column]


def test_no_name_stands_in_the_band() -> None:
    beside = choosing_map._beside([[2, 2], [0, 0]], [1.0, 10.0], [[5.0, None], [7.0, None], [20.0, None]])
    assert beside == [[2, 2], [choosing_map.HATCHED, 0]]


def test_the_border_of_polling_lies_within_its_band(mapped: Any) -> None:
    for first in (i for i, trace in enumerate(mapped.data) if trace.type == "heatmap"):
        least, most, border = (mapped.data[first + i].y for i in (2, 3, 4))
        for low, middle, high in zip(least, border, most, strict=True):
            if not math.isnan(middle):
                assert low <= middle * 1.03 and (math.isnan(high) or middle <= high * 1.03)
    assert any("in this run" in (trace.name or "") for trace in mapped.data)


def test_what_lies_off_the_map_is_drawn_beside_it(run: labkit.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing_map, "COLUMNS", 4)
    monkeypatch.setattr(choosing_map, "ROWS", 3)
    for rate, staleness in ((1000, 0.001), (1, 1e5), (1e-5, 1.0)):
        figure = choosing_map.decision_map(labkit.choose(rate_per_s=rate, staleness_s=staleness), run)
        (star,) = (trace for trace in figure.data if trace.name == "what was asked for")
        for axis, (at,) in ((figure.layout.xaxis, star.x), (figure.layout.yaxis, star.y)):
            low, high = axis.range
            assert low < math.log10(at) < high


def test_a_map_of_what_lies_on_it_is_no_larger(mapped: Any) -> None:
    ends = [math.log10(end) for end in choosing_map.RATES_PER_S]
    assert list(mapped.layout.xaxis.range) == pytest.approx(ends)
