"""What the kit's clients can be pointed at, and what they refuse to speak to.

An address is read as browsers do (WHATWG URL, "basic URL parser" of the special schemes): what is pasted with a line
break, a backslash or characters beyond ASCII is understood, and nothing of it goes into a request head unencoded. Two
things are asked back where a browser guesses: a scheme that is not there, and slashes that are not two. The fragment is
never sent; name and password become an ``Authorization`` field (RFC 7617), and are in nothing that is shown or saved.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field, replace
from urllib.parse import quote, unquote_to_bytes

from labkit.client.host import ascii_host
from labkit.errors import AddressError

WEB = ("http", "https", "ws", "wss")
"""What the HTTP and WebSocket clients take."""
TCP = ("tcp",)
"""What the plugin socket takes."""
SECURE = frozenset({"https", "wss"})
DEFAULT_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443, "tcp": 843}

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_LOGIN = re.compile(r"^((?:[A-Za-z][A-Za-z0-9+.-]*:)?[/\\]*)[^/\\?#]*@")
_QUERY = re.compile(r"\?[^#]+")
_ONE_DOT, _TWO_DOTS = (".", "%2e"), ("..", ".%2e", "%2e.", "%2e%2e")
_IN_PATH = "!$%&'()*+,-./:;=@[\\]_|~"  # beside letters and digits: what is not encoded (WHATWG URL section 1.3)
_IN_QUERY = "!$%&()*+,-./:;=?@[\\]^_`{|}~"


@dataclass(frozen=True, slots=True)
class Address:
    """One address that a client speaks to.

    Attributes:
        scheme: in lower case.
        host: a name in ASCII or an IP address, without brackets; an IPv6 address may have a zone.
        port: 1 to 65535.
        path, query: encoded, as they go into a request; the path begins with a slash.
        credentials: ``name:password``, decoded; empty where there are none.
    """

    scheme: str
    host: str
    port: int
    path: str = "/"
    query: str = ""
    credentials: bytes = field(default=b"", repr=False)

    @property
    def is_secure(self) -> bool:
        """Whether it is spoken to over TLS."""
        return self.scheme in SECURE

    @property
    def authority(self) -> str:
        """For ``Host``: without a default port (RFC 9110 section 4.2.3), and without a zone (RFC 6874 section 3)."""
        host = self.host.partition("%")[0]
        host = f"[{host}]" if ":" in host else host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> tuple[bool, str, int]:
        """What two addresses share between which a redirection is followed (RFC 6454 section 4)."""
        return self.is_secure, self.host, self.port

    @property
    def authorization(self) -> str | None:
        """The value of ``Authorization`` that its name and password make."""
        return f"Basic {base64.b64encode(self.credentials).decode()}" if self.credentials else None

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}{'?' * bool(self.query)}{self.query}"

    def led_to(self, location: str) -> Address:
        """Where *location*, a relative or a whole address that a server gave, leads from here (WHATWG URL section 4.4).

        Raises:
            AddressError: nowhere that a client speaks to.
        """
        text = _slashed(_clean(location))
        if _SCHEME.match(text):
            return split(text)
        if text.startswith("//"):
            return split(f"{self.scheme}:{text}")
        path, mark, query = text.partition("#")[0].partition("?")
        if not path:
            path, query = self.path, query if mark else self.query
        elif not path.startswith("/"):
            path = f"{self.path.rpartition('/')[0]}/{path}"
        return replace(self, path=_encoded_path(path), query=quote(query, safe=_IN_QUERY))


def split(url: str, schemes: tuple[str, ...] = WEB) -> Address:
    """The parts of *url*, once it is known that a client of these *schemes* can speak to it.

    Raises:
        AddressError: another scheme, no host, or a port that is none; the message says what to write.
    """
    names = [f"{scheme}://" for scheme in schemes]
    expected = f"expected {' or '.join(filter(None, [', '.join(names[:-1]), names[-1]]))} and a host"
    if not isinstance(url, str):
        raise AddressError(f"{url!r} is no address, which is text: {expected}")
    text = _clean(url)
    shown = _QUERY.sub("?...", _LOGIN.sub(r"\1", text))

    def refused(why: str) -> AddressError:
        return AddressError(f"{shown[:200]!r} is no address for this client, so nothing was sent: {why}")

    found, text = _SCHEME.match(text), _slashed(text)
    scheme = found[1].lower() if found else ""
    if scheme not in schemes:
        bare = shown.lstrip(":/\\")
        if bare and (not found or re.match(r"[0-9]+([/?#\\]|$)", text[found.end() :])):
            likely = " or ".join(name + bare for name in names[:2])
            raise refused(f"it does not say how to speak; write {likely}; {expected}")
        raise refused(f"{scheme}:// is not spoken here; {expected}" if scheme else expected)
    assert found is not None
    rest = text[found.end() :]
    if not rest.startswith("//") or rest.startswith("///"):
        bare = _slashed(shown)[found.end() :].lstrip("/")
        raise refused(f"between scheme and host stand two slashes: {scheme}://{bare}" if bare else expected)
    authority, path, query = _cut(rest[2:])
    userinfo, _, place = authority.rpartition("@")
    host, digits = _host_and_port(place)
    if digits and not digits.isdigit() and "@" in rest[2 + len(authority) :]:
        shown = f"{scheme}://..."
        raise refused("in a name and a password / ? # are written %2F %3F %23")
    if not host:
        raise refused(f"it names no host; {expected}")
    try:
        port = _port(digits) if digits else DEFAULT_PORTS[scheme]
        host = ascii_host(host)
    except ValueError as error:
        raise refused(str(error)) from None
    name, _, password = userinfo.partition(":")
    credentials = unquote_to_bytes(name) + b":" + unquote_to_bytes(password) if userinfo else b""
    encoded = _encoded_path(path), quote(query, safe=_IN_QUERY)
    return Address(scheme, host, port, *encoded, b"" if credentials == b":" else credentials)


def _clean(url: str) -> str:
    """Without what browsers take off or out: spaces and controls around it, tabs and line breaks anywhere."""
    whole = url.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return re.sub(r"[\t\n\r]", "", whole.strip("".join(map(chr, range(0x21)))))


def _slashed(text: str) -> str:
    """With slashes in place of the backslashes before the query."""
    end = min(filter(lambda at: at >= 0, (text.find("?"), text.find("#"))), default=len(text))
    return text[:end].replace("\\", "/") + text[end:]


def _cut(rest: str) -> tuple[str, str, str]:
    """Authority, path and query of what follows the two slashes; the fragment is left out."""
    before, _, query = rest.partition("#")[0].partition("?")
    authority, slash, path = before.partition("/")
    return authority, slash + path, query


def _host_and_port(place: str) -> tuple[str, str]:
    """At the last colon, unless that is within brackets or one of several, as of an IPv6 address without them."""
    end = place.rfind("]")
    host, colon, digits = place[end + 1 :].rpartition(":")
    if not colon or ":" in host:
        return place, ""
    return place[: end + 1] + host, digits


def _port(digits: str) -> int:
    number = digits.lstrip("0")
    if not digits.isascii() or not digits.isdigit() or not number or len(number) > 5 or int(number) > 65535:
        raise ValueError(f"a port is a number from 1 to 65535, not {digits[:20]!r}")
    return int(number)


def _encoded_path(path: str) -> str:
    """As it goes into a request, with ``.`` and ``..`` taken out, also as ``%2e`` (RFC 3986 section 5.2.4)."""
    kept: list[str] = []
    *folders, last = path.split("/")[1:] or [""]
    for segment in folders:
        if segment.lower() in _TWO_DOTS:
            del kept[-1:]
        elif segment.lower() not in _ONE_DOT:
            kept.append(segment)
    if last.lower() in _TWO_DOTS:
        del kept[-1:]
    is_dots = last.lower() in (*_ONE_DOT, *_TWO_DOTS)
    return quote("/" + "/".join([*kept, "" if is_dots else last]), safe=_IN_PATH)
