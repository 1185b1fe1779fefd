"""TLS over the counted socket: who is believed, how it ends, and that each byte on the wire is booked once."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

import tls
from conftest import UNIT
from labkit import loop
from labkit.__main__ import main
from labkit.client.http import HTTPClient
from labkit.client.http_connection import HTTPConnection
from labkit.client.ledger import Ledger
from labkit.client.secure_connection import SecureConnection
from labkit.client.tls import RECORD_BYTES, TLS, Trust
from labkit.client.wiring import Wiring
from labkit.errors import ConnectionLost, TLSFailed
from labkit.lab.lab import Lab
from labkit.measuring.listening import listen
from labkit.subscribing.contract.receiver import Receiver, bytes_of, check_marks
from labkit.subscribing.contract.relay import CountingRelay
from labkit.subscribing.following import follow
from labkit.techniques import TECHNIQUES, find
from wait import TIMEOUT_S, read_all, read_until, serving, until

OK = b"HTTP/1.1 200 OK\r\n"
COUNTED = OK + b"Content-Length: 5\r\n\r\nabcde"
UNTIL_CLOSE = OK + b"\r\nabcde"
STREAM = OK + b"Content-Type: text/event-stream\r\n\r\ndata: a\n\n"

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((technique.name, {}) for technique in TECHNIQUES if technique.port == "http"),
    ("polling", {"keep_alive": False}),
    ("long-polling", {"pipelined": True}),
    ("http-streaming", {"framing": "eof"}),
    ("websocket", {"deflate": True}),
]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tls.Authority:
    return tls.Authority(tmp_path_factory.mktemp("authority"))


def run(work: Awaitable[Any]) -> Any:
    async def bounded() -> Any:
        return await asyncio.wait_for(work, TIMEOUT_S)

    return loop.run(bounded())


def secure(url: str) -> str:
    return url.replace("http://", "https://")


def answering(*answers: bytes) -> Callable[[Any], None]:
    def script(sock: Any) -> None:
        for answer in answers:
            read_until(sock, b"\r\n\r\n")
            sock.sendall(answer)

    return script


def asked(url: str, trust: Trust, ledger: Ledger | None = None, times: int = 1, **wiring: Any) -> list[str]:
    """What the answers to so many requests said."""

    async def work() -> list[str]:
        wired = Wiring(Ledger() if ledger is None else ledger, "polling", trust=trust, **wiring)
        client, said = HTTPClient(url, topic="", token=None, wiring=wired), []
        try:
            for _ in range(times):
                await client.ask({})
                said.append((await client.answer())[1])
        finally:
            client.close()
        return said

    found: list[str] = run(work())
    return found


# -- the ledger ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=lambda v: v if isinstance(v, str) else "-".join(v))
def test_every_technique_runs_over_tls_and_each_byte_on_the_wire_is_booked_once(
    name: str, options: dict[str, Any], authority: tls.Authority
) -> None:
    technique, data = find(name), ["plain", "한국어", "x" * 70_000, "", "last"]
    options = {**technique.taken_of({"interval_s": 0.01 * UNIT}), **options, "trust": Trust(authority.cafile)}
    with (
        Lab("tls") as lab,
        tls.terminating(authority.context(), lab.ports["http"]) as port,
        CountingRelay(port) as relay,
    ):
        url = f"https://localhost:{relay.port}{technique.route}"
        with Receiver(technique, url, after=lab.cursor(), stop_after=len(data), **options) as receiver:
            for each in data:
                lab.publish(each)
            receiver.wait_end()
            assert [d.data for d in receiver.deliveries] == data and receiver.error is None
        records = receiver.ledger.connections
        until(lambda: all(relay.ended(record.local[1]) for record in records))
        until(lambda: lab.stats()["connections"] == 0)
    for record in records:
        check_marks(record)
        client = record.local[1]
        assert record.bytes_out == len(relay.up[client])
        assert len(relay.down[client]) - record.bytes_in in (0, 24), "a farewell that came after the end was not read"
        assert record.by_category["tls"] == record.bytes_total - record.carried_in - record.carried_out
        assert record.by_category["tls"] >= record.handshake_bytes > 500
        assert record.tls_version.startswith("TLSv1.3") and record.alpn == "http/1.1"
        if record.requests:
            assert b"GET /" in bytes_of(record, "out"), "what is kept is what it carried"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_versions_are_spoken_with_bodies_of_many_records(version: ssl.TLSVersion, authority: Any) -> None:
    size, ledger, context = 5 * RECORD_BYTES + 1, Ledger(keep_bytes=1 << 20), authority.context()
    context.minimum_version = context.maximum_version = version

    def script(sock: Any) -> None:
        read_until(sock, b"\r\n\r\n")
        got = 0
        while got < size:
            got += len(sock.recv(1 << 16))
        sock.sendall(OK + b"Content-Length: %d\r\n\r\n" % size + b"y" * size)
        read_all(sock)

    async def work(url: str) -> bytes:
        wiring = Wiring(ledger, "polling", trust=Trust(authority.cafile))
        http = HTTPConnection(await SecureConnection.open("127.0.0.1", int(url.rpartition(":")[2][:-1]), wiring))
        try:
            await http.request("POST", "/", {"Host": "x"}, body=b"x" * size)
            await http.response()
            return await http.read_body()
        finally:
            http.close()

    with serving(tls.over_tls(context, script)) as url:
        assert run(work(url)) == b"y" * size
    (record,) = ledger.connections
    check_marks(record)
    assert record.by_category["payload"] == record.by_category["envelope"] == size  # body, and what it is answered by
    records = 2 * (size // RECORD_BYTES + 1)
    assert record.by_category["tls"] - record.handshake_bytes >= 22 * records, "header, tag and type of each"


def test_what_comes_is_read_while_what_is_written_stands(authority: tls.Authority) -> None:
    size = 8 << 20

    def script(sock: Any) -> None:
        sock.recv(1)
        sock.sendall(bytes(size))
        got = 1
        while got < size:
            got += len(sock.recv(1 << 16))
        sock.sendall(b"done")

    async def read(connection: SecureConnection) -> int:
        got = 0
        while got < size + 4:
            got += len(await connection.read())
        return got

    async def work(url: str) -> None:
        wiring = Wiring(Ledger(), "x", trust=Trust(authority.cafile), silence_s=TIMEOUT_S / 2)
        connection = await SecureConnection.open("127.0.0.1", int(url.rpartition(":")[2][:-1]), wiring)
        try:
            await asyncio.gather(connection.write(bytes(size)), read(connection))
        finally:
            connection.close()

    with serving(tls.over_tls(authority.context(), script)) as url:
        run(work(url))


def test_a_kept_connection_that_ends_with_a_close_notify_is_opened_again(authority: tls.Authority) -> None:
    ledger, script = Ledger(), tls.over_tls(authority.context(), answering(COUNTED))

    async def work(url: str) -> None:
        client = HTTPClient(url, topic="", token=None, wiring=Wiring(ledger, "polling", trust=Trust(authority.cafile)))
        await client.ask({})
        await client.answer()
        await asyncio.to_thread(until, lambda: client.http.connection.ended)  # type: ignore[union-attr]
        await client.ask({})
        assert (await client.answer())[1] == "abcde"
        client.close()

    with serving(script) as url:
        run(work(secure(url)))
    assert [record.responses for record in ledger.connections] == [1, 1]
    for record in ledger.connections:
        check_marks(record)


# -- how it ends -----------------------------------------------------------------------------------------------------


def test_a_body_that_the_end_of_tls_ends_is_whole_and_one_that_is_cut_is_lost(authority: tls.Authority) -> None:
    trust, context = Trust(authority.cafile), authority.context()
    with serving(tls.over_tls(context, answering(UNTIL_CLOSE))) as url:
        assert asked(secure(url), trust) == ["abcde"]
    ledger = Ledger()
    with serving(tls.over_tls(context, answering(UNTIL_CLOSE), end="cut")) as url:
        with pytest.raises(ConnectionLost, match=r"without a close_notify \(RFC 8446 section 6\.1\)"):
            asked(secure(url), trust, ledger)
    check_marks(ledger.connections[0])
    with serving(tls.over_tls(context, answering(COUNTED), end="cut")) as url:
        assert asked(secure(url), trust) == ["abcde"], "what says its own length is whole (RFC 9112 section 9.8)"


def test_what_came_before_a_cut_is_delivered(authority: tls.Authority) -> None:
    items: list[Any] = []

    async def work(url: str) -> None:
        options = {"trust": Trust(authority.cafile), "retry_s": 0.1 * UNIT}
        async for item in follow(find("sse"), url, give_up_s=0.3 * UNIT, **options):
            items.append(item.data)

    with serving(tls.over_tls(authority.context(), answering(STREAM), end="cut"), lambda sock: None) as url:
        with pytest.raises(ConnectionLost):
            run(work(secure(url)))
    assert items == ["a"]


# -- who is believed -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["nobody vouches", "another name", "expired"])
def test_a_certificate_that_is_not_believed_ends_in_one_sentence_and_nothing_was_asked(
    fault: str, authority: tls.Authority
) -> None:
    names, got = (["other.example"] if fault == "another name" else []), list[bytes]()
    context = authority.context(*names, expired=fault == "expired")
    cafile = None if fault == "nobody vouches" else authority.cafile
    words = {
        "nobody vouches": "unable to get local issuer",
        "another name": "IP address mismatch",
        "expired": "expired",
    }
    script = tls.over_tls(context, lambda sock: got.append(read_all(sock)))
    with serving(script) as url:
        for technique in ("polling", "sse", "websocket"):
            run_ = listen(secure(url), technique, seconds=TIMEOUT_S, progress=False, cafile=cafile)
            said = run_.failures[technique]
            assert words[fault] in said and ("--cafile" in said) is (fault == "nobody vouches"), said
            assert any("No TLS was agreed on" in note for note in run_.notes)
        assert not any(got)
    with serving(tls.over_tls(context, answering(COUNTED))) as url:
        assert asked(secure(url), Trust(insecure=True)) == ["abcde"]


def test_a_file_of_authorities_that_is_none_is_named(tmp_path: pathlib.Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing\n")
    for cafile, words in ((str(tmp_path / "missing"), "No such file"), (str(empty), "no certificate in it")):
        with pytest.raises(TLSFailed, match=words):
            listen("https://127.0.0.1:1/", "sse", cafile=cafile, progress=False)


def test_a_server_without_tls_is_told_from_one_that_is_silent() -> None:
    def says(answer: bytes) -> Callable[[socket.socket], None]:
        def script(sock: socket.socket) -> None:
            sock.recv(1000)
            sock.sendall(answer)
            read_all(sock)

        return script

    ledger = Ledger()
    with serving(says(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as url:
        with pytest.raises(TLSFailed, match=r"does not speak TLS here, but 'HTTP/1.1 400 Bad Request'; write http://"):
            asked(secure(url), Trust(), ledger)
    check_marks(ledger.connections[0])
    with serving(says(b"")) as url, pytest.raises(ConnectionLost, match="did not answer in the TLS handshake within"):
        asked(secure(url), Trust(), answer_s=0.1 * UNIT)
    with serving(lambda sock: None) as url, pytest.raises(ConnectionLost, match=r"TLS handshake|reset"):
        asked(secure(url), Trust())


@pytest.mark.parametrize("technique", ["polling", "websocket"])
def test_a_tls_server_that_is_spoken_to_in_plain_text_is_told(technique: str) -> None:
    def alert(sock: socket.socket) -> None:
        sock.recv(1)
        sock.sendall(b"\x15\x03\x01\x00\x02\x02\x46")
        read_all(sock)

    with serving(alert) as url:
        run_ = listen(url, technique, seconds=TIMEOUT_S, progress=False)
    assert "speaks TLS, and was spoken to in plain text; write https://" in run_.failures[technique]
    check_marks(run_.ledger.connections[0])


def test_the_command_says_whom_it_believed(authority: tls.Authority, capsys: pytest.CaptureFixture[str]) -> None:
    def held(sock: Any) -> None:
        answering(STREAM)(sock)
        read_all(sock)

    with serving(tls.over_tls(authority.context(), held)) as url:
        command = ["measure", "--url", secure(url), "--technique", "sse", "--seconds", str(0.5 * UNIT)]
        assert main(command) == 1
        assert "is not believed" in capsys.readouterr().out
        assert main([*command, "--cafile", authority.cafile]) == 0
        assert f"checked by {authority.cafile} alone" in capsys.readouterr().out
        assert main([*command, "--insecure"]) == 0
        assert "NOT checked" in capsys.readouterr().out
        assert main([*command, "--cafile", "/missing"]) == 1


# -- records, without a socket -----------------------------------------------------------------------------------------


@pytest.fixture
def ends(authority: tls.Authority) -> Iterator[tuple[TLS, ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO]]:
    """A client and a server that have shaken hands."""
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = authority.context().wrap_bio(into, out, server_side=True)
    client = TLS("localhost", Trust(authority.cafile))
    client.begin()
    while not client.is_open:
        into.write(client.outgoing())
        with contextlib.suppress(ssl.SSLWantReadError):
            server.do_handshake()
        assert client.feed(out.read()) == b""
    into.write(client.outgoing())
    server.do_handshake()
    client.feed(out.read())
    yield client, server, into, out


def test_records_are_opened_wherever_they_are_cut(ends: Any) -> None:
    client, server, _, out = ends
    for piece in (b"one", b"x" * 20_000, b"two"):
        server.write(piece)
    with contextlib.suppress(ssl.SSLWantReadError):
        server.unwrap()
    sealed, before, carried = out.read(), client.own_bytes, b""
    for start in range(0, len(sealed), 7):
        carried += client.feed(sealed[start : start + 7])
    assert carried == b"one" + b"x" * 20_000 + b"two" and client.closed and client.error is None
    assert client.own_bytes - before == len(sealed) - len(carried)


@pytest.mark.parametrize("fault", ["no record", "altered", "an alert"])
def test_what_cannot_be_opened_is_lost_after_what_came_before_it(fault: str, ends: Any) -> None:
    client, server, into, out = ends
    server.write(b"before")
    good = out.read()
    server.write(b"after")
    bad = bytearray(out.read())
    if fault == "no record":
        bad[:] = b"HTTP/1.1 200 OK\r\n"
    elif fault == "altered":
        bad[-1] ^= 1
    else:
        into.write(b"\x17\x03\x03\x00\x20" + b"?" * 32)
        with pytest.raises(ssl.SSLError):
            server.read()
        bad[:] = out.read()
    assert client.feed(good + bytes(bad)) == b"before"
    assert isinstance(client.error, ConnectionLost)
