"""Programs that know nothing of labkit get every event from `labkit serve`: curl, and the `websockets` library."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from websockets.sync.client import connect

from conftest import UNIT

TIMEOUT_S = 20 * UNIT
COUNT = 50
DATA = [f"이벤트 {n}, naïve “quoted” \\ 日本語 😀{chr(10) * (n % 3)}{chr(9) * (n % 2)}" for n in range(1, COUNT + 1)]

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="no curl: install it (apt-get install curl)")


@dataclass(frozen=True)
class Served:
    url: str
    plugin_port: int


@pytest.fixture
def served() -> Iterator[Served]:
    """`python -m labkit serve` in the foreground of a process of its own, ended by SIGINT as by Ctrl-C."""
    with subprocess.Popen(
        [sys.executable, "-m", "labkit", "serve"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        said = ""
        while "plugin-socket" not in said:
            line = server.stdout.readline()
            assert line, server.communicate()
            said += line
        http, plugin = re.search(r"http://127\.0\.0\.1:\d+", said), re.search(r"tcp://127\.0\.0\.1:(\d+)", said)
        assert http and plugin
        yield Served(http[0], int(plugin[1]))
        server.send_signal(signal.SIGINT)
        _, complaints = server.communicate(timeout=TIMEOUT_S)
        assert (server.returncode, complaints) == (0, "")


def curl(*arguments: str, data: bytes | None = None) -> bytes:
    done = subprocess.run(
        ["curl", "-sS", "-m", str(TIMEOUT_S), *arguments], input=data, capture_output=True, timeout=2 * TIMEOUT_S
    )
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout


def publish_all(url: str) -> None:
    for number, data in enumerate(DATA, 1):
        assert curl("--data-binary", "@-", f"{url}/events", data=data.encode()) == b'{"id":%d}' % number


Found = list[tuple[int, str]]
WANTED: Found = list(enumerate(DATA, 1))


def polled(url: str, target: str) -> Found:
    found: Found = []
    cursor = "0"
    while len(found) < COUNT:
        answer = json.loads(curl(f"{url}{target}&after={cursor}"))
        found += [(event["id"], event["data"]) for event in answer["events"]]
        cursor = answer["cursor"]
    return found


class Stream:
    """A curl that reads one endless response; :meth:`until` ends it once *parse* finds all events in its output."""

    def __init__(self, *arguments: str) -> None:
        self._curl = subprocess.Popen(
            ["curl", "-sSN", "-m", str(TIMEOUT_S), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert self._curl.stdout is not None
        self.raw = os.read(self._curl.stdout.fileno(), 1 << 16)  # it is subscribed once it was told where it begins

    def until(self, parse: Callable[[bytes], Found]) -> Found:
        with self._curl as process:
            assert process.stdout is not None
            while len(found := parse(self.raw)) < COUNT:
                data = os.read(process.stdout.fileno(), 1 << 16)
                assert data, (self.raw[-300:], process.stderr.read() if process.stderr else b"")
                self.raw += data
            process.terminate()
        return found


def events(texts: list[str]) -> Found:
    items = [json.loads(text) for text in texts]
    return [(item["id"], item["data"]) for item in items if "id" in item]


def lines(raw: bytes) -> Found:
    return events([line.decode() for line in raw.split(b"\n")[:-1] if line])


def parts(raw: bytes) -> Found:
    """The parts that are whole: their boundary has come."""
    whole = raw.split(b"--labkit-event\r\n")[:-1]
    return events([part.partition(b"\r\n\r\n")[2].decode() for part in whole if part.strip()])


def blocks(raw: bytes) -> Found:
    """Just enough of WHATWG HTML 9.2.6 for a server that ends its lines with LF."""
    found: Found = []
    for block in raw.split(b"\n\n")[:-1]:
        fields = [line.partition(": ")[::2] for line in block.decode().split("\n") if not line.startswith(":")]
        data = [value for name, value in fields if name.removesuffix(":") == "data"]
        if data:
            assert all(name != "event" for name, _ in fields), block
            found.append((int(dict(fields)["id"].partition("@")[0]), "\n".join(data)))
    return found


STREAMS: dict[str, tuple[list[str], str, Callable[[bytes], Found]]] = {
    "HTTP/1.1": ([], "/http-streaming", lines),
    "HTTP/1.1, ended by the close": ([], "/http-streaming?framing=eof", lines),
    "HTTP/1.0": (["-0"], "/http-streaming", lines),
    "HTTP/1.0, asking to be kept alive": (["-0", "-H", "Connection: keep-alive"], "/http-streaming", lines),
    "multipart": ([], "/http-streaming?format=multipart", parts),
    "multipart on HTTP/1.0": (["-0"], "/http-streaming?format=multipart", parts),
    "sse": (["-H", "Accept: text/event-stream"], "/sse", blocks),
    "sse on HTTP/1.0": (["-0"], "/sse", blocks),
}


def through_websocket(url: str, subscribed: threading.Event) -> Found:
    with connect(url.replace("http", "ws") + "/websocket", open_timeout=TIMEOUT_S) as socket:
        assert set(json.loads(socket.recv(TIMEOUT_S))) == {"cursor"}
        subscribed.set()
        return events([str(socket.recv(TIMEOUT_S)) for _ in range(COUNT)])


def through_plugin_socket(port: int, subscribed: threading.Event) -> Found:
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as sock:
        sock.sendall(b'{"subscribe":{}}\0')
        raw = sock.recv(1 << 16)
        subscribed.set()
        while raw.count(b"\0") <= COUNT and (data := sock.recv(1 << 16)):
            raw += data
    return events([text.decode() for text in raw.split(b"\0")[:-1]])


def test_each_gets_every_event_once_and_in_order_while_curl_publishes(served: Served) -> None:
    found: dict[str, Found] = {}
    told = [threading.Event(), threading.Event()]

    def keep(name: str, receive: Callable[..., Found], *arguments: Any) -> None:
        found[name] = receive(*arguments)

    threads = [
        threading.Thread(target=keep, args=("websocket", through_websocket, served.url, told[0])),
        threading.Thread(target=keep, args=("plugin-socket", through_plugin_socket, served.plugin_port, told[1])),
        threading.Thread(target=keep, args=("polling", polled, served.url, "/polling?topic=")),
        threading.Thread(target=keep, args=("long-polling", polled, served.url, "/long-polling?timeout=5")),
    ]
    for thread in threads:
        thread.start()
    with contextlib.ExitStack() as stack:
        streams = {name: Stream(*how, served.url + path) for name, (how, path, _) in STREAMS.items()}
        for stream in streams.values():
            stack.callback(stream._curl.kill)
        assert all(event.wait(TIMEOUT_S) for event in told)
        publish_all(served.url)
        for name, stream in streams.items():
            found[name] = stream.until(STREAMS[name][2])
    for thread in threads:
        thread.join(TIMEOUT_S)
    assert set(found) == {*STREAMS, "polling", "long-polling", "websocket", "plugin-socket"}
    for name, got in found.items():
        assert got == WANTED, name


def test_each_gets_what_history_holds_when_it_asks_for_all_of_it(served: Served) -> None:
    publish_all(served.url)
    for name, (how, path, parse) in STREAMS.items():
        joined = f"{served.url}{path}{'&' if '?' in path else '?'}after=0"
        assert Stream(*how, joined).until(parse) == WANTED, name
    assert polled(served.url, "/polling?topic=") == WANTED
    with connect(served.url.replace("http", "ws") + "/websocket?after=0") as socket:
        assert events([str(socket.recv(TIMEOUT_S)) for _ in range(COUNT + 1)]) == WANTED


def test_on_http_1_0_the_body_ends_with_the_connection_whatever_the_request_asks_for(served: Served) -> None:
    for path in ("/http-streaming", "/sse"):
        stream = Stream("-0", "-i", "-H", "Connection: keep-alive", served.url + path)
        head = stream.raw.lower().partition(b"\r\n\r\n")[0]
        stream._curl.kill()
        stream._curl.communicate()
        assert b"connection: close" in head and b"transfer-encoding" not in head and b"keep-alive" not in head, path


def test_curl_goes_on_where_it_left_off(served: Served) -> None:
    publish_all(served.url)
    cursor = json.loads(curl(f"{served.url}/polling"))["cursor"]
    last = f"{COUNT - 1}@{cursor.partition('@')[2]}"
    after = subprocess.run(
        ["curl", "-sN", "-m", "1", "-H", f"Last-Event-ID: {last}", f"{served.url}/sse"], capture_output=True
    )
    assert blocks(after.stdout) == WANTED[-1:]
    headers = curl("-D", "-", "-o", "/dev/null", f"{served.url}/polling?etag=1").decode()
    etag = re.search(r"(?i)^etag: (.*?)\r$", headers, re.MULTILINE)
    assert etag and etag[1] == f'"{cursor}"'
    again = curl("-w", "%{http_code}", "-H", f"If-None-Match: {etag[1]}", f"{served.url}/polling?etag=1")
    assert again == b"304"


def test_the_websockets_library_publishes_and_agrees_on_compression(served: Served) -> None:
    address = served.url.replace("http", "ws")
    with connect(f"{address}/websocket?deflate=1") as socket:
        assert [type(extension).__name__ for extension in socket.protocol.extensions] == ["PerMessageDeflate"]
        socket.recv(TIMEOUT_S)
        socket.send('{"publish": "한글", "ref": 1}')
        messages = [json.loads(socket.recv(TIMEOUT_S)) for _ in range(2)]
        assert {"published": 1, "ref": 1} in messages and {"id": 1, "data": "한글"} in messages
        assert socket.ping().wait(TIMEOUT_S)
    with connect(f"{address}/websocket?binary=1&after=0", compression=None) as socket:
        assert set(json.loads(socket.recv(TIMEOUT_S))) == {"cursor"}
        assert socket.recv(TIMEOUT_S) == (1).to_bytes(8, "big") + "한글".encode()
    with connect(f"{address}/websocket/echo") as socket:
        for message in ("텍스트", b"\x00\xff", "x" * 100_000):
            socket.send(message)
            assert socket.recv(TIMEOUT_S) == message
