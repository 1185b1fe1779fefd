"""The command line, as a user types it."""

from __future__ import annotations

import importlib
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import labkit
from conftest import UNIT
from labkit.__main__ import main


def run(*arguments: str, timeout_s: float = 60 * UNIT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "labkit", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)


@contextmanager
def serving(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`labkit serve`, once it has said where."""
    command = [sys.executable, "-m", "labkit", "serve", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout is not None
            first = process.stdout.readline()
            found = re.search(r"https?://127\.0\.0\.1:\d+", first)
            assert found, first + process.stdout.read()
            yield process, found[0]
        finally:
            process.kill()


def test_techniques_lists_them_with_their_routes() -> None:
    done = run("techniques")
    assert done.returncode == 0
    for technique in labkit.TECHNIQUES:
        assert re.search(rf"^{technique.name} +{technique.route or 'a TCP port'}", done.stdout, re.M)


def test_measure_prints_a_table_and_writes_the_run_and_a_page(tmp_path: Path) -> None:
    out, page = tmp_path / "run.parquet", tmp_path / "run.html"
    done = run("measure", "--seconds", "1", "--techniques", "sse,websocket", "--out", str(out), "--html", str(page))
    assert done.returncode == 0, done.stderr
    assert re.search(r"^sse +\d+ +0 ", done.stdout, re.M)
    assert labkit.load(out).settings["techniques"] == ["sse", "websocket"]
    text = page.read_text()
    assert text.startswith("<!doctype html>")
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=[\"']?https?:", text)  # it needs no network


def test_measure_listens_to_an_address() -> None:
    with serving("--source", "periodic", "--rate", "20") as (_, address):
        done = run("measure", "--url", f"{address}/sse", "--technique", "sse", "--seconds", "1")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^sse +\d\d ", done.stdout, re.M)


def test_a_page_of_somebody_elses_server_calls_intervals_intervals(tmp_path: Path) -> None:
    page = tmp_path / "run.html"
    with serving("--source", "periodic", "--rate", "20") as (_, address):
        done = run(
            *("measure", "--url", f"{address}/sse", "--technique", "sse", "--seconds", "1", "--html", str(page)),
        )
    assert done.returncode == 0, done.stderr
    assert "interval: p50_ms" in done.stdout and not re.search(r"(?<!interval: )p50_ms", done.stdout)
    text = re.sub(r"<script[^>]*>/\*\*.*?</script>", "", page.read_text(), count=1, flags=re.S)  # plotly itself
    assert len(text) < 1_000_000
    assert "interval (ms)" in text and "interval: p50_ms" in text
    assert not re.search(r"\b(latency|due|theory|takes?)\b", text)


@pytest.mark.parametrize("technique", [t.name for t in labkit.TECHNIQUES])
def test_where_nobody_listens_the_reason_is_told_and_the_status_is_1(technique: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    scheme, page = "tcp" if technique == "plugin-socket" else "http", tmp_path / "run.html"
    where = ("--url", f"{scheme}://127.0.0.1:{port}/x", "--technique", technique)
    drawn = ("--html", str(page)) if technique == "sse" else ()  # the libraries that draw take seconds to load
    done = run("measure", *where, "--seconds", "0.3", *drawn)
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith(f"{technique} failed: nothing came: no connection to 127.0.0.1:{port}")
    assert not drawn or "nothing came" in page.read_text()


@pytest.mark.parametrize(("asked", "of"), [("polling", "sse"), ("plugin-socket", "sse"), ("websocket", "polling")])
def test_where_the_technique_is_wrong_the_reason_is_told_and_the_status_is_1(asked: str, of: str) -> None:
    with serving("--source", "periodic", "--rate", "20") as (_, address):
        url = f"{address.replace('http', 'tcp') if asked == 'plugin-socket' else address}/{of}"
        done = run("measure", "--url", url, "--technique", asked, "--seconds", "0.5")
    assert done.returncode == 1 and done.stdout.startswith(f"{asked} failed: ")
    assert done.stdout.splitlines()[1:] == ([] if asked == "plugin-socket" else ["HTTP/1.1 was spoken."])


@pytest.mark.parametrize("url", ["", "not-a-url", "https:/127.0.0.1:1/", "ftp://127.0.0.1/", "x:y"])
def test_an_address_that_is_not_spoken_to_is_one_sentence_and_the_status_is_1(url: str) -> None:
    done = run("measure", "--url", url, "--technique", "sse")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith(f"labkit: {url!r} ") and "nothing was sent" in done.stderr


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_serve_ends_cleanly(sent: signal.Signals) -> None:
    with serving("--source", "machine") as (process, address):
        with urllib.request.urlopen(f"{address}/sse?after=0", timeout=10 * UNIT) as stream:
            assert stream.readline().startswith(b"id: ")
            process.send_signal(sent)
            assert process.wait(10 * UNIT) == 0
            assert stream.read() is not None  # the stream ended, it was not cut
        assert process.stdout is not None
        rest = process.stdout.read()
    assert rest.endswith("stopped\n")
    assert "Traceback" not in rest and "Warning" not in rest


def test_serve_without_a_source_publishes_nothing_by_itself() -> None:
    with serving() as (_, address):
        posted = urllib.request.urlopen(urllib.request.Request(f"{address}/events", b"hello"), timeout=10 * UNIT)
        with posted:
            assert posted.read() == b'{"id":1}'


@pytest.mark.parametrize(("options", "asks"), [((), True), (("--no-hint",), False)])
def test_serve_asks_intermediaries_not_to_buffer_unless_told_not_to(options: tuple[str, ...], asks: bool) -> None:
    with serving(*options) as (_, address), urllib.request.urlopen(f"{address}/sse", timeout=10 * UNIT) as stream:
        assert ("X-Accel-Buffering" in stream.headers) is asks


def test_serve_speaks_the_versions_that_it_is_told() -> None:
    pytest.importorskip("h2")
    with serving("--http", "2") as (process, address), pytest.raises(urllib.error.HTTPError) as refused:
        assert process.stdout is not None
        assert any(f"--http2-prior-knowledge {address}/" in line for line in iter(process.stdout.readline, "Ctrl-C"))
        urllib.request.urlopen(f"{address}/polling", timeout=10 * UNIT)
    with refused.value as answer:
        assert answer.status == 505 and b"HTTP/2 only" in answer.read()


def test_serve_lets_in_the_origins_that_it_is_told_over_tls_too() -> None:
    pytest.importorskip("trustme")
    allowed = ("--allow-origin", "https://a.test:443", "--allow-origin", "http://b.test:8080")
    with serving("--tls", *allowed) as (process, address):
        assert process.stdout is not None and address.startswith("https:")
        printed = next(line for line in process.stdout if "--cacert" in line)
        cafile = re.findall(r"--cacert (\S+)", printed)[0]
        believed = next(line for line in process.stdout if "chromium" in line)
        assert re.search(
            rf"--user-data-dir=\$\(mktemp -d\) --ignore-certificate-errors-spki-list=[\w+/]{{43}}= {address}$", believed
        )
        context = ssl.create_default_context(cafile=cafile)
        for origin, status in (("https://a.test", 200), ("http://b.test:8080", 200), ("http://c.test", 403)):
            asked = urllib.request.Request(f"{address}/polling", headers={"Origin": origin})
            try:
                with urllib.request.urlopen(asked, timeout=10 * UNIT, context=context) as answer:
                    assert answer.status == status
            except urllib.error.HTTPError as error:
                with error:
                    assert error.status == status and b"labkit serve --allow-origin http://c.test" in error.read()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10 * UNIT) == 0
    assert not Path(cafile).exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["serve", "--allow-origin", "hub.example.org"], "not an origin: 'hub.example.org'"),
        (["measure", "--techniques", "pigeon"], "known are: polling, long-polling"),
        (["measure", "--url", "http://127.0.0.1:1/"], "--technique"),
        (["measure", "--technique", "sse"], "--techniques"),
        (["measure", "--url", "http://127.0.0.1:1/", "--technique", "sse", "--seconds", "-1"], "seconds must be"),
        (["measure", "--url", "http://127.0.0.1:1/", "--technique", "sse", "--seconds", "nan"], "seconds must be"),
        (["measure", "--source", "periodic", "--rate", "-1"], "rate_per_s=-1.0"),
        (["measure", "--source", "trace"], "trace FILE"),
        (["measure", "--source", "pigeon"], "expected machine, periodic"),
        (["measure", "--source", "trace", "/nowhere.csv"], "/nowhere.csv"),
        (["measure", "--out", "/nowhere/run.parquet"], "/nowhere is no folder"),
        (["measure", "--html", "-"], "- cannot be written"),
        (["serve", "--source", "machine", "--rate", "0"], "--rate 0"),
        (["serve", "--http", "1,3"], "--http 1,3: expected 1, 2 or 1,2"),
    ],
)
def test_bad_input_is_one_sentence(arguments: list[str], said: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("labkit: ") and done.stderr.count("\n") == 1
    assert said in done.stderr


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run("serve", "--port", port)
    assert done.returncode == 2
    assert f"port {port} is in use" in done.stderr


def test_serve_to_a_reader_that_has_gone_leaves_no_file(tmp_path: Path) -> None:
    pytest.importorskip("trustme", reason="certificates")
    heard, told = os.pipe()
    os.close(heard)
    try:
        command = [sys.executable, "-m", "labkit", "serve", "--tls"]
        environment = {**os.environ, "TMPDIR": str(tmp_path)}
        ended = subprocess.run(command, stdout=told, env=environment, timeout=60 * UNIT, check=False)
    finally:
        os.close(told)
    assert ended.returncode != 0 and list(tmp_path.iterdir()) == []


def test_an_interrupt_while_a_command_is_loaded_is_one_as_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(name: str) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib, "import_module", interrupted)
    assert main(["serve"]) == 130


def test_a_command_loads_no_other_and_the_door_loads_none() -> None:
    code = (
        "import sys\nfrom labkit.__main__ import main\n"
        "loaded = lambda: {name for name in sys.modules if name.startswith('labkit.commands.')}\n"
        "print(loaded(), 'asyncio' in sys.modules)\nmain(['techniques'])\nprint(loaded())"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert said[0] == "set() False" and said[-1] == "{'labkit.commands.techniques'}"


def test_help_lists_each_command_and_loads_nothing_large() -> None:
    code = (
        "import sys\nfrom labkit.__main__ import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print(*({'pandas', 'pyarrow', 'plotly', 'tornado', 'ipywidgets', 'numpy'} & set(sys.modules)))"
    )
    files = (Path(labkit.__file__).parent / "commands").glob("*.py")
    commands = {path.stem for path in files if re.search("^HELP = ", path.read_text(), re.M)}
    for words, said in [([], commands), (["measure"], {"--url"}), (["serve"], {"--plugin-port"})]:
        done = subprocess.run(
            [sys.executable, "-c", code, *words, "--help"], capture_output=True, text=True, check=True
        )
        *text, large = done.stdout.split("\n")[:-1]
        assert large == ""
        assert len(said) > 0 and all(re.search(rf"^ +{word}\b", "\n".join(text), re.M) for word in said)


@pytest.mark.parametrize("words", [["techniques"], ["probe", "http://127.0.0.1:9/", "--json", "-"]])
def test_a_reader_that_has_left_ends_it_without_a_word(words: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "labkit", *words]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False, timeout=60 * UNIT)
    os.close(writing)
    assert done.returncode == 141 and "Traceback" not in done.stderr and "Broken" not in done.stderr


def test_a_probe_and_a_tap_write_their_files_though_nobody_reads(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    for words in (
        ["probe", "http://127.0.0.1:9/", "--json", str(tmp_path / "probe")],
        ["tap", "--to", "http://127.0.0.1:9/", "--html", str(tmp_path / "tap")],
    ):
        command = [sys.executable, "-m", "labkit", *words]
        done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False, timeout=60 * UNIT)
        assert done.returncode == 141, done.stderr
    os.close(writing)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["probe", "tap"]


def test_a_console_that_cannot_show_it_has_its_number() -> None:
    program = "from labkit import progress; progress.write_any_character(); print('caf\u00e9 \ud55c')"
    told = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, env=told, timeout=60 * UNIT)
    assert done.stdout.strip() == b"caf\xe9 \\ud55c"
