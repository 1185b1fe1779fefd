"""Schedules: what is planned, and which parameters and traces are refused."""

from __future__ import annotations

import csv
import itertools
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.errors import ScheduleError
from labkit.measuring import schedules
from labkit.measuring.schedules import Schedule

EVERY_KIND = [
    schedules.periodic(10, 3),
    schedules.periodic(10, 3, dither_s=0.1, seed=4),
    schedules.poisson(20, 3, seed=2),
    schedules.burst(4, 0.5, 2),
    *(schedules.jobs(5, 4, distribution=distribution) for distribution in schedules.DISTRIBUTIONS),
]


def offsets(schedule: Schedule) -> list[float]:
    return [planned.offset_s for planned in schedule.plan()]


@pytest.mark.parametrize("schedule", EVERY_KIND, ids=lambda schedule: schedule.name)
def test_a_plan_is_the_same_each_time_sorted_and_within_its_duration(schedule: Schedule) -> None:
    assert list(schedule.plan()) == list(schedule.plan()) != []
    assert offsets(schedule) == sorted(offsets(schedule))
    assert offsets(schedule)[0] >= 0
    assert offsets(schedule)[-1] <= schedule.duration_s
    assert json.loads(json.dumps(schedule.settings)) == schedule.settings


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (schedules.periodic(2, 2), [0, 0.5, 1, 1.5]),
        (schedules.periodic(0.1, 30), [0, 10, 20]),
        (schedules.periodic(2, 1.2), [0, 0.5, 1]),
        (schedules.burst(1, 0.3, 2.1), [0.3 * i for i in range(7)]),
        (schedules.burst(2, 1, 2), [0, 0, 1, 1]),
        (schedules.machine(0.5, 2), [0.5, 1, 1.5, 2]),
    ],
)
def test_regular_offsets(schedule: Schedule, expected: list[float]) -> None:
    assert offsets(schedule) == pytest.approx(expected)


def test_dither_puts_each_event_off_by_no_more_than_asked() -> None:
    late = [at - i * 0.1 for i, at in enumerate(offsets(schedules.periodic(10, 100, dither_s=0.05, seed=1)))]
    assert 0 <= min(late) and max(late) <= 0.05 + 1e-9
    assert statistics.mean(late) == pytest.approx(0.025, abs=4 * 0.05 / 12**0.5 / len(late) ** 0.5)


def test_poisson_intervals_are_exponential() -> None:
    at = offsets(schedules.poisson(50, 200, seed=3))
    gaps = [b - a for a, b in itertools.pairwise(at)]
    assert len(at) == pytest.approx(10_000, abs=4 * 100)
    assert statistics.mean(gaps) == pytest.approx(0.02, rel=0.04)
    assert statistics.stdev(gaps) == pytest.approx(0.02, rel=0.06)


def test_seeds_differ() -> None:
    assert offsets(schedules.poisson(5, 5, seed=1)) != offsets(schedules.poisson(5, 5, seed=2))


def test_only_poisson_says_that_it_is() -> None:
    assert [s.name for s in EVERY_KIND if s.poisson] == ["poisson"]
    assert schedules.burst(4, 0.5, 2).rate_per_s == 8
    assert schedules.machine(0.5, 2).rate_per_s == 2


@pytest.mark.parametrize(
    "make",
    [
        lambda s: schedules.periodic(duration_s=s),
        lambda s: schedules.poisson(1, duration_s=s),
        lambda s: schedules.burst(every_s=s),
        lambda s: schedules.jobs(1, 10, mean_s=s),
        lambda s: schedules.machine(every_s=s, duration_s=s),
    ],
)
def test_more_than_a_day_asks_whether_milliseconds_were_meant(make: Callable[[float], Schedule]) -> None:
    make(86_400)
    with pytest.raises(ScheduleError, match=r"_s=90000 is 90000 seconds.*Were milliseconds meant\? .*_s=90$"):
        make(90_000)


@given(n=st.integers(1, 10**6), size_bytes=st.integers(0, 3000))
def test_a_payload_has_exactly_its_size(n: int, size_bytes: int) -> None:
    text = schedules.payload(n, size_bytes)
    assert len(text.encode()) == size_bytes
    assert size_bytes < len(f"event-{n}") or text.startswith(f"event-{n}")


