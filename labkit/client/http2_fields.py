"""The fields of a request as they are handed to be coded (RFC 9113 sections 8.2 and 8.3.1)."""

from __future__ import annotations

from collections.abc import Mapping

from hpack import NeverIndexedHeaderTuple

from labkit.errors import WireError
from labkit.wire.http1 import TARGET, TOKEN, field_value

_NOT_HERE = frozenset({"host", "connection", "upgrade", "keep-alive", "transfer-encoding", "proxy-connection"})
"""Fields of one connection, and what ``:authority`` says instead (RFC 9113 section 8.2.2); ``TE`` says one thing."""


def request_fields(
    method: str, scheme: str, target: str, headers: Mapping[str, str | bytes], protocol: str
) -> list[tuple[bytes, bytes]]:
    """The fields of a request, in the order in which they are sent.

    A path is not put into the dynamic table, as in other clients (nghttp2, and so curl): cursors make it another one
    each time, and it would push out all that stays the same.

    Raises:
        WireError: something in them has no place in a head.
    """
    if not TOKEN.fullmatch(method) or not TARGET.fullmatch(target):
        raise WireError(f"no request: {method[:20]!r} {target[:80]!r}", clause="RFC 9113 section 8.3.1")
    by_name = {name.lower(): value for name, value in headers.items()}
    found: list[tuple[bytes, bytes]] = [(b":method", method.encode())]
    if protocol:
        found.append((b":protocol", protocol.encode()))
    found += [
        (b":scheme", scheme.encode()),
        (b":authority", field_value(by_name.get("host", ""))),
        NeverIndexedHeaderTuple(b":path", target.encode()),
    ]
    for name, value in by_name.items():
        if not TOKEN.fullmatch(name):
            raise WireError(f"no field's name: {name[:40]!r}", clause="RFC 9110 section 5.1")
        if name not in _NOT_HERE and (name != "te" or field_value(value).lower() == b"trailers"):
            found.append((name.encode(), field_value(value)))
    return found
