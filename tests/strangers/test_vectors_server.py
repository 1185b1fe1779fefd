"""The server of the cases, over real sockets."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from kit_clients import verdicts

from conftest import UNIT
from labkit.__main__ import main
from labkit.errors import LabkitError
from labkit.strangers.vectors.catalogue import ALL
from labkit.strangers.vectors.server import VectorServer


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[tuple[VectorServer, int]]:
    server = VectorServer(**options)
    try:
        yield server, await server.start()
    finally:
        await server.close()


def with_server(test: Callable[[int], Awaitable[None]], **options: Any) -> None:
    async def run() -> None:
        async with serving(**options) as (_, port):
            await test(port)

    asyncio.run(run())


async def asked(port: int, target: str, *fields: str, method: str = "GET", body: bytes = b"") -> tuple[bytes, bytes]:
    """Head and body of the answer on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = (f"{method} {target} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", "Connection: close", *fields)
    writer.write("\r\n".join((*lines, "", "")).encode() + body)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    head, _, rest = answer.partition(b"\r\n\r\n")
    return head, rest


async def as_json(port: int, target: str, **asking: Any) -> Any:
    return json.loads((await asked(port, target, **asking))[1])


def test_the_kits_own_clients_at_every_case() -> None:
    async def run() -> dict[str, Any]:
        async with serving(is_fast=True) as (server, port):
            return await verdicts(list(ALL), f"http://127.0.0.1:{port}", server.visits)

    found = asyncio.run(run())
    assert len(found) == len(ALL)
    wrong = {name: told["differences"] for name, told in found.items() if not told["right"]}
    assert wrong == {}


def test_a_visit_gets_its_answers_in_turn_and_sees_what_it_sent() -> None:
    async def test(port: int) -> None:
        target = "/event-stream/id?visit=mine"
        first = await asked(port, target, "Accept: text/event-stream")
        second = await asked(port, target, "Last-Event-ID: é1")
        other = await asked(port, "/event-stream/id?visit=other")
        assert b"data: one" in first[1] and b"data: one" in other[1]
        assert second[0].startswith(b"HTTP/1.1 204 ") and second[1] == b""
        seen = await as_json(port, "/cases/id/seen.json?visit=mine")
        assert [request["lastEventId"] for request in seen["requests"]] == [None, "é1"]
        assert ["Accept", "text/event-stream"] in seen["requests"][0]["fields"]
        assert [request["answered"] for request in seen["requests"]] == ["HTTP/1.1 200 OK", "HTTP/1.1 204 No Content"]
        assert (await as_json(port, "/cases/id/seen.json?visit=nobody"))["requests"] == []

    with_server(test)


def test_a_report_gets_a_verdict_with_what_the_server_saw() -> None:
    async def test(port: int) -> None:
        event = {"type": "message", "data": "one", "lastEventId": "1"}
        for last, right in (("1", True), ("2", False)):
            for fields in ((), (f"Last-Event-ID: {last}",)):
                await asked(port, f"/event-stream/id?visit=v{last}", *fields)
            report = json.dumps({"events": [event], "readyState": 2}).encode()
            told = await as_json(port, f"/cases/id/had?visit=v{last}", method="POST", body=report)
            assert told["right"] is right
        assert told["differences"] == [{"what": "seen.requests[1]", "expected": "1", "had": "2"}]

    with_server(test)


@pytest.mark.parametrize(
    ("target", "asking", "status", "says"),
    [
        ("/nothing", {}, 404, b"/cases.json"),
        ("/lines/id", {}, 404, b"nothing at"),
        ("/cases/id/had", {}, 405, b"POST"),
        ("//[", {}, 404, b"nothing at //["),
        ("http://x:y/nothing?a", {}, 404, b"nothing at /nothing;"),
        ("/event-stream/id", {"method": "HEAD"}, 405, b""),
        ("/cases/id/had", {"method": "POST", "body": b"{"}, 400, b"line 1"),
        ("/cases/id/had", {"method": "POST", "body": b"[" * 100_000}, 400, b"recursion"),
        ("/cases/id/had", {"method": "POST", "body": b"{}"}, 400, b"events, readyState"),
        ("/event-stream/id?visit=a/b", {}, 400, b"64 letters"),
        ("/event-stream/id?cut=no", {}, 400, b"whole, every, all"),
        ("/event-stream/id?pause_ms=-1", {}, 400, b"pause_ms"),
        ("/ HTTP/1.1\r\nx y: z\r\nx:", {}, 400, b"illegal"),
    ],
)
def test_what_cannot_be_answered_is_said(target: str, asking: dict[str, Any], status: int, says: bytes) -> None:
    async def test(port: int) -> None:
        head, body = await asked(port, target, **asking)
        assert head.startswith(b"HTTP/1.1 %d " % status) and says in body

    with_server(test)