def test_payloads_name_their_event() -> None:
    texts = [planned.data for planned in schedules.periodic(10, 1, payload_bytes=12).plan()]
    assert texts[0] == "event-1 abcd" and texts[9] == "event-10 abc"
    assert [p.data for p in schedules.periodic(10, 1, payload_bytes=1).plan()][:3] == ["1", "2", "3"]


def test_each_job_has_a_topic_and_says_how_long_it_took() -> None:
    schedule = schedules.jobs(5, 20, mean_s=0.5, seed=1)
    planned = list(schedule.plan())
    assert len({p.topic for p in planned}) == len(planned) > 50
    for p in planned:
        assert p.data == f"{p.topic} done after {p.offset_s - p.starts_s:.3f} s"
        assert 0 <= p.starts_s < 20
    submitted = sorted(planned, key=lambda p: p.starts_s)
    assert [p.topic for p in submitted] == [f"job-{i}" for i in range(1, len(planned) + 1)]
    assert planned != submitted


@pytest.mark.parametrize("distribution", ["exponential", "bimodal", "fixed"])
def test_jobs_take_their_mean_time(distribution: Any) -> None:
    took = [p.offset_s - p.starts_s for p in schedules.jobs(100, 100, 2.0, distribution, seed=5).plan()]
    assert statistics.mean(took) == pytest.approx(2.0, abs=4 * statistics.stdev(took) / len(took) ** 0.5 + 1e-9)


def test_heavy_tailed_jobs_have_their_mean_and_its_tail() -> None:
    took = sorted(p.offset_s - p.starts_s for p in schedules.jobs(100, 200, 3.0, "heavy-tailed", seed=5).plan())
    assert took[0] >= 1.0
    assert took[len(took) // 2] == pytest.approx(2 ** (1 / 1.5), rel=0.05)  # the Pareto median
    assert sum(t > 10 for t in took) / len(took) == pytest.approx(10**-1.5, rel=0.3)


def test_machine_samples_when_asked() -> None:
    for planned in schedules.machine(0.5, 1).plan():
        assert callable(planned.data)
        values = json.loads(planned.data())
        assert list(values) == ["cpu_percent", "memory_percent", "net_in_bytes_per_s", "net_out_bytes_per_s"]
        assert 0 <= values["cpu_percent"] <= 100 and 0 < values["memory_percent"] <= 100
        assert values["net_in_bytes_per_s"] >= 0 and values["net_out_bytes_per_s"] >= 0


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: schedules.periodic(-1), "periodic: rate_per_s=-1, expected a finite number above 0"),
        (lambda: schedules.periodic(0), "rate_per_s=0"),
        (lambda: schedules.periodic(float("nan")), "rate_per_s=nan"),
        (lambda: schedules.periodic("5"), "rate_per_s='5'"),
        (lambda: schedules.periodic(True), "rate_per_s=True"),
        (lambda: schedules.periodic(1, float("inf")), "duration_s=inf"),
        (lambda: schedules.periodic(1, 5, payload_bytes=-1), "payload_bytes=-1, expected a whole number from 0"),
        (lambda: schedules.periodic(1, 5, payload_bytes=2.5), "payload_bytes=2.5"),
        (lambda: schedules.periodic(2, 5, dither_s=0.6), "dither_s=0.6, expected a number from 0 to one period, 0.5 s"),
        (lambda: schedules.periodic(2, 5, dither_s=-0.1), "dither_s=-0.1"),
        (lambda: schedules.poisson(-3, 5), "poisson: rate_per_s=-3"),
        (lambda: schedules.poisson(3, 0), "poisson: duration_s=0"),
        (lambda: schedules.poisson(3, 5, seed="x"), "seed='x', expected a whole number"),
        (lambda: schedules.poisson(1e9, 1e4), "poisson: 1e[+]13 events planned"),
        (
            lambda: schedules.poisson(5, 8, payload_bytes=10**9),
            "payload_bytes=1000000000 makes 40000000000 bytes",
        ),
        (lambda: schedules.periodic(1, 5, payload_bytes=10**400), "payload_bytes=1000"),
        (lambda: schedules.burst(5, 1, 1, payload_bytes=10**9), "payload_bytes=1000000000 makes 5000000000 bytes of 5"),
        (lambda: schedules.burst(0), "burst: events=0, expected a whole number from 1"),
        (lambda: schedules.burst(1, 0), "burst: every_s=0"),
        (lambda: schedules.jobs(1, 5, mean_s=-1), "jobs: mean_s=-1"),
        (lambda: schedules.jobs(1, 5, distribution="normal"), "expected one of exponential, bimodal, heavy-tailed"),
        (lambda: schedules.machine(0), "machine: every_s=0"),
        (lambda: schedules.machine(2, 1), "machine: every_s=2, expected a number above 0, up to duration_s"),
    ],
)
def test_bad_parameters_are_named_at_construction(make: Callable[[], Schedule], says: str) -> None:
    with pytest.raises(ScheduleError, match=says):
        make()


