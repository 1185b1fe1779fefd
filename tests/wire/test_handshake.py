"""The opening handshake of a WebSocket: what is asked, and each answer that is none, by its clause."""

from __future__ import annotations

import pytest

from labkit.errors import WireError
from labkit.wire.handshake import accept_key, agreed, asked
from labkit.wire.http1 import Head, read_request, read_response, request_head

KEY = b"\0" * 16


def request(*, deflate: bool = True) -> Head:
    return read_request(request_head("GET", "/", asked("a", KEY, deflate=deflate).items()))


def answer(*changed: str, without: str = "", version: str = "1.1") -> Head:
    accept = accept_key(request().values["sec-websocket-key"])
    fields = ["Upgrade: WebSocket", "Connection: keep-alive, Upgrade", f"Sec-WebSocket-Accept: {accept}"]
    kept = [field for field in fields if not without or not field.startswith(without)]
    return read_response("\r\n".join([f"HTTP/{version} 101 x", *kept, *changed, "", ""]).encode())


def test_a_request_has_a_key_of_16_bytes_and_offers_to_deflate_when_it_is_to() -> None:
    plain, deflating = request(deflate=False), request()
    assert plain.values["sec-websocket-key"] == "AAAAAAAAAAAAAAAAAAAAAA==" and plain.has("upgrade", "websocket")
    assert "sec-websocket-extensions" not in plain.values
    assert deflating.values["sec-websocket-extensions"] == "permessage-deflate; client_max_window_bits"


@pytest.mark.parametrize(
    ("parameters", "deflates"),
    [
        ("", False),
        ("permessage-deflate", True),
        ("permessage-deflate; server_max_window_bits=8", True),
        ('permessage-deflate; server_max_window_bits="15" ;client_max_window_bits=10', True),
        ("permessage-deflate; server_no_context_takeover; client_no_context_takeover", True),
    ],
)
def test_7692_7_1_what_an_answer_may_agree_to(parameters: str, deflates: bool) -> None:
    assert agreed(request(), answer(f"Sec-WebSocket-Extensions: {parameters}")) is deflates


@pytest.mark.parametrize(
    ("head", "clause"),
    [
        (answer(version="1.0"), "RFC 6455 section 4.1"),
        (answer(without="Upgrade"), "RFC 6455 section 4.1"),
        (answer("Upgrade: h2c", without="Upgrade"), "RFC 6455 section 4.1"),
        (answer("Upgrade: websocket, h2c", without="Upgrade"), "RFC 6455 section 4.1"),
        (answer("Upgrade: h2c"), "RFC 6455 section 4.1"),
        (answer(without="Connection"), "RFC 6455 section 4.1"),
        (answer(without="Sec-WebSocket-Accept"), "RFC 6455 section 4.1"),
        (answer(f"Sec-WebSocket-Accept: {accept_key('x')}", without="Sec"), "RFC 6455 section 4.1"),
        (answer("Sec-WebSocket-Accept: x"), "RFC 6455 section 4.1"),
        (answer("Sec-WebSocket-Protocol: chat"), "RFC 6455 section 4.1"),
        (answer("Sec-WebSocket-Extensions: x-webkit-deflate-frame"), "RFC 6455 section 4.1"),
        (answer("Sec-WebSocket-Extensions: permessage-deflate=1"), "RFC 6455 section 9.1"),
        (answer("Sec-WebSocket-Extensions: permessage-deflate; =8"), "RFC 6455 section 9.1"),
        (answer("Sec-WebSocket-Extensions: permessage-deflate, permessage-deflate"), "RFC 7692 section 5.1"),
        (answer("Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=7"), "RFC 7692 section 7.1"),
        (answer("Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=08"), "RFC 7692 section 7.1"),
        (answer("Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits"), "RFC 7692 section 7.1"),
        (answer("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=16"), "RFC 7692 section 7.1"),
        (answer("Sec-WebSocket-Extensions: permessage-deflate; level=9"), "RFC 7692 section 7.1"),
        (answer("Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover=1"), "RFC 7692 section 7.1"),
        (
            answer("Sec-WebSocket-Extensions: permessage-deflate; " + "; ".join(2 * ["server_no_context_takeover"])),
            "RFC 7692 section 7.1",
        ),
    ],
)
def test_what_is_no_answer_is_said_with_its_clause(head: Head, clause: str) -> None:
    with pytest.raises(WireError) as broken:
        agreed(request(), head)
    assert broken.value.clause == clause


def test_4_1_an_extension_that_was_not_offered_is_none_that_may_be_chosen() -> None:
    with pytest.raises(WireError, match="not offered"):
        agreed(request(deflate=False), answer("Sec-WebSocket-Extensions: permessage-deflate"))