def test_pages_need_nothing_from_elsewhere_and_say_their_types() -> None:
    async def test(port: int) -> None:
        for target, kind in (
            ("/", b"text/html"),
            ("/page/style.css", b"text/css"),
            ("/page/vectors.js", b"text/javascript"),
            ("/lines/lines-crlf/about", b"text/html"),
            ("/cases.json", b"application/json"),
        ):
            head, body = await asked(port, target)
            assert b"HTTP/1.1 200 OK" in head and kind in head and body
            assert b"https:" not in body and b"http:" not in body.replace(b"replace(/^http/", b"")
            assert (await asked(port, target, method="HEAD")) == (head, b"")
        head, _ = await asked(port, "/lines/lines-crlf", method="OPTIONS")
        assert b"204 No Content" in head and b"Access-Control-Allow-Headers" in head

    with_server(test)


def test_a_connection_carries_one_exchange_after_the_other() -> None:
    async def test(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for body in (b"3\r\none\r\n0\r\n\r\n", b"3\r\ntwo\r\n0\r\n\r\n"):
            writer.write(b"GET /long-poll/poll-plain?visit=a HTTP/1.1\r\nHost: x\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(len(body)) == body
        writer.close()
        await writer.wait_closed()

    with_server(test)


def test_bytes_that_are_cut_arrive_apart() -> None:
    async def test(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /lines/lines-plain?cut=4&pause_ms=200 HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        first = await reader.read(1000)
        assert first == b"10\r\n"
        assert await reader.readuntil(b"0\r\n\r\n") == b'{"a":1}\n{"a":2}\n\r\n0\r\n\r\n'
        writer.close()
        await writer.wait_closed()

    with_server(test)


def test_a_reset_is_a_reset_and_a_fin_a_fin() -> None:
    async def test(port: int) -> None:
        assert (await asked(port, "/event-stream/fin-in-the-middle"))[1].endswith(b"data: one\n\n\r\n")
        with pytest.raises(ConnectionResetError):
            await asked(port, "/event-stream/reset")

    with_server(test)


def test_closing_the_server_ends_what_is_under_way() -> None:
    async def run() -> None:
        async with serving() as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /event-stream/heartbeat-alone HTTP/1.1\r\nHost: x\r\n\r\n")
            await reader.readuntil(b":\n\n")
        assert await reader.read() in (b"", b"\r\n")
        writer.close()
        await writer.wait_closed()

    asyncio.run(run())


def test_a_port_in_use_is_named() -> None:
    async def run() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(LabkitError, match=f"127.0.0.1:{port}"):
                await VectorServer().start(port=port)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--port", "65536"], "port 65536 is not a port"),
        (["--port", "-1"], "port -1 is not a port"),
        (["--host", ""], "no host"),
        (["--host", "a" * 300], "cannot listen on 'aaa"),
    ],
)
def test_where_it_cannot_listen_is_one_sentence(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["vectors", *arguments]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith(f"labkit: {says}") and said.err.count("\n") == 1


def test_the_command_says_where_and_stops_cleanly() -> None:
    command = [sys.executable, "-m", "labkit", "vectors", "--fast"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and process.stderr is not None
            first = process.stdout.readline()
            assert f"labkit serves {len(ALL)} cases at http://127.0.0.1:" in first
            while "Ctrl-C" not in process.stdout.readline():
                pass
            process.send_signal(signal.SIGINT)
            assert process.wait(20 * UNIT) == 0
            assert process.stdout.read() == "stopped\n" and process.stderr.read() == ""
        finally:
            process.kill()


def test_the_server_needs_none_of_the_notebooks_libraries() -> None:
    code = "import sys, labkit.strangers.vectors.server; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30 * UNIT)
    assert {"pandas", "numpy", "plotly", "pyarrow", "psutil", "ipywidgets", "tornado"} & {*done.stdout.split()} == set()
