"""Event streams: fields, comments and types (WHATWG HTML 9.2.6). Pure."""

from __future__ import annotations

from labkit.strangers.vectors.case import Case
from labkit.strangers.vectors.stream_case import INTERPRETING, event, stream_case

_FIELDS = (
    stream_case(
        "empty-data",
        "`data:` and `data` alone are events with empty data.",
        INTERPRETING,
        b"data:\n\ndata\n\ndata: \n\n",
        event(""),
        event(""),
        event(""),
    ),
    stream_case(
        "empty-data-lines",
        "Each data line adds one LF, the last is taken away.",
        INTERPRETING,
        b"data\ndata\n\ndata:\ndata: x\ndata\n\n",
        event("\n"),
        event("\nx\n"),
    ),
    stream_case(
        "one-space",
        "One space after the colon is taken away, and no more, and no tab.",
        INTERPRETING,
        b"data:no\n\ndata: one\n\ndata:  two\n\ndata:\ttab\n\ndata: end \n\n",
        event("no"),
        event("one"),
        event(" two"),
        event("\ttab"),
        event("end "),
    ),
    stream_case(
        "colons-in-data",
        "Only the first colon of a line divides it.",
        INTERPRETING,
        b"data: a: b\n\ndata::c\n\ndata: :\n\n",
        event("a: b"),
        event(":c"),
        event(":"),
    ),
    stream_case(
        "comments-alone",
        "A stream of comments dispatches nothing, blank lines behind them or not.",
        INTERPRETING,
        b":\n\n: a\n\n:b\n:\n:data: c\n\n\n: d\r\n\r\n",
    ),
    stream_case(
        "comment-within",
        "A comment inside of a block is passed over.",
        INTERPRETING,
        b"data: one\n: no\n:data: no\ndata: two\n\n",
        event("one\ntwo"),
    ),
    stream_case(
        "unknown-fields",
        "Unknown fields are ignored, and so is the case of a known one, or a space before it.",
        INTERPRETING,
        b"date: no\nDATA: no\nData: no\n data: no\ndata : no\n\tdata: no\ndatas\ndat: no\nx\ndata: yes\nfoo\n\n",
        event("yes"),
    ),
    stream_case(
        "unknown-fields-alone",
        "A block of unknown fields alone dispatches nothing.",
        INTERPRETING,
        b"foo: bar\nDATA: x\n\ndata: one\n\n",
        event("one"),
    ),
    stream_case(
        "json",
        "Data may look like anything.",
        INTERPRETING,
        b'data: {"data": "data: x",\ndata:  "id": 1}\n\n',
        event('{"data": "data: x",\n "id": 1}'),
    ),
    stream_case(
        "looks-like-a-lab",
        "Events that look like somebody's own protocol are events like any other.",
        INTERPRETING,
        b'event: gap\ndata: {"gap": {"after": "1@abcd", "next": 5}, "cursor": "4@abcd"}\n\n'
        b'event: json\ndata: {"id": 7, "data": "x"}\n\nevent: closing\ndata: {"closing": "slow"}\n\n'
        b"data: still here\n\n",
        event('{"gap": {"after": "1@abcd", "next": 5}, "cursor": "4@abcd"}', type="gap"),
        event('{"id": 7, "data": "x"}', type="json"),
        event('{"closing": "slow"}', type="closing"),
        event("still here"),
    ),
)

_TYPES = (
    stream_case(
        "event-name",
        "A block's type is that of its event alone.",
        INTERPRETING,
        b"event: tick\ndata: one\n\ndata: two\n\n",
        event("one", type="tick"),
        event("two"),
    ),
    stream_case(
        "event-name-behind",
        "The type may stand behind the data.",
        INTERPRETING,
        b"data: one\nevent: tick\n\n",
        event("one", type="tick"),
    ),
    stream_case(
        "event-name-twice",
        "Of two types in a block the last one counts, an empty one too.",
        INTERPRETING,
        b"event: a\nevent: b\ndata: one\n\nevent: a\nevent:\ndata: two\n\nevent: a\nevent\ndata: three\n\n",
        event("one", type="b"),
        event("two"),
        event("three"),
    ),
    stream_case(
        "event-name-empty",
        "An empty type is `message`.",
        INTERPRETING,
        b"event:\ndata: one\n\nevent: \ndata: two\n\n",
        event("one"),
        event("two"),
    ),
    stream_case(
        "event-name-without-data",
        "A block of only a type dispatches nothing, and its type goes with it.",
        INTERPRETING,
        b"event: tick\n\ndata: one\n\n",
        event("one"),
    ),
    stream_case(
        "event-name-of-any-kind",
        "A type is any text, also one with a space, a colon or another alphabet.",
        INTERPRETING,
        "event: a b\ndata: 1\n\nevent: c:d\ndata: 2\n\nevent: é한🙂\ndata: 3\n\nevent:  e \ndata: 4\n\n".encode(),
        event("1", type="a b"),
        event("2", type="c:d"),
        event("3", type="é한🙂"),
        event("4", type=" e "),
    ),
    stream_case(
        "event-names-of-the-source",
        "`open` and `error` may be an event's type, and change nothing.",
        INTERPRETING,
        b"event: error\ndata: one\n\nevent: open\ndata: two\n\nevent: message\ndata: three\n\n",
        event("one", type="error"),
        event("two", type="open"),
        event("three"),
    ),
    stream_case(
        "event-name-in-capitals",
        "Types differ by their case.",
        INTERPRETING,
        b"event: Message\ndata: one\n\nevent: TICK\ndata: two\n\n",
        event("one", type="Message"),
        event("two", type="TICK"),
    ),
)

CASES: tuple[Case, ...] = (*_FIELDS, *_TYPES)
