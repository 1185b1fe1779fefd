"""The host of an address as it goes into a request: a name in ASCII, or an IP address (WHATWG URL section 3.5).

Names are mapped as UTS 46 does without transitional processing, by the case folding and compatibility forms of the
running Python's Unicode. Not here: UTS 46's rules for bidirectional text and joiners; a name that needs those is asked
for in its ``xn--`` form. What DNS cannot hold (RFC 1035 section 2.3.4) is refused as well.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from urllib.parse import unquote_to_bytes

_FORBIDDEN = re.compile(r"[\x00-\x20#%/:<>?@\[\\\]^|\x7f]")
_DOTS = str.maketrans("\u3002\uff0e\uff61", "...")
_IGNORED = re.compile("[\u00ad\u034f\u200b\u2060\ufe00-\ufe0f\ufeff]")
_KEPT = "ßς"  # case folding would spell them otherwise: the deviations of UTS 46
_NUMBER = re.compile(r"0[xX][0-9A-Fa-f]*|[0-9]+", re.ASCII)


def ascii_host(text: str) -> str:
    """*text*, between ``//`` and the port, as it is asked for: without brackets, an IPv6 zone kept.

    Raises:
        ValueError: it is no host; the message says why, and what to write where that is known.
    """
    if text.startswith("["):
        return _ipv6(text)
    if "[" in text or "]" in text:
        raise ValueError("brackets stand around a whole IPv6 address, as in [::1], and nowhere else")
    if ":" in text:
        raise ValueError(f"an IPv6 address stands in brackets: [{text[:40]}]")
    name = _mapped(unquote_to_bytes(text).decode("utf-8", "replace"))
    if forbidden := _FORBIDDEN.search(name):
        raise ValueError(f"a host has no {forbidden[0]!r}")
    labels = name.split(".")
    if labels[-1] == "" and len(labels) > 1:
        labels.pop()
    if _NUMBER.fullmatch(labels[-1]):
        return _ipv4(labels)
    asked = ".".join(_ascii_label(label) for label in labels)
    if len(asked) > 253:
        raise ValueError("a name has at most 253 characters (RFC 1035 section 2.3.4)")
    return asked + "." * name.endswith(".")


def _mapped(name: str) -> str:
    """Upper case, width and look-alike dots made one (UTS 46 section 4)."""
    if name.isascii():
        return name.lower()
    name = _IGNORED.sub("", name.translate(_DOTS)).replace("ẞ", "ß")
    folded = "".join(c if c in _KEPT else unicodedata.normalize("NFKC", c).casefold() for c in name)
    return unicodedata.normalize("NFKC", folded)


def _ascii_label(label: str) -> str:
    if not label.isascii():
        if label.startswith("xn--"):
            raise ValueError(f"{label!r} is encoded and is not")
        _check_characters(label)
        label = f"xn--{label.encode('punycode').decode('ascii')}"
    if not 0 < len(label) < 64:
        raise ValueError("between two dots of a name stand 1 to 63 characters (RFC 1035 section 2.3.4)")
    return label


def _check_characters(label: str) -> None:
    for character in label:
        if character in "\u200c\u200d":
            raise ValueError("write a name with joiners in its xn-- form")
        if unicodedata.category(character)[0] in "CZ" or character == "\ufffd":
            raise ValueError(f"a host has no {character!r}")
    if unicodedata.category(label[0])[0] == "M":
        raise ValueError(f"a name does not begin with the combining {label[0]!r}")


def _ipv4(labels: list[str]) -> str:
    """Up to four numbers in decimal, octal or hexadecimal, the last of which fills what is left (WHATWG 3.5.4)."""
    numbers = [_number(label) for label in labels]
    shown = ".".join(labels)[:40]
    if len(numbers) > 4 or any(n > 255 for n in numbers[:-1]) or numbers[-1] >= 256 ** (5 - len(numbers)):
        raise ValueError(f"{shown} is no IPv4 address: four numbers up to 255")
    whole = numbers[-1] + sum(n << 8 * (3 - place) for place, n in enumerate(numbers[:-1]))
    return str(ipaddress.IPv4Address(whole))


def _number(text: str) -> int:
    try:
        if text[:2] in ("0x", "0X"):
            return int(text[2:] or "0", 16)
        if not text.isascii() or not text.isdigit() or len(text) > 20:
            raise ValueError
        return int(text, 8) if text[0] == "0" else int(text)
    except (ValueError, IndexError):
        raise ValueError(f"what ends in a number is an IPv4 address, and {text[:40]!r} is no part of one") from None


def _ipv6(text: str) -> str:
    """Brackets off; a zone as people write it (``%eth0``, RFC 9844; ``%25eth0``, RFC 6874)."""
    if not text.endswith("]"):
        raise ValueError("the bracket of an IPv6 address is not closed")
    number, percent, zone = text[1:-1].partition("%")
    zone = zone.removeprefix("25") or zone
    if percent and not re.fullmatch(r"[A-Za-z0-9._~-]{1,64}", zone):
        raise ValueError(f"{zone!r} is no zone of an IPv6 address, as %eth0 is")
    try:
        return f"{ipaddress.IPv6Address(number)}{percent}{zone}"
    except ValueError:
        raise ValueError(f"{text} is no IPv6 address") from None
