"""Which HTTP a lab speaks on its one port, to clients that know nothing of the kit, and what it says to others."""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import labkit
from labkit.errors import MissingPackage
from labkit.lab.lab import Lab
from labkit.lab.listening import NO_H2
from labkit.server.http1_requests import ONLY_HTTP2
from raw_http2 import PREFACE, Code, Kind, Peer, headers, request, settings, status
from wait import TIMEOUT_S, dial, get, read_all, read_until, until

pytest.importorskip("h2", reason='HTTP/2 is not installed (pip install "labkit[http2]")')
curl_speaks_it = pytest.mark.skipif(
    shutil.which("curl") is None or b"HTTP2" not in subprocess.run(["curl", "-V"], capture_output=True).stdout,
    reason="no curl with HTTP/2 here",
)
KINDS = {"in clear": (False, False), "over TLS": (True, False), "over TLS, apart": (True, True)}


@pytest.fixture(scope="module", params=list(KINDS.values()), ids=list(KINDS))
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    tls, process = request.param
    if tls:
        pytest.importorskip("trustme")
    with Lab("versions", http=(1, 2), tls=tls, process=process) as opened:
        yield opened


def curl(lab: Lab, target: str, *words: str) -> tuple[str, bytes]:
    """The version that was spoken, and the body."""
    trust = ["--cacert", lab.cafile] if lab.cafile else []
    limit = ["-sSm", f"{TIMEOUT_S:.0f}", "-w", r"\n%{http_version}"]
    command = ["curl", *limit, *trust, *words, f"{lab.url}{target}"]
    body, _, version = subprocess.run(command, capture_output=True, check=True).stdout.rpartition(b"\n")
    return version.decode(), body


@curl_speaks_it
def test_curl_publishes_polls_and_streams_in_either_version(lab: Lab, tmp_path: Path) -> None:
    two = "--http2" if lab.cafile else "--http2-prior-knowledge"
    for version, option in (("2", two), ("1.1", "--http1.1")):
        topic = f"topic=curl{version}"
        assert curl(lab, f"/events?{topic}", option, "-d", "from curl") == (version, b'{"id":1}')
        spoken, body = curl(lab, f"/polling?after=0&{topic}", option)
        assert (spoken, json.loads(body)["events"]) == (version, [{"id": 1, "data": "from curl"}])
        spoken, body = curl(lab, f"/http-streaming?after=0&recycle=1&{topic}", option, "-N")
        assert spoken == version and b'"from curl"' in body
    large = tmp_path / "large"
    large.write_bytes(b"x" * 3_000_000)
    assert b"at most" in curl(lab, "/events", two, "--data-binary", f"@{large}")[1]  # refused while it still sends


def test_two_versions_share_a_log_and_a_count_of_connections(lab: Lab) -> None:
    trust = ssl.create_default_context(cafile=lab.cafile) if lab.cafile else None
    if trust is not None:
        trust.set_alpn_protocols(["h2"])
    with Peer(lab.port, tls=trust) as peer:
        for stream in range(1, 21, 2):
            peer.send(headers(stream, request(path="/sse?topic=shared")))
        until(lambda: lab.stats()["subscribers"] == 10, "ten streams")
        assert lab.stats()["connections"] == 1
        lab.publish("hello", "shared")
        for stream in range(1, 21, 2):
            while b"data: hello\n\n" not in peer.body(stream):
                assert peer.read() is not None
    until(lambda: lab.stats()["connections"] == lab.stats()["subscribers"] == 0, "forgotten with their connection")


def test_over_tls_it_is_spoken_if_both_sides_say_so() -> None:
    pytest.importorskip("trustme")
    with Lab("alpn", http=(1, 2), tls=True) as lab:
        for offered, chosen in (
            (["h2", "http/1.1"], "h2"),
            (["http/1.1", "h2"], "h2"),
            (["http/1.1"], "http/1.1"),
            ([], None),
        ):
            context = ssl.create_default_context(cafile=lab.cafile)
            if offered:
                context.set_alpn_protocols(offered)
            with context.wrap_socket(dial(lab.port), server_hostname="127.0.0.1") as sock:
                assert sock.selected_alpn_protocol() == chosen
                if chosen != "h2":
                    sock.sendall(PREFACE + settings())  # what was not agreed on is not spoken
                    assert read_all(sock) == b""
    with Lab("alpn", tls=True) as plain:
        context = ssl.create_default_context(cafile=plain.cafile)
        context.set_alpn_protocols(["h2", "http/1.1"])
        with context.wrap_socket(dial(plain.port), server_hostname="127.0.0.1") as sock:
            assert sock.selected_alpn_protocol() == "http/1.1"


