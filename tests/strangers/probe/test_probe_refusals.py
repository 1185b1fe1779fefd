"""What keeps a probe from asking at all: one sentence each, exit status 2, and nothing of it lets anybody in."""

from __future__ import annotations

import contextlib
import itertools
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from planted_sockets import healthy_socket, opened
from planted_streams import LAST, Answer, Step, chunk, endless, event, head, planted, refusing
from steady import probed, rows

from labkit.errors import LabkitError
from labkit.strangers.probe.probing import probe
from labkit.strangers.probe.report import Report
from tls import Authority, over_tls
from wait import read_until, reset, serving

SECRET = "hidden99"


def sentence(report: Report) -> str:
    """The one finding's, of a probe that could not ask."""
    (found,) = report.findings
    assert report.status == 2 and found.grade == "seen", str(report)
    assert found.remedy and str(report).splitlines()[1].startswith("  change: "), str(report)
    return found.says


def leading(status: str, where: str) -> Answer:
    def answer(_: str) -> Iterator[Step]:
        yield f"HTTP/1.1 {status}\r\nLocation: {where}\r\nContent-Length: 0\r\n\r\n".encode()

    return answer


def page(html: str) -> Answer:
    def answer(_: str) -> Iterator[Step]:
        yield head("200 OK", "text/html; charset=utf-8") + chunk(html.encode()) + LAST

    return answer


FORM = f"<!doctype html><title>Welcome</title>{' ' * 5000}<form><input name=p type='password'></form>"
ASKED: dict[str, tuple[Answer, str]] = {
    "another address": (leading("301 Moved", "/there"), "a redirection (301): it leads on to /there"),
    "a log-in": (
        leading("302 Found", "https://x.test/login?a"),
        "a redirection (302) to a log-in: https://x.test/login?a",
    ),
    "an author": (leading("307 There", "/author/7"), "a redirection (307): it leads on to /author/7"),
    "a blog": (leading("301 Moved", "/blog-index/"), "a redirection (301): it leads on to /blog-index/"),
    "a design": (leading("301 Moved", "/designing"), "a redirection (301): it leads on to /designing"),
    "a log-in of two words": (
        leading("302 Found", "/users/sign_in"),
        "a redirection (302) to a log-in: /users/sign_in",
    ),
    "401": (refusing("401 Unauthorized"), "401: a log-in is wanted"),
    "403": (refusing("403 Forbidden"), "403: this request is not let in"),
    "a form": (page(FORM), "a page that asks for a log-in, and no stream"),
    "a page that is called one": (page("<title>Sign in - X</title>"), "a page that asks for a log-in, and no stream"),
}


@pytest.mark.parametrize("name", ASKED)
def test_a_redirection_and_a_log_in_are_one_sentence_each(name: str) -> None:
    answer, says = ASKED[name]
    with planted(answer) as url:
        assert sentence(probe(url, seconds=20, say=None)) == f"the answer is {says}"


def test_a_page_without_a_log_in_is_no_finding() -> None:
    with planted(page("<title>Prices</title><p>log in the fire</p>")) as url:
        report = probe(url, seconds=20, say=None)
    assert report.status == 0 and any("no stream" in note.says for note in report.notes), str(report)


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden", "302 Found"])
def test_a_websocket_that_is_not_let_in_is_no_dropped_upgrade(status: str) -> None:
    answer = leading(status, "/login") if status.startswith("302") else refusing(status)
    with planted(answer) as url:
        assert str(status[:3]) in sentence(probe(url.replace("http", "ws"), seconds=20, say=None))


def test_a_hop_that_answers_403_where_the_server_upgrades_is_one() -> None:
    with planted(refusing("403 Forbidden")) as hop, planted(healthy_socket) as direct:
        report = probed(hop.replace("http", "ws"), [(20, "seen")], 1, also=direct.replace("http", "ws"))
    assert rows(report) == [(20, "seen")] and report.status == 1


