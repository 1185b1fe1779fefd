"""An HTTP proxy between a client and the servers that it asks (RFC 9110 sections 3.7, 7.6.1 and 9.3.6).

What is spoken to in clear text is asked of the proxy itself, by the whole address (RFC 9112 section 3.2.2). TLS, and
WebSockets of either kind, go through a tunnel that it opens (CONNECT). Name and password are sent to it, and are in
nothing that is shown or saved.

Not here: proxies that are themselves spoken to over TLS, SOCKS, and log-ins of more than one step.
"""

from __future__ import annotations

from dataclasses import replace

from labkit.client.address import Address, split
from labkit.client.connection import Connection, Late
from labkit.client.http_connection import HTTPConnection
from labkit.client.secure_connection import SecureConnection
from labkit.client.speaking import Exchanges, spoken_over
from labkit.client.wiring import Wiring
from labkit.errors import ConnectionLost, Refused, WireError
from labkit.wire.http1 import printable

SCHEMES = ("http",)
LOG_IN = 407


class Proxy:
    """Where a proxy is, and how it is asked.

    Args:
        url: ``http://[NAME:PASSWORD@]HOST:PORT``.

    Raises:
        AddressError: another scheme, no host, or a port that is none.
    """

    def __init__(self, url: str) -> None:
        self._place = split(url, SCHEMES)

    def __str__(self) -> str:
        return f"http://{self._place.authority}"

    @staticmethod
    def tunnels(address: Address) -> bool:
        """Whether what is there is reached through a tunnel."""
        return address.scheme != "http"

    @property
    def fields(self) -> dict[str, str]:
        """What it is told beside a request: who asks (RFC 9110 section 11.7.2)."""
        authorization = self._place.authorization
        return {"Proxy-Authorization": authorization} if authorization else {}

    async def speaking(self, address: Address, wiring: Wiring) -> Exchanges:
        """A new connection over which *address* can be asked; a wiring's ``opener``.

        Raises:
            ConnectionLost: the proxy is not reached, or says nothing; as what is behind it raises.
            Refused: it opens no tunnel.
        """
        place = self._place
        try:
            connection = await Connection.open(place.host, place.port, wiring)
        except ConnectionLost as error:
            raise ConnectionLost(f"the proxy {self} is not reached: {error}") from None
        if not self.tunnels(address):
            return HTTPConnection(connection)
        try:
            await self._tunnel(connection, address)
            if address.is_secure:
                connection = await SecureConnection.over(connection, address.host, address.port, wiring)
            return spoken_over(connection, address, wiring)
        except BaseException:
            connection.close()
            raise

    async def _tunnel(self, connection: Connection, address: Address) -> None:
        """Have it pass on whatever follows (RFC 9110 section 9.3.6)."""
        host = address.host.partition("%")[0]  # a zone is this machine's alone (RFC 6874 section 3)
        where = f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"
        http = HTTPConnection(connection)
        try:
            await http.request("CONNECT", where, {"Host": where, "User-Agent": "labkit", **self.fields})
            response = await http.answer(http.response())
        except Late as error:
            raise ConnectionLost(f"the proxy {self} does not answer CONNECT {where}: {error}") from None
        except ConnectionLost as error:
            raise ConnectionLost(f"the proxy {self} ended the connection at CONNECT {where}: {error}") from None
        except WireError as error:
            raise Refused(f"{self} does not answer CONNECT {where} as an HTTP proxy does: {error}") from None
        self.refuse_to_log_in(response.status)
        if not 200 <= response.status < 300:
            said = printable(f"{response.status} {response.reason}".strip(), 60)
            raise Refused(f"the proxy {self} opens no tunnel to {where}: it answers CONNECT with {said}")
        if http.taken_over()[1]:
            raise Refused(f"the proxy {self} sent something behind its answer to CONNECT {where}, before it was asked")

    def refuse_to_log_in(self, status: int) -> None:
        """Say that it wants to know who asks.

        Raises:
            Refused: it does.
        """
        if status == LOG_IN:
            why = "does not take this name and password" if self.fields else "wants a name and a password"
            raise Refused(f"the proxy {self} {why} (407)", status=LOG_IN)


def through(wiring: Wiring, proxy: Proxy | None) -> Wiring:
    """*wiring* by way of a proxy, if there is one."""
    return wiring if proxy is None else replace(wiring, opener=proxy.speaking)
