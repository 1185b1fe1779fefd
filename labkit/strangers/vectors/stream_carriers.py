"""Event streams: where their bytes are cut, and the HTTP that carries them (RFC 9110 and 9112). Pure."""

from __future__ import annotations

import gzip

from labkit.strangers.vectors.case import LAST_CHUNK, NO_CONTENT, Answer, Case, Pause, Write, chunk, head, in_pieces
from labkit.strangers.vectors.stream_case import (
    EVENT_STREAM,
    INTERFACE,
    INTERPRETING,
    PARSING,
    ended,
    event,
    stream,
    stream_case,
)

CODING = "RFC 9112 section 7.1"
TYPE = f"Content-Type: {EVENT_STREAM}"
CHUNKED = "Transfer-Encoding: chunked"
GAP_S = 0.05

_ALL_KINDS = (
    "\ufeff: é\r\nid: 1\r\nevent: é🙂\r\ndata: one\r\ndata: 日本🙂\r\n\r\n"
    "retry: 20\rid: 2\rdata: two\r\rid: 3\ndata: three\n\n"
).encode()
_ALL_EVENTS = (event("one\n日本🙂", "1", "é🙂"), event("two", "2"), event("three", "3"))


def _pieces(name: str, about: str, *pieces: bytes | float, clause: str = PARSING) -> Case:
    """A cut stream of the two events `é🙂` and `two`."""
    spaced = [part for piece in pieces for part in (piece, GAP_S)][:-1]
    return stream_case(name, about, clause, in_pieces(EVENT_STREAM, *spaced), event("é🙂"), event("two"))


_CUTS = (
    stream_case(
        "cut-every-byte",
        "Each byte comes alone, those of the chunk's head too.",
        PARSING,
        stream(_ALL_KINDS, cut="every"),
        *_ALL_EVENTS,
        comes_with="3",
    ),
    stream_case(
        "cut-every-byte-of-the-head",
        "Each byte comes alone, those of the answer's head too.",
        "RFC 9112 section 2.2",
        stream(_ALL_KINDS, cut="all"),
        *_ALL_EVENTS,
        comes_with="3",
    ),
    stream_case(
        "cut-into-chunks-of-one-byte",
        "Each byte is a chunk.",
        CODING,
        in_pieces(EVENT_STREAM, *(_ALL_KINDS[at : at + 1] for at in range(len(_ALL_KINDS)))),
        *_ALL_EVENTS,
        comes_with="3",
    ),
    _pieces(
        "cut-inside-crlf",
        "CR and LF come apart: one line end.",
        "data: é🙂\r".encode(),
        b"\n\r",
        b"\ndata: two\r",
        b"\n\r",
        b"\n",
    ),
    _pieces(
        "cut-between-crs",
        "CR CR LF, each apart: two line ends.",
        "data: é🙂\r".encode(),
        b"\r",
        b"\ndata: two\r",
        b"\r",
    ),
    _pieces(
        "cut-inside-a-character",
        "A character of two bytes and one of four come in pieces.",
        b"data: \xc3",
        b"\xa9\xf0",
        b"\x9f",
        b"\x99",
        b"\x82\n\ndata: two\n\n",
    ),
    _pieces(
        "cut-inside-the-byte-order-mark",
        "The byte order mark comes in pieces.",
        b"\xef",
        b"\xbb",
        b"\xbfdata: \xc3\xa9\xf0\x9f\x99\x82\n\ndata: two\n\n",
    ),
    _pieces(
        "cut-inside-field-names",
        "Names, colons and the space after one come in pieces.",
        b"d",
        b"at",
        b"a",
        b":",
        b" ",
        "é🙂\n".encode(),
        b"\nda",
        b"ta:",
        b" two\n",
        b"\n",
    ),
    _pieces(
        "cut-inside-a-comment",
        "A comment comes in pieces, one of which looks like a field.",
        b":",
        b"data: no\n",
        "data: é🙂\n\n: no\n:".encode(),
        b"data: no",
        b"\n\ndata: two\n\n",
    ),
    stream_case(
        "cut-inside-a-chunk-head",
        "A chunk's size and its CRLF come in pieces.",
        CODING,
        Answer(
            (
                head("200 OK", TYPE, CHUNKED),
                Write(b"1"),
                Pause(GAP_S),
                Write(b"0\r"),
                Pause(GAP_S),
                Write(b"\n"),
                Pause(GAP_S),
                Write(b"data: one\n\ndata:"),
                Pause(GAP_S),
                Write(b"\r"),
                Pause(GAP_S),
                Write(b"\n6\r\n two\n\n\r\n" + LAST_CHUNK[:1]),
                Pause(GAP_S),
                Write(LAST_CHUNK[1:3]),
                Pause(GAP_S),
                Write(LAST_CHUNK[3:]),
            )
        ),
        event("one"),
        event("two"),
    ),
    stream_case(
        "cut-behind-the-blank-line",
        "The blank line's CR ends the event; its LF comes later and ends nothing.",
        INTERPRETING,
        in_pieces(EVENT_STREAM, b"data: one\r\n\r", 0.3, b"\ndata: two\r\n\r", 0.3, b"\n"),
        event("one"),
        event("two"),
    ),
)

_BODY = b"id: 1\ndata: one\n\nid: 2\ndata: two\n\n"
_TWO = (event("one", "1"), event("two", "2"))
_GZIP = gzip.compress(_BODY, mtime=0)


