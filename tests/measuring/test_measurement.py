"""A run over real sockets: what it publishes, receives, counts and survives."""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import functools
import socket
import threading
import time
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import pytest

import labkit
from conftest import UNIT
from labkit import loop
from labkit.errors import DurationError, LabClosed, ScheduleError, UnknownTechnique
from labkit.measuring import attaching
from labkit.measuring.listening import listen
from labkit.measuring.measurement import Measurement
from labkit.measuring.recording import COLUMNS
from labkit.measuring.schedules import Planned, Schedule
from labkit.techniques import TECHNIQUES, Delivery, Opening, Technique, find
from labkit.techniques.exhibits import EXHIBITS
from labkit.wire.events import Gap, now_ns
from wait import until

D = 0.1 * UNIT
STREAMS = ("http-streaming", "sse", "websocket", "plugin-socket")


@pytest.fixture
def lab() -> Iterator[labkit.Lab]:
    with labkit.Lab("measurement") as lab:
        yield lab


def near(run: labkit.Run, expected_ms: float) -> float:
    """A tenth of what is expected, and what this machine's own floor was."""
    return 0.1 * expected_ms + run.floor["p95"]


def test_streams_need_one_transit_and_polling_waits_for_the_next_poll(lab: labkit.Lab) -> None:
    poll_s = 5 * D
    schedule = labkit.poisson(rate_per_s=2 / D, duration_s=30 * D, seed=1)
    run = labkit.measure(lab, [t.name for t in TECHNIQUES], schedule, D, poll_interval_s=poll_s, progress=False)
    summary = run.summary()
    assert (summary["lost"] + summary["duplicated"] + summary["out_of_order"] == 0).all()
    for name in STREAMS:
        assert summary.loc[name, "p50_ms"] == pytest.approx(D * 1e3, abs=near(run, D * 1e3))
    polling = run.deliveries[run.deliveries["technique"] == "polling"]["latency_ms"]
    slack = near(run, poll_s * 1e3) + run.floor["max"]
    assert polling.min() >= D * 1e3
    assert polling.max() <= (poll_s + D) * 1e3 + slack
    for claim in ("P1", "L1", "S3"):
        assert labkit.claims.judge(claim, run).verdict in ("confirmed", "undecided")


def test_a_wrong_world_is_not_confirmed(lab: labkit.Lab) -> None:
    """Pollers that ask half as often as they say, over real sockets."""
    schedule = labkit.poisson(rate_per_s=2 / D, duration_s=40 * D, seed=1)
    options = {"polling": {"interval_s": 8 * D}}
    run = labkit.measure(lab, ["polling"], schedule, D, poll_interval_s=4 * D, options=options, progress=False)
    run.settings["options"] = {}  # what the run does not admit
    assert labkit.claims.judge("P1", run).verdict in (
        "refuted",
        "undecided",
    )  # undecided where the machine is busy


def test_rows_have_the_columns_and_the_clock_runs_from_due_to_received(lab: labkit.Lab) -> None:
    run = labkit.measure(lab, ["sse"], labkit.periodic(rate_per_s=20, duration_s=0.5), progress=False)
    frame = run.deliveries
    assert list(frame.columns) == list(COLUMNS)
    assert len(frame) == 10 and frame["scheduled"].all()
    assert (frame["due_ns"] <= frame["published_ns"]).all()
    assert (frame["published_ns"] <= frame["received_ns"]).all()
    assert frame["latency_ms"].tolist() == pytest.approx(((frame["received_ns"] - frame["due_ns"]) / 1e6).tolist())
    assert run.floor["n"] == 10


