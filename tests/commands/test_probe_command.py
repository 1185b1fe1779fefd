"""``labkit probe``: what it prints, writes and returns."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from planted_streams import CUT, Answer, Step, endless, flowing, never, planted
from steady import Pace, Stalls

from labkit.__main__ import main
from labkit.lab.lab import Lab
from labkit.strangers.tap.tap import Tap
from labkit.techniques import TECHNIQUES
from labkit.techniques.plugin_socket import PLUGIN_SOCKET
from labkit.techniques.websocket import WEBSOCKET
from wait import TIMEOUT_S


@pytest.mark.timing
def test_it_says_beforehand_what_it_sends_then_what_it_found_and_writes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "seen.json"
    with Lab("probed by command") as lab:
        lab.publish("one")
        url = f"{lab.url.rstrip('/')}/sse?after=0"
        status = main(["probe", url, "--seconds", "0.5", "--header", "X-Key: hidden", "--json", str(file)])
    told = capsys.readouterr()
    assert status == 0
    assert told.err.startswith(f"will send: GET {url}, listening for 0.5 s")
    assert told.out.startswith("nothing is wrong with it in this probe\n")
    seen = json.loads(file.read_text(encoding="utf-8"))
    assert seen["status"] == 0 and seen["requests"][0]["events"][0]["said"] == "one"
    assert "hidden" not in told.out + told.err + file.read_text(encoding="utf-8")


@pytest.mark.timing
def test_the_exit_status_is_1_of_a_finding_and_2_where_it_could_not_be_asked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Lab("probed by command") as lab:
        url = lab.url.rstrip("/")
        assert main(["probe", f"{url}/nowhere", "--seconds", "1"]) == 1
        assert main(["probe", f"{url}/sse", "--seconds", "0.3", "--expect", "first-event=100ms"]) == 1
    told = capsys.readouterr().out
    assert told.startswith("seen: the answer is 404") and "\nnot as expected: no first event within 0.3" in told
    assert main(["probe", f"{url}/sse"]) == 2
    assert main(["probe", "ftp://x/"]) == 2
    assert main(["probe", f"{url}/sse", "--expect", "pace=1"]) == 2


def test_any_technique_over_http_asks_and_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    over_http = ["auto", *(one.name for one in TECHNIQUES if one.port == "http" and not one.exhibit)]
    for name in over_http:
        assert main(["probe", "http://127.0.0.1:9/", "--technique", name, "--seconds", "0.5"]) == 2
        told = capsys.readouterr()
        assert "could not be asked" in told.out
        assert told.err.startswith(f"will send: {'a WebSocket' if name == WEBSOCKET.name else 'GET'} http")
    assert main(["probe", "http://127.0.0.1:9/", "--technique", PLUGIN_SOCKET.name]) == 2
    assert capsys.readouterr().err.endswith(f"expected one of {', '.join(over_http)}\n")


ENDS: list[tuple[str, int]] = [
    ("", 0),
    ("--also {url}", 0),
    ("--technique sse", 0),
    ("--technique nobody", 2),
    ("--method GET", 0),
    ("--method G@T", 2),
    ("--data {{}}", 0),
    ("--data {{}} --again", 0),
    ("--data @/nowhere/at/all", 2),
    ("--seconds 2 --cut", 1),
    ("--publish", 2),
    ("--parallel 2", 0),
    ("--parallel -1", 2),
    ("--header X-Key:1", 0),
    ("--header X-Key", 2),
    ("--seconds 0", 2),
    ("--http 1", 0),
    ("--cafile /nowhere/at/all", 2),
    ("--insecure", 0),
    ("--proxy {proxy}", 0),
    ("--proxy {proxy} --also {url}", 0),
    ("--proxy socks5://127.0.0.1:1", 2),
    ("--proxy http://127.0.0.1:1", 2),
    ("--seconds 2 --expect first-event=1900ms", 0),
    ("--expect first-event=1ms", 1),
    ("--seconds 2 --expect head=1ms,gap=1900ms", 1),
    ("--expect lasts=500ms", 0),
    ("--expect gap=500ms", 2),
    ("--expect lasts=501ms", 2),
    ("--expect pace=1s", 2),
    ("--html {folder}/a.html", 0),
    ("--html {folder}/not/there/a.html", 2),
    ("--json {folder}/a.json", 0),
    ("--json {folder}/not/there/a.json", 2),
    ("--json -", 0),
    ("--json - --html {folder}/a.html", 0),
]
"""Options, on a stream that is well, half a second long; and the exit status."""


@pytest.mark.timing
@pytest.mark.parametrize(("options", "status"), ENDS, ids=[options or "none" for options, _ in ENDS])
def test_each_option_has_its_exit_status(
    options: str, status: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with planted(slowly) as url, Tap() as tap:
        words = options.format(url=url, proxy=tap.url, folder=tmp_path).split()
        for Pace.factor in (1.0, 1.0, 1.0):  # what these options expect is said at the first pace
            with Stalls() as stalls:
                ended = main(["probe", url, "--seconds", "0.5", *words])
            told = capsys.readouterr()
            if ended == status or not stalls.mattered:
                break
    assert ended == status, told
    if "--json -" in options:
        assert json.loads(told.out)["status"] == 0 and told.err.startswith("will send: ")
    if status == 2:
        assert "\nlabkit: " in f"\n{told.err}" or told.out.startswith("seen: it could not be "), told


def slowly(asked: str) -> Iterator[Step]:
    """A stream whose head and events nobody calls late, and that answers a POST alike."""
    yield 0.01
    yield from endless(asked)


def started(*words: str, **more: Any) -> subprocess.Popen[str]:
    """``labkit probe WORDS`` in a process of its own."""
    command = [sys.executable, "-u", "-m", "labkit", "probe", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **{"stderr": subprocess.PIPE, **more})


@pytest.mark.timing
@pytest.mark.parametrize("answer", [endless, never], ids=["events", "no head"])
@pytest.mark.parametrize("is_ignored", [False, True], ids=["asked by hand", "in the background of a shell"])
def test_an_interrupt_ends_it_with_what_was_seen(answer: Answer, is_ignored: bool, tmp_path: Path) -> None:
    asked = threading.Event()

    def heard(request: str) -> Iterator[Step]:
        for step in answer(request):
            yield step
            if isinstance(step, bytes) and b"event 3" in step:
                asked.set()

    def waiting(request: str) -> Iterator[Step]:
        asked.set()
        yield from answer(request)

    with planted(heard if answer is endless else waiting) as url:
        file = tmp_path / "seen.json"
        ignoring = (lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)) if is_ignored else None
        words = (url, "--seconds", "60", "--json", str(file), "--html", str(tmp_path / "seen.html"))
        with started(*words, preexec_fn=ignoring) as process:
            assert asked.wait(TIMEOUT_S)
            began = time.monotonic()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=TIMEOUT_S)
            assert time.monotonic() - began < 30
    assert process.returncode == 130, out + err
    assert "interrupted: this is what was seen until then" in out and "Traceback" not in err
    seen = json.loads(file.read_text(encoding="utf-8"))
    assert seen["interrupted"] and seen["findings"] == [] and len(seen["requests"]) == 1
    assert seen["requests"][0]["end"] == ("open" if answer is endless else "stopped")
    assert bool(seen["requests"][0]["events"]) is (answer is endless)
    assert (tmp_path / "seen.html").exists()


@pytest.mark.timing
def test_what_was_found_before_an_interrupt_is_still_a_finding() -> None:
    """The second answer is waited for when it comes."""
    times, asked_again = itertools.count(), threading.Event()

    def answer(request: str) -> Iterator[Step]:
        if next(times):
            asked_again.set()
            yield from endless(request)
        else:
            yield from flowing(3)
            yield 1.0
            yield CUT

    with planted(answer) as url, started(url, "--seconds", "60") as process:
        assert asked_again.wait(TIMEOUT_S)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 1 and "consistent with" in out and "interrupted: " in out, out


@pytest.mark.timing
def test_what_takes_over_two_seconds_says_how_far_it_is() -> None:
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    try:
        with planted(endless) as url, started(url, "--seconds", "4", stderr=theirs) as process:
            process.communicate(timeout=60)
        os.close(theirs)
        said = b""
        with contextlib.suppress(OSError):
            while more := os.read(ours, 65536):
                said += more
    finally:
        os.close(ours)
    lines = [line for line in said.decode().split("\r") if " events, for up to 4 s" in line]
    assert lines and "as asked: " in lines[0], said
    assert said.endswith(b"\r\x1b[K")


def test_it_runs_without_what_notebooks_need() -> None:
    code = (
        "import sys, labkit.strangers.probe.probing; print(sorted({'pandas','plotly','tornado','h2'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