# -- certificates ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def secure(context: ssl.SSLContext) -> Iterator[str]:
    def script(sock: ssl.SSLSocket) -> None:
        read_until(sock, b"\r\n\r\n")
        sock.sendall(head() + chunk(event(1)) + LAST)

    with serving(over_tls(context, script)) as url:
        yield url.replace("http://", "https://")


CERTIFICATES = {
    "expired": ({"expired": True}, True, "certificate has expired", "renew the server's certificate"),
    "of another host": ({"names": ("example.org",)}, True, "mismatch", "ask by the name that the certificate is for"),
    "of an authority that is not known": ({}, False, "local issuer", "send the whole chain from the server, or --ca"),
}


@pytest.mark.parametrize("name", CERTIFICATES)
def test_a_certificate_that_is_not_believed_is_one_sentence_and_the_line_to_change(name: str, tmp_path: Path) -> None:
    made, is_known, why, remedy = CERTIFICATES[name]
    authority = Authority(tmp_path)
    context = authority.context(*made.get("names", ()), expired=bool(made.get("expired")))  # type: ignore[misc]
    with secure(context) as url:
        report = probe(url, seconds=20, cafile=authority.cafile if is_known else None, say=None)
        assert probe(url, seconds=20, insecure=True, say=None).status == 0
    assert why in sentence(report) and report.findings[0].remedy[0].startswith(remedy), str(report)