@pytest.mark.parametrize("name", [t.name for t in TECHNIQUES])
def test_bytes_of_the_rows_add_up_to_what_the_connections_carried(lab: labkit.Lab, name: str) -> None:
    schedule = labkit.burst(events=5, every_s=0.2, duration_s=0.6)
    run = labkit.measure(lab, [name], schedule, poll_interval_s=0.05, progress=False)
    carried = int(run.connections["bytes_in"].sum() + run.connections["bytes_out"].sum())
    rows = int(run.deliveries["bytes"].sum())
    # what came after the last delivery (a farewell, an empty poll) has no row
    assert 0.5 * carried < rows <= carried
    by_category = run.connections[["payload", "envelope", "framing", "headers"]].to_numpy().sum()
    assert by_category == carried
    assert run.connections["payload"].sum() == int(run.deliveries["payload_bytes"].sum())


def test_a_publisher_that_falls_behind_does_not_make_latencies_look_good(lab: labkit.Lab) -> None:
    def slow() -> str:
        time.sleep(0.1 * UNIT)
        return "late"

    plan = [dataclasses.replace(planned, data=slow) for planned in labkit.burst(events=5, duration_s=0.5).plan()]
    schedule = dataclasses.replace(labkit.burst(events=5, duration_s=0.5), _planner=lambda: iter(plan))
    run = labkit.measure(lab, ["websocket"], schedule, progress=False)
    last = run.deliveries.iloc[-1]
    assert last["latency_ms"] > 0.4 * UNIT * 1e3 > 4 * last["transit_ms"]


def test_a_cut_link_loses_nothing_and_repeats_nothing(lab: labkit.Lab) -> None:
    link = labkit.Link(one_way_s=0.02)
    run = labkit.measure(
        lab,
        [t.name for t in TECHNIQUES],
        labkit.periodic(rate_per_s=40, duration_s=2),
        poll_interval_s=0.2,
        through=link,
        at={0.5: link.cut, 0.8: link.heal},
        options={"sse": {"retry_s": 0.1}},
        settle_s=10 * UNIT,
        progress=False,
    )
    summary = run.summary()
    assert (summary["events"] == 80).all()
    assert (summary[["lost", "duplicated", "out_of_order", "gaps"]] == 0).all(axis=None)
    assert (summary["connections"] >= 2).all()
    assert run.failures == {}
    assert link.target is None and not link.running


async def _dies(opening: Opening, **options: object) -> AsyncGenerator[Delivery | Gap, None]:
    count = 0
    async for item in find("sse").client(opening, **options):
        yield item
        count += 1
        if count == 3:
            raise RuntimeError("the client fell over")


MORTAL = find("sse").variant("mortal", _dies)


def test_a_technique_that_dies_keeps_its_rows_says_why_and_the_others_finish(lab: labkit.Lab) -> None:
    schedule = labkit.periodic(rate_per_s=20, duration_s=0.5)
    run = labkit.measure(lab, [MORTAL, "websocket"], schedule, progress=False)
    summary = run.summary()
    assert run.failures == {"mortal": "RuntimeError: the client fell over"}
    assert (summary.loc["mortal", "events"], summary.loc["websocket", "events"]) == (3, 10)
    assert "fell over" in summary.loc["mortal", "failed"]
    assert "fell over" in run._repr_html_()


@pytest.mark.parametrize("error", [SystemExit("enough"), KeyboardInterrupt()], ids=repr)
def test_a_technique_that_exits_ends_itself_and_nothing_else(lab: labkit.Lab, error: BaseException) -> None:
    async def leaves(opening: Opening, **options: object) -> AsyncGenerator[Delivery | Gap, None]:
        async for item in find("sse").client(opening, **options):
            yield item
            raise error

    before = loop.get_loop()
    leaver = find("sse").variant("leaver", leaves)
    run = labkit.measure(lab, [leaver, "websocket"], labkit.periodic(rate_per_s=20, duration_s=0.5), progress=False)
    assert list(run.failures) == ["leaver"] and f"own code raised {error!r}" in run.failures["leaver"]
    assert (run.summary().loc["leaver", "events"], run.summary().loc["websocket", "events"]) == (1, 10)
    assert loop.get_loop() is before and not run.interrupted


