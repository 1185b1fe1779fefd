"""Through an HTTP proxy: the kit's own (``labkit tap --forward``), tinyproxy if it is installed, and broken ones."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from planted_sockets import healthy_socket
from planted_streams import LAST, STEP_S, chunk, endless, event, events, flowing, head, planted
from steady import Pace, probed, rows, steadily

from labkit.client.address import split
from labkit.errors import AddressError, LabkitError
from labkit.lab.lab import Lab
from labkit.strangers.probe.probing import probe
from labkit.strangers.probe.report import Report
from labkit.strangers.probe.surroundings import around, is_excepted
from labkit.strangers.tap.tap import Tap
from tls import Authority, over_tls
from wait import read_until, serving, until

NAME, PASSWORD = "me", "hidden99"
CODED = "bWU6aGlkZGVuOTk="


@contextlib.contextmanager
def tinyproxy(folder: Path) -> Iterator[str]:
    """With a log-in; its address without."""
    program = shutil.which("tinyproxy")
    if program is None:
        pytest.skip("tinyproxy is not installed")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    file = folder / "tinyproxy.conf"
    log = folder / "log"
    lines = (f"Port {port}", "Listen 127.0.0.1", "Timeout 600", f"BasicAuth {NAME} {PASSWORD}", f'LogFile "{log}"', "")
    file.write_text("\n".join(lines), encoding="utf-8")

    def answers() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False

    with subprocess.Popen([program, "-d", "-c", str(file)], stdout=subprocess.DEVNULL) as process:
        try:
            until(answers, "tinyproxy listens")
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()


@contextlib.contextmanager
def forwarding(folder: Path) -> Iterator[str]:
    with Tap() as tap:
        yield tap.url.removeprefix("http://")


PROXIES = {"the tap": forwarding, "tinyproxy": tinyproxy}


@pytest.fixture(params=PROXIES)
def proxy(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A proxy's address, with the log-in."""
    with PROXIES[request.param](tmp_path) as place:
        yield f"http://{NAME}:{PASSWORD}@{place}"


def is_left_out(report: Report, folder: Path) -> bool:
    """Whether the log-in is in nothing that is written."""
    files = [report.to_html(folder / "a.html"), report.to_json(folder / "a.json")]
    told = "".join([str(report), *(file.read_text(encoding="utf-8") for file in files)])
    return PASSWORD not in told and CODED not in told


@contextlib.contextmanager
def secure(context: ssl.SSLContext) -> Iterator[str]:
    def script(sock: ssl.SSLSocket) -> None:
        read_until(sock, b"\r\n\r\n")
        sock.sendall(head() + chunk(event(1)) + LAST)

    with serving(over_tls(context, script)) as url:
        yield url.replace("http://", "https://")


@pytest.mark.timing
def test_clear_text_is_asked_of_it_by_the_whole_address(proxy: str, tmp_path: Path) -> None:
    asked, said = list[str](), list[str]()

    def answer(request: str):  # type: ignore[no-untyped-def]
        asked.append(request)
        yield from endless(request)

    with planted(answer) as url:
        report = steadily(lambda: probe(f"{url}sse?a=1", proxy=proxy, seconds=Pace.factor, say=said.append), wanted=[])
    assert report.status == 0 and report.seen.first.events, str(report)
    assert asked[0].startswith("GET /sse?a=1 HTTP/1.") and "proxy-authorization" not in asked[0].lower()
    assert f"through the proxy http://{proxy.partition('@')[2]}, which is asked by the whole address" in said[1]
    assert PASSWORD not in "".join(said) and is_left_out(report, tmp_path)


