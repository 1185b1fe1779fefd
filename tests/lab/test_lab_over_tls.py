"""A lab over TLS, with clients that know nothing of the kit: ``ssl``, curl, ``websockets``."""

from __future__ import annotations

import contextlib
import json
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import labkit
from conftest import UNIT
from labkit.errors import LabkitError
from labkit.lab.lab import Lab
from labkit.server.fanout import StreamSocket
from labkit.server.tls import MISSING
from wait import TIMEOUT_S, dial, get, read_all, read_until, until

pytest.importorskip("trustme")


@pytest.fixture(scope="module", params=[False, True], ids=["in the kernel", "apart"])
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    with Lab("tls", tls=True, process=request.param, heartbeat_s=0.5 * UNIT) as opened:
        yield opened


def secure(lab: Lab, sent: bytes = b"") -> ssl.SSLSocket:
    """A connection to the lab that trusts its authority alone."""
    assert lab.cafile is not None
    context = ssl.create_default_context(cafile=lab.cafile)
    sock = context.wrap_socket(dial(lab.port), server_hostname="127.0.0.1")
    sock.sendall(sent)
    return sock


def test_the_addresses_are_https_and_the_authority_is_in_a_file_of_this_user(lab: Lab) -> None:
    assert lab.url == f"https://127.0.0.1:{lab.port}" and lab.url in repr(lab)
    assert lab.url_of("sse") == f"{lab.url}/sse" and lab.url_of("plugin-socket").startswith("tcp://")
    assert lab.cafile is not None and b"PRIVATE" not in Path(lab.cafile).read_bytes()
    if os.name != "nt":
        assert os.stat(lab.cafile).st_mode & 0o077 == 0


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_whoever_trusts_the_authority_is_served_and_nobody_else(lab: Lab, name: str) -> None:
    with secure(lab) as sock:
        assert sock.version() in ("TLSv1.2", "TLSv1.3")
    context = ssl.create_default_context()
    with pytest.raises(ssl.SSLCertVerificationError), dial(lab.port) as plain:
        context.wrap_socket(plain, server_hostname=name)
    context.load_verify_locations(lab.cafile)
    context.wrap_socket(dial(lab.port), server_hostname=name).close()
    with pytest.raises(ssl.SSLCertVerificationError), dial(lab.port) as plain:
        context.wrap_socket(plain, server_hostname="lab.example")


@pytest.mark.parametrize("path", ["/sse", "/http-streaming", "/http-streaming?format=multipart", "/long-polling"])
def test_a_stream_brings_every_event_once_and_in_order(lab: Lab, path: str) -> None:
    topic = path.replace("?", "&")
    sign = "&" if "?" in path else "?"
    with secure(lab, get(f"{path}{sign}topic={topic.replace('&', '%26')}")) as sock:
        if path == "/long-polling":
            until(lambda: lab.stats()["subscribers"], "parked")
        else:
            read_until(sock, b"@")
        lab.publish("0", topic)
        numbers, got = range(1, 300 if path != "/long-polling" else 1), b""
        for number in numbers:
            lab.publish(f"{number}", topic)
        before = "data: " if path == "/sse" else '"data":"'
        while f"{before}{max((0, *numbers))}".encode() not in got:
            got += sock.recv(1 << 16)
        places = [got.index(f"{before}{n}".encode()) for n in (0, *numbers)]
    assert places == sorted(places)
    until(lambda: not lab.stats()["subscribers"], "the client that left is noticed")


def test_a_heartbeat_comes_over_tls_too(lab: Lab) -> None:
    with secure(lab, get("/sse?topic=silent")) as sock:
        assert read_until(sock, b":\n").endswith(b":\n")


def test_a_body_that_ends_with_the_connection_ends_with_a_farewell(lab: Lab) -> None:
    """RFC 9112 section 9.8: without a close_notify the client could not tell an end from a cut."""
    lab.publish("only", "eof")
    with secure(lab, get("/http-streaming?framing=eof&recycle=1&after=0&topic=eof")) as sock:
        sock.context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
        assert read_all(sock).endswith(b'"data":"only"}\n')