def test_the_lab_closed_in_the_middle_ends_the_run_and_says_so() -> None:
    lab = labkit.Lab("measurement")
    schedule = labkit.periodic(rate_per_s=20, duration_s=2)
    run = labkit.measure(lab, ["websocket"], schedule, at={0.5: lab.close}, settle_s=0.1, progress=False)
    assert "closed" in run.failures["publisher"]
    assert 5 <= len(run.deliveries) <= 20


def test_stopping_returns_what_there_is(lab: labkit.Lab) -> None:
    measurement = Measurement(lab, ["sse"], labkit.periodic(rate_per_s=50, duration_s=60))
    timer = threading.Timer(0.5 * UNIT, measurement.stop)
    timer.start()
    run = measurement.conduct(progress=False)
    timer.join()
    assert run.interrupted and 5 <= len(run.deliveries) <= 200 * UNIT
    assert labkit.last_run() is run
    assert "Interrupted" in " ".join(run.notes)


def test_a_second_interrupt_loses_nothing_of_what_had_come(lab: labkit.Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run ends slowly, and whoever waits for it is impatient."""
    sse, came = find("sse"), threading.Event()

    @functools.wraps(sse.client)
    async def slow_to_leave(opening: Opening, **options: Any) -> AsyncGenerator[Delivery | Gap, None]:
        try:
            async for item in sse.client(opening, **options):
                yield item
        finally:
            await asyncio.sleep(0.5 * UNIT)

    def interrupted(*_: object, **__: object) -> None:
        assert came.wait(10 * UNIT)
        raise KeyboardInterrupt

    monkeypatch.setattr(concurrent.futures, "wait", interrupted)
    measurement = Measurement(
        lab, [sse.variant("slow", slow_to_leave)], labkit.periodic(50, 30), on_delivery=lambda *_: came.set()
    )
    with labkit.Link(lab, one_way_s=0) as link:
        with pytest.raises(KeyboardInterrupt):
            measurement.conduct(through=link, progress=False)
        until(lambda: not link.skips_own, "the run has left its relay")
        until(lambda: all(end.fileno() < 0 for end in measurement._apparatus._ends), "the socket pair is closed")
    run = labkit.last_run()
    assert run is not None and run.interrupted and len(run.deliveries) >= 1 and run.settings["techniques"] == ["slow"]


def test_stopping_ends_a_burst_in_its_middle(lab: labkit.Lab) -> None:
    measurement = Measurement(
        lab, ["sse"], labkit.burst(events=20_000, duration_s=0.5), on_delivery=lambda *_: measurement.stop()
    )
    run = measurement.conduct(progress=False)
    assert run.interrupted and 0 < len(run.published) < 20_000 and run.failures == {}


def test_what_cannot_be_published_is_raised_as_it_is(lab: labkit.Lab) -> None:
    plan = [Planned(0.0, "first"), Planned(0.0, lambda: 1 / 0)]  # type: ignore[arg-type, return-value]
    with pytest.raises(ZeroDivisionError):
        labkit.measure(lab, ["sse"], Schedule("one", {}, 0.01, None, False, lambda: iter(plan)), progress=False)


def test_each_job_has_a_topic_and_a_waiter_of_its_own(lab: labkit.Lab) -> None:
    schedule = labkit.jobs(rate_per_s=20, duration_s=0.5, mean_s=0.2, seed=2)
    jobs = list(schedule.plan())
    run = labkit.measure(lab, ["long-polling", "sse"], schedule, progress=False)
    assert len(jobs) > 3
    for name in ("long-polling", "sse"):
        rows = run.deliveries[run.deliveries["technique"] == name]
        assert sorted(rows["topic"]) == sorted(job.topic for job in jobs)
    assert (run.summary()["lost"] == 0).all()


def test_subscribers_of_a_topic_are_there_before_its_first_event(lab: labkit.Lab) -> None:
    schedule = Schedule("one", {}, 0.01, None, False, lambda: iter([Planned(0.0, "first", "a topic")]))
    run = labkit.measure(lab, ["long-polling", "sse"], schedule, one_way_s=D, progress=False)
    assert sorted(run.deliveries["technique"]) == ["long-polling", "sse"]
    assert (run.deliveries["latency_ms"] < 2 * D * 1e3).all()  # one that has to connect first needs at least three


def test_several_subscribers_of_a_technique(lab: labkit.Lab) -> None:
    schedule = labkit.periodic(rate_per_s=20, duration_s=0.5)
    run = labkit.measure(lab, ["polling", "sse"], schedule, poll_interval_s=0.3, subscribers=3, progress=False)
    by = run.summary(by="subscriber")
    assert len(by) == 6 and (by["events"] == 10).all()


def test_a_process_of_its_own_has_its_cpu_and_memory_measured() -> None:
    with labkit.Lab("measurement", process=True) as lab:
        run = labkit.measure(lab, ["sse"], labkit.periodic(rate_per_s=20, duration_s=0.5), progress=False)
    assert run.settings["server"] == "process"
    assert 0 <= run.settings["server_cpu_s"] < run.settings["duration_s"] * 2
    assert run.settings["server_rss_bytes"] > 1 << 20
    assert (run.summary()["lost"] == 0).all()


def test_events_that_the_run_did_not_publish_stay_out_of_the_statistics(lab: labkit.Lab) -> None:
    schedule = labkit.periodic(rate_per_s=20, duration_s=0.5)
    run = labkit.measure(lab, ["sse"], schedule, at={0.2: lambda: lab.publish("a stranger's")}, progress=False)
    assert len(run.deliveries) == 11
    stranger = run.deliveries[~run.deliveries["scheduled"]]
    assert len(stranger) == 1 and stranger["latency_ms"].isna().all()
    assert run.summary().loc["sse", "events"] == 10


def test_what_fails_at_its_moment_is_named(lab: labkit.Lab) -> None:
    schedule = labkit.periodic(rate_per_s=20, duration_s=0.5)
    run = labkit.measure(lab, ["sse"], schedule, at={0.1: lambda: 1 / 0}, progress=False)
    assert run.failures == {"action": "at 0.1 s: ZeroDivisionError: division by zero"}
    assert run.summary().loc["sse", "events"] == 10


def test_bad_input_is_refused_before_anything_starts(lab: labkit.Lab, tmp_path: Path) -> None:
    with pytest.raises(UnknownTechnique, match="polling, long-polling"):
        labkit.measure(lab, ["pigeon"])
    with pytest.raises(UnknownTechnique, match="known are: sse"):
        labkit.measure(lab, ["sse"], options={"websocket": {}})
    with pytest.raises(ValueError, match="poll_interval_s"):
        labkit.measure(lab, poll_interval_s=0)
    with pytest.raises(ScheduleError, match="line 3"):
        (tmp_path / "trace.csv").write_text("offset_s,data\n0,a\nx,b\n")
        labkit.measure(lab, schedule=labkit.trace(tmp_path / "trace.csv"))
    lab.close()
    with pytest.raises(LabClosed, match=r"labkit\.Lab"):
        labkit.measure(lab, ["sse"])


@pytest.mark.parametrize(
    ("given", "asks"),
    [
        ({"one_way_s": 50}, r"one_way_s=50 is 50 seconds, .* Were milliseconds meant\? Then write one_way_s=0\.05$"),
        ({"jitter_s": 20}, r"jitter_s=20 .* write jitter_s=0\.02$"),
        ({"poll_interval_s": 500}, r"poll_interval_s=500 .* write poll_interval_s=0\.5$"),
        ({"hold_s": 30_000}, r"hold_s=30000 .* write hold_s=30$"),
        ({"settle_s": 2000}, r"settle_s=2000 .* write settle_s=2$"),
        ({"at": {1500: print}}, r"at=1500 .* write at=1\.5$"),
        ({"options": {"polling": {"interval_s": 700}}}, r"interval_s=700 .* write interval_s=0\.7$"),
        ({"one_way_s": float("nan")}, "one_way_s must be a number of seconds, 0 or more, not nan"),
        ({"poll_interval_s": float("nan")}, "poll_interval_s must be a number of seconds, above 0, not nan"),
        ({"one_way_s": "50ms"}, "one_way_s must be a number of seconds, 0 or more, not '50ms'"),
    ],
)
def test_a_duration_that_makes_no_sense_in_seconds_is_asked_about_before_anything_starts(
    lab: labkit.Lab, given: dict[str, Any], asks: str
) -> None:
    with pytest.raises(DurationError, match=asks):
        labkit.measure(lab, ["polling"], labkit.periodic(duration_s=0.5), **given)
    assert lab.publish("the first") == 1


@pytest.mark.parametrize(
    ("given", "says"),
    [
        *(({"subscribers": bad}, "subscribers must be a whole number of at least 1, not ")
          for bad in (0, -1, 2.5, float("nan"), float("inf"), True, None, "2", [])),
        *(({"keep_bytes": bad}, "keep_bytes must be a whole number of at least 0, not ")
          for bad in (-1, 2.5, float("nan"), True, None, "2")),
        *(({"topic": bad}, "topic must be text, not ") for bad in (None, 5, b"x")),
        *(({"schedule": bad}, "schedule must be one, as labkit.poisson") for bad in (labkit.poisson, 5, "poisson")),
        *(({"techniques": bad}, "techniques must be names") for bad in (5, True, float("nan"))),
        *(({"lab": bad}, "lab must be a labkit.Lab, not ") for bad in (None, 5, "http://127.0.0.1:1/")),
        *(({"options": bad}, "options must be by technique") for bad in (5, "x", {"sse": None}, {"sse": [1]})),
        *(({"at": bad}, "at must say what to do at which second") for bad in (1.0, True, [1.0])),
        *(({"through": bad}, "through must be relays or") for bad in (5, 0.5, True)),
        ({"at": {0.1: None}}, r"at 0\.1 s stands None, .* without \(\)"),
    ],
)  # fmt: skip
def test_what_is_none_of_what_a_run_takes_is_named_before_anything_starts(
    lab: labkit.Lab, given: dict[str, Any], says: str
) -> None:
    asked = {"lab": lab, "techniques": ["sse"], "schedule": labkit.periodic(20, 0.1), "progress": False} | given
    with pytest.raises(ValueError, match=says):
        labkit.measure(**asked)
    assert lab.publish("the first") == 1


def test_a_path_of_nothing_is_none(lab: labkit.Lab) -> None:
    for nothing in ((), [], None):
        run = labkit.measure(lab, ["sse"], labkit.periodic(20, 0.1), through=nothing, progress=False)
        assert run.failures == {} and run.summary().loc["sse", "lost"] == 0


def test_an_interval_may_be_as_long_as_the_schedule(lab: labkit.Lab) -> None:
    Measurement(lab, ["polling"], labkit.periodic(duration_s=900), poll_interval_s=900)
    with pytest.raises(DurationError, match="at most 900 makes sense"):
        Measurement(lab, ["polling"], labkit.periodic(duration_s=900), poll_interval_s=901)


@pytest.mark.parametrize("hold_s", [1 / 3, 1e-5, 1, 2 / 30])
def test_a_hold_time_of_any_number_of_digits_is_understood(lab: labkit.Lab, hold_s: float) -> None:
    holding = [technique for technique in (*TECHNIQUES, *EXHIBITS) if "hold_s" in technique.options]
    with labkit.Lab("holding", techniques=holding) as lab:
        schedule = labkit.periodic(rate_per_s=20, duration_s=0.3)
        run = labkit.measure(lab, holding, schedule, hold_s=hold_s, progress=False)
    assert run.failures == {} and len(holding) > 2
    assert (run.summary()["lost"] == 0).all() and (run.summary()["events"] == 6).all()


def test_what_nobody_has_asked_for_when_a_run_is_interrupted_is_pending(lab: labkit.Lab) -> None:
    measurement = Measurement(lab, ["polling", "sse"], labkit.periodic(50, 30), poll_interval_s=20.0)
    stopper = threading.Thread(target=lambda: (until(lambda: measurement.publisher.count >= 20), measurement.stop()))
    stopper.start()
    run = measurement.conduct(progress=False)
    stopper.join()
    summary = run.summary()
    assert run.interrupted and (summary["lost"] == 0).all()
    assert summary.loc["polling", "pending"] == len(run.published) - summary.loc["polling", "events"] >= 15
    assert summary.loc["sse", "pending"] == len(run.published) - summary.loc["sse", "events"] <= 2
    assert "pending" in run._repr_html_()


def test_what_never_attaches_is_a_failure_in_words(lab: labkit.Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attaching, "OPEN_TIMEOUT_S", 0.2 * UNIT)

    async def silent(opening: Opening) -> AsyncGenerator[Delivery | Gap, None]:
        await asyncio.Event().wait()
        yield Delivery(0, "", "", 0)

    mine = dataclasses.replace(find("sse"), name="mine", route="/mine", client=silent)
    monkeypatch.setattr(Measurement, "on_its_way_s", 0.2 * UNIT)
    with labkit.Lab("measurement", techniques=(*TECHNIQUES, mine)) as lab:
        run = labkit.measure(lab, ["mine", "sse"], labkit.periodic(20, 0.3), progress=False)
    assert run.failures == {"mine": f"it never attached: the server has not answered (waited {0.4 * UNIT:.3g} s)"}
    assert run.summary().loc["mine", "failed"] == run.failures["mine"]


def test_progress_begins_at_0(lab: labkit.Lab) -> None:
    measurement = Measurement(lab, ["sse"], labkit.periodic(duration_s=8))
    measurement.started_ns = now_ns() + 3_000_000_000  # the first requests are still on their way
    assert measurement._standing() == "measuring sse: 0 of 8 s, 0 events published"


def test_the_run_survives_saving(lab: labkit.Lab, tmp_path: Path) -> None:
    run = labkit.measure(lab, ["sse"], labkit.periodic(rate_per_s=20, duration_s=0.5), 0.02, progress=False)
    again = labkit.load(run.save(tmp_path / "run.parquet"))
    assert again.summary().equals(run.summary())
    assert again.explain(5).text == run.explain(5).text


def foreign_server(body: bytes) -> Iterator[str]:
    """Somebody else's server: answers any request with *body*, and leaves the connection open."""
    listener = socket.create_server(("127.0.0.1", 0))
    held: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            held.append(connection)
            connection.recv(65536)
            connection.sendall(body)

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/anything"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()
    for connection in held:
        connection.close()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\n\r\n"


@pytest.mark.parametrize(
    ("technique", "body", "wire_ids"),
    [
        ("sse", b"id: 40\ndata: a\n\ndata: b\n\nid: last\ndata: c\n\n", ["40", None, "last"]),
        ("http-streaming", b'{"price": 1}\nnot json\n{"id": 9}\n', [None, None, None]),
    ],
)
def test_somebody_elses_server_is_listened_to(technique: str, body: bytes, wire_ids: list[str | None]) -> None:
    server = foreign_server(HEAD % (b"text/event-stream" if technique == "sse" else b"text/plain") + body)
    try:
        run = listen(next(server), technique, seconds=0.5 * UNIT, progress=False)
    finally:
        next(server, None)
    frame = run.deliveries
    assert run.foreign and run.failures == {}
    assert frame["event_id"].tolist() == [1, 2, 3]
    assert frame["wire_id"].astype(object).where(frame["wire_id"].notna(), None).tolist() == wire_ids
    assert frame[["due_ns", "published_ns", "latency_ms", "transit_ms"]].isna().all(axis=None)
    assert run.intervals().loc[technique, "events"] == 3


LARGE = 1 << 63
"""The first number that no table of a run holds."""


@pytest.mark.parametrize(
    ("technique", "body", "ids", "wire_ids"),
    [
        ("sse", f"id: {LARGE}@abcd\ndata: x\n\n", [1], [f"{LARGE}@abcd"]),
        ("sse", "id: 9999999999999999999@abcd\ndata: x\n\n", [1], ["9999999999999999999@abcd"]),
        ("sse", f"id: 0@abcd\n\nid: {LARGE - 1}@abcd\ndata: x\n\n", [LARGE - 1], [str(LARGE - 1)]),
        ("http-streaming", f'{{"id":{LARGE},"data":"a"}}\n{{"id":{10**22},"data":"b"}}\n', [1, 2], [None, None]),
        ("http-streaming", f'{{"cursor":"0@abcd"}}\n{{"id":{LARGE - 1},"data":"a"}}\n', [LARGE - 1], [str(LARGE - 1)]),
        ("polling", f'{{"events":[{{"id":{LARGE},"data":"a"}}],"cursor":"{LARGE}@abcd"}}', [1], [None]),
    ],
)
def test_an_id_beyond_64_bits_is_somebody_elses(
    technique: str, body: str, ids: list[int], wire_ids: list[str | None], tmp_path: Path
) -> None:
    kind = b"text/event-stream" if technique == "sse" else b"application/json"
    head = HEAD % kind
    if technique == "polling":
        head = head.replace(b"\r\n\r\n", b"\r\nContent-Length: %d\r\n\r\n" % len(body))
    server = foreign_server(head + body.encode())
    try:
        run = listen(next(server), technique, seconds=0.5 * UNIT, progress=False)
    finally:
        next(server, None)
    frame = run.deliveries
    assert frame["event_id"].tolist()[: len(ids)] == ids
    assert frame["wire_id"].astype(object).where(frame["wire_id"].notna(), None).tolist()[: len(ids)] == wire_ids
    assert labkit.load(run.save(tmp_path / "run.parquet")).deliveries.equals(frame)
    assert technique in run._repr_html_()


def test_what_began_as_a_lab_and_numbers_beyond_64_bits_is_said() -> None:
    server = foreign_server(
        HEAD % b"application/json" + f'{{"cursor":"0@abcd"}}\n{{"id":{LARGE},"data":"a"}}\n'.encode()
    )
    try:
        run = listen(next(server), "http-streaming", seconds=0.5 * UNIT, progress=False)
    finally:
        next(server, None)
    assert len(run.deliveries) == 0 and "what no lab says" in run.failures["http-streaming"]


def test_an_address_where_nobody_listens_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    own = find("polling")
    run = listen(f"http://127.0.0.1:{port}/polling", own, seconds=0.3, progress=False)
    assert len(run.deliveries) == 0


def test_a_learners_own_technique_runs_beside_the_others() -> None:
    mine = Technique(
        name="mine",
        title="My own",
        spec="nobody's",
        route="/mine",
        handler=find("sse").handler,
        client=find("sse").client,
    )
    with labkit.Lab("measurement", techniques=(*TECHNIQUES, mine)) as lab:
        run = labkit.measure(lab, ["mine", "sse"], labkit.periodic(rate_per_s=20, duration_s=0.5), progress=False)
    assert run.summary()["events"].to_dict() == {"mine": 10, "sse": 10}
    assert set(run.connections["technique"]) == {"mine", "sse"}


def test_a_run_says_how_long_its_lab_holds_a_poll() -> None:
    with labkit.Lab("holds", hold_s=5 * UNIT) as lab:
        run = labkit.measure(lab, ["long-polling"], labkit.periodic(rate_per_s=20, duration_s=0.1), progress=False)
    assert run.settings["hold_s"] == 5 * UNIT