@pytest.mark.timing
def test_tls_goes_through_a_tunnel_and_the_servers_own_certificate_counts(proxy: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with secure(authority.context()) as url:
        report = probe(url, proxy=proxy, seconds=20, cafile=authority.cafile, say=None)
        other = probe(url, proxy=proxy, seconds=20, say=None)
    assert report.status == 0 and len(report.seen.first.events) == 1, str(report)
    assert other.status == 2 and "certificate of 127.0.0.1 is not believed" in other.findings[0].says
    assert is_left_out(report, tmp_path) and is_left_out(other, tmp_path)


@pytest.mark.timing
def test_a_websocket_goes_through_a_tunnel(proxy: str, tmp_path: Path) -> None:
    with planted(healthy_socket) as url:
        report = probed(url.replace("http", "ws"), [], 1, proxy=proxy)
    assert report.status == 0 and len(report.seen.first.events) > 2, str(report)
    assert is_left_out(report, tmp_path)


@pytest.mark.timing
def test_http_2_goes_through_a_tunnel(proxy: str) -> None:
    pytest.importorskip("h2")
    with Lab("by proxy", http=(1, 2), tls=True) as lab:
        lab.publish("one")
        url = f"{lab.url.rstrip('/')}/sse?after=0"
        report = probed(url, [], 1, proxy=proxy, cafile=lab.cafile)
    assert report.status == 0 and report.seen.first.http_version == "2" and report.seen.first.events, str(report)


@pytest.mark.timing
def test_a_lab_behind_it_is_published_to_through_it(proxy: str) -> None:
    with Lab("by proxy") as lab:
        report = probed(f"{lab.url.rstrip('/')}/sse", [], 1.5, proxy=proxy, publish=True)
    assert report.status == 0 and "published through it" in str(report), str(report)


@pytest.mark.timing
def test_what_a_proxy_holds_back_is_seen_beside_the_same_address_without_it() -> None:
    """Also is asked without the proxy."""

    def holding(sock: socket.socket) -> None:
        asked = read_until(sock, b"\r\n\r\n")
        place = split(asked.split(b" ")[1].decode())
        with socket.create_connection((place.host, place.port), 10) as far:
            far.sendall(f"GET {place.path} HTTP/1.1\r\nHost: {place.authority}\r\n\r\n".encode())
            held = b""
            while more := far.recv(65536):
                held += more
        sock.sendall(held)

    with planted(lambda _: [*flowing(), LAST]) as url, serving(holding) as hop:
        report = probed(url, [(1, "seen")], 8 * STEP_S + 2, proxy=hop, also=url)
    assert rows(report) == [(1, "seen")], str(report)
    assert report.findings[0].says.startswith(f"the proxy {hop.rstrip('/')}, or")


def answering(data: bytes) -> Callable[[socket.socket], None]:
    def script(sock: socket.socket) -> None:
        read_until(sock, b"\r\n\r\n")
        sock.sendall(data)

    return script


def silent(sock: socket.socket) -> None:
    while sock.recv(4096):
        pass


DENIED = b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"
BROKEN: dict[str, tuple[Callable[[socket.socket], None], str]] = {
    "407": (answering(DENIED), "the proxy {0} wants a name and a password (407)"),
    "403": (answering(b"HTTP/1.1 403 Forbidden\r\n\r\n"), "the proxy {0} opens no tunnel to 127.0.0.1:9: it answers "
            "CONNECT with 403 Forbidden"),
    "no CONNECT": (answering(b"HTTP/1.0 405 Method Not Allowed\r\n\r\n"), "it answers CONNECT with 405 "
                   "Method Not Allowed"),
    "no proxy": (answering(b"SSH-2.0-OpenSSH_9.2\r\n"), "{0} does not answer CONNECT 127.0.0.1:9 as an HTTP proxy"),
    "hangs up": (lambda sock: None, "the proxy {0} ended the connection at CONNECT 127.0.0.1:9"),
    "says nothing": (silent, "the proxy {0} does not answer CONNECT 127.0.0.1:9: no answer within 1 s"),
    "speaks first": (answering(b"HTTP/1.1 200 OK\r\n\r\nhello"), "sent something behind its answer to CONNECT"),
}  # fmt: skip


@pytest.mark.parametrize("scheme", ["https", "ws", "wss"])
@pytest.mark.parametrize("name", BROKEN)
def test_a_proxy_that_opens_no_tunnel_is_one_sentence(name: str, scheme: str) -> None:
    script, says = BROKEN[name]
    with serving(script) as hop:
        seconds = 1 if name == "says nothing" else 20
        report = probe(f"{scheme}://127.0.0.1:9/", proxy=hop, seconds=seconds, say=None)
    (found,) = report.findings
    assert report.status == 2 and says.format(hop.rstrip("/")) in found.says, str(report)
    assert found.remedy[0].startswith("--proxy http://NAME:PASSWORD@HOST:PORT")


@pytest.mark.parametrize("login", ["", f"{NAME}:{PASSWORD}@"])
def test_a_proxy_that_wants_to_know_who_asks_in_clear_text_is_one_sentence(login: str) -> None:
    with serving(answering(DENIED)) as hop:
        report = probe("http://127.0.0.1:9/", proxy=hop.replace("//", f"//{login}"), seconds=20, say=None)
    (found,) = report.findings
    how = "does not take this name and password" if login else "wants a name and a password"
    assert report.status == 2 and f"{how} (407)" in found.says and PASSWORD not in str(report)


def test_where_no_proxy_listens_is_one_sentence() -> None:
    with serving(silent) as hop:
        pass
    for url in ("http://127.0.0.1:9/", "https://127.0.0.1:9/", "ws://127.0.0.1:9/"):
        report = probe(url, proxy=hop, seconds=20, say=None)
        assert report.status == 2 and f"the proxy {hop.rstrip('/')} is not reached" in report.findings[0].says


@pytest.mark.parametrize("url", ["socks5://x:1", "https://x:1", "x:3128", "http://", f"ftp://{NAME}:{PASSWORD}@x"])
def test_a_proxy_that_is_not_spoken_to_is_said_before_anything_is_sent(url: str) -> None:
    with pytest.raises(AddressError) as refused:
        probe("http://127.0.0.1:9/", proxy=url, say=None)
    assert PASSWORD not in str(refused.value)


def test_http_2_in_clear_text_is_not_asked_of_a_proxy() -> None:
    pytest.importorskip("h2")
    with pytest.raises(LabkitError, match="http=2 in clear text"):
        probe("http://127.0.0.1:9/", proxy="http://127.0.0.1:9", http=2, say=None)


# -- what is set in the environment ------------------------------------------------------------------------------------


NOT_USED = [
    ("http://a.test/", {"http_proxy": "http://p:1"}, "http_proxy"),
    ("ws://a.test/", {"ALL_PROXY": "http://p:1"}, "ALL_PROXY"),
    ("https://a.test/", {"HTTPS_PROXY": f"http://x:{PASSWORD}@p:1"}, "HTTPS_PROXY"),
    ("wss://a.test/", {"https_proxy": "http://p:1", "NO_PROXY": "b.test"}, "https_proxy"),
    ("http://a.test/", {"HTTPS_PROXY": "http://p:1"}, ""),
    ("https://a.test/", {"HTTPS_PROXY": ""}, ""),
    ("https://a.test/", {"HTTPS_PROXY": "http://p:1", "no_proxy": "x, .test"}, ""),
    ("https://a.test/", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*"}, ""),
]


@pytest.mark.parametrize(("url", "environment", "named"), NOT_USED)
def test_a_proxy_that_is_set_and_was_not_used_is_a_note(url: str, environment: dict[str, str], named: str) -> None:
    from labkit.strangers.probe.plan import Plan, Question

    notes = around(Plan(Question("first", split(url))), environment)
    assert [note.row for note in notes] == ([6] if named else [])
    assert not notes or (notes[0].says.startswith(f"{named} is set here") and PASSWORD not in notes[0].says)


EXCEPTED = [
    ("http://a.b.test/", "b.test", True),
    ("http://ab.test/", "b.test", False),
    ("http://b.test/", ".b.test", True),
    ("http://b.test/", "*.b.test", True),
    ("http://b.test:8080/", "b.test:8080", True),
    ("http://b.test/", "b.test:8080", False),
    ("http://10.1.2.3/", "10.0.0.0/8", True),
    ("http://11.1.2.3/", "10.0.0.0/8", False),
    ("http://[::1]/", "::1", True),
    ("http://127.0.0.1/", "localhost,127.0.0.1", True),
    ("http://b.test/", "", False),
    ("http://b.test/", " , ", False),
]


@pytest.mark.parametrize(("url", "listed", "is_so"), EXCEPTED)
def test_no_proxy_takes_out_hosts_domains_addresses_and_networks(url: str, listed: str, is_so: bool) -> None:
    assert is_excepted(split(url), {"no_proxy": listed}) is is_so


def test_the_word_on_it_is_left_where_a_proxy_was_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with planted(lambda _: iter([head(), *map(chunk, events()), LAST])) as url, Tap() as tap:
        alone, through = probe(url, seconds=20, say=None), probe(url, seconds=20, proxy=tap.url, say=None)
    assert "http_proxy is set here" in str(alone) and "http_proxy" not in str(through)


def test_a_proxy_that_does_not_reach_the_server_may_have_answered_itself() -> None:
    with planted(endless) as url:
        pass
    with Tap() as tap:
        report = probe(url, proxy=tap.url, seconds=20, say=None)
    (found,) = report.findings
    assert report.seen.first.status == 502 and f"the proxy {tap.url} may have said so itself" in found.evidence[1]
