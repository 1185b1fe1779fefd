"""A request as HTTP/2 brings it (RFC 9113 section 8.3), told as Tornado's handlers know requests.

=============================================  ==========================================================
what comes                                     what a handler sees
=============================================  ==========================================================
``:authority`` (8.3.1)                         ``Host``
several ``cookie`` fields (8.2.3)              one, which ``h2`` has made of them
fields of a connection (8.2.2)                 none: ``h2`` refuses them, ``te`` is dropped
``CONNECT`` with ``:protocol`` (RFC 8441)      the GET that asks to upgrade to a WebSocket
another ``:protocol``                          nothing: 501
``CONNECT`` without one (8.5)                  the method, at ``/``: a lab is no proxy
=============================================  ==========================================================
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tornado.httputil import HTTPHeaders, RequestStartLine

from labkit.server.exchange import HOP_BY_HOP
from labkit.wire.http1 import PROTOCOL

VERSION = "HTTP/2.0"
KEY = "AAAAAAAAAAAAAAAAAAAAAA=="  # RFC 8441 has none: the answer to it is dropped
_LENGTH = re.compile(r"[0-9]{1,19}", re.ASCII)
_PATH = re.compile(r"/[\x21-\x7e\x80-\xff]*|\*")


@dataclass(frozen=True, slots=True)
class Request:
    """A request's head; *websocket*: it asks for one."""

    line: RequestStartLine
    headers: HTTPHeaders
    websocket: bool


class Refused(Exception):
    """A request that no handler sees."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def request_of(fields: Iterable[Any], *, ends: bool = False) -> Request:
    """The request that a field block makes; *ends*: there is no body behind it.

    Raises:
        Refused: with the status that it is to be answered with.
        HTTPInputError: a name or a value that cannot be.
    """
    pseudo, headers = {}, HTTPHeaders()
    for name, value in ((name.decode("latin1"), value.decode("latin1")) for name, value, *_ in fields):
        if name.startswith(":"):
            pseudo[name] = value
        elif name not in HOP_BY_HOP:
            headers.add(name, value)
    if ":authority" in pseudo:
        headers["Host"] = pseudo[":authority"]
    method, path, protocol = pseudo[":method"], pseudo.get(":path", "/"), pseudo.get(":protocol")
    if not _PATH.fullmatch(path) or (path == "*") > (method == "OPTIONS"):
        raise Refused(400)
    length = headers.get("Content-Length", "0")
    if not _LENGTH.fullmatch(length) or (ends and int(length)):
        raise Refused(400)  # RFC 9113 section 8.1.1; of bodies h2 counts the bytes
    if protocol is not None:
        if protocol.lower() != PROTOCOL:
            raise Refused(501)  # RFC 9220 section 3
        method = "GET"
        headers["Upgrade"], headers["Connection"], headers["Sec-WebSocket-Key"] = PROTOCOL, "Upgrade", KEY
    return Request(RequestStartLine(method, path, VERSION), headers, protocol is not None)
