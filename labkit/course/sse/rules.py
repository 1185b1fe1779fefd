"""Every rule of the event stream (WHATWG HTML 9.2.5 and 9.2.6), and the ways in which its bytes may be cut."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

Dispatched = tuple[str, str, str]
"""Type, data and last event id of one dispatched event."""

RETRY_MS = 300


@dataclass(frozen=True)
class Rule:
    """One rule of the event stream: bytes, and what has to come of them."""

    key: str
    clause: str
    title: str
    wire: bytes
    events: tuple[Dispatched, ...]
    retry_ms: int | None = None
    """The reconnection time in force afterwards; None where the rule is not about it."""


def _rule(key: str, title: str, wire: bytes, *events: Dispatched, clause: str = "9.2.6", retry: bool = False) -> Rule:
    return Rule(key, clause, title, wire, events, RETRY_MS if retry else None)


def _m(data: str, id: str = "", type: str = "message") -> Dispatched:
    return type, data, id


_KEPT = b"retry:300\ndata:a\n\nretry%b\ndata:b\n\n"

RULES: tuple[Rule, ...] = (
    _rule("lf", "a line ends at LF", b"data:a\ndata:b\n\n", _m("a\nb"), clause="9.2.5"),
    _rule("cr", "a line ends at CR", b"data:a\rdata:b\r\r", _m("a\nb"), clause="9.2.5"),
    _rule("crlf", "CRLF is one line end", b"data:a\r\ndata:b\r\n\r\n", _m("a\nb"), clause="9.2.5"),
    _rule("mixed", "the three may be mixed", b"data:a\rdata:b\n\r\ndata:c\r\n\n", _m("a\nb"), _m("c"), clause="9.2.5"),
    _rule(
        "other", "no other character ends a line", "data:a\x0bb\x0cc\x85d\u2028e\n\n".encode(),
        _m("a\x0bb\x0cc\x85d\u2028e"), clause="9.2.5",
    ),
    _rule("utf8", "the stream is UTF-8", "data:안녕\n\n".encode(), _m("안녕")),
    _rule("invalid", "what is no UTF-8 becomes U+FFFD", b"data:\xffa\n\n", _m("\ufffda")),
    _rule("bom", "one byte order mark at the beginning is stripped", b"\xef\xbb\xbfdata:a\n\n", _m("a")),
    _rule("bom2", "a second one is not", b"\xef\xbb\xbf\xef\xbb\xbfdata:a\n\ndata:b\n\n", _m("b")),
    _rule("comment", "a line that begins with a colon is ignored", b":\n\n:x\ndata:a\n:data:b\n\n", _m("a")),
    _rule("space", "one space after the colon is removed", b"data:  a\n\n", _m(" a")),
    _rule("tab", "other blanks are not", b"data:\ta \n\n", _m("\ta ")),
    _rule("colon", "only the first colon separates", b"data:a: b:c\n\n", _m("a: b:c")),
    _rule("bare", "a line without a colon is a field with an empty value", b"data\n\ndata\ndata\n\n", _m(""), _m("\n")),
    _rule("unknown", "unknown fields are ignored", b"foo:1\nbar\ndata:a\n\n", _m("a")),
    _rule("case", "names are compared literally", b"Data:x\n data:y\ndata :z\ndata:a\n\n", _m("a")),
    _rule("lines", "data lines are joined by LF", b"data: YHOO\ndata: +2\ndata: 10\n\n", _m("YHOO\n+2\n10")),
    _rule("nodata", "a block without data dispatches nothing", b"event:x\nid:1\n\n\n\ndata:a\n\n", _m("a", "1")),
    _rule(
        "type", "event names the type, of one block only", b"event:add\ndata:a\n\ndata:b\n\n",
        _m("a", type="add"), _m("b"),
    ),
    _rule("type2", "an empty type is message", b"event:x\nevent:\ndata:a\n\n", _m("a")),
    _rule("id", "an id holds until the next one", b"data:a\nid:1\n\ndata:b\n\n", _m("a", "1"), _m("b", "1")),
    _rule("idempty", "an empty id clears it", b"id:1\ndata:a\n\nid\ndata:b\n\n", _m("a", "1"), _m("b")),
    _rule("idnul", "an id with a NUL is ignored", b"id:1\ndata:a\n\nid:2\x003\ndata:b\n\n", _m("a", "1"), _m("b", "1")),
    _rule("end", "what the end of the stream cuts short is discarded", b"data:a\n\ndata:b\n", _m("a")),
    _rule("retry", "retry sets the reconnection time", b"retry:300\ndata:a\n\n", _m("a"), retry=True),
    _rule("retry-", "retry with a sign is ignored", _KEPT % b":-5", _m("a"), _m("b"), retry=True),
    _rule("retry.", "retry with a fraction is ignored", _KEPT % b":1.5", _m("a"), _m("b"), retry=True),
    _rule("retry0", "retry without a value is ignored", _KEPT % b"", _m("a"), _m("b"), retry=True),
)  # fmt: skip


def cuts(wire: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """Whole, byte by byte, and in two at every place, each with its name."""
    yield "whole", [wire]
    yield "bytewise", [wire[i : i + 1] for i in range(len(wire))]
    for at in range(1, len(wire)):
        yield f"split{at}", [wire[:at], wire[at:]]


def over_http(rule: Rule) -> Iterator[tuple[str, list[bytes]]]:
    """As :func:`cuts`; where a reconnection has to be waited for, only the first two."""
    for name, reads in cuts(rule.wire):
        if rule.retry_ms is None or not name.startswith("split"):
            yield name, reads
