"""Measuring over HTTP/2: the same events over other bytes, and what a run tells of them; whose version was spoken."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("h2", reason="h2 is not installed (pip install 'labkit[http2]')")
pytest.importorskip("trustme", reason="trustme is not installed (pip install 'labkit[tls]')")

import labkit
from labkit.__main__ import main
from labkit.errors import LabkitError, UnknownOption
from labkit.measuring.listening import listen
from labkit.subscribing.contract.receiver import bytes_of, check_marks
from labkit.wire.hpack import costs

HTTP = ["polling", "long-polling", "http-streaming", "sse", "websocket"]
SCHEDULE = labkit.periodic(rate_per_s=10, duration_s=1)


@pytest.mark.parametrize("tls", [False, True], ids=["clear", "tls"])
def test_every_technique_receives_the_same_over_fewer_bytes_of_headers(tls: bool, tmp_path: Path) -> None:
    with labkit.Lab("both", http=(1, 2), tls=tls) as lab:
        runs = {
            http: labkit.measure(lab, HTTP, SCHEDULE, poll_interval_s=0.1, http=http, progress=False) for http in (1, 2)
        }
    for http, run in runs.items():
        table = run.summary()
        assert table["failed"].tolist() == [""] * len(HTTP) and (table["lost"] == 0).all()
        assert (table["events"] == 10).all() and (table["duplicated"] == 0).all()
        assert set(run.deliveries["http_version"]) == {"2" if http == 2 else "1.1"}
        for record in run.ledger.of():
            assert sum(record.by_category.values()) == record.bytes_total
            assert record.http_version == ("2" if http == 2 else "1.1")
    heads = {
        http: sum(record.by_category["headers"] for record in run.ledger.of("polling")) for http, run in runs.items()
    }
    assert 3 * heads[2] < heads[1]
    run = runs[2]
    (polling,) = run.ledger.of("polling")
    paid = costs(polling.marks)["user-agent"]
    assert paid[0] > paid[-1] == 1
    for name in ("sse", "websocket"):  # on a busy machine an event may lie in the frame of the one before
        texts = [run.explain(event_id, name).text for event_id in range(11, 21)]
        assert any("DATA frame header" in text and ":path" in text for text in texts)
        assert not any("unmarked" in text for text in texts)

    log = json.loads(run.to_har(tmp_path / "run.har").read_text())["log"]
    assert "comment" not in log
    by_kind = {entry["comment"].partition(",")[0]: entry for entry in log["entries"]}
    assert set(by_kind) == set(HTTP)
    assert {entry["request"]["httpVersion"] for entry in log["entries"]} == {"HTTP/2"}
    scheme = "wss" if tls else "ws"
    assert by_kind["websocket"]["request"]["url"].startswith(f"{scheme}://127.0.0.1:{lab_port(run)}/websocket?")
    assert len(by_kind["websocket"]["_webSocketMessages"]) >= 11
    assert '"id":20' in by_kind["http-streaming"]["response"]["content"]["text"]

    again = labkit.load(run.save(tmp_path / "run.parquet"))
    assert [bytes_of(record, "in") for record in again.ledger.of()] == [bytes_of(r, "in") for r in run.ledger.of()]
    assert again.explain(13, "sse").text == run.explain(13, "sse").text


def lab_port(run: labkit.Run) -> int:
    return next(run.ledger.of()).remote[1]


def test_what_was_let_go_is_not_guessed(tmp_path: Path) -> None:
    with labkit.Lab("both", http=(1, 2)) as lab:
        run = labkit.measure(lab, ["sse"], SCHEDULE, http=2, keep_bytes=300, progress=False)
    log = json.loads(run.to_har(tmp_path / "run.har").read_text())["log"]
    assert not log["entries"] and "the fields of HTTP/2 cannot be read (RFC 7541 section 2.2)" in log["comment"]
    assert "let go" in run.explain(1, "sse").text


@pytest.mark.timing
def test_a_new_connection_costs_no_more_round_trips_than_with_http1() -> None:
    options = {"long-polling": {"keep_alive": False}}
    with labkit.Lab("both", http=(1, 2)) as lab:
        run = labkit.measure(
            lab, ["long-polling"], labkit.poisson(rate_per_s=10, duration_s=4), one_way_s=0.05, options=options, http=2
        )
    row = run.summary().loc["long-polling"]
    assert row["expected_mean_ms"] > 60
    assert abs(row["mean_ms"] - row["expected_mean_ms"]) < 50, "it waits for SETTINGS before it asks"


def test_what_does_not_speak_it_is_said_before_anything_starts() -> None:
    with labkit.Lab("one") as lab:
        with pytest.raises(LabkitError, match=r"this lab speaks HTTP/1 alone: Lab\(http=\(1, 2\)\)"):
            labkit.measure(lab, ["sse"], SCHEDULE, http=2)
        with pytest.raises(LabkitError, match="reads HTTP/1 alone: measure with http=1"):
            labkit.measure(lab, ["sse"], SCHEDULE, http=2, through=labkit.Intermediary())
        with pytest.raises(UnknownOption, match="plugin-socket speaks no HTTP"):
            labkit.measure(lab, ["sse", "plugin-socket"], SCHEDULE, http=2)
        with pytest.raises(UnknownOption, match="only over HTTP/1"):
            labkit.measure(lab, ["long-polling"], SCHEDULE, http=2, options={"long-polling": {"pipelined": True}})
    with labkit.Lab("two", http=(2,)) as lab:
        with pytest.raises(LabkitError, match=r"this lab speaks HTTP/2 alone: .* or measure with http=2"):
            labkit.measure(lab, ["sse"], SCHEDULE)


CHOSEN = [
    ((1, 2), "sse", None, "2", "HTTP/2 was spoken, agreed on in TLS (ALPN)."),
    ((1, 2), "sse", 1, "1.1", "HTTP/1.1 was spoken, agreed on in TLS (ALPN)."),
    ((1,), "sse", None, "1.1", "HTTP/1.1 was spoken, agreed on in TLS (ALPN)."),
    ((1, 2), "websocket", None, "1.1", "HTTP/1.1 was spoken, agreed on in TLS (ALPN)."),
    ((1, 2), "websocket", 2, "2", "HTTP/2 was spoken, agreed on in TLS (ALPN)."),
]


@pytest.mark.parametrize(("spoken", "name", "http", "version", "note"), CHOSEN)
def test_over_tls_the_server_chooses_unless_one_is_asked_for(
    spoken: tuple[int, ...], name: str, http: int | None, version: str, note: str
) -> None:
    with labkit.Lab("both", http=spoken, tls=True) as lab:
        for _ in range(3):
            lab.publish("x")
        url = f"{lab.url_of(name)}?after=0"
        run = listen(url, name, seconds=0.3, cafile=lab.cafile, http=http, progress=False)
    assert set(run.deliveries["http_version"]) == {version}
    assert note in run.notes


def test_a_server_that_agrees_on_no_h2_is_refused_where_nothing_else_was_asked_for() -> None:
    with labkit.Lab("one", tls=True) as lab:
        run = listen(lab.url_of("sse"), "sse", seconds=2, cafile=lab.cafile, http=2, progress=False)
    assert "HTTP/2" in run.failures["sse"] or "no TLS could be agreed on" in run.failures["sse"]


def test_the_command_says_which_version_was_spoken(capsys: pytest.CaptureFixture[str]) -> None:
    with labkit.Lab("both", http=(1, 2)) as lab:
        lab.publish("x")
        asked = ["measure", "--url", f"{lab.url_of('sse')}?after=0", "--technique", "sse", "--seconds", "0.3"]
        assert main([*asked, "--http", "2"]) == 0
        assert "HTTP/2 was spoken, by prior knowledge." in capsys.readouterr().out
        assert main(asked) == 0
        assert "HTTP/1.1 was spoken." in capsys.readouterr().out


WITHOUT = """
import sys
for name in ("h2", "hpack", "hyperframe"):
    sys.modules[name] = None
