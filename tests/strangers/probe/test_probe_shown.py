"""What a probe prints and writes: no key that an answer repeats, and nothing that a terminal would obey."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from planted_streams import Step, chunk, event, head, planted

from labkit.errors import LabkitError
from labkit.strangers.probe.probing import probe
from labkit.strangers.probe.report import Report
from labkit.strangers.secrets import hidden, values_in

KEY = "sEcr3t-and-long"


def texts_of(report: Report) -> str:
    """All that it is shown as."""
    from labkit.strangers.probe.page import page

    html = page(report.seen, report.findings, report.notes, report.unmet, report.when)
    return "\n".join([str(report), json.dumps(report.as_json()), html, report._repr_html_()])


def answered(status: str, body: bytes, *fields: str) -> Iterator[Step]:
    named = "".join(f"{field}\r\n" for field in fields)
    yield f"HTTP/1.1 {status}\r\nContent-Type: text/html\r\n{named}Content-Length: {len(body)}\r\n\r\n".encode() + body


def redirecting(asked: str) -> Iterator[Step]:
    """To the folder, as many servers do, with a page that says so."""
    place = asked.split()[1].replace("?", "/?")
    yield from answered("301 Moved", f'<a href="{place}">Moved</a>'.encode(), f"Location: {place}")


def repeating(asked: str) -> Iterator[Step]:
    """All that it was asked, in its body and in a field."""
    yield from answered("401 Unauthorized", asked.encode(), f"X-Echo: {asked.split()[1]}")


@pytest.mark.parametrize("answer", [redirecting, repeating])
@pytest.mark.parametrize(
    ("place", "headers"),
    [
        (f"events?token={KEY}", {}),
        ("events", {"X-Key": KEY}),
        ("events", {"Authorization": f"Bearer {KEY}"}),
        ("events", {"Cookie": f"theme=dark; sid={KEY}"}),
    ],
    ids=["query", "named field", "authorization", "cookie"],
)
def test_what_lets_somebody_in_is_shown_nowhere_though_the_answer_repeats_it(
    answer: object, place: str, headers: dict[str, str]
) -> None:
    with planted(answer) as url:  # type: ignore[arg-type]
        report = probe(url + place, headers=headers, seconds=2, say=None, progress=False)
    assert report.seen.first.status in (301, 401) and KEY not in texts_of(report)


def test_a_password_of_the_address_is_shown_nowhere_though_the_answer_repeats_it() -> None:
    with planted(repeating) as url:
        report = probe(url.replace("http://", f"http://me:{KEY}@"), seconds=2, say=None, progress=False)
    assert KEY not in texts_of(report)


def test_what_is_no_secret_is_left_as_it_is() -> None:
    assert values_in("Accept", "text/event-stream") == [] and values_in("Origin", "https://app.example") == []
    assert hidden("a text/event-stream, 1", [*values_in("X-Key", "1"), ""]) == "a text/event-stream, 1"


def obeyed(_: str) -> Iterator[Step]:
    yield head("200 OK", "text/event-stream; x=\x1b]0;title\x07")
    for number in range(5):
        yield chunk(b"id: \x1b[2J" + event(number)[4:])
    yield 60.0


def test_nothing_that_a_terminal_obeys_is_printed() -> None:
    with planted(obeyed) as url:
        report = probe(url, cut=True, seconds=0.3, say=None, progress=False)
    assert "some hops stream text/event-stream alone" in str(report)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", texts_of(report))


def test_a_field_is_sent_once_whatever_its_case() -> None:
    heads = list[str]()

    def heard(asked: str) -> Iterator[Step]:
        heads.append(asked.lower())
        yield from answered("404 Not Found", b"")

    with planted(heard) as url:
        probe(url, headers={"host": "other.example", "user-agent": "me"}, seconds=2, say=None, progress=False)
    assert [heads[0].count(name) for name in ("\nhost: ", "\nhost: other.example", "\nuser-agent: me")] == [1, 1, 1]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"headers": {"connection": "close"}}, "the probe says that itself"),
        ({"publish": True, "parallel": 2}, "leave out cut, parallel"),
        ({"publish": True, "cut": True}, "leave out cut, parallel"),
        ({"url": "ws://127.0.0.1:9/", "data": "x"}, "a GET without a body"),
    ],
)
def test_what_would_not_be_done_is_refused(options: dict[str, object], why: str) -> None:
    with pytest.raises(LabkitError, match=why):
        probe(**{"url": "http://127.0.0.1:9/", "seconds": 1, "say": None, **options})  # type: ignore[arg-type]
