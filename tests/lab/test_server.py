"""What a lab answers over real sockets to what it should not be asked, and to whom it answers at all."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from conftest import UNIT
from labkit import loop
from labkit.lab.lab import Lab
from labkit.server.hub import Hub

TIMEOUT_S = 10 * UNIT
LIMIT = 10_000  # max_event_bytes of the lab under test
ROUTES = [
    "/", "/browser", "/events", "/http-streaming", "/long-polling", "/polling", "/sse", "/websocket", "/websocket/echo",
]  # fmt: skip
UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


def parse(raw: bytes) -> Answer:
    head, _, body = raw.partition(b"\r\n\r\n")
    status_line, *fields = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
    return Answer(int(status_line.split()[1]), headers, body)


def connect(lab: Lab, port: int | None = None) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port or lab.port), timeout=TIMEOUT_S)


def read_head(sock: socket.socket) -> bytes:
    raw = b""
    while b"\r\n\r\n" not in raw and (data := sock.recv(1 << 16)):
        raw += data
    return raw


def read_all(sock: socket.socket) -> bytes:
    raw = b""
    with contextlib.suppress(ConnectionResetError):
        while data := sock.recv(1 << 16):
            raw += data
    return raw


def ask(
    lab: Lab,
    target: str,
    headers: dict[str, str] | None = None,
    *,
    method: str = "GET",
    body: bytes | None = None,
    stream: bool = False,
) -> Answer:
    """One request on a connection of its own; of a *stream* only the head is read."""
    fields = {"Host": f"127.0.0.1:{lab.port}", "Connection": "close", **(headers or {})}
    if body is not None:
        fields.setdefault("Content-Length", str(len(body)))
    lines = [f"{method} {target} HTTP/1.1"] + [f"{name}: {value}" for name, value in fields.items()]
    with connect(lab) as sock:
        sock.sendall("\r\n".join([*lines, "", ""]).encode() + (body or b""))
        raw = read_head(sock)
        answer = parse(raw)
        if stream or method == "HEAD" or answer.status in (101, 204, 304):
            return answer
        if (length := answer.headers.get("content-length")) is None:
            return parse(raw + read_all(sock))
        while len(answer.body) < int(length):
            more = sock.recv(1 << 16)
            assert more, "cut"
            raw += more
            answer = parse(raw)
        return answer


def post(lab: Lab, body: bytes, headers: dict[str, str] | None = None, target: str = "/events") -> Answer:
    return ask(lab, target, headers, method="POST", body=body)


def curl(*args: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["curl", "-sS", "-m", str(TIMEOUT_S), *args], capture_output=True, timeout=2 * TIMEOUT_S)


def still_usable(lab: Lab) -> None:
    """The lab publishes, delivers, and holds no exchange of those that have gone."""
    answer = post(lab, b"still here")
    number = json.loads(answer.body)["id"]
    assert ask(lab, f"/polling?after={number - 1}").text.startswith(f'{{"events":[{{"id":{number},')
    deadline = time.monotonic() + TIMEOUT_S
    while lab.stats()["connections"] or lab.stats()["subscribers"]:
        assert time.monotonic() < deadline, lab.stats()
        time.sleep(0.01)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab("test-server", max_event_bytes=LIMIT, allow_origins=["https://hub.example.org"]) as lab:
        yield lab


@pytest.fixture(autouse=True)
def logs_nothing_above_info(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.INFO)
    yield
    assert [r.getMessage() for r in caplog.records if r.levelno > logging.INFO] == []


# -- parameters -------------------------------------------------------------------------------------------------------

BAD_SECONDS = ["abc", "-1", "601", "600.001", "1e2", "inf", "nan", "+1", "0x1", " 1", "1_0", "1.", "\u0661", "9" * 400]
BAD_CURSORS = ["x", "-1", "1.5", "01", "1@", "1@ABC", "1@k", "@k3f9", "1@k3f9x3k3f9x3k", "1 ", "9" * 30, "%00", "a%0Ab"]


@pytest.mark.parametrize("route", ["/polling", "/long-polling", "/http-streaming", "/sse", "/websocket"])
@pytest.mark.parametrize("after", BAD_CURSORS)
def test_a_cursor_that_does_not_parse_is_a_400_that_names_it(lab: Lab, route: str, after: str) -> None:
    answer = ask(lab, f"{route}?after={after.replace(' ', '%20')}", UPGRADE if route == "/websocket" else None)
    assert answer.status == 400
    assert_one_line(answer, "after")


@pytest.mark.parametrize("timeout", BAD_SECONDS)
def test_a_hold_time_out_that_does_not_parse_is_a_400_that_names_it(lab: Lab, timeout: str) -> None:
    quoted = "".join(f"%{byte:02x}" for byte in timeout.encode())
    answer = ask(lab, f"/long-polling?timeout={quoted}")
    assert answer.status == 400
    assert_one_line(answer, "timeout")


@pytest.mark.parametrize("timeout", ["0", "0.0", "0.001", "000", "0.000000001"])
def test_a_hold_time_out_of_plain_decimal_seconds_is_taken(lab: Lab, timeout: str) -> None:
    answer = ask(lab, f"/long-polling?topic=quiet&timeout={timeout}")
    assert answer.status == 200 and json.loads(answer.body)["events"] == []


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("/http-streaming?format=json", "format"),
        ("/http-streaming?boundary=middle", "boundary"),
        ("/http-streaming?framing=chunk", "framing"),
        ("/http-streaming?conflate=yes", "conflate"),
        ("/sse?conflate=2", "conflate"),
        ("/polling?etag=true", "etag"),
        ("/polling?conflate=true", "conflate"),
        ("/long-polling?pipelined=on", "pipelined"),
        ("/long-polling?conflate=on", "conflate"),
        ("/websocket?binary=yes", "binary"),
        ("/websocket?conflate=yes", "conflate"),
        ("/websocket?deflate=yes", "deflate"),
        ("/polling?topic=" + "x" * 257, "topic"),
        ("/events?topic=" + "x" * 257, "topic"),
        ("/polling?topic=%ff", "topic"),
        ("/polling?after=%ff", "after"),
    ],
)
def test_a_bad_choice_is_a_400_that_names_the_parameter(lab: Lab, target: str, name: str) -> None:
    method = "POST" if target.startswith("/events") else "GET"
    answer = ask(lab, target, UPGRADE if "/websocket" in target else None, method=method)
    assert answer.status == 400
    assert_one_line(answer, name)


def assert_one_line(answer: Answer, name: str) -> None:
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text.endswith("\n") and answer.text.count("\n") == 1 and len(answer.text) < 200
    assert name in answer.text.partition(":")[0], answer.text
    assert "Traceback" not in answer.text and "%s" not in answer.text


def test_a_message_quotes_what_was_sent_as_it_was(lab: Lab) -> None:
    assert "'100%'" in ask(lab, "/polling?after=100%25").text
    assert "'%%s'" in ask(lab, "/polling?after=%25%25s").text


@pytest.mark.parametrize("after", ["7@zzzz", "999999", "0@zzzz", "9999999999999999999"])
def test_a_well_formed_cursor_that_cannot_be_continued_from_is_a_gap(lab: Lab, after: str) -> None:
    lab.publish("held")
    cursor = lab.cursor()
    for route in ("/polling", "/long-polling"):
        answer = json.loads(ask(lab, f"{route}?after={after}&timeout=60").body)
        assert answer["gap"]["after"] == after and answer["cursor"] == cursor
    for route in ("/http-streaming", "/sse"):
        answer = ask(lab, f"{route}?after={after}", stream=True)
        assert answer.status == 200


def test_a_gap_of_a_long_poll_is_told_at_once_when_nothing_is_held(lab: Lab) -> None:
    answer = json.loads(ask(lab, "/long-polling?topic=nothing&after=5@zzzz&timeout=600").body)
    assert answer["events"] == [] and answer["gap"] == {"after": "5@zzzz", "next": 1}


@pytest.mark.parametrize("last", ["garbage", "7@zzzz", "-1", "x" * 5000])
def test_a_last_event_id_that_means_nothing_here_is_a_gap_and_never_a_400(lab: Lab, last: str) -> None:
    with connect(lab) as sock:
        sock.sendall(f"GET /sse?after=x HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: {last}\r\n\r\n".encode())
        raw = b""
        while b"event: gap" not in raw:
            raw += sock.recv(1 << 16)
    assert raw.startswith(b"HTTP/1.1 200")


def test_other_routes_ignore_last_event_id(lab: Lab) -> None:
    assert ask(lab, "/polling", {"Last-Event-ID": "garbage"}).status == 200


# -- publishing -------------------------------------------------------------------------------------------------------


def test_a_publish_exactly_at_the_limit_passes_and_one_byte_more_does_not(lab: Lab) -> None:
    before = lab.stats()["published"]
    assert post(lab, b"x" * LIMIT).status == 200
    answer = post(lab, b"x" * (LIMIT + 1))
    assert answer.status == 413 and str(LIMIT) in answer.text
    assert lab.stats()["published"] == before + 1
    still_usable(lab)


@pytest.mark.parametrize("length", [LIMIT + 1, 50_000_000, 1 << 30, 1 << 70])
def test_an_oversized_publish_is_refused_when_its_headers_are_read(lab: Lab, length: int) -> None:
    with connect(lab) as sock:
        sock.sendall(f"POST /events HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode())
        head = read_head(sock)  # not a byte of the body was sent
        assert head.startswith(b"HTTP/1.1 413 ")
        sock.shutdown(socket.SHUT_WR)
        assert b"HTTP/1.1" not in head[1:] + read_all(sock), "one answer"
    still_usable(lab)


def test_an_oversized_publish_that_expects_to_go_on_is_told_not_to(lab: Lab) -> None:
    with connect(lab) as sock:
        sock.sendall(
            b"POST /events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n"
        )
        raw = read_all(sock)
    assert raw.startswith(b"HTTP/1.1 413 ") and b"100 " not in raw.partition(b"\r\n\r\n")[0][12:]
    still_usable(lab)


def test_a_publish_that_expects_to_go_on_does(lab: Lab) -> None:
    with connect(lab) as sock:
        sock.sendall(b"POST /events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert read_head(sock).startswith(b"HTTP/1.1 100 ")
        sock.sendall(b"ok")
        assert parse(read_head(sock)).status == 200
    still_usable(lab)


def test_an_oversized_chunked_publish_is_refused_before_its_end(lab: Lab) -> None:
    before = lab.stats()["published"]
    with connect(lab) as sock:
        sock.sendall(b"POST /events HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(LIMIT // 1000 + 1):
                sock.sendall(b"3e8\r\n" + b"x" * 1000 + b"\r\n")
        assert parse(read_head(sock)).status == 413  # its last chunk was never sent
    assert lab.stats()["published"] == before
    still_usable(lab)


def test_a_chunked_publish_at_the_limit_passes(lab: Lab) -> None:
    body = b"".join(b"3e8\r\n" + b"x" * 1000 + b"\r\n" for _ in range(LIMIT // 1000)) + b"0\r\n\r\n"
    headers = {"Transfer-Encoding": "chunked"}
    lines = "POST /events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    with connect(lab) as sock:
        sock.sendall(lines.encode() + body)
        assert parse(read_all(sock)).status == 200, headers
    still_usable(lab)


def test_a_client_that_sends_all_of_it_before_it_reads_learns_why_it_was_refused(lab: Lab) -> None:
    with connect(lab) as sock:
        sock.sendall(b"POST /events HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(100):
            sock.sendall(b"30d40\r\n" + b"x" * 200_000 + b"\r\n")
        sock.sendall(b"0\r\n\r\n")
        assert parse(read_head(sock)).status == 413
    still_usable(lab)


def test_a_lab_closes_while_a_refused_client_still_sends() -> None:
    with Lab("test-lingering", max_event_bytes=10) as lab, connect(lab) as sock:
        sock.sendall(b"POST /events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")
        assert parse(read_head(sock)).status == 413
        assert lab.stats()["connections"] == 1
        lab.close()
        assert not lab._server.http.streams  # type: ignore[union-attr]
        read_all(sock)


@pytest.mark.parametrize("how", [[], ["-H", "Transfer-Encoding: chunked"], ["-H", "Expect:"]])
def test_curl_learns_why_a_large_file_was_refused(lab: Lab, how: list[str], tmp_path: object) -> None:
    large = f"{tmp_path}/large"
    with open(large, "wb") as file:
        file.write(b"x" * 20_000_000)
    done = curl(*how, "--data-binary", f"@{large}", "-w", "%{http_code}", f"{lab.url}/events")
    assert b"max_event_bytes" in done.stdout and done.stdout.endswith(b"413"), done
    still_usable(lab)


def test_a_form_with_two_thousand_ampersands_is_data_like_any_other(lab: Lab) -> None:
    form = b"a=1&" * 2000
    answer = post(lab, form, {"Content-Type": "application/x-www-form-urlencoded"})
    number = json.loads(answer.body)["id"]
    assert json.loads(ask(lab, f"/polling?after={number - 1}").body)["events"][0]["data"] == form.decode()
    assert curl("-d", form.decode(), f"{lab.url}/events").stdout == b'{"id":%d}' % (number + 1)


def test_a_multipart_form_is_data_like_any_other(lab: Lab) -> None:
    assert post(lab, b"--x\r\nbroken", {"Content-Type": "multipart/form-data; boundary=y"}).status == 200


def test_a_body_that_is_not_utf8_needs_its_type(lab: Lab) -> None:
    before = lab.stats()["published"]
    answer = post(lab, b"\xff\xfe")
    assert answer.status == 400 and "application/octet-stream" in answer.text
    assert lab.stats()["published"] == before
    for content_type in ("application/octet-stream", "Application/Octet-Stream; x=y"):
        number = json.loads(post(lab, b"\xff\xfe", {"Content-Type": content_type}).body)["id"]
        assert json.loads(ask(lab, f"/polling?after={number - 1}").body)["events"][0]["base64"] == "//4="


def test_an_empty_publish_is_an_event(lab: Lab) -> None:
    number = json.loads(post(lab, b"").body)["id"]
    assert json.loads(ask(lab, f"/polling?after={number - 1}").body)["events"] == [{"id": number, "data": ""}]
    assert json.loads(ask(lab, "/events", method="POST").body) == {"id": number + 1}


@pytest.mark.parametrize("length", ["abc", "-1", "+5", "5, 6", "1_0", "0x5", "\u0665"])
def test_a_content_length_that_does_not_parse_is_a_400(lab: Lab, length: str) -> None:
    before = lab.stats()["published"]
    with connect(lab) as sock:
        sock.sendall(f"POST /events HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\nhello".encode())
        assert read_head(sock).startswith(b"HTTP/1.1 400 ")
    assert lab.stats()["published"] == before
    still_usable(lab)


@pytest.mark.parametrize("body", [b"zz\r\nhello\r\n0\r\n\r\n", b"5\r\nhelloX0\r\n\r\n", b"fffffffff\r\nx", b"5" * 200])
def test_a_broken_chunked_publish_is_a_400_and_publishes_nothing(lab: Lab, body: bytes) -> None:
    before = lab.stats()["published"]
    with connect(lab) as sock:
        sock.sendall(b"POST /events HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
        sock.shutdown(socket.SHUT_WR)
        assert read_head(sock)[9:12] in (b"400", b"413")
    assert lab.stats()["published"] == before
    still_usable(lab)


def test_a_publish_that_is_cut_in_the_middle_publishes_nothing_and_leaves_no_task(lab: Lab) -> None:
    async def tasks() -> int:
        return len(asyncio.all_tasks())

    before, tasks_before = lab.stats()["published"], loop.run(tasks())
    for _ in range(10):
        with connect(lab) as sock:
            sock.sendall(b"POST /events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    still_usable(lab)
    assert lab.stats()["published"] == before + 1
    deadline = time.monotonic() + TIMEOUT_S
    while loop.run(tasks()) > tasks_before:
        assert time.monotonic() < deadline, "parked for ever"
        time.sleep(0.01)


def test_when_no_topic_is_idle_a_publish_is_a_503_with_retry_after() -> None:
    with Lab("test-topics", max_topics=1) as lab, connect(lab) as sock:
        lab.publish("a", "one")
        sock.sendall(b"GET /http-streaming?topic=one HTTP/1.1\r\nHost: localhost\r\n\r\n")
        read_head(sock)
        answer = post(lab, b"b", target="/events?topic=two")
        assert answer.status == 503 and "max_topics" in answer.text and int(answer.headers["retry-after"]) >= 1
        assert post(lab, b"c", target="/events?topic=one").status == 200


# -- who may ask ------------------------------------------------------------------------------------------------------

FOREIGN_HOSTS = [
    "evil.test", "localhost.evil.test", "127.0.0.1.evil.test", "evil.test:80", "0.0.0.0", "10.0.0.1", "127.0.0.2",
    "[::2]", "[::1].evil.test", "localhost@evil.test", "evil.test#localhost", "xn--localhost", "localhost.",
]  # fmt: skip
FOREIGN_ORIGINS = [
    "null", "http://evil.test", "https://evil.test", "http://localhost.evil.test", "http://evil.test:80",
    "http://127.0.0.1.evil.test", "http://localhost@evil.test", "http://localhost:80@evil.test",
    "http://evil.test#localhost", "http://evil.test/localhost", "http://evil.test\\@localhost", "http://evil.test?localhost",
    "file://", "file://localhost", "localhost", "//localhost", "http://", "http:localhost", "javascript://localhost",
    "http://[::2]", "http://[::1", "http://[::1]evil.test", "http://localhost http://evil.test",
    "https://hub.example.org.evil.test", "http://hub.example.org", "https://hub.example.org:444", "HTTP://EVIL.TEST",
]  # fmt: skip
PASSING_ORIGINS = [
    "http://localhost", "http://localhost:8888", "https://localhost:8888", "http://127.0.0.1:1", "http://[::1]:8888",
    "http://LOCALHOST:8888", "https://hub.example.org",
]  # fmt: skip


def ask_route(lab: Lab, route: str, headers: dict[str, str]) -> Answer:
    if route.startswith(("/websocket", "/browser")):
        headers = {**UPGRADE, **headers}
    return ask(lab, route, headers, method="POST" if route == "/events" else "GET", stream=True)


@pytest.mark.parametrize("route", [*ROUTES, "/nowhere", "/page/page.js"])
def test_a_foreign_host_is_a_403_on_every_route(lab: Lab, route: str) -> None:
    before = lab.stats()["published"]
    for host in FOREIGN_HOSTS:
        answer = ask_route(lab, route, {"Host": host})
        assert answer.status in (403, 400), host  # 400: not even a host
        assert answer.status == 403 or "@" in host or "#" in host or "[::1]." in host, host
        assert "access-control-allow-origin" not in answer.headers
    assert lab.stats()["published"] == before


def test_a_file_of_the_page_is_given_to_any_origin_and_no_other_origins_page_can_read_it(lab: Lab) -> None:
    """Browsers send an Origin for a module of the page's own; an intermediary that rewrites Host makes it foreign."""
    answer = ask(lab, "/page/page.js", {"Origin": "http://lab.test:8080"})
    assert answer.status == 200 and "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("route", [route for route in (*ROUTES, "/nowhere") if route != "/"])
