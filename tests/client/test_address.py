"""Which addresses the kit's clients speak to, as they are pasted, and that none of the others is sent a byte."""

from __future__ import annotations

import asyncio
import socket
from contextlib import aclosing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import labkit
from labkit import loop
from labkit.client import address
from labkit.client.host import ascii_host
from labkit.errors import AddressError, LabkitError
from labkit.measuring.listening import listen
from labkit.techniques import TECHNIQUES, Technique, exhibits
from wait import TIMEOUT_S

EVERY = (*TECHNIQUES, *exhibits.EXHIBITS)
WHAT_IS_EXPECTED = "expected http://, https://, ws:// or wss:// and a host"

AS_PASTED = [
    # scheme and host, RFC 3986 section 6.2.2.1
    ("http://host", "http://host/"),
    ("HTTP://HoSt:8/X", "http://host:8/X"),
    ("wss://host:443/x", "wss://host/x"),
    ("http://host:/x", "http://host/x"),
    ("http://host:00080/x", "http://host/x"),
    ("https://host:80/x", "https://host:80/x"),
    ("http://host?x=1", "http://host/?x=1"),
    ("http://host#top", "http://host/"),
    ("http://a_b.example.:8/", "http://a_b.example.:8/"),
    ("http://ex%61mple/", "http://example/"),
    # around and within, WHATWG URL section 4.4
    ("  http://host/x \r\n", "http://host/x"),
    ("http://ho\r\nst/long\n\tpath", "http://host/longpath"),
    ("http:\\\\host\\a\\b?c\\d", "http://host/a/b?c\\d"),
    ("http://host/a b?c d", "http://host/a%20b?c%20d"),
    ("http://host/a\x01\x7f?\x02.", "http://host/a%01%7F?%02."),
    ('http://host/`{"<>^}?\'"<>', "http://host/%60%7B%22%3C%3E%5E%7D?%27%22%3C%3E"),
    ("http://host/%zz%2f%C3%BC", "http://host/%zz%2f%C3%BC"),
    ("http://host/ü?ü=€", "http://host/%C3%BC?%C3%BC=%E2%82%AC"),
    ("http://host/\ud800", "http://host/%EF%BF%BD"),
    ("http://host/a/./b/../c/..", "http://host/a/"),
    ("http://host/a/%2E%2e/../b/.", "http://host/b/"),
    ("http://host/../..", "http://host/"),
    ("http://host/a//b/", "http://host/a//b/"),
    # IP addresses, WHATWG URL sections 3.5.2 and 3.5.4
    ("http://127.1:8/", "http://127.0.0.1:8/"),
    ("http://0x7f.0.0.01/", "http://127.0.0.1/"),
    ("http://2130706433/", "http://127.0.0.1/"),
    ("http://127.0.0.1./", "http://127.0.0.1/"),
    ("http://[::1]:8/", "http://[::1]:8/"),
    ("ws://[0:0:0:0:0:0:0:1]/", "ws://[::1]/"),
    # names beyond ASCII, UTS 46 section 4
    ("http://Bücher.example/", "http://xn--bcher-kva.example/"),
    ("http://faß.example/", "http://xn--fa-hia.example/"),
    ("http://日本語。jp/", "http://xn--wgv71a119e.jp/"),
    ("http://\uff27\uff2f.example/", "http://go.example/"),
    ("http://💩.la/", "http://xn--ls8h.la/"),
    ("http://xn--bcher-kva.example/", "http://xn--bcher-kva.example/"),
]

REFUSED = [
    ("ftp://host/x", "ftp:// is not spoken here"),
    ("tcp://host:1", "tcp:// is not spoken here"),
    ("javascript:alert(1)", "javascript:// is not spoken here"),
    ("not-a-url", "write http://not-a-url or https://not-a-url"),
    ("localhost:8080/sse", "write http://localhost:8080/sse or https://localhost:8080/sse"),
    ("127.0.0.1:8080", "write http://127.0.0.1:8080 or"),
    ("//host/x", "write http://host/x or"),
    ("://host/x", "write http://host/x or"),
    ("", WHAT_IS_EXPECTED),
    ("/x", "write http://x"),
    ("http://", WHAT_IS_EXPECTED),
    ("http:///x", "two slashes: http://x"),
    ("https:/host/x", "two slashes: https://host/x"),
    ("http:host", "two slashes: http://host"),
    ("http://:8/x", "it names no host"),
    ("http://me@/x", "it names no host"),
    ("http://host:0x1/x", "a port is a number from 1 to 65535, not '0x1'"),
    ("http://host:65536/x", "a port is a number from 1 to 65535"),
    ("http://host:0/", "a port is a number from 1 to 65535"),
    ("http://host:-1/", "a port is a number"),
    ("http://host:٣/", "a port is a number"),
    (f"http://host:{'9' * 5000}/", "a port is a number"),
    ("http://[::1/x", "is not closed"),
    ("http://[::1]x/", "is not closed"),
    ("http://[1:2]/", "is no IPv6 address"),
    ("http://::1/", "stands in brackets: "),
    ("http://::1:8080/", r"in brackets: \[::1"),
    ("http://[fe80::1%]/", "is no zone"),
    ("http://[fe80::1%a b]/", "is no zone"),
    ("http://1.2.3.256/", "is no IPv4 address"),
    ("http://1.2.3.4.5/", "is no IPv4 address"),
    ("http://a.1/", "ends in a number"),
    (f"http://{'1' * 5000}/", "ends in a number"),
    ("http://a b/", "a host has no ' '"),
    ("http://a%0d%0ab/", r"a host has no '\\r'"),
    ("http://a%00/", r"a host has no '\\x00'"),
    ("http://a<b>/", "a host has no '<'"),
    ("http://%FF/", "a host has no"),
    ("http://a..b/", "1 to 63 characters"),
    (f"http://{'a' * 64}/", "1 to 63 characters"),
    (f"http://{'.'.join(['a' * 60] * 5)}/", "at most 253 characters"),
    ("http://a\u200db/", "xn-- form"),
    ("http://xn--ü/", "is encoded and is not"),
    ("http://\u0301a/", "does not begin with"),
    ("http://a\u3000b/", "a host has no"),
    (None, "is no address"),
    (b"http://host/", "is no address"),
]