def test_a_lab_of_one_version_refuses_the_other_in_words_that_it_knows() -> None:
    with Lab("one", http=(2,)) as lab:
        assert lab.http == (2,)
        for asked in (get("/polling"), get("/polling", version="1.0"), b"POST / HTTP/1.1\r\nHost: a\r\n\r\n"):
            with dial(lab.port, asked) as sock:
                assert read_all(sock) == ONLY_HTTP2
        with Peer(lab.port) as peer:
            assert peer.ask(1) == 200
    head, _, body = ONLY_HTTP2.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    with Lab("one") as lab:
        assert lab.http == (1,)
        with dial(lab.port, PREFACE + settings()) as sock:
            assert read_until(sock, b"\r\n").startswith(b"HTTP/1.1 400 ")


def test_a_connection_keeps_to_the_version_that_it_began_with() -> None:
    with Lab("keeps", http=(1, 2)) as lab, dial(lab.port, get("/polling")) as sock:
        assert read_until(sock, b"}").endswith(b"}")
        sock.sendall(PREFACE + settings())
        assert read_until(sock, b"\r\n").startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("asked", [(), (3,), (1, 2, 3), (2, 2), ("2",), "12", None, 2.5], ids=repr)
def test_a_version_that_there_is_not_is_refused_before_the_earlier_lab_is_replaced(asked: Any) -> None:
    for process in (False, True):
        with Lab("bad") as lab:
            with pytest.raises(ValueError, match=r"http=.*expected \(1,\), \(1, 2\) or \(2,\)"):
                Lab("bad", http=asked, process=process)
            assert not lab.closed


def test_without_the_extra_it_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h2", None)
    with pytest.raises(MissingPackage) as raised:
        labkit.Lab("no h2", http=(1, 2))
    assert str(raised.value) == NO_H2 and '"labkit[http2]"' in NO_H2
    with labkit.Lab("no h2"):
        pass  # which needs none


def test_a_full_lab_says_so_in_the_version_that_is_spoken() -> None:
    with Lab("full", http=(1, 2), max_connections=2) as lab:
        with Peer(lab.port) as first, Peer(lab.port) as second:
            with dial(lab.port, get("/polling")) as sock:
                assert read_all(sock).startswith(b"HTTP/1.1 503 ")
            with dial(lab.port) as silent:
                assert read_all(silent).startswith(b"HTTP/1.1 503 ")
            with Peer(lab.port, bare=True) as third:
                third.send(PREFACE + settings() + headers(1))
                assert third.until(lambda got: got.kind == Kind.GOAWAY).code is Code.ENHANCE_YOUR_CALM
                assert b"try again later" in third.got[-1].payload and third.read() is None
            first.echo()
        del second
        until(lambda: lab.stats()["connections"] == 0, "room again")
        with Peer(lab.port) as fourth:
            assert fourth.ask(1) == 200


def test_a_request_that_two_versions_would_read_alike_is_answered_alike() -> None:
    """The same handlers: what is refused is refused in the same words."""
    with Lab("alike", http=(1, 2)) as lab, Peer(lab.port) as peer:
        targets = ("/nowhere", "/polling?after=x", "/sse?topic=" + "a" * 300, "/long-polling?timeout=-1", "/page/none")
        for number, target in enumerate(targets):
            stream = 2 * number + 1
            with dial(lab.port, get(target, "Connection: close")) as sock:
                head, _, body = read_all(sock).partition(b"\r\n\r\n")
            assert peer.ask(stream, request(path=target)) == int(head.split()[1])
            assert peer.body(stream) == body
        assert peer.ask(31, request("GET", "/websocket")) == 400  # where HTTP/1 has 426, there is no upgrade
        assert peer.ask(33, request("CONNECT", "/polling", (":protocol", "websocket"))) != 200
        assert status(peer.of(33, Kind.HEADERS)[0]) == 405
