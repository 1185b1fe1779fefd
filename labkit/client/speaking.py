"""Which version of HTTP is spoken over a new connection (RFC 9113 section 3).

Over TLS the server chooses among what is offered (ALPN). In clear text nothing tells: HTTP/2 is spoken there only where
it was asked for alone, by prior knowledge. HTTP/2 needs the extra ``http2``; nothing of it is loaded where it is not
spoken.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Union

from labkit.client.address import Address
from labkit.client.connection import Connection
from labkit.client.http_connection import HTTPConnection
from labkit.client.secure_connection import connection_to
from labkit.client.wiring import Wiring
from labkit.errors import MissingPackage, Refused

if TYPE_CHECKING:
    from labkit.client.http2_connection import HTTP2Connection
    from labkit.client.http2_exchanges import HTTP2Exchanges

Exchanges = Union[HTTPConnection, "HTTP2Exchanges"]
"""A connection as a client has it: what is asked and answered, one exchange after another."""
VERSIONS = (1, 2)


def versions_of(http: int | None, *, is_socket: bool = False, is_secure: bool = True) -> tuple[int, ...]:
    """What to offer, the preferred first, of what was asked for.

    Args:
        http: 1 or 2; None for what the server prefers: a browser's choice, which opens a WebSocket over HTTP/1.

    Raises:
        ValueError: no version that is spoken here.
        MissingPackage: HTTP/2 was asked for, and is not installed.
    """
    if http is None:
        both = is_secure and not is_socket and _is_installed()
        return (2, 1) if both else (1,)
    if http not in VERSIONS or isinstance(http, bool):
        raise ValueError(f"http={http!r}: expected 1 or 2, or None for what the server prefers")
    if http == 2 and not _is_installed():
        raise MissingPackage('HTTP/2 needs h2, which is not installed: pip install "labkit[http2]"')
    return (http,)


def _is_installed() -> bool:
    try:
        import h2  # noqa: F401
    except ImportError:
        return False
    return True


async def speaking(address: Address, wiring: Wiring) -> Exchanges:
    """A new connection to where *address* says, ready to be asked.

    Raises:
        Refused: HTTP/2 alone was asked for, and the server does not speak it.
        ConnectionLost, TLSFailed: as :func:`connection_to`.
    """
    if wiring.opener is not None:
        return await wiring.opener(address, wiring)  # type: ignore[no-any-return]
    return spoken_over(await connection_to(address, wiring), address, wiring)


def spoken_over(connection: Connection, address: Address, wiring: Wiring) -> Exchanges:
    """What is spoken over a connection on which nothing has been asked yet. Raises as :func:`speaking` does."""
    if 2 not in wiring.versions:
        return HTTPConnection(connection)
    from labkit.client.http2_exchanges import HTTP2Exchanges

    made = _made(connection, address, wiring)
    return made if isinstance(made, HTTPConnection) else HTTP2Exchanges(made, "https" if address.is_secure else "http")


async def agreed_on_http2(address: Address, wiring: Wiring) -> HTTP2Connection:
    """The same, where nothing but HTTP/2 will do."""
    alone = replace(wiring, versions=(2,))
    made = _made(await connection_to(address, alone), address, alone)
    assert not isinstance(made, HTTPConnection)
    return made


def _made(connection: Connection, address: Address, wiring: Wiring) -> HTTPConnection | HTTP2Connection:
    from labkit.client.http2_connection import HTTP2Connection

    if address.is_secure and connection.record.alpn != "h2":
        if 1 in wiring.versions:
            return HTTPConnection(connection)
        connection.close()
        raise Refused(
            f"{address.host} does not speak HTTP/2 here: no h2 was agreed on in TLS (RFC 9113 section 3.2); "
            "ask for http=1"
        )
    return HTTP2Connection(connection)
