"""An HTTP client for one address: when to connect, what to ask, and which answers are refusals.

One connection at a time, and one topic. Bodies and what their bytes were for are the affair of ``http_connection.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any
from urllib.parse import SplitResult, quote

from labkit.client import address
from labkit.client.connection import Connection, Wiring
from labkit.client.http_connection import HTTPConnection, Response
from labkit.errors import Refused
from labkit.wire.bodies import Reading, Whole


class HTTPClient:
    """One address, one connection at a time, kept alive unless told otherwise.

    Args:
        url: the technique's full address, with ``http://`` or ``ws://``.
        topic, token: sent with every request.
        wiring: where the bytes are put down.
        keep_alive: False opens a connection for each request.
        version: ``1.1`` or ``1.0``.

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
        self.parts: SplitResult = address.split(url)
        self.topic = topic
        self.wiring = wiring
        self.keep_alive = keep_alive
        self.version = version
        self.headers = {"Host": self.parts.netloc, "User-Agent": "labkit", "Accept": "*/*"}
        if token is not None:
            self.headers["Authorization"] = f"Bearer {token}"
        if version == "1.0" or not keep_alive:
            self.headers["Connection"] = "close"
        self.http: HTTPConnection | None = None

    async def connected(self) -> HTTPConnection:
        """The connection that is open and free, or a new one."""
        http = self.http
        if http is not None and (http.connection.closed or (not http.waiting and http.connection.ended)):
            http.close()
            self.http = None
        if self.http is None:
            host, port = self.parts.hostname or "", self.parts.port or 80
            self.http = HTTPConnection(await Connection.open(host, port, self.wiring))
        return self.http

    def target(self, **query: object) -> str:
        """The request target with *query* added (values of None or "" are left out)."""
        return target(self.parts, topic=self.topic, **query)

    async def ask(
        self, query: Mapping[str, object], headers: Mapping[str, str] | None = None, *, ahead: int = 0
    ) -> None:
        """Send a GET, unless *ahead* + 1 of them already wait for their answers on this connection."""
        http = await self.connected()
        if http.waiting <= ahead:
            fields = {**self.headers, **(headers or {})}
            await http.request("GET", self.target(**query), fields, version=self.version)

    async def head(self) -> tuple[Response, HTTPConnection]:
        """The head of the oldest unanswered request's response, and the connection to read its body from."""
        assert self.http is not None, "ask first"
        return await self.http.response(), self.http

    async def told(self, reading: Reading, *others: int) -> tuple[Response, Any]:
        """The whole response to the oldest unanswered request, and what its body said; None if that was nothing.

        Raises:
            Refused: any status but 200, 304 and the *others*.
        """
        response, http = await self.head()
        values = [value async for value in http.values(reading)]
        if not http.next_cycle() or not self.keep_alive:
            http.close()
        said = values[0] if values else None
        if response.status not in (200, 304, *others):
            refuse_unless(response, (), (said or b"").decode("utf-8", "replace"))
        return response, said

    async def answer(self, *others: int) -> tuple[Response, str]:
        """The same of a body that is text."""
        response, said = await self.told(Whole(), *others)
        return response, (said or b"").decode("utf-8", "replace")

    @property
    def received_ns(self) -> int:
        """When the newest read returned."""
        return self.http.connection.received_ns if self.http is not None else 0

    def close(self) -> None:
        if self.http is not None:
            self.http.close()


def plain(value: object) -> str:
    """As it is written into a request: of a number that is not whole, six places and no exponent."""
    if isinstance(value, Real) and not isinstance(value, Integral):
        return f"{float(value):.6f}".rstrip("0").rstrip(".")
    return str(value)


def target(parts: SplitResult, **query: object) -> str:
    """The request target of an address with query parameters added; None and "" are left out."""
    pairs = [f"{name}={quote(plain(value), safe='@')}" for name, value in query.items() if value not in (None, "")]
    joined = "&".join(filter(None, [parts.query, *pairs]))
    return (parts.path or "/") + (f"?{joined}" if joined else "")


def refuse_unless(response: Response, allowed: tuple[int, ...], text: str = "") -> None:
    """Raise :class:`Refused` with the server's own words when the status is not one of *allowed*."""
    if response.status not in allowed:
        wait = response.headers.get("retry-after", "")
        raise Refused(
            f"the server answered {response.status} {response.reason}: {text.strip()[:200]}".rstrip(": "),
            status=response.status,
            retry_after_s=float(wait) if wait.isdigit() else None,
        )