import labkit
from labkit.client.speaking import versions_of
from labkit.measuring.listening import listen
from labkit.techniques import find
from labkit.wire.dissect import Dissector
from labkit.wire.http2 import PREFACE
with labkit.Lab("plain") as lab:
    lab.publish("x")
    run = listen(f"{lab.url_of('sse')}?after=0", "sse", seconds=0.3, progress=False)
    assert len(run.deliveries) == 1, run.failures
assert versions_of(None) == (1,)
try:
    find("sse").connect("http://127.0.0.1:9", http=2)
except labkit.errors.MissingPackage as error:
    print(error)
dissector = Dissector()
head = b"\\0\\0\\1\\1\\5\\0\\0\\0\\1\\x82"
marks = dissector.feed("out", PREFACE + head) + dissector.end()
assert sum(mark.stop - mark.start for mark in marks) == len(PREFACE + head), marks
print([mark.exchange.complaint for mark in marks if mark.exchange][0])
"""


def test_without_the_extra_all_else_works_and_what_it_takes_is_named() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = 'HTTP/2 needs h2, which is not installed: pip install "labkit[http2]"'
    assert told in done.stdout and 'HTTP/2 fields are read with hpack: pip install "labkit[http2]"' in done.stdout


def test_subscribers_that_share_a_connection_each_receive_and_each_leave(tmp_path: Path) -> None:
    with labkit.Lab("both", http=(1, 2)) as lab:
        run = labkit.measure(
            lab, ["polling", "sse", "websocket"], SCHEDULE, poll_interval_s=0.2, http=2, share=True, subscribers=4,
            progress=False,
        )  # fmt: skip
        assert lab.stats()["subscribers"] == 0
    table = run.summary()
    assert (table["events"] == 40).all() and (table["lost"] == 0).all() and (table["duplicated"] == 0).all()
    assert (table["connections"] == 1).all() and run.deliveries["bytes"].isna().all()
    assert list(run.summary(by="subscriber").loc["sse"].index) == ["0, 1, 2, 3 (shared)"]
    for record in run.ledger.of():
        check_marks(record)
        assert record.shared and record.requests >= 4
        numbers = {mark.exchange.subscriber for mark in record.marks if mark.exchange is not None}
        assert numbers == {0, 1, 2, 3}
    told = [run.explain(5, "sse", subscriber=number).stories[0].passages[-1].start for number in range(4)]
    assert len(set(told)) == 4, "each has its own bytes"
    again = labkit.load(run.save(tmp_path / "run.parquet"))
    assert again.explain(5, "sse", subscriber=2).text == run.explain(5, "sse", subscriber=2).text
    with labkit.Lab("both", http=(1, 2)) as lab, pytest.raises(UnknownOption, match="shared over HTTP/2 alone"):
        labkit.measure(lab, ["sse"], SCHEDULE, share=True)