def test_an_address_as_it_is_pasted_is_understood() -> None:
    for pasted, understood in AS_PASTED:
        place = address.split(pasted)
        assert str(place) == understood
        assert str(address.split(str(place))) == str(place)
    assert address.split("http://[::FFFF:1.2.3.4]/").host.startswith("::ffff:")  # 102:304 before Python 3.13


def test_what_is_not_spoken_to_is_refused_with_what_to_write() -> None:
    for pasted, words in REFUSED:
        with pytest.raises(AddressError, match=words):
            address.split(pasted)
    assert issubclass(AddressError, LabkitError)


def test_a_plugin_socket_has_a_scheme_of_its_own() -> None:
    assert address.split("tcp://host:1", address.TCP).port == 1
    for other in ("http://host:1", "https://host/x"):
        with pytest.raises(AddressError, match="expected tcp:// and a host"):
            address.split(other, address.TCP)


def test_a_zone_is_connected_to_and_is_sent_to_nobody() -> None:
    for pasted in ("http://[fe80::1%eth0]:8/", "http://[fe80::1%25eth0]:8/"):
        place = address.split(pasted)
        assert (place.host, place.authority) == ("fe80::1%eth0", "[fe80::1]:8")  # RFC 9844, RFC 6874 section 3


@pytest.mark.parametrize(
    "url",
    ["http://me:se/cret@host/", "http://me:s#ecret@host/", "http://me:s?ecret@host/", "htp://host/?token=secret",
     "host/?token=secret", "http://me:secret@host:0/"],
)  # fmt: skip
def test_what_lets_somebody_in_is_in_no_refusal(url: str) -> None:
    with pytest.raises(AddressError) as error:
        address.split(url)
    assert not any(part in str(error.value) for part in ("secret", "ecret", "cret@"))


def test_a_login_becomes_a_header_field_and_is_shown_nowhere() -> None:
    place = address.split("http://me:p%40ss@word@host/x")
    assert place.authorization == "Basic bWU6cEBzc0B3b3Jk" and place.host == "host"
    assert "word" not in str(place) + repr(place)
    assert address.split("http://:@host/").authorization is None
    for refused in ("ftp://me:s3cret@host/", "http:me:s3cret@host/", "http://me:s3cret@host:0/", "me:s3cret@host/"):
        with pytest.raises(AddressError) as caught:
            address.split(refused)
        assert "s3cret" not in str(caught.value)


LEADS = {
    "/x": "https://host/x",
    "x?y": "https://host/a/x?y",
    "../x": "https://host/x",
    "?y": "https://host/a/b?y",
    "": "https://host/a/b?q",
    "#part": "https://host/a/b?q",
    "//other/x": "https://other/x",
    "\\\\other\\x": "https://other/x",
    " HTTP://Other:80 ": "http://other/",
    "/ü b": "https://host/%C3%BC%20b",
}


def test_where_a_location_leads() -> None:
    here = address.split("https://me:too@host/a/b?q")
    for location, leads_to in LEADS.items():
        there = here.led_to(location)
        assert str(there) == leads_to
        assert bool(there.credentials) == (there.origin == here.origin), "a login goes nowhere else"
    for location in ("a:b/c", "//["):
        with pytest.raises(AddressError):
            here.led_to(location)


@given(st.text() | st.text(alphabet="htps:/\\@[]%.#?0189xn-aß\x00\r\n "))
def test_whatever_is_pasted_is_understood_or_refused_and_goes_into_a_request_head_encoded(pasted: str) -> None:
    for text in (pasted, f"http://{pasted}", f"http://host/{pasted}", f"http://host?{pasted}"):
        try:
            place = address.split(text)
        except AddressError:
            continue
        for part in (place.host, place.authority, place.path, place.query):
            assert part.isascii() and not any(c <= " " or c == "\x7f" for c in part)
        assert str(address.split(str(place))) == str(place)
        place.led_to("/")


@given(st.text())
def test_a_host_is_ascii_or_refused(text: str) -> None:
    try:
        assert ascii_host(text).isascii()
    except ValueError:
        pass


@pytest.mark.parametrize("technique", EVERY, ids=lambda t: t.name)
def test_no_client_opens_a_connection_to_another_scheme(technique: Technique) -> None:
    async def first(url: str) -> Any:
        async with aclosing(technique.connect(url, token="s3cret")) as items:
            return await asyncio.wait_for(anext(items), TIMEOUT_S)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        url = f"ftp://127.0.0.1:{listener.getsockname()[1]}/x"
        with pytest.raises(AddressError):
            loop.run(first(url))
        with pytest.raises(AddressError):
            listen(url, technique, seconds=TIMEOUT_S, progress=False)
        with pytest.raises(BlockingIOError):
            listener.accept()


@pytest.mark.parametrize("relay", [labkit.Link, labkit.Intermediary])
def test_a_relays_target_is_no_url(relay: Any) -> None:
    with pytest.raises(AddressError, match=r"\(host, port\), not 'https://host/'"):
        relay("https://host/")


def test_a_path_is_no_url() -> None:
    with labkit.Lab("address") as lab, pytest.raises(AddressError, match="'https://host/'"):
        labkit.measure(lab, ["sse"], through="https://host/", progress=False)  # type: ignore[arg-type]
