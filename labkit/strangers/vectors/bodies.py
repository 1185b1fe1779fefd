"""Lines of JSON, and the parts of multipart/x-mixed-replace (RFC 2046 section 5.1). Pure.

Lines are newline-delimited JSON: each value ends at LF. A CR before that is white space to JSON (RFC 8259 section 2).
"""

from __future__ import annotations

import json
from typing import Any

from labkit.strangers.vectors.case import (
    Answer,
    Case,
    Had,
    Outcome,
    Pause,
    Write,
    chunk,
    head,
    in_pieces,
    whole,
)

NDJSON = "application/x-ndjson"
LINES = "ndjson 1.0 section 3.1"
JSON = "RFC 8259 section 2"
PARTS = "RFC 2046 section 5.1.1"
CUT = "RFC 9112 section 8"
APART_S = 1.0
"""Between what came and a fault: long enough that a busy client has it in hand."""


def _lines(name: str, about: str, clause: str, answer: bytes | Answer, *values: Any, ended: str = "whole") -> Case:
    first = answer if isinstance(answer, Answer) else whole(answer, NDJSON)
    outcome = Outcome({"values": list(values), "ended": ended}, {"requests": [None]})
    return Case(f"lines-{name}", "lines", about, clause, (first,), (outcome,))


def _cut_lines(
    name: str, about: str, *steps: Write | Pause, fields: tuple[str, ...] = ("Transfer-Encoding: chunked",)
) -> Case:
    answer = Answer((head("200 OK", f"Content-Type: {NDJSON}", *fields), *steps, Pause(APART_S)), end="fin")
    return _lines(name, about, CUT, answer, 1, ended="cut")


_ALPHABETS = {"text": "é 한국어 🙂"}
_RAW = json.dumps(_ALPHABETS, ensure_ascii=False).encode()
_LONG = "x" * 262_144

_LINES = (
    _lines("plain", "Two values, a line each.", LINES, b'{"a":1}\n{"a":2}\n', {"a": 1}, {"a": 2}),
    _lines("crlf", "A CR before the LF is white space.", JSON, b'{"a":1}\r\n{"a":2}\r\n', {"a": 1}, {"a": 2}),
    _lines("blank", "Blank lines are a heartbeat, and no value.", LINES, b"\n\n1\n\n\r\n2\n\n", 1, 2),
    _lines("spaces", "White space around a value is JSON's own.", JSON, b' 1 \n\t"a" \n', 1, "a"),
    _lines(
        "any-value",
        "A value may be a number, a text, null or a list.",
        LINES,
        b'1\n"a"\nnull\n[1,2]\ntrue\n',
        1,
        "a",
        None,
        [1, 2],
        True,
    ),
    _lines(
        "other-line-separators",
        "U+2028, U+2029 and NEL stand raw in a text, and end no line.",
        LINES,
        '"a\u2028b\u2029c\x85d"\n2\n'.encode(),
        "a\u2028b\u2029c\x85d",
        2,
    ),
    _lines("escaped-line-ends", "Line ends in a text are escaped.", JSON, b'"a\\nb\\r\\nc"\n', "a\nb\r\nc"),
    _lines(
        "any-alphabet",
        "Text in UTF-8, raw and escaped.",
        JSON,
        _RAW + b'\n"\\u00e9\\ud83d\\ude42"\n',
        _ALPHABETS,
        "é🙂",
    ),
    _lines(
        "every-byte",
        "Each byte comes alone.",
        LINES,
        whole(_RAW + b"\r\n" + _RAW + b"\n", NDJSON, cut="every"),
        _ALPHABETS,
        _ALPHABETS,
    ),
    _lines(
        "cut-inside-a-character",
        "A character comes in pieces.",
        LINES,
        in_pieces(NDJSON, b'"\xf0\x9f', 0.05, b'\x99\x82"', 0.05, b"\n1", 0.05, b"2\n"),
        "🙂",
        12,
    ),
    _lines(
        "chunks-are-no-lines",
        "One chunk ends inside of a line, one has three.",
        "RFC 9112 section 7.1",
        in_pieces(NDJSON, b"1\n2", b"3\n4\n5\n", b"6", b"\n"),
        1,
        23,
        4,
        5,
        6,
    ),
    _lines(
        "at-once",
        "A line is whole at its LF, long before the next one begins.",
        LINES,
        in_pieces(NDJSON, b"1\n", 0.3, b"2\n", 0.3, b"3\n"),
        1,
        2,
        3,
    ),
    _lines("long", "A line of 256 KiB.", LINES, f'"{_LONG}"\n1\n'.encode(), _LONG, 1),
    _lines(
        "ends-with-the-connection",
        "The close ends the body.",
        "RFC 9112 section 6.3",
        Answer((head("200 OK", f"Content-Type: {NDJSON}", "Connection: close"), Write(b"1\n2\n")), end="fin"),
        1,
        2,
    ),
    Case(
        "lines-without-a-last-end",
        "lines",
        "The last line has no LF, and the body ends as it should: whether it is one is a question of taste.",
        LINES,
        (whole(b"1\n2", NDJSON),),
        (
            Outcome({"values": [1], "ended": "whole"}, {"requests": [None]}),
            Outcome(
                {"values": [1, 2], "ended": "whole"}, {"requests": [None]}, "JSON Lines needs no line end at the end."
            ),
        ),
    ),
    _cut_lines(
        "fin-inside-a-line",
        "The connection ends inside of a line: it never became whole, whatever it looks like.",
        Write(chunk(b"1\n23")),
    ),
    _cut_lines(
        "fin-before-the-length",
        "The body is shorter than its length.",
        Write(b"1\n23"),
        fields=("Content-Length: 100",),
    ),
    _cut_lines("fin-in-the-middle", "The last chunk is missing.", Write(chunk(b"1\n"))),
)