def test_a_certificate_that_its_host_has_signed_itself_is_one_sentence(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*self_signed(tmp_path))
    with secure(context) as url:
        report = probe(url, seconds=20, say=None)
    assert "self-signed certificate" in sentence(report) and "--cafile FILE" in report.findings[0].remedy[0], str(
        report
    )


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate and its key."""
    x509 = pytest.importorskip("cryptography.x509")
    import datetime

    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1)).sign(key, hashes.SHA256())
    )  # fmt: skip
    (folder / "own.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "own.key").write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))  # fmt: skip
    return folder / "own.pem", folder / "own.key"


def test_a_server_without_tls_and_one_with_it_alone_are_one_sentence_each(tmp_path: Path) -> None:
    def plain_text(sock: socket.socket) -> None:
        sock.recv(1 << 16)
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with serving(plain_text) as plain:
        assert "does not speak TLS" in sentence(probe(plain.replace("http", "https"), seconds=20, say=None))
    with secure(Authority(tmp_path).context()) as url:
        report = probe(url.replace("https", "http"), seconds=20, say=None)
    assert report.status and "TLS" in f"{report.findings[0].says} {report.findings[0].left}", str(report)


@pytest.mark.parametrize("scheme", ["http", "ws"])
@pytest.mark.parametrize("ends", [lambda sock: None, reset], ids=["FIN", "RST"])
def test_a_server_that_hangs_up_before_it_answers_is_a_finding(
    ends: Callable[[socket.socket], None], scheme: str
) -> None:
    def script(sock: socket.socket) -> None:
        read_until(sock, b"\r\n\r\n")
        ends(sock)

    with serving(script) as url:
        report = probe(url.replace("http", scheme), seconds=20, say=None)
    (found,) = report.findings
    assert report.status == 1 and found.says == "the connection ended before an answer", str(report)


# -- nothing that lets somebody in -------------------------------------------------------------------------------------


def test_nothing_that_lets_somebody_in_is_in_any_file(tmp_path: Path) -> None:
    """Of the address, of header fields both ways, and of where an answer leads."""

    def answer(asked: str) -> Iterator[Step]:
        assert asked.count(SECRET) == 3, asked  # it is sent
        fields = (f"Set-Cookie: s={SECRET}", f"Mcp-Session-Id: {SECRET}", f"X-Amz-Security-Token: {SECRET}",
                  f"Link: </next?access_token={SECRET}>; rel=next")  # fmt: skip
        yield head("302 Found", "text/plain", *fields, f"Location: /login?code={SECRET}#id_token={SECRET}") + LAST

    said = list[str]()
    with planted(answer) as url:
        place = url.replace("http://", f"http://me:{SECRET}@") + f"?n=1&subscription-key={SECRET}"
        fields = {"X-Key": SECRET, "Authorization": f"Bearer {SECRET}", "Cookie": "left=alone"}
        report = probe(place, seconds=20, headers=fields, also=place.replace("n=1", "n=2"), say=said.append)
    files = [report.to_html(tmp_path / "a.html"), report.to_json(tmp_path / "a.json")]
    told = "".join([str(report), report._repr_html_(), *said, *(file.read_text(encoding="utf-8") for file in files)])
    assert "n=1" in told and "/login?code=(left out)" in told and "left=alone" not in told
    assert SECRET not in told and "bWU6aGlkZGVuOTk" not in told


def test_a_lab_is_published_to_with_the_keys_that_were_given_and_they_are_not_told() -> None:
    asked = list[str]()

    def answer(request: str) -> Iterator[Step]:
        asked.append(request)
        if request.startswith("POST"):
            yield b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        else:
            yield from endless(request)

    with planted(answer) as url:
        place = url.replace("http://", f"http://me:{SECRET}@") + "sse"
        report = probe(place, seconds=3, headers={"X-Key": SECRET}, publish=True, say=None)
    posted = [request for request in asked if request.startswith("POST /events")]
    assert posted and all("bWU6aGlkZGVuOTk" in request and f"X-Key: {SECRET}" in request for request in posted)
    assert SECRET not in f"{report}{report.as_json()}"


# -- what is said beforehand -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "also_is_asked", "is_asked_further"),
    [
        ({}, True, True),
        ({"data": "x"}, False, False),
        ({"data": "x", "again": True}, True, True),
        ({"publish": True}, True, False),
    ],
)
def test_no_more_is_said_beforehand_than_is_sent(
    options: dict[str, Any], also_is_asked: bool, is_asked_further: bool
) -> None:
    said, here = list[str](), "http://127.0.0.1:1"
    probe(here, also=f"{here}/behind", say=said.append, **options)
    assert any("/behind, at the same time" in line for line in said) is also_is_asked, said
    assert any("requests at most" in line for line in said) is is_asked_further, said


@pytest.mark.parametrize("more", [{"cut": True}, {"parallel": 2}])
def test_events_of_its_own_go_without_what_would_not_be_asked(more: dict[str, Any]) -> None:
    with pytest.raises(LabkitError, match="ask twice"):
        probe("http://127.0.0.1:1", publish=True, say=None, **more)


def by_close(asked: str) -> Iterator[Step]:
    yield b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    for number in range(4):
        yield 0.1
        yield event(number)


@pytest.mark.timing
def test_tls_that_says_no_farewell_ends_a_body_that_only_the_connection_ends(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with planted(by_close, authority.context("127.0.0.1")) as url:
        report = probed(url, [], 2, cafile=authority.cafile)
    assert not report.findings and report.seen.first.end == "closed", str(report)
    assert "without TLS's close_notify" in str(report)


@pytest.mark.timing
def test_a_subprotocol_that_was_offered_may_be_chosen() -> None:
    def choosing(asked: str) -> Iterator[Step]:
        chosen = b"\r\nSec-WebSocket-Protocol: graphql-ws\r\n\r\n"
        yield opened(asked).replace(b"\r\n\r\n", chosen)
        yield from itertools.islice(healthy_socket(asked), 1, 4)

    with planted(choosing) as url:
        where = url.replace("http://", "ws://")
        offered, other = (
            probe(where, seconds=0.5, say=None, headers={"Sec-WebSocket-Protocol": names})
            for names in ("graphql-transport-ws, graphql-ws", "mqtt")
        )
    assert offered.seen.first.status == 101 and not any("subprotocol" in f.says for f in offered.findings)
    assert "a subprotocol was chosen, and it was not offered" in other.findings[0].says
