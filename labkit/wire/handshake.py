"""The opening handshake of a WebSocket, as a client has it: what it asks, and whether the answer is one.

RFC 6455 sections 4.1 and 4.2.2; permessage-deflate is agreed on by RFC 7692 sections 5.1 and 7.1. What a client of ours
sends is never deflated, so what an answer says of the client's own window and context is checked and is no matter.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator

from labkit.errors import WireError
from labkit.wire.http1 import PROTOCOL, Head

OPENING = "RFC 6455 section 4.1"
AGREEING = "RFC 7692 section 7.1"
DEFLATE = "permessage-deflate"
_ACCEPT_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_PARAMETER = re.compile(r'\s*([!#$%&\'*+\-.^_`|~0-9A-Za-z]+)\s*(?:=\s*("?)([!#$%&\'*+\-.^_`|~0-9A-Za-z]+)\2\s*)?')
_BITS = {str(bits) for bits in range(8, 16)}
_ALLOWED: dict[str, set[str | None]] = {
    "server_no_context_takeover": {None},
    "client_no_context_takeover": {None},
    "server_max_window_bits": {*_BITS},
    "client_max_window_bits": {*_BITS},
}
"""What an answer may say of permessage-deflate, with which values."""


def accept_key(key: str) -> str:
    """The ``Sec-WebSocket-Accept`` that answers a ``Sec-WebSocket-Key`` (RFC 6455 section 4.2.2)."""
    digest = hashlib.sha1(key.encode() + _ACCEPT_GUID, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()


def asked(host: str, key: bytes, *, deflate: bool) -> dict[str, str | bytes]:
    """The fields of a request to change to WebSocket.

    Args:
        key: 16 random bytes.
        deflate: offer permessage-deflate.
    """
    fields: dict[str, str | bytes] = {
        "Host": host,
        "Upgrade": PROTOCOL,
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": base64.b64encode(key).decode(),
        "Sec-WebSocket-Version": "13",
    }
    if deflate:
        fields["Sec-WebSocket-Extensions"] = f"{DEFLATE}; client_max_window_bits"
    return fields


def asked_of_stream(host: str, *, deflate: bool) -> dict[str, str | bytes]:
    """The fields of an extended CONNECT, which needs neither a key nor what goes with Upgrade (RFC 8441 section 5)."""
    fields = asked(host, b"", deflate=deflate)
    return {name: value for name, value in fields.items() if name not in _OF_UPGRADE}


_OF_UPGRADE = ("Upgrade", "Connection", "Sec-WebSocket-Key")


def agreed(request: Head, answer: Head) -> bool:
    """Whether messages may be deflated, by an answer of 101 to *request*.

    Raises:
        WireError: the answer is none; the message says which field is wrong.
    """
    values = answer.values
    if answer.version == "HTTP/1.0":
        raise WireError("a change of protocol in HTTP/1.0", clause=OPENING)
    said = values.get("upgrade", "")  # that and nothing besides, where Connection is a list
    if said.lower() != PROTOCOL:
        raise WireError(f"Upgrade does not say {PROTOCOL}: {said[:40]!r}", clause=OPENING)
    if not answer.has("connection", "upgrade"):
        raise WireError(f"Connection does not say upgrade: {values.get('connection', '')[:40]!r}", clause=OPENING)
    wanted, given = accept_key(request.values["sec-websocket-key"]), values.get("sec-websocket-accept")
    if given != wanted:
        shown = "missing" if given is None else f"{given[:40]!r}"
        raise WireError(f"Sec-WebSocket-Accept is {shown}, and not {wanted!r}", clause=OPENING)
    return _agreed_extension(request, answer)


def agreed_on_stream(request: Head, answer: Head) -> bool:
    """Whether messages may be deflated, by an answer of 200 to an extended CONNECT (RFC 8441 section 5).

    Raises:
        WireError: it chooses what was not offered.
    """
    return _agreed_extension(request, answer)


def _agreed_extension(request: Head, answer: Head) -> bool:
    values = answer.values
    asked = [each.strip() for each in request.values.get("sec-websocket-protocol", "").split(",") if each.strip()]
    chosen = values.get("sec-websocket-protocol")
    if chosen is not None and chosen.strip() not in asked:
        how = "it was not offered" if asked else "none was offered"
        raise WireError(f"a subprotocol was chosen, and {how}: {chosen[:40]!r}", clause=OPENING)
    chosen_extensions = [*_extensions(values.get("sec-websocket-extensions", ""))]
    offered = "sec-websocket-extensions" in request.values
    for name, _ in chosen_extensions:
        if name != DEFLATE or not offered:
            raise WireError(f"an extension was chosen that was not offered: {name[:40]!r}", clause=OPENING)
    if len(chosen_extensions) > 1:
        raise WireError(f"{DEFLATE} was chosen {len(chosen_extensions)} times", clause="RFC 7692 section 5.1")
    for _, parameters in chosen_extensions:
        _check(parameters)
    return bool(chosen_extensions)


def _check(parameters: list[tuple[str, str | None]]) -> None:
    names = [name for name, _ in parameters]
    for name, value in parameters:
        if value not in _ALLOWED.get(name, ()):
            shown = name if value is None else f"{name}={value}"
            raise WireError(f"{DEFLATE} was agreed to with {shown[:60]!r}", clause=AGREEING)
        if names.count(name) > 1:
            raise WireError(f"{DEFLATE} was agreed to with {name} twice", clause=AGREEING)


def _extensions(text: str) -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    """Name and parameters of each extension (RFC 6455 section 9.1)."""
    for one in filter(str.strip, text.split(",")):
        found = [_PARAMETER.fullmatch(part) for part in one.split(";")]
        if any(part is None for part in found) or (found[0] is not None and found[0][3] is not None):
            raise WireError(f"no list of extensions: {text[:60]!r}", clause="RFC 6455 section 9.1")
        name, *parameters = [(part[1], part[3]) for part in found if part is not None]
        yield name[0], parameters
