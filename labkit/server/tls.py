"""TLS for a server (RFC 8446): a throw-away authority, a certificate for this machine's names, and the stream.

The authority lives as long as its lab and its key is kept nowhere: whoever is to trust the lab is given its certificate
(``lab.cafile``). Made by ``trustme``, which is an extra of its own: ``pip install "labkit[tls]"``.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import os
import socket
import ssl
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from tornado.iostream import SSLIOStream

from labkit.errors import LabkitError
from labkit.server.http1 import HEAD_S, LabStream

ALPN = {2: "h2", 1: "http/1.1"}  # what a server would rather have first
NAMES = ("localhost", "127.0.0.1", "::1")
MISSING = 'TLS needs trustme, which makes the certificate: pip install "labkit[tls]"'
IN_CLEAR = b"this port speaks TLS: begin the address with https:// or wss://\n"


@dataclass(frozen=True, slots=True)
class Identity:
    """What a server proves itself by, as PEM texts.

    Attributes:
        authority: the certificate of whoever vouches for it.
        chain: its key, and its certificate.
        fingerprint: of its public key, as Chromium's ``--ignore-certificate-errors-spki-list`` takes it (base64 of
            SHA-256, RFC 7469 section 2.4).
    """

    authority: bytes
    chain: bytes
    fingerprint: str

    def context(self, versions: Collection[int] = (1,)) -> ssl.SSLContext:
        """The server's side of a handshake, with the *versions* of HTTP that may be spoken then (RFC 7301)."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols([name for version, name in ALPN.items() if version in versions])
        if 2 in versions:  # RFC 9113 section 9.2
            context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
            context.options |= ssl.OP_NO_RENEGOTIATION
        path = _file("labkit-", self.chain)
        try:
            context.load_cert_chain(path)
        finally:
            os.unlink(path)
        return context

    def publish_authority(self) -> str:
        """Write the authority's certificate into a new file; its path. Removed by :func:`forget`."""
        return _file("labkit-authority-", self.authority)


def throw_away() -> Identity:
    """A new authority, and a certificate of it for this machine's loopback names.

    Raises:
        LabkitError: the package that makes certificates is not installed.
    """
    try:
        import trustme
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # trustme's own
        from cryptography.x509 import load_pem_x509_certificate
    except ImportError:
        raise LabkitError(MISSING) from None
    authority = trustme.CA()
    issued = authority.issue_cert(*NAMES)
    certificate = load_pem_x509_certificate(issued.cert_chain_pems[0].bytes())
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    fingerprint = base64.b64encode(hashlib.sha256(key).digest()).decode()
    return Identity(authority.cert_pem.bytes(), issued.private_key_and_cert_chain_pem.bytes(), fingerprint)


def forget(path: str | None) -> None:
    """Remove what :meth:`Identity.publish_authority` wrote, if it did."""
    if path is not None:
        with contextlib.suppress(OSError):
            os.unlink(path)


def _file(prefix: str, data: bytes) -> str:
    """A new file that only this user can read."""
    descriptor, path = tempfile.mkstemp(".pem", prefix)
    with open(descriptor, "wb") as file:
        file.write(data)
    return path


class SecureStream(LabStream, SSLIOStream):
    """A :class:`LabStream` over TLS, which says farewell as TLS does.

    A handshake that fails writes no log record, and one that has not ended in time is given up. Who speaks HTTP in
    clear is told so in clear.
    """

    __slots__ = ("_handshake",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._handshake = asyncio.get_running_loop().call_later(HEAD_S, self.close)
        super().__init__(*args, **kwargs)

    def _do_ssl_handshake(self) -> None:
        self._handshake_reading = self._handshake_writing = False
        try:
            self.socket.do_handshake()
        except ssl.SSLWantReadError:
            self._handshake_reading = True
        except ssl.SSLWantWriteError:
            self._handshake_writing = True
        except (OSError, AttributeError) as error:  # AttributeError: reset before it was wrapped
            if getattr(error, "reason", "") == "HTTP_REQUEST":
                self._answer_in_clear()
            self.close(error)
        else:
            self._handshake.cancel()
            self._ssl_accepting = False
            self._finish_ssl_connect()

    def _answer_in_clear(self) -> None:
        head = (
            b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        )
        with contextlib.suppress(OSError):
            socket.socket.send(self.socket, head % len(IN_CLEAR) + IN_CLEAR)
        self.lingering = True  # a reset for what it still sends would take the answer back

    def close_fd(self) -> None:
        """Say that nothing was cut off (``close_notify``, RFC 8446 section 6.1); what still comes is not read."""
        self._handshake.cancel()
        with contextlib.suppress(OSError, ValueError):
            self.socket.unwrap()  # does not wait for the other side's
        self.socket = socket.socket(fileno=self.socket.detach())  # type: ignore[assignment]  # bytes from here on
        self.socket.setblocking(False)
        super().close_fd()
