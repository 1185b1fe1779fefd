"""Tornado's HTTP/1.1 server connection, corrected where it falls short of the RFCs. A learner never needs to open this.

Written against Tornado 6.6.1; only what is wrong there is overridden.

===================================================================  ======================  ==========================
what is sent                                                         Tornado                 here
===================================================================  ======================  ==========================
a target in absolute form (RFC 9112 3.2.2)                           404                     its path; Host is ignored
a chunk extension (9112 7.1.1), trailer fields (7.1.2)               400                     dropped, 64 KiB at most
``Expect: 100-Continue`` in any case (9110 10.1.1)                   waits                   100
an expectation in HTTP/1.0 (9110 10.1.1)                             100                     ignored
``Connection: close, te`` and other lists (9110 7.6.1, 9112 9.3)     overlooked              read as a list
HTTP/1.0 with a Transfer-Encoding (9112 6.1)                         kept alive              ends after the answer
HTTP/1.2 to 1.9 (9110 2.5)                                           as HTTP/1.0             as HTTP/1.1
an answer of unknown length to a kept HTTP/1.0 client (9112 6.3)     never ends              ends by closing
a handler's own ``Connection: close`` (9112 9.6)                     closes nothing          ends after the answer
an answer before its request's body was read (9112 9.6)              ends unannounced        ``Connection: close``
HEAD of what would be chunked (9112 6.1, 9110 9.3.2)                 no Transfer-Encoding    the field that GET has
===================================================================  ======================  ==========================

Left as it is: another transfer coding than chunked is a 400 and not a 501, and HTTP/2.0 in a request line a 400 and not
a 505 (both are refused, and the RFCs do not insist); what cannot be parsed is a 400 without a sentence, since nothing
of it is known to be meant; a quoted string in a chunk extension is not looked into, only kept free of controls.

The private names of Tornado used here: ``_parse_headers``, ``_can_keep_alive``, ``_read_chunked_body``,
``_deliver_body``, ``_server_request_loop``, ``_request_start_line``, ``_request_headers``, ``_disconnect_on_finish``,
``_read_finished``, ``_max_body_size``.
"""

from __future__ import annotations

import asyncio
import re
from asyncio import Future
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from typing import Any

from tornado.http1connection import HTTP1Connection, HTTP1ServerConnection
from tornado.httputil import (
    HTTPHeaders,
    HTTPInputError,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    ResponseStartLine,
)
from tornado.iostream import StreamClosedError, UnsatisfiableReadError
from tornado.log import gen_log

PREFACE = b"PRI * HTTP/2.0\r\n\r\n"  # no request, though its form is one's (RFC 9113 section 3.4)
ONLY_HTTP2 = (
    b"HTTP/1.1 505 HTTP Version Not Supported\r\nContent-Type: text/plain\r\nConnection: close\r\n"
    b"Content-Length: 83\r\n\r\n"
    b"this port speaks HTTP/2 only: over TLS by ALPN, in clear text with prior knowledge\n"
)
NO_PREFACE = b"\0\0\x08\x07\0\0\0\0\0" + b"\0\0\0\0\0\0\0\x01"  # GOAWAY, PROTOCOL_ERROR
MAX_ASIDE_BYTES = 64 << 10  # of one body's extensions and trailer fields
MAX_LINE_BYTES = 8 << 10  # of one chunk's head, of one trailer field
YIELD_CHUNKS = 64  # after so many the loop belongs to others too
_ABSOLUTE = re.compile(r"https?://([^/?#]*)(.*)", re.IGNORECASE)
_TEXT = rb"[\t\x20-\x7e\x80-\xff]*"  # no control: a bare LF has let requests through to others behind one
_HEX = frozenset(b"0123456789abcdefABCDEF")
MAX_DIGITS = 16  # of a chunk's size
_EXTENSION = re.compile(rb"[ \t]*(?:;" + _TEXT + rb")?\r\n")
_TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:" + _TEXT + rb"\r\n")


def members(headers: HTTPHeaders, name: str) -> set[str]:
    """The members of a list of tokens, in lower case (RFC 9110 section 5.6.1)."""
    return {member.strip().lower() for member in headers.get(name, "").split(",")} - {""}


class BeginsHTTP2(Exception):
    """The first line of a connection is HTTP/2's."""


class NotSpoken(Exception):
    """The first line of a connection is HTTP/1's, which is not spoken here."""