def _carried(name: str, about: str, clause: str, *steps: Write, end: str = "keep") -> Case:
    """A stream of the two events `one` and `two`, in the HTTP that *steps* are."""
    answer = Answer(steps, end="fin") if end == "fin" else Answer(steps)
    return stream_case(name, about, clause, answer, *_TWO, comes_with="2")


_FRAMING = (
    _carried(
        "ends-with-the-connection",
        "Neither a length nor chunks: the close ends the body.",
        "RFC 9112 section 6.3",
        head("200 OK", TYPE, "Connection: close"),
        Write(_BODY),
        end="fin",
    ),
    _carried(
        "http-1-0",
        "An answer in HTTP/1.0.",
        "RFC 9112 section 6.3",
        head("200 OK", TYPE, version="HTTP/1.0"),
        Write(_BODY),
        end="fin",
    ),
    _carried(
        "content-length",
        "A body of a known length, and the connection stays.",
        "RFC 9112 section 6.2",
        head("200 OK", TYPE, f"Content-Length: {len(_BODY)}"),
        Write(_BODY),
    ),
    _carried(
        "chunk-extensions",
        "Chunks have extensions, to be ignored.",
        "RFC 9112 section 7.1.1",
        head("200 OK", TYPE, CHUNKED),
        Write(chunk(_BODY[:9], ";a=1") + chunk(_BODY[9:], ';b="x;y"') + b"0;c\r\n\r\n"),
    ),
    _carried(
        "chunk-extensions-with-spaces",
        "White space around an extension is bad, and to be passed over.",
        "RFC 9112 section 7.1.1",
        head("200 OK", TYPE, CHUNKED),
        Write(chunk(_BODY, " ; a = 1") + LAST_CHUNK),
    ),
    _carried(
        "chunk-sizes",
        "Sizes in capitals and with leading zeros.",
        CODING,
        head("200 OK", TYPE, CHUNKED),
        Write(b"00A\r\n" + _BODY[:10] + b"\r\n000%X\r\n" % len(_BODY[10:]) + _BODY[10:] + b"\r\n00000\r\n\r\n"),
    ),
    _carried(
        "trailers",
        "Fields behind the last chunk are no event.",
        "RFC 9112 section 7.1.2",
        head("200 OK", TYPE, CHUNKED, "Trailer: X-Sum"),
        Write(chunk(_BODY) + b"0\r\nX-Sum: 1\r\ndata: no\r\n\r\n"),
    ),
    _carried(
        "head-of-many-forms",
        "Field names in any case, values with or without a space, or with tabs around.",
        "RFC 9112 section 5",
        Write(
            b"HTTP/1.1 200 OK\r\ncONTENT-tYPE:\ttext/event-stream \t\r\nTRANSFER-ENCODING:Chunked\r\n"
            b"access-control-allow-origin:*\r\nX-Empty:\r\nX-Accented: \xe9\r\n\r\n",
            True,
        ),
        Write(chunk(_BODY) + LAST_CHUNK),
    ),
    _carried(
        "no-reason-phrase",
        "The status line has no reason phrase.",
        "RFC 9112 section 4",
        head("200 ", TYPE, CHUNKED),
        Write(chunk(_BODY) + LAST_CHUNK),
    ),
    _carried(
        "early-hints",
        "Informational answers come before the final one.",
        "RFC 9110 section 15.2",
        Write(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload; as=style\r\n\r\n", True),
        Write(b"HTTP/1.1 103 Early Hints\r\nContent-Type: text/plain\r\n\r\n", True),
        head("200 OK", TYPE, CHUNKED),
        Write(chunk(_BODY) + LAST_CHUNK),
    ),
    _carried(
        "large-head",
        "A head of 12 kB.",
        "RFC 9110 section 5.4",
        head("200 OK", TYPE, CHUNKED, *(f"X-Padding-{n}: {'x' * 1000}" for n in range(12))),
        Write(chunk(_BODY) + LAST_CHUNK),
    ),
    stream_case(
        "type-in-capitals",
        "A content type is the same in any case.",
        INTERFACE,
        stream(_BODY, content_type="Text/Event-STREAM"),
        *_TWO,
        comes_with="2",
    ),
    stream_case(
        "type-with-parameters",
        "The content type counts, and not its parameters.",
        INTERFACE,
        stream(_BODY, content_type='text/event-stream;charset="UTF-8"; x=y'),
        *_TWO,
        comes_with="2",
    ),
    stream_case(
        "gzip",
        "Compressed for whoever asked for it.",
        "RFC 9110 section 8.4",
        Answer(
            (head("200 OK", TYPE, "Content-Encoding: gzip", f"Content-Length: {len(_GZIP)}"), Write(_GZIP)),
            needs="gzip",
            instead=stream(_BODY),
        ),
        *_TWO,
        comes_with="2",
    ),
    Case(
        "two-streams-on-one-connection",
        "event-stream",
        "A stream that ends leaves its connection for the next request.",
        "RFC 9112 section 9.3",
        (
            stream(b"retry: 20\nid: 1\ndata: one\n\n"),
            stream(b"id: 2\ndata: two\n\n"),
            stream(b"id: 3\ndata: three\n\n"),
            NO_CONTENT,
        ),
        (ended(event("one", "1"), event("two", "2"), event("three", "3"), requests=(None, "1", "2", "3")),),
    ),
)

CASES: tuple[Case, ...] = (*_CUTS, *_FRAMING)
