"""Event streams: bytes, lines and blocks (WHATWG HTML 9.2.5 and 9.2.6). Pure.

Fields are in ``event_fields.py``, ids and reconnection times in ``event_ids.py``, cuts and HTTP in
``stream_carriers.py``.
"""

from __future__ import annotations

from labkit.strangers.vectors.case import Case
from labkit.strangers.vectors.stream_case import INTERPRETING, PARSING, event, stream, stream_case

_LINES = (
    stream_case("plain", "One event of one line.", INTERPRETING, b"data: hello\n\n", event("hello")),
    stream_case(
        "lf", "Lines end at LF.", PARSING, b"data: one\ndata: two\n\ndata: three\n\n", event("one\ntwo"), event("three")
    ),
    stream_case(
        "cr", "Lines end at CR.", PARSING, b"data: one\rdata: two\r\rdata: three\r\r", event("one\ntwo"), event("three")
    ),
    stream_case(
        "crlf",
        "Lines end at CRLF.",
        PARSING,
        b"data: one\r\ndata: two\r\n\r\ndata: three\r\n\r\n",
        event("one\ntwo"),
        event("three"),
    ),
    stream_case(
        "mixed-line-ends",
        "Each line ends in its own way; LF CR is two line ends, CRLF one.",
        PARSING,
        b"data: one\rdata: two\r\ndata: three\n\rdata: four\n\ndata: five\r\n\ndata: six\r\r\n",
        event("one\ntwo\nthree"),
        event("four"),
        event("five"),
        event("six"),
    ),
    stream_case(
        "blank-lines",
        "Blank lines before, between and after events dispatch nothing.",
        INTERPRETING,
        b"\n\n\r\n\rdata: one\n\n\n\n\r\r\ndata: two\n\n\n\n",
        event("one"),
        event("two"),
    ),
    stream_case(
        "no-blank-line-at-the-end",
        "The last block has no blank line behind it: it is dropped.",
        INTERPRETING,
        b"data: one\n\ndata: two\n",
        event("one"),
    ),
    stream_case(
        "no-line-end-at-the-end",
        "The stream ends inside of a line: its block is dropped.",
        INTERPRETING,
        b"data: one\n\ndata: two",
        event("one"),
    ),
    stream_case(
        "cr-at-the-end", "The blank line is a lone CR, the last byte.", PARSING, b"data: one\r\r", event("one")
    ),
    stream_case("nothing-at-all", "A stream of no bytes dispatches nothing; a client comes back.", INTERPRETING, b""),
    stream_case(
        "other-line-separators",
        "Only CR and LF end a line: not VT, FF, FS, GS, RS, NEL, U+2028 or U+2029, at which some libraries split.",
        PARSING,
        "data: a\x0bb\x0cc\x1cd\x1de\x1ef\x85g\u2028h\u2029i\n\n".encode(),
        event("a\x0bb\x0cc\x1cd\x1de\x1ef\x85g\u2028h\u2029i"),
    ),
    stream_case(
        "separators-at-an-end",
        "A U+2028, NEL, VT or no-break space at a value's end belongs to the value.",
        PARSING,
        "data: a\u2028\ndata: b\x85\ndata: c\x0b\ndata:\u00a0d\u00a0\n\n".encode(),
        event("a\u2028\nb\x85\nc\x0b\n\u00a0d\u00a0"),
    ),
    stream_case(
        "bom",
        "One byte order mark at the beginning is no part of the first line.",
        PARSING,
        b"\xef\xbb\xbfdata: one\n\n",
        event("one"),
    ),
    stream_case(
        "bom-twice",
        "Only one byte order mark is taken away: the first line's field is unknown.",
        PARSING,
        b"\xef\xbb\xbf\xef\xbb\xbfdata: one\n\ndata: two\n\n",
        event("two"),
    ),
    stream_case(
        "bom-later",
        "A byte order mark on a later line makes its field unknown, in data it is data.",
        PARSING,
        b"data: one\n\n\xef\xbb\xbfdata: two\n\ndata: \xef\xbb\xbfthree\n\n",
        event("one"),
        event("\ufeffthree"),
    ),
    stream_case(
        "bom-then-line-end",
        "A byte order mark and then a blank line: it is the first line's, and done.",
        PARSING,
        b"\xef\xbb\xbf\ndata: one\n\n",
        event("one"),
    ),
    stream_case(
        "bom-then-comment",
        "A byte order mark before a comment.",
        PARSING,
        b"\xef\xbb\xbf: hello\n\ndata: one\n\n",
        event("one"),
    ),
    stream_case(
        "bom-in-part",
        "Two bytes of a byte order mark are none: they are U+FFFD, and make the field unknown.",
        PARSING,
        b"\xef\xbbdata: one\n\ndata: two\n\n",
        event("two"),
    ),
)

_TEXT = (
    stream_case(
        "any-alphabet",
        "Data in UTF-8 of one to four bytes a character.",
        PARSING,
        "data: é ß Ж \u0627 한국어 日本語 🙂 👩‍👩‍👧\n\n".encode(),
        event("é ß Ж \u0627 한국어 日本語 🙂 👩‍👩‍👧"),
    ),
    stream_case(
        "not-utf-8",
        "Bytes that are no UTF-8 become U+FFFD, and end nothing.",
        PARSING,
        b"data: a\xffb\n\ndata: c\xe9d\n\ndata: \xc0\xaf\n\ndata: \xed\xa0\x80\n\n",
        event("a\ufffdb"),
        event("c\ufffdd"),
        event("\ufffd\ufffd"),
        event("\ufffd\ufffd\ufffd"),
    ),
    stream_case(
        "character-cut-by-a-line-end",
        "A character cut short by a line end is one U+FFFD; the line end stays.",
        PARSING,
        b"data: a\xe2\x82\ndata: b\xf0\x9f\x99\r\n\r\n",
        event("a\ufffd\nb\ufffd"),
    ),
    stream_case("nul-in-data", "A NUL in data is data.", INTERPRETING, b"data: a\0b\n\n", event("a\0b")),
    stream_case(
        "latin-1-is-not-believed",
        "An event stream is UTF-8, whatever its charset says.",
        PARSING,
        stream("data: é\n\n".encode(), content_type="text/event-stream; charset=iso-8859-1"),
        event("é"),
    ),
)

_LONG = "0123456789abcdef" * 16384
_SIZES = (
    stream_case("long-line", "A data line of 256 KiB.", PARSING, f"data: {_LONG}\n\n".encode(), event(_LONG)),
    stream_case(
        "long-comment",
        "A comment of 256 KiB; it is passed over.",
        PARSING,
        f": {_LONG}\ndata: one\n\n".encode(),
        event("one"),
    ),
    stream_case(
        "long-unknown-field",
        "An unknown field of 256 KiB, in its name.",
        PARSING,
        f"{_LONG}: x\ndata: one\n\n".encode(),
        event("one"),
    ),
    stream_case(
        "many-lines",
        "An event of 10 000 data lines.",
        PARSING,
        b"data: x\n" * 10_000 + b"\n",
        event("\n".join(["x"] * 10_000)),
    ),
    stream_case(
        "many-events",
        "1 000 events in one chunk.",
        PARSING,
        b"".join(b"data: %d\n\n" % n for n in range(1000)),
        *(event(str(n)) for n in range(1000)),
    ),
)

CASES: tuple[Case, ...] = (*_LINES, *_TEXT, *_SIZES)
