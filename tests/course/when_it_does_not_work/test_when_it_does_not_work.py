"""16_when_it_does_not_work: each way to break a stream is found, by the probe and by two taps, and is gone again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

import labkit
from conftest import UNIT
from labkit.course import when_it_does_not_work as course
from labkit.course.when_it_does_not_work import broken
from labkit.course.when_it_does_not_work.hop import Hop
from labkit.course.when_it_does_not_work.tapped import Tapped
from labkit.network.real_intermediary import RealIntermediary
from labkit.strangers.probe.report import Report

pytestmark = [pytest.mark.timing, pytest.mark.timeout(60 * UNIT)]

ROWS = {"held": (1, "merged"), "compressed": (3, "merged"), "cut_when_idle": (8, "end"), "cut_by_age": (9, "end"),
        "one_late": (4, "one late")}  # fmt: skip


@dataclass
class Tried:
    report: Report
    seen: Tapped
    whole: Tapped


def tried(name: str) -> Tried:
    case = getattr(course, name)()
    report = labkit.probe(case.url, also=case.behind if name == "held" else None, seconds=4, say=None)
    seen, whole = case.tapped(), case.mended()
    try:
        return Tried(report, seen, whole.tapped())
    finally:
        whole.close()


@pytest.fixture(scope="module")
def all_five() -> dict[str, Tried]:
    """All at once, since they mostly wait; without nginx."""
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(len(ROWS)) as threads:
        patch.setattr(RealIntermediary, "missing", "nginx is not installed: apt install nginx")
        return dict(zip(ROWS, threads.map(tried, ROWS), strict=True))


@pytest.mark.parametrize("name", ROWS)
def test_what_is_broken_is_found_and_is_whole_with_one_line_changed(name: str, all_five: dict[str, Tried]) -> None:
    (row, kind), found = ROWS[name], all_five[name]
    assert found.report.findings and found.report.findings[0].row == row, str(found.report)
    assert kind in found.seen.kinds and kind not in found.whole.kinds, f"{found.seen}\n{found.whole}"
    assert len(found.seen.chart().data) == 2 and found.seen.times_s(found.seen.far)


@pytest.mark.parametrize("name", ["held", "cut_when_idle"])
def test_nginx_breaks_it_as_the_emulation_does(name: str) -> None:
    if missing := broken.nginx(broken.DEFAULT).missing:
        pytest.skip(missing)
    case = getattr(course, name)()
    try:
        assert "nginx" in case.program and ROWS[name][1] in (seen := case.tapped()).kinds, str(seen)
    finally:
        case.close()


def test_nginx_holds_it_whatever_it_asks_in_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """From 1.29.7 on it asks in HTTP/1.1, and holds no chunk back."""
    if missing := broken.nginx(broken.BUFFERED).missing:
        pytest.skip(missing)
    later = broken.BUFFERED.replace("http {", "http { proxy_http_version 1.1;")
    monkeypatch.setattr(broken, "BUFFERED", later)
    case = course.held()
    try:
        assert later != broken.DEFAULT and "merged" in (seen := case.tapped()).kinds, str(seen)
    finally:
        case.close()


def test_a_hop_refuses_a_flush_that_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="after, before, never"):
        Hop(1, gzip="sometimes")  # type: ignore[arg-type]
