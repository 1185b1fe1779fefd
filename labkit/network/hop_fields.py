"""Which header fields of a request or an answer an intermediary hands on (RFC 9110 section 7.6).

Fields of a hop stay on their hop, those named in ``Connection`` too, but an upgrade goes on; ``Via`` is added to
requests, and to one without a ``Host``, as HTTP/1.0 may send it, the target's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import h11

_Fields = list[tuple[bytes, bytes]]

OF_A_HOP = {b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade"}  # RFC 9110 section 7.6.1
FOR_ALL = {b"host", b"content-length", b"transfer-encoding", b"via"}
"""Not to be named in ``Connection``: without them the message would be another one."""
_ABSOLUTE = re.compile(rb"https?://(?:[^/?#]*@)?([^/?#]*)(.*)", re.IGNORECASE)


def forwarded(request: h11.Request, host: bytes) -> h11.Request:
    """The request as it goes on (RFC 9110 sections 7.6.1 and 7.6.3), in origin form (RFC 9112 section 3.2.2).

    Args:
        host: the target's name and port, where the request names none (RFC 9110 section 7.2).
    """
    fields, target = request.headers.raw_items(), request.target
    going = list(of_the_message(fields))
    if (absolute := _ABSOLUTE.fullmatch(target)) is not None:
        going = [(b"Host", absolute[1]), *_without(going, {b"host"})]
        target = absolute[2] or (b"*" if request.method == b"OPTIONS" else b"/")  # RFC 9112 section 3.2.4
        target = b"/" + target if target.startswith(b"?") else target
    if not any(name.lower() == b"host" for name, _ in going):
        going.insert(0, (b"Host", host))
    asked = [(name, value) for name, value in fields if name.lower() == b"upgrade"]
    # RFC 9110 section 7.8: in HTTP/1.0 it is ignored
    if asked and request.http_version != b"1.0" and b"upgrade" in _named_in_connection(fields):
        going += [*asked, (b"Connection", b"Upgrade")]
    going.append((b"Via", b"1.1 labkit"))
    return h11.Request(method=request.method, target=target, headers=going)


def of_the_message(fields: _Fields) -> Iterator[tuple[bytes, bytes]]:
    """The fields that are not of a hop alone."""
    return _without(fields, OF_A_HOP | (set(_named_in_connection(fields)) - FOR_ALL))


def _without(fields: Iterable[tuple[bytes, bytes]], names: set[bytes]) -> Iterator[tuple[bytes, bytes]]:
    return ((name, value) for name, value in fields if name.lower() not in names)


def _named_in_connection(fields: _Fields) -> Iterator[bytes]:
    for name, value in fields:
        if name.lower() == b"connection":
            yield from (token.strip().lower() for token in value.split(b","))
