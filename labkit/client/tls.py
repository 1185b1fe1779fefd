"""TLS in memory (RFC 8446, RFC 5246): records in, what they carry out, and how many bytes that took.

The socket is another's (``secure_connection.py``), so that it counts what is on the wire. Records are opened one by
one: of each, what is not its content is TLS's own. Certificates and names are checked unless :class:`Trust` says
otherwise.

Not here: client certificates, session resumption, revocation.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from labkit.errors import ConnectionLost, TLSFailed

RECORD_BYTES = 16 << 10
"""What one record carries, at most (RFC 8446 section 5.1)."""
_HEADER_BYTES = 5
_TYPES = range(20, 25)  # change_cipher_spec, alert, handshake, application_data, heartbeat
ALPN = {1: "http/1.1", 2: "h2"}
"""What the versions of HTTP are called in a handshake (RFC 7301 section 6)."""
HTTP1 = (ALPN[1],)
_NO_AUTHORITY = frozenset({2, 18, 19, 20, 21})
"""What OpenSSL says of a chain that leads to nobody who is believed (X509_V_ERR): another authority would help."""


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom a client believes to be who it says.

    Attributes:
        cafile: a file of authorities (PEM) that are believed in place of the system's.
        insecure: believe anybody.
    """

    cafile: str | None = None
    insecure: bool = False

    def __str__(self) -> str:
        if self.insecure:
            return "its certificate was NOT checked (insecure): whoever is on the way can be the server"
        return f"its certificate was checked by {f'{self.cafile} alone (cafile)' if self.cafile else 'the system'}"

    def check(self) -> None:
        """Load what it names.

        Raises:
            TLSFailed: there is no such file, or no certificate in it.
        """
        _context(self, HTTP1)


SYSTEM = Trust()
"""The authorities that the system believes."""


@lru_cache(maxsize=32)
def _context(trust: Trust, alpn: tuple[str, ...]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=trust.cafile)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, FileNotFoundError) else "there is no certificate in it"
        raise TLSFailed(f"cafile {trust.cafile!r}: {why}") from None
    if trust.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.options |= ssl.OP_NO_RENEGOTIATION  # a write never has to read first
    context.set_alpn_protocols(list(alpn))
    return context


def is_tls(data: bytes) -> bool:
    """Whether a server's first bytes are those of a TLS record, such as the alert that answers plain text."""
    return len(data) > 2 and data[0] in (21, 22) and data[1] == 3


class TLS:
    """One side of one TLS connection. What it wants written is in :meth:`outgoing`.

    Attributes:
        closed: whether the other side has said that it ends (RFC 8446 section 6.1).
        own_bytes: of the whole records that were fed, what they did not carry.
        error: why nothing more of it can be read.
    """

    def __init__(self, host: str, trust: Trust, alpn: tuple[str, ...] = HTTP1) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        name = host.partition("%")[0].rstrip(".")
        self._object = _context(trust, alpn).wrap_bio(self._in, self._out, server_hostname=name)
        self._held = bytearray()  # of a record that is not whole
        self._host = host
        self.is_open = False
        self.closed = False
        self.own_bytes = 0
        self.error: TLSFailed | ConnectionLost | None = None

    @property
    def version(self) -> str:
        """Version and cipher suite, as ``TLSv1.3 TLS_AES_256_GCM_SHA384``."""
        cipher = self._object.cipher()
        return f"{self._object.version()} {cipher[0] if cipher else ''}".strip()

    @property
    def alpn(self) -> str:
        return self._object.selected_alpn_protocol() or ""

    @property
    def issuer(self) -> str:
        """Who made the server's certificate, as it is called in it; empty where it was not checked."""
        said: dict[str, Any] = self._object.getpeercert() or {}
        names = dict(pair for part in said.get("issuer", ()) for pair in part)
        return str(names.get("organizationName") or names.get("commonName") or "")

    def feed(self, data: bytes) -> bytes:
        """What the records that *data* makes whole carry; at an ``error``, what came before it."""
        self._held += data
        carried = []
        try:
            while not self.closed and (record := self._next_record()):
                self._in.write(record)
                content = self._opened()
                self.own_bytes += len(record) - len(content)
                carried.append(content)
        except (TLSFailed, ConnectionLost) as error:
            self.error = error
        return b"".join(carried)

    def begin(self) -> None:
        """Say hello."""
        self._shake()

    def seal(self, data: bytes) -> bytes:
        """The record of up to ``RECORD_BYTES``, and what else there is to write."""
        self._object.write(data)
        return self.outgoing()

    def outgoing(self) -> bytes:
        """What is to be written now."""
        return self._out.read()

    def say_end(self) -> bytes:
        """The alert that says that nothing follows (RFC 8446 section 6.1)."""
        try:
            self._object.unwrap()
        except ssl.SSLError:
            pass  # it waits for the other side's, which need not come
        return self.outgoing()

    def _next_record(self) -> bytes:
        held = self._held
        if held and (held[0] not in _TYPES or (len(held) > 1 and held[1] != 3)):
            said = bytes(held[:60]).decode("latin-1").splitlines()[0]
            if self.is_open:
                raise ConnectionLost(f"what came is no TLS record any more, but {said!r} (RFC 8446 section 5.1)")
            raise TLSFailed(f"{self._host} does not speak TLS here, but {said!r}; write http:// or ws://")
        if len(held) < _HEADER_BYTES:
            return b""
        end = _HEADER_BYTES + int.from_bytes(held[3:5], "big")
        if len(held) < end:
            return b""
        record = bytes(held[:end])
        del held[:end]
        return record

    def _opened(self) -> bytes:
        if not self.is_open:
            self._shake()
            if not self.is_open:
                return b""
        pieces = []
        try:
            while piece := self._object.read(RECORD_BYTES):
                pieces.append(piece)
            self.closed = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.closed = True
        except ssl.SSLError as error:
            raise ConnectionLost(f"the TLS connection has failed: {_reason(error)}") from None
        return b"".join(pieces)

    def _shake(self) -> None:
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return
        except ssl.SSLCertVerificationError as error:
            name_it = "name its authority (cafile, --cafile), or " if error.verify_code in _NO_AUTHORITY else ""
            raise TLSFailed(
                f"the certificate of {self._host} is not believed: {error.verify_message.rstrip('.')}; {name_it}go "
                "without checking (insecure, --insecure)"
            ) from None
        except ssl.SSLError as error:
            raise TLSFailed(f"no TLS could be agreed on with {self._host}: {_reason(error)}") from None
        self.is_open = True


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).lower().replace("_", " ")