def test_a_foreign_origin_is_a_403_on_every_route(lab: Lab, route: str) -> None:
    before = lab.stats()["published"]
    for origin in FOREIGN_ORIGINS:
        answer = ask_route(lab, route, {"Origin": origin})
        assert answer.status == 403, origin
        assert "access-control-allow-origin" not in answer.headers, origin
    assert lab.stats()["published"] == before


@pytest.mark.parametrize("route", ROUTES)
def test_loopback_pages_and_allowed_ones_pass_and_get_exactly_their_own_origin(lab: Lab, route: str) -> None:
    for origin in (*PASSING_ORIGINS, f"http://127.0.0.1:{lab.port}"):
        answer = ask_route(lab, route + "?timeout=0" * (route == "/long-polling"), {"Origin": origin})
        assert answer.status in (200, 101), origin
        assert answer.headers["access-control-allow-origin"] == origin
        assert answer.headers["vary"] == "Origin"


@pytest.mark.parametrize("host", ["localhost", "LocalHost:1", "127.0.0.1", "[::1]", "[::1]:8080", "hub.example.org"])
def test_loopback_names_and_the_host_of_an_allowed_origin_pass(lab: Lab, host: str) -> None:
    answer = ask(lab, "/polling", {"Host": host})
    assert answer.status == 200 and "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("host", ["[::1", "::1", "]", "[", "[]", "localhost:", "localhost:99999", "localhost:x", ""])
def test_a_host_that_does_not_parse_is_refused_and_not_an_error(lab: Lab, host: str) -> None:
    assert ask(lab, "/polling", {"Host": host, "Origin": "http://localhost"}).status in (200, 400, 403)
    still_usable(lab)


def test_without_a_host_an_http_1_0_client_passes_and_an_http_1_1_client_does_not(lab: Lab) -> None:
    for version, status in (("1.0", 200), ("1.1", 400)):
        with connect(lab) as sock:
            sock.sendall(f"GET /polling HTTP/{version}\r\n\r\n".encode())
            assert parse(read_all(sock)).status == status


def test_an_error_too_can_be_read_by_a_page_that_may_ask(lab: Lab) -> None:
    answer = ask(lab, "/polling?after=x", {"Origin": "http://localhost:8888"})
    assert answer.status == 400 and answer.headers["access-control-allow-origin"] == "http://localhost:8888"


@pytest.mark.parametrize("site", ["cross-site", "same-site", "same-origin", "none"])
def test_a_page_of_another_loopback_port_may_publish(lab: Lab, site: str) -> None:
    headers = {"Origin": "http://localhost:8888", "Sec-Fetch-Site": site, "Sec-Fetch-Mode": "cors"}
    assert post(lab, b"from a notebook's page", headers).status == 200
    assert ask_route(lab, "/websocket", headers).status == 101


def test_a_preflight_of_an_allowed_page_is_answered(lab: Lab) -> None:
    headers = {
        "Origin": "http://localhost:8888",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    for route in ("/events", "/sse", "/polling"):
        answer = ask(lab, route, headers, method="OPTIONS")
        assert answer.status == 204 and answer.body == b""
        assert answer.headers["access-control-allow-origin"] == "http://localhost:8888"
        assert "POST" in answer.headers["access-control-allow-methods"]
        assert "content-type" in answer.headers["access-control-allow-headers"].lower()
    assert ask(lab, "/events", {**headers, "Origin": "http://evil.test"}, method="OPTIONS").status == 403


def test_a_foreign_page_learns_nothing_by_a_method_that_no_route_has(lab: Lab) -> None:
    for method in ("PUT", "DELETE", "HEAD", "BREW"):
        answer = ask(lab, "/events", {"Origin": "http://evil.test"}, method=method)
        assert answer.status in (403, 405) and "access-control-allow-origin" not in answer.headers


def test_an_origin_can_be_allowed_while_the_lab_runs() -> None:
    with Lab("test-origin") as lab:
        headers = {"Origin": "https://late.example.org:8443", "Host": "late.example.org:8443"}
        assert ask(lab, "/polling", headers).status == 403
        lab.allow_origin("https://late.example.org:8443/")
        assert ask(lab, "/polling", headers).status == 200


@pytest.mark.parametrize(
    ("allowed", "origin", "passes"),
    [
        ("https://a.test", "https://a.test:443", True),
        ("https://a.test:443/", "https://A.test", True),
        ("http://a.test:80", "http://a.test", True),
        ("http://a.test:8080", "http://a.test:8080", True),
        ("http://a.test:443", "http://a.test", False),
        ("https://a.test", "http://a.test", False),
        ("https://a.test", "https://a.test:8443", False),
    ],
)
def test_a_default_port_may_be_named_or_left_out(allowed: str, origin: str, passes: bool) -> None:
    with Lab("test-ports", allow_origins=[allowed]) as lab:
        assert ask(lab, "/polling", {"Origin": origin}).status == (200 if passes else 403)
        lab.allow_origin(None, "token")  # good for the first origin that brings it, in either form
        assert ask(lab, "/polling?token=token", {"Origin": "https://b.test:443"}).status == 200
        assert ask(lab, "/polling?token=token", {"Origin": "https://b.test"}).status == 200
        for host in ("a.test", "a.test:1", "A.TEST:443"):  # what an intermediary makes of it; rebinding needs a name
            assert ask(lab, "/polling", {"Host": host}).status == 200
        own = {"Host": "a.test:80", "Origin": "http://a.test"}
        assert ask(lab, "/polling", own).status == 200


def test_a_refusal_names_what_would_allow_it(lab: Lab) -> None:
    text = ask(lab, "/sse", {"Origin": "http://Lab.test:80"}).text
    assert 'Lab(allow_origins=["http://lab.test"])' in text and "serve --allow-origin http://lab.test\n" in text
    assert "allow it" not in ask(lab, "/sse", {"Origin": "null"}).text


@pytest.mark.parametrize("origin", ["*", "null", "late.example.org", "https://", "https://x.test/path", "ftp://x.test"])
def test_what_is_no_origin_cannot_be_allowed(lab: Lab, origin: str) -> None:
    with pytest.raises(ValueError, match="origin"):
        lab.allow_origin(origin)
    with pytest.raises(ValueError, match="origin"):
        Lab("test-not-an-origin", allow_origins=[origin])


def test_allowed_origins_are_a_list_and_not_the_letters_of_one() -> None:
    with pytest.raises(ValueError, match="origin"):
        Lab("test-letters", allow_origins="https://x.test")


# -- routes and methods -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/nowhere", "/sse/", "//", "/page/../server.py", "/page/%2e%2e/server.py", "/page/x"])
def test_an_unknown_path_is_a_404(lab: Lab, path: str) -> None:
    assert ask(lab, path).status == 404


def test_an_unknown_path_says_which_routes_there_are(lab: Lab) -> None:
    for method in ("GET", "POST", "PUT", "DELETE", "PATCH"):
        answer = ask(lab, "/nowhere", method=method)
        assert answer.status == 404 and answer.text.count("\n") == 1
        assert set(ROUTES) <= set(answer.text.split())
    assert ask(lab, "/nowhere", method="HEAD").status == 404


@pytest.mark.parametrize("route", ROUTES)
def test_a_wrong_method_is_a_405_that_names_the_right_ones(lab: Lab, route: str) -> None:
    right = {"POST"} if route == "/events" else {"GET", "HEAD"}
    for method in {"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD"} - right:
        answer = ask(lab, route, method=method)
        assert answer.status == 405, method
        assert answer.headers["allow"] == ", ".join([*sorted(right), "OPTIONS"])
        assert method == "HEAD" or min(right) in answer.text


@pytest.mark.parametrize("route", [*ROUTES, "/page/page.js", "*"])
def test_options_lists_what_a_route_takes(lab: Lab, route: str) -> None:
    answer = ask(lab, route, method="OPTIONS")
    wanted = {"/events": "POST, OPTIONS", "*": "GET, HEAD, POST, OPTIONS"}
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["allow"] == wanted.get(route, "GET, HEAD, OPTIONS")


@pytest.mark.parametrize(
    "target",
    [*ROUTES, "/polling?after=0", "/polling?etag=1", "/polling?after=x", "/long-polling?timeout=600", "/nowhere",
     "/page/page.js", "/http-streaming?format=multipart", "/http-streaming?framing=eof", "/http-streaming?recycle=3"],
)  # fmt: skip
def test_head_has_the_status_and_the_fields_of_get_at_once_and_is_no_subscriber(lab: Lab, target: str) -> None:
    """RFC 9110 section 9.3.2; a long poll is one that ran out."""
    ends_at_once = target.replace("?timeout=600", "?timeout=0") if "?" in target else f"{target}?timeout=0"
    with connect(lab) as sock:
        sock.sendall(f"GET {ends_at_once} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        wanted = parse(read_head(sock))
    before = lab.stats()["subscribers"]
    count = 1 if "eof" in target else 2  # nothing follows the first but the second
    raw = b""
    with connect(lab) as sock:
        sock.sendall(f"HEAD {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() * count)
        while raw.count(b"\r\n\r\n") < count:
            raw += sock.recv(1 << 16)
        assert lab.stats()["subscribers"] <= before
    *heads, rest = raw.split(b"\r\n\r\n")
    assert rest == b"" and len(heads) == count
    for head in map(parse, heads):
        assert head.status == wanted.status
        assert {**head.headers, "date": ""} == {**wanted.headers, "date": ""}


def test_an_invented_method_is_a_405(lab: Lab) -> None:
    assert ask(lab, "/polling", method="BREW").status == 405


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_websocket_route_without_an_upgrade_is_a_426_that_names_it(lab: Lab, method: str) -> None:
    for route in ("/websocket", "/websocket/echo", "/browser"):
        for headers in ({}, {"Upgrade": "websocket"}, {"Upgrade": "h2c", "Connection": "Upgrade"}):
            answer = ask(lab, route, headers, method=method)
            assert (answer.status, answer.headers["upgrade"]) == (426, "websocket")
            assert "upgrade" in answer.headers["connection"].lower()
    assert ask(lab, "/websocket", {**UPGRADE, "Sec-WebSocket-Version": "12"}).status == 426
    assert ask(lab, "/websocket", UPGRADE, method="HEAD").status == 426


def test_no_answer_names_the_server_software(lab: Lab) -> None:
    routes = [route + "?timeout=0" * (route == "/long-polling") for route in ROUTES]
    answers = [ask_route(lab, route, {}) for route in (*routes, "/nowhere", "/polling?after=x")]
    answers += [ask(lab, "/polling", method="PUT"), ask(lab, "/events", method="OPTIONS"), post(lab, b"\xff")]
    for answer in answers:
        assert "server" not in answer.headers
        assert b"ornado" not in answer.body and "x-content-type-options" in answer.headers


def test_a_fault_of_the_server_is_a_500_that_tells_nothing(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a secret of the server")

    with monkeypatch.context() as patch:
        patch.setattr(Hub, "since", broken)
        answer = ask(lab, "/polling")
    assert answer.status == 500 and answer.text == "Internal Server Error\n"
    assert "a secret of the server" in caplog.text  # who runs the lab does learn it
    caplog.clear()
    still_usable(lab)


# -- what is not HTTP, or too much of it -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "garbage",
    [
        b"\r\n\r\n\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100) + b"\r\n\r\n",  # a TLS hello
        b"GET\r\n\r\n",
        b"GET /polling\r\n\r\n",
        b"GET /polling HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"GET /polling HTTP/1.1\r\nHost localhost\r\n\r\n",
        b"GET /polling HTTP/1.1\r\nHost: localhost\r\n: empty\r\n\r\n",
        b"GET /polling HTTP/1.1\r\nHost: localhost\r\nHost: evil.test\r\n\r\n",
        b"GET /polling HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /polling\0 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /%zz?%zz=%zz&after HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET ?#&=%ff HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b'{"subscribe":{}}\0\r\n\r\n',
    ],
)
def test_what_is_not_http_gets_a_refusal_or_a_close(lab: Lab, garbage: bytes) -> None:
    with connect(lab) as sock:
        sock.sendall(garbage)
        sock.shutdown(socket.SHUT_WR)
        raw = read_all(sock)
    assert raw == b"" or raw[9:12] in (b"400", b"403", b"404", b"405", b"505"), raw[:80]
    assert b"Traceback" not in raw
    still_usable(lab)


@pytest.mark.parametrize(
    "head", [b"GET /" + b"x" * 100_000, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000]
)
def test_headers_that_are_too_large_are_a_431(lab: Lab, head: bytes) -> None:
    with connect(lab) as sock:
        with contextlib.suppress(ConnectionError):
            sock.sendall(head)
        assert read_all(sock)[9:12] == b"431"
    still_usable(lab)


def test_slow_requests_hold_nobody_up_and_can_be_completed(lab: Lab) -> None:
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(connect(lab)) for _ in range(20)]
        for sock in slow:
            sock.sendall(b"GET /pol")
        assert ask(lab, "/polling").status == 200
        for sock in slow:
            sock.sendall(b"ling HTTP/1.1\r\nHost: localhost\r\n")
        assert post(lab, b"x").status == 200
        for sock in slow:
            sock.sendall(b"\r\n")
            assert parse(read_head(sock)).status == 200
    still_usable(lab)


def test_a_client_that_floods_a_parked_request_is_let_go(lab: Lab) -> None:
    with connect(lab) as sock:
        sock.sendall(b"GET /long-polling HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(400):
                sock.sendall(b"x" * (1 << 16))
        sock.settimeout(TIMEOUT_S)
        read_all(sock)
    still_usable(lab)


def test_a_client_that_leaves_while_parked_is_forgotten_at_once(lab: Lab) -> None:
    for target in ("/long-polling", "/sse", "/http-streaming", "/http-streaming?framing=eof"):
        with connect(lab) as sock:
            sock.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() * 2)  # one more behind it
            deadline = time.monotonic() + TIMEOUT_S
            while not lab.stats()["subscribers"]:
                assert time.monotonic() < deadline
        still_usable(lab)


def test_a_websocket_client_that_publishes_and_is_gone_leaves_no_error(lab: Lab) -> None:
    message = b'{"publish": "bye"}'
    frame = bytes([0x81, 0x80 | len(message)]) + bytes(4) + message
    lines = "".join(f"{name}: {value}\r\n" for name, value in UPGRADE.items())
    for _ in range(20):
        with connect(lab) as sock:
            sock.sendall(f"GET /websocket HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n".encode())
            read_head(sock)
            sock.sendall(frame * 50)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    still_usable(lab)


@pytest.mark.parametrize(
    "frames", [b"\x81\x02hi", b"\xff\xff\xff\xff", b"\x83\x80\0\0\0\0", b"\x81\x82\0\0\0\0\xff\xff"]
)
def test_a_broken_websocket_frame_ends_that_socket_only(lab: Lab, frames: bytes) -> None:
    lines = "".join(f"{name}: {value}\r\n" for name, value in UPGRADE.items())
    for route in ("/websocket", "/websocket/echo", "/browser"):
        with connect(lab) as sock:
            sock.sendall(f"GET {route} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n".encode())
            read_head(sock)
            sock.sendall(frames)
            sock.shutdown(socket.SHUT_WR)
            read_all(sock)
    still_usable(lab)


@pytest.mark.parametrize(
    "first",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\0", b"{}\0", b"{\0", b"[]\0", b'{"subscribe": 1}\0',
        b'{"subscribe": {"after": "x"}}\0', b'{"subscribe": {"after": 1}}\0', b'{"subscribe": {"topic": 1}}\0',
        b"{" * 4000 + b"\0", b"{" + b"x" * 10_000, b"<policy-file-request/>x\0", b"\xff\xff\xff",
        b'{"subscribe": {"topic": "' + b"x" * 257 + b'"}}\0',
    ],
)  # fmt: skip
def test_a_plugin_client_that_says_something_else_is_let_go(lab: Lab, first: bytes) -> None:
    with connect(lab, lab.plugin_port) as sock:
        sock.sendall(first)
        raw = read_all(sock)
    assert raw == b"" or re.fullmatch(rb'\{"error": ".*"\}\0', raw), raw
    still_usable(lab)


def test_a_plugin_client_that_floods_is_let_go(lab: Lab) -> None:
    with connect(lab, lab.plugin_port) as sock:
        sock.sendall(b'{"subscribe": {}}\0')
        with contextlib.suppress(ConnectionError):
            for _ in range(400):
                sock.sendall(b"x" * (1 << 16))
        read_all(sock)
    still_usable(lab)


# -- too many connections ---------------------------------------------------------------------------------------------


def test_too_many_connections_are_told_to_come_back_and_the_lab_stays_usable() -> None:
    with Lab("test-full", max_connections=5) as lab:
        with contextlib.ExitStack() as stack:
            held = [stack.enter_context(connect(lab)) for _ in range(5)]
            for sock in held:
                sock.sendall(b"GET /http-streaming HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert read_head(sock).startswith(b"HTTP/1.1 200")
            for _ in range(50):
                answer = ask(lab, "/polling")
                assert answer.status == 503 and int(answer.headers["retry-after"]) >= 1 and answer.text.count("\n") == 1
            with connect(lab, lab.plugin_port) as plugin:
                plugin.sendall(b'{"subscribe": {}}\0')
                assert read_all(plugin) == b""
            lab.publish("to those that are in")
            assert all(b"those that are in" in sock.recv(1000) for sock in held)
        still_usable(lab)


def test_the_soft_descriptor_limit_is_raised_and_leaves_room_for_others() -> None:
    import resource

    with Lab("test-limit"):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    from labkit.lab.listening import available_connections

    assert soft == hard and 64 <= available_connections() < soft