class Exchange(HTTP1Connection):
    """One request and its answer."""

    versions: Collection[int] = (1,)

    def _parse_headers(self, data: bytes) -> tuple[str, HTTPHeaders]:
        """The request line and the fields, the target in origin form."""
        if 2 in self.versions and data == PREFACE:
            raise BeginsHTTP2
        if 1 not in self.versions or _agreed_on(self.stream) == "h2":
            raise NotSpoken
        line, headers = super()._parse_headers(data)
        method, _, rest = line.partition(" ")
        target, _, version = rest.rpartition(" ")
        if re.fullmatch(r"HTTP/1\.[2-9]", version):
            version = "HTTP/1.1"
        if (absolute := _ABSOLUTE.fullmatch(target)) is not None:
            authority, target = absolute[1], absolute[2] or ("*" if method == "OPTIONS" else "/")
            target = f"/{target}" if target.startswith("?") else target
            if "," not in headers.get("Host", "") and ("Host" in headers or version == "HTTP/1.0"):
                headers["Host"] = authority  # else there is none, or two: refused as without a target of this form
        if "100-continue" in (expected := members(headers, "Expect")) and version != "HTTP/1.0":
            headers["Expect"] = "100-continue"
        elif expected:
            del headers["Expect"]
        return f"{method} {target} {version}", headers

    def _can_keep_alive(self, start_line: Any, headers: HTTPHeaders) -> bool:
        said = members(headers, "Connection")
        if self.params.no_keep_alive or "close" in said:
            return False
        if start_line.version == "HTTP/1.1":
            return True
        ends = "Content-Length" in headers or start_line.method in ("GET", "HEAD")
        return "keep-alive" in said and ends and "Transfer-Encoding" not in headers

    def write_headers(self, start_line: Any, headers: HTTPHeaders, chunk: bytes | None = None) -> Future[None]:
        asked = self._request_start_line
        assert asked is not None and isinstance(start_line, ResponseStartLine)
        if start_line.code == 101:  # another protocol goes on, whatever was said of this connection's end
            self._disconnect_on_finish = False
            return super().write_headers(start_line, headers, chunk)
        has_body = start_line.code >= 200 and start_line.code not in (204, 304)
        ends_by_itself = "Content-Length" in headers or not has_body or asked.method == "HEAD"
        said = members(headers, "Connection")
        if "close" in said or not self._read_finished or (asked.version == "HTTP/1.0" and not ends_by_itself):
            self._disconnect_on_finish = True
        if asked.version == "HTTP/1.0":
            self._request_headers = HTTPHeaders()  # Tornado would say keep-alive by its own reading of them
            if not self._disconnect_on_finish:
                headers["Connection"] = "Keep-Alive"
        elif asked.method == "HEAD" and has_body and "Content-Length" not in headers:
            headers["Transfer-Encoding"] = "chunked"
        ends = self._disconnect_on_finish
        if ends and said - {"close"}:  # Tornado would put its own word in place of the handler's
            headers["Connection"] = ", ".join([*sorted(said - {"close"}), "close"])
            self._disconnect_on_finish = False
        written = super().write_headers(start_line, headers, chunk)
        self._disconnect_on_finish = ends
        return written

    async def _read_chunked_body(self, delegate: HTTPMessageDelegate) -> None:
        """Hand on the body; small chunks that have come together go on together (their borders mean nothing)."""
        gathered, left, aside, count = bytearray(), self._max_body_size, MAX_ASIDE_BYTES, 0

        async def read(coming: Awaitable[bytes]) -> bytes:
            if gathered and (len(gathered) >= self.params.chunk_size or not _is_here(coming)):
                await self._deliver_body(delegate, bytes(gathered))
                gathered.clear()
            return await coming

        async def read_line() -> bytes:
            nonlocal aside
            line = await read(self.stream.read_until(b"\r\n", max_bytes=MAX_LINE_BYTES))
            aside -= len(line)
            if aside < 0:
                raise HTTPInputError("too much beside the chunks")
            return line

        async def read_size() -> int:
            digits = b""
            while (byte := await read(self.stream.read_bytes(1)))[0] in _HEX and len(digits) < MAX_DIGITS:
                digits += byte  # one by one: what is no size is refused before a line's end may come
            if not digits or byte not in (b"\r", b";", b" ", b"\t"):
                raise HTTPInputError("not the size of a chunk")
            rest = byte + (await read_line() if byte != b"\r" else await read(self.stream.read_bytes(1)))
            if not _EXTENSION.fullmatch(rest):
                raise HTTPInputError("not an extension of a chunk")
            return int(digits, 16)

        while (size := await read_size()) > 0:
            left -= size
            if left < 0:
                raise HTTPInputError("chunked body too large")
            while size:
                piece = await read(self.stream.read_bytes(min(size, self.params.chunk_size), partial=True))
                size -= len(piece)
                gathered += piece
            if await read(self.stream.read_bytes(2)) != b"\r\n":
                raise HTTPInputError("a chunk that ends elsewhere")
            count += 1
            if count % YIELD_CHUNKS == 0:
                await asyncio.sleep(0)
        while (line := await read_line()) != b"\r\n":
            if not _TRAILER.fullmatch(line):
                raise HTTPInputError("not a trailer field")
        if gathered:
            await self._deliver_body(delegate, bytes(gathered))


def _is_here(coming: Awaitable[bytes]) -> bool:
    return isinstance(coming, Future) and coming.done()


def _agreed_on(stream: Any) -> str | None:
    """The protocol that both sides have agreed on over TLS (RFC 7301)."""
    agreed: str | None = stream.socket.selected_alpn_protocol() if hasattr(stream.socket, "do_handshake") else None
    return agreed


class ServerConnection(HTTP1ServerConnection):
    """One client's connection: an :class:`Exchange` after another.

    ``versions`` are the HTTP versions spoken; ``serve_http2`` goes on with a connection that begins as HTTP/2 does.
    """

    versions: Collection[int] = (1,)
    serve_http2: Callable[[ServerConnection], Awaitable[None]]

    async def _server_request_loop(self, delegate: HTTPServerConnectionDelegate) -> None:
        try:
            with suppress(StreamClosedError, UnsatisfiableReadError, asyncio.CancelledError):
                versions = self.versions
                while True:
                    exchange = Exchange(self.stream, False, self.params, self.context)
                    exchange.versions = versions
                    if not await exchange.read_response(delegate.start_request(self, exchange)):
                        return
                    versions = (1,)  # a connection keeps to what it began with
                    await asyncio.sleep(0)
        except BeginsHTTP2:
            await self.serve_http2(self)
        except NotSpoken:
            with suppress(StreamClosedError):
                await self.stream.write(NO_PREFACE if _agreed_on(self.stream) == "h2" else ONLY_HTTP2)
            self.stream.close()
        except Exception:
            gen_log.error("in an exchange", exc_info=True)
            self.stream.close()
        finally:
            delegate.on_close(self)
