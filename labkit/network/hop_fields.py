"""Which header fields of a request or an answer an intermediary hands on (RFC 9110 section 7.6).

Fields of a hop stay on their hop, but a request that asks for an upgrade goes on whole; ``Via`` is added to requests.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import h11

_Fields = list[tuple[bytes, bytes]]

OF_A_HOP = {b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade"}  # RFC 9110 section 7.6.1


def forwarded(request: h11.Request) -> h11.Request:
    """The request as it goes on (RFC 9110 sections 7.6.1 and 7.6.3)."""
    fields = request.headers.raw_items()
    upgrades = any(name.lower() == b"upgrade" for name, _ in fields)
    going = list(fields) if upgrades else list(kept(fields, OF_A_HOP | set(_named_in_connection(fields))))
    going.append((b"Via", b"1.1 labkit"))
    return h11.Request(method=request.method, target=request.target, headers=going)


def kept(fields: Iterable[tuple[bytes, bytes]], without: set[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """The fields but for those names."""
    return ((name, value) for name, value in fields if name.lower() not in without)


def _named_in_connection(fields: _Fields) -> Iterator[bytes]:
    for name, value in fields:
        if name.lower() == b"connection":
            yield from (token.strip().lower() for token in value.split(b","))