def _part(data: str, type: str = "text/plain") -> Had:
    return {"type": type, "data": data}


def _parts(
    name: str,
    about: str,
    body: bytes,
    *parts: Had,
    boundary: str = "boundary=b",
    cut: str = "whole",
    ended: str = "whole",
) -> Case:
    content_type = f"multipart/x-mixed-replace; {boundary}"
    answer = whole(body, content_type, cut=cut)
    if ended == "cut":
        start = head("200 OK", f"Content-Type: {content_type}", "Transfer-Encoding: chunked")
        answer = Answer((start, Write(chunk(body)), Pause(APART_S)), end="fin")
    outcome = Outcome({"parts": list(parts), "ended": ended}, {"requests": [None]})
    return Case(f"parts-{name}", "parts", about, PARTS, (answer,), (outcome,))


_T = b"Content-Type: text/plain\r\n\r\n"
_ONE, _TWO = _part("one"), _part("two")

_PARTS = (
    _parts(
        "plain",
        "A boundary before each part, one with two hyphens behind the last.",
        b"--b\r\n" + _T + b"one\r\n--b\r\n" + _T + b"two\r\n--b--\r\n",
        _ONE,
        _TWO,
    ),
    _parts(
        "preamble-and-epilogue",
        "What stands before the first boundary and behind the last is no part.",
        b"no\r\n--bb\r\n--b\r\n" + _T + b"one\r\n--b--\r\nno\r\n--b\r\n" + _T + b"no\r\n--b--\r\n",
        _ONE,
    ),
    _parts(
        "quoted-boundary",
        "The boundary is quoted, and has a colon and a space inside.",
        b"--a :b\r\n" + _T + b"one\r\n--a :b--\r\n",
        _ONE,
        boundary='boundary="a :b"',
    ),
    _parts(
        "boundary-among-parameters",
        "The boundary is the second parameter, its name in capitals.",
        b"--b\r\n" + _T + b"one\r\n--b--\r\n",
        _ONE,
        boundary="x=y;  BOUNDARY=b;z=1",
    ),
    _parts(
        "boundary-of-hyphens",
        "The boundary begins with hyphens of its own, as many cameras' do.",
        b"----b\r\n" + _T + b"one\r\n----b--\r\n",
        _ONE,
        boundary="boundary=--b",
    ),
    _parts(
        "padding",
        "Spaces and tabs behind a boundary are padding.",
        b"--b \t \r\n" + _T + b"one\r\n--b  \r\n" + _T + b"two\r\n--b--  \r\n",
        _ONE,
        _TWO,
    ),
    _parts(
        "boundary-inside-a-line",
        "What looks like the boundary does not begin a line.",
        b"--b\r\n" + _T + b"a--b\r\n--b\r\n" + _T + b"c --b--\r\n--b--\r\n",
        _part("a--b"),
        _part("c --b--"),
    ),
    _parts(
        "line-ends-in-a-part",
        "Only the last CRLF belongs to the boundary.",
        b"--b\r\n" + _T + b"\r\na\n\r\n\r\n--b\r\n" + _T + b"b\n\r\n--b--\r\n",
        _part("\r\na\n\r\n"),
        _part("b\n"),
    ),
    _parts(
        "without-fields",
        "A part without header fields begins with a blank line; it is text/plain.",
        b"--b\r\n\r\none\r\n--b--\r\n",
        _ONE,
    ),
    _parts(
        "many-fields",
        "Fields in any case and order, a length among them.",
        b"--b\r\nX-Sent: 1\r\nCONTENT-length: 3\r\ncontent-TYPE: application/json\r\n\r\n[1]\r\n--b--\r\n",
        _part("[1]", "application/json"),
    ),
    _parts(
        "empty-part",
        "A part of no bytes is a part.",
        b"--b\r\n" + _T + b"\r\n--b\r\n" + _T + b"one\r\n--b--\r\n",
        _part(""),
        _ONE,
    ),
    _parts(
        "every-byte",
        "Each byte comes alone.",
        b"no\r\n--b\r\n" + _T + "é🙂\r\n--b".encode() + b"\r\n" + _T + b"two\r\n--b--\r\n",
        _part("é🙂"),
        _TWO,
        cut="every",
    ),
    _parts(
        "cut",
        "The last part has no boundary behind it when the connection ends: it never became whole.",
        b"--b\r\n" + _T + b"one\r\n--b\r\n" + _T + b"tw",
        _ONE,
        ended="cut",
    ),
)

CASES: tuple[Case, ...] = (*_LINES, *_PARTS)
