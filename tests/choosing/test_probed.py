"""What ``labkit probe --json`` says of a path, as the chooser takes it: real probes, and files that are none."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import labkit
from labkit.errors import LabkitError

CALM: dict[str, Any] = {"rate_per_s": 1.0, "staleness_s": 2.0}


class Holding(BaseHTTPRequestHandler):
    """Events of a second, held back with their head until the end."""

    def do_GET(self) -> None:
        time.sleep(1)
        body = b"".join(b"id: %d\ndata: x\n\n" % n for n in range(1, 9))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Nothing."""


@contextlib.contextmanager
def held_back() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Holding) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/events"
        finally:
            server.shutdown()
            thread.join()


def report(*findings: tuple[int, str], url: str = "https://app.example/events", **first: Any) -> dict[str, Any]:
    """A probe's JSON with these findings, by row and grade."""
    told = {"status": 200, "http_version": "1.1", "end": "open", "end_s": 9.0, "last_s": 4.0, "complaint": "",
            "events": [{"t_s": 3.0}]}  # fmt: skip
    return {
        "url": url, "status": int(bool(findings)), "notes": [], "unmet": [], "requests": [told | first],
        "findings": [{"row": row, "grade": grade, "says": f"row {row} it was"} for row, grade in findings],
    }  # fmt: skip


@pytest.mark.timing
def test_a_stream_that_is_held_back_is_a_proxy_that_buffers(tmp_path: Path) -> None:
    with held_back() as url:
        found = labkit.probe(url, seconds=3, say=None)
    path = tmp_path / "path.json"
    path.write_text(json.dumps(found.as_json()), encoding="utf-8")
    for source in (found, found.as_json(), path, str(path)):
        choice = labkit.choose(**CALM, path=source)
        assert choice.needs.path == ("buffering-proxy",) and not choice.needs.tls
        assert choice.winner == "websocket"
    assert url in choice.reasons[0] and "buffering-proxy (consistent with" in choice.reasons[0]
    assert choice.reasons[0] in repr(choice) and choice.reasons[0] in choice.to_adr()


@pytest.mark.timing
def test_an_upgrade_that_is_refused_and_a_stream_that_is_well() -> None:
    with labkit.Lab("probed") as lab:
        well = labkit.probe(f"http://127.0.0.1:{lab.port}/sse", seconds=1, say=None)
        refused = labkit.probe(f"ws://127.0.0.1:{lab.port}/nothing-here", seconds=1, say=None)
    plain = labkit.choose(**CALM, path=well)
    assert plain.needs.path == ("plain",) and "nothing was in the way" in plain.reasons[0]
    assert labkit.choose(**CALM, path=refused).needs.path == ("blocks-upgrade",)


@pytest.mark.timing
def test_a_connection_that_is_cut_when_idle_is_a_time_out() -> None:
    with labkit.Lab("probed") as lab, labkit.Intermediary(lab, idle_timeout_s=0.7) as hop:
        found = labkit.probe(f"http://127.0.0.1:{hop.ports['http']}/sse", seconds=3, say=None)
    choice = labkit.choose(**CALM, path=found)
    assert 0.5 < choice.needs.idle_timeout_s < 2 and choice.needs.beat_s < choice.needs.idle_timeout_s


def test_what_reads_inside_tls_ends_it_and_http2_is_an_edge() -> None:
    choice = labkit.choose(**CALM, path=report((1, "seen"), (20, "consistent with"), http_version="2"))
    assert set(choice.needs.path) == {"buffering-proxy", "blocks-upgrade", "http2-edge", "ends-tls"}
    assert choice.needs.tls and choice.winner in ("long-polling", "polling")
    quiet = labkit.choose(**CALM, path=report())
    assert quiet.needs.path == ("plain",) and quiet.needs.tls and "tls=True" in quiet.reasons[0]


def test_pings_do_not_count_for_a_hop_that_counts_messages() -> None:
    by_byte, by_message = (labkit.choose(**CALM, path=report((row, "seen"))) for row in (8, 12))
    assert by_byte.needs.idle_timeout_s == 5 and by_message.needs.idle_timeout_s == 6


@pytest.mark.parametrize("found", [(7, "consistent with"), (1, "seen")])
def test_not_even_a_head_is_a_proxy_that_buffers_as_well(found: tuple[int, str]) -> None:
    choice = labkit.choose(**CALM, path=report(found, status=0, http_version="", end="silent", last_s=None, events=[]))
    assert "buffering-proxy" in choice.needs.path


def test_what_is_no_part_of_the_arithmetic_is_said_to_be_left_out() -> None:
    choice = labkit.choose(**CALM, path=report((13, "seen"), url="http://app.example/"))
    assert choice.needs.path == ("plain",) and "not in this arithmetic: row 13 it was" in choice.reasons[1]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (report(status=0, end="refused", complaint="no connection"), "could not ask .* no connection"),
        (report() | {"status": 2}, "could not ask"),
        ({"findings": []}, "not what `labkit probe --json` writes"),
        (report() | {"requests": []}, "not what `labkit probe --json` writes"),
        (report() | {"findings": [{"says": "no row"}]}, "not what `labkit probe --json` writes"),
        (["plain", {"url": "x"}], "expected some of plain"),
        ("nowhere.json", "no file of `labkit probe --json`"),
        (Path(__file__), "no file of `labkit probe --json`"),
    ],
)
def test_what_is_no_probe_is_one_clear_error(source: Any, said: str) -> None:
    with pytest.raises(LabkitError, match=f"choose: path.*{said}"):
        labkit.choose(**CALM, path=source)