def test_events_do_not_go_the_direct_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """TLS seals each connection's bytes: what is fanned out directly would be in clear, or torn."""
    monkeypatch.setattr(StreamSocket, "__init__", None)  # nothing makes one
    with Lab("tls apart", tls=True, fanout="direct") as lab, secure(lab, get("/http-streaming")) as sock:
        read_until(sock, b"@")
        lab.publish("hello")
        assert read_until(sock, b"hello").endswith(b"hello")


def test_who_speaks_http_in_clear_is_told_so(lab: Lab) -> None:
    with dial(lab.port, get("/polling", "X: " + "a" * 9000)) as sock:
        answer = read_all(sock)
    assert answer.startswith(b"HTTP/1.1 400 ") and b"https://" in answer


def test_handshakes_that_fail_or_never_come_leave_nothing(lab: Lab) -> None:
    for sent in (b"", b"\x16\x03\x01\x02\x00\x01", b"\x00" * 100, b"GET"):
        dial(lab.port, sent).close()
    until(lambda: not lab.stats()["connections"], "let go of")


def test_curl_publishes_and_listens_with_the_authoritys_file(lab: Lab, tmp_path: Path) -> None:
    def curl(*words: str) -> bytes:
        limit = f"{TIMEOUT_S:.0f}"
        return subprocess.run(
            ["curl", "-sSm", limit, "--cacert", str(lab.cafile), *words], capture_output=True, check=True
        ).stdout

    number = json.loads(curl("-d", "from curl", f"{lab.url}/events?topic=curl"))["id"]
    assert json.loads(curl(f"{lab.url}/polling?after=0&topic=curl"))["events"] == [{"id": number, "data": "from curl"}]
    for version in ("--http1.0", "--http1.1"):
        got = curl(version, "-N", f"{lab.url}/http-streaming?after=0&recycle=1&topic=curl")
        assert b"from curl" in got
    large = tmp_path / "large"
    large.write_bytes(b"x" * 3_000_000)  # refused while curl still sends
    assert b"at most" in curl("-H", "Expect:", "--data-binary", f"@{large}", f"{lab.url}/events")


def test_a_websocket_of_another_library_publishes_and_is_closed_in_order() -> None:
    from websockets.sync.client import connect

    with contextlib.ExitStack() as stack:
        lab = stack.enter_context(Lab("tls websocket", tls=True))
        context = ssl.create_default_context(cafile=lab.cafile)
        socket_ = stack.enter_context(connect(lab.url_of("websocket").replace("https", "wss"), ssl=context))
        assert "cursor" in json.loads(socket_.recv(TIMEOUT_S))
        socket_.send('{"publish": "up", "ref": 1}')
        said = [json.loads(socket_.recv(TIMEOUT_S)) for _ in range(2)]
        assert {"published": 1, "ref": 1} in said and {"id": 1, "data": "up"} in said
        lab.close()
        with pytest.raises(Exception, match="1001"):
            socket_.recv(TIMEOUT_S)


def test_a_closed_lab_leaves_no_file_and_a_replaced_one_neither(capsys: pytest.CaptureFixture[str]) -> None:
    first = Lab("tls twice", tls=True)
    with Lab("tls twice", tls=True) as second:
        assert second.port == first.port and second.cafile != first.cafile
        assert not Path(str(first.cafile)).exists()
        with secure(second, get("/polling")) as sock:
            assert read_until(sock, b"}").endswith(b"}")
    assert not Path(str(second.cafile)).exists()
    with pytest.raises(ValueError, match="fanout"):
        Lab("tls wrong", tls=True, fanout="?")
    assert "https://" in capsys.readouterr().out


def test_without_the_extra_it_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trustme", None)
    with pytest.raises(LabkitError) as raised:
        labkit.Lab("no trustme", tls=True)
    assert str(raised.value) == MISSING and "labkit[tls]" in MISSING


def test_a_plain_lab_has_no_authority() -> None:
    hello, incoming = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(incoming, hello, server_hostname="127.0.0.1").do_handshake()
    with Lab("plain") as lab:
        assert lab.cafile is None and lab.url.startswith("http://")
        with dial(lab.port, hello.read() + b"\r\n\r\n") as sock:  # a head is whole then, however wrong
            assert read_until(sock, b"\r\n").startswith(b"HTTP/1.1 400 ")