def trace(folder: Path, content: str | bytes) -> Schedule:
    path = folder / "trace.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return schedules.trace(path)


def test_a_trace_is_published_as_recorded(tmp_path: Path) -> None:
    schedule = trace(tmp_path, 'offset_s,data\n0,first\n0.5,"두 번째, ""quoted"""\n\n0.5,"two\nlines"\n2,\n')
    assert [(p.offset_s, p.data) for p in schedule.plan()] == [
        (0, "first"),
        (0.5, '두 번째, "quoted"'),
        (0.5, "two\nlines"),
        (2, ""),
    ]
    assert (schedule.duration_s, schedule.rate_per_s, schedule.poisson) == (2, 2, False)


def test_a_trace_may_come_from_a_spreadsheet(tmp_path: Path) -> None:
    assert offsets(trace(tmp_path, "\ufeffoffset_s,data\r\n0.25,a\r\n")) == [0.25]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "line 1: the file is empty"),
        ("\n\n", "the file is empty"),
        ("offset_s,data\n", "line 2: the file holds no events"),
        ("time,data\n0,a\n", "line 1: the header is 'time,data', expected 'offset_s,data'"),
        ("offset_s,data\n0,a\n-1,b\n", "line 3: offset_s='-1'"),
        ("offset_s,data\n0,a\nsoon,b\n", "line 3: offset_s='soon', expected a number"),
        ("offset_s,data\nnan,a\n", "line 2: offset_s='nan'"),
        ("offset_s,data\ninf,a\n", "line 2: offset_s='inf'"),
        ("offset_s,data\n2,a\n1,b\n", "line 3: offset_s=1 after 2"),
        ("offset_s,data\n0,a\n90000,b\n", r"line 3: offset_s=90000 is 90000 seconds.* Were milliseconds meant\?"),
        ("offset_s,data\n1e300,b\n", r"line 2: offset_s=1e\+300 is"),
        ("offset_s,data\n0,a,b\n", "line 2: 3 fields, expected 2"),
        ("offset_s,data\n0\n", "line 2: 1 field,"),
        ('offset_s,data\n0,"two\nlines"\n\nx,b\n', "line 5: offset_s='x'"),
        ('offset_s,data\n0,a\n1,"open\n', "line 3: not CSV"),
        (b"offset_s,data\n0,a\n1,\xff\xfe\n", "line 3: not UTF-8"),
    ],
)
def test_a_broken_trace_is_refused_with_file_and_line(tmp_path: Path, content: str | bytes, says: str) -> None:
    with pytest.raises(ScheduleError, match=says) as caught:
        trace(tmp_path, content)
    assert "trace.csv" in str(caught.value)


def test_a_traces_data_may_be_as_long_as_an_event(tmp_path: Path) -> None:
    limit, data = csv.field_size_limit(), "x" * (1 << 20)
    assert [event.data for event in trace(tmp_path, f"offset_s,data\n0,{data}\n").plan()] == [data]
    assert csv.field_size_limit() == limit


def test_a_trace_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ScheduleError, match=r"none\.csv cannot be read: No such file"):
        schedules.trace(tmp_path / "none.csv")
