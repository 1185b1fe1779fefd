"""An HTTP client for one address: when to connect, what to ask, and which answers are refusals.

One connection at a time, and one topic. Bodies and what their bytes were for are the affair of ``http_connection.py``.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from contextlib import aclosing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from numbers import Integral, Real
from typing import Any
from urllib.parse import quote

from labkit.client import address
from labkit.client.http_connection import Response
from labkit.client.redirects import leading_on
from labkit.client.speaking import Exchanges, speaking
from labkit.client.wiring import Wiring
from labkit.errors import AddressError, LabkitError, Refused
from labkit.wire.bodies import AsItComes, Reading, Whole
from labkit.wire.http1 import printable

WORDS_S = 2.0
WORDS_BYTES = 1 << 16
"""How much of a refusal's body is waited for."""
LONGEST_RETRY_S = 86400.0
_SECONDS = re.compile(r"[0-9]{1,9}", re.ASCII)


class HTTPClient:
    """One address, one connection at a time, kept alive unless told otherwise.

    Args:
        url: the technique's full address, with ``http://``, ``https://``, ``ws://`` or ``wss://``.
        topic, token: sent with every request.
        wiring: where the bytes are put down.
        keep_alive: False opens a connection for each request.
        version: ``1.1`` or ``1.0``, where HTTP/1 is spoken.

    Raises:
        AddressError: any other scheme.
    """

    def __init__(
        self,
        url: str,
        *,
        topic: str,
        token: str | None,
        wiring: Wiring,
        keep_alive: bool = True,
        version: str = "1.1",
    ) -> None:
        self.address = address.split(url)
        self.topic = topic
        self.wiring = wiring
        self.keep_alive = keep_alive
        self.version = version
        self.headers = {"Host": self.address.authority, "User-Agent": "labkit", "Accept": "*/*"}
        authorization = self.address.authorization if token is None else f"Bearer {token}"
        if authorization is not None:
            self.headers["Authorization"] = authorization
        self.headers |= wiring.fields
        if version == "1.0" or not keep_alive:
            self.headers["Connection"] = "close"
        self.http: Exchanges | None = None
        self.answer_s = wiring.answer_s
        """How long the next answer may take to begin."""
        self._asked: tuple[address.Address, Mapping[str, str | bytes]] | None = None
        """The newest GET: where, and with which fields."""

    async def connected(self) -> Exchanges:
        """The connection that is open and free, or a new one."""
        http = self.http
        if http is not None and (http.closed or not (http.waiting or await http.is_free())):
            http.close()
            self.http = None
        if self.http is None:
            self.http = await speaking(self.address, self.wiring)
        return self.http

    def target(self, **query: object) -> str:
        """The request target with *query* added (values of None or "" are left out)."""
        return target(self.address, topic=self.topic, **query)

    async def ask(
        self, query: Mapping[str, object], headers: Mapping[str, str | bytes] | None = None, *, ahead: int = 0
    ) -> None:
        """Send a GET, unless *ahead* + 1 of them already wait for their answers on this connection."""
        http = await self.connected()
        if http.waiting <= ahead:
            path, _, asked = self.target(**query).partition("?")
            fields = {**self.headers, **(headers or {})}
            self._asked = replace(self.address, path=path, query=asked), fields
            await http.request("GET", f"{path}{'?' * bool(asked)}{asked}", fields, version=self.version)

    async def head(self, *allowed: int) -> tuple[Response, Exchanges]:
        """The head of the oldest unanswered request's response, and the connection to read its body from.

        Where it leads to another address of the same server, the answer of that.

        Args:
            allowed: statuses; none of them: whichever comes.

        Raises:
            Refused: any other status, with the server's own words; or it leads elsewhere.
        """
        visited = [self._asked[0]] if self._asked is not None else []
        while True:
            assert self.http is not None, "ask first"
            http = self.http
            response = await http.answer(http.response(), self.answer_s)
            there = leading_on(response.status, response.headers, visited) if visited else None
            if self._asked is None or there is None:
                break
            visited.append(there)
            await words(http)
            if http.waiting or not self.keep_alive:
                http.close()
            http = await self.connected()
            await http.request("GET", target(there), self._asked[1], version=self.version)
        if allowed:
            refuse_unless(response, allowed, "" if response.status in allowed else await words(http))
        return response, http

    async def told(self, reading: Reading, *others: int) -> tuple[Response, Any]:
        """The whole response to the oldest unanswered request, and what its body said; None if that was nothing.

        Raises:
            Refused: any status but 200, 304 and the *others*.
        """
        response, http = await self.head(200, 304, *others)
        if response.status != 200:
            return response, (await words(http)).encode() or None
        values = [value async for value in http.values(reading)]
        if not http.next_cycle() or not self.keep_alive:
            http.close()
        return response, values[0] if values else None

    async def answer(self, *others: int) -> tuple[Response, str]:
        """The same of a body that is text."""
        response, said = await self.told(Whole(), *others)
        return response, (said or b"").decode("utf-8", "replace")

    @property
    def received_ns(self) -> int:
        """When the newest read returned."""
        return self.http.received_ns if self.http is not None else 0

    def close(self) -> None:
        if self.http is not None:
            self.http.close()


def plain(value: object) -> str:
    """As it is written into a request: of a number that is not whole, six places and no exponent."""
    if isinstance(value, Real) and not isinstance(value, Integral):
        return f"{float(value):.6f}".rstrip("0").rstrip(".")
    return str(value)


def target(place: address.Address, **query: object) -> str:
    """The request target of an address with query parameters added; None and "" are left out.

    Raises:
        AddressError: text that cannot be UTF-8.
    """
    try:
        pairs = [f"{name}={quote(plain(value), safe='@')}" for name, value in query.items() if value not in (None, "")]
    except UnicodeEncodeError as error:
        raise AddressError(f"not to be sent: a lone surrogate in {str(error.object)[:40]!r}") from None
    joined = "&".join(filter(None, [place.query, *pairs]))
    return place.path + (f"?{joined}" if joined else "")


async def words(http: Exchanges) -> str:
    """What a refusal says: as much as comes soon, and of that the beginning."""
    said = b""
    with suppress(TimeoutError, LabkitError):
        async with asyncio.timeout(WORDS_S), aclosing(http.values(AsItComes())) as pieces:
            async for piece in pieces:
                said += piece
                if len(said) > WORDS_BYTES:
                    break
    if not http.next_cycle():
        http.close()
    return said.decode("utf-8", "replace")


def refuse_unless(response: Response, allowed: tuple[int, ...], text: str = "") -> None:
    """Raise :class:`Refused` with the server's own words when the status is not one of *allowed*."""
    if response.status not in allowed:
        what = f"the server answered {response.status} {printable(response.reason)}: {printable(text)}"
        asked_s = retry_after_s(response.headers.get("retry-after", ""))
        raise Refused(what.rstrip(": "), status=response.status, retry_after_s=asked_s)


def retry_after_s(value: str) -> float | None:
    """The seconds that a Retry-After asks for, as a number or as a date (RFC 9110 section 10.2.3), a day at most.

    None for anything else.
    """
    if _SECONDS.fullmatch(value):
        return min(float(value), LONGEST_RETRY_S)
    try:
        when = parsedate_to_datetime(value)
        left_s = (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return min(max(left_s, 0.0), LONGEST_RETRY_S)
