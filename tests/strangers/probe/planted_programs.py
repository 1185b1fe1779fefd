"""Real programs in front of a planted server, and servers that are what an application server is to them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
from planted_streams import STEP_S, STREAM, Answer, Step, chunk, event, events, flowing, head

from labkit.network.programs import PROGRAMS
from labkit.network.real_intermediary import RealIntermediary


def behind(program: str, url: str, *changes: tuple[str, str]) -> RealIntermediary:
    """The program in front of a server, with its default configuration changed in these places."""
    known = PROGRAMS[program]
    for old, new in changes:
        assert old in known.default
        known = replace(known, default=known.default.replace(old, new))
    place = urlsplit(url)
    assert place.hostname is not None and place.port is not None
    found = RealIntermediary(known, (place.hostname, place.port), "default")
    if found.missing:
        pytest.skip(found.missing)
    return found.start()


def by_version(count: int, *fields: str) -> Answer:
    """A stream as an application server has it: chunked where it is asked in HTTP/1.1, else ended by the close."""

    def answer(asked: str) -> Iterator[Step]:
        if "HTTP/1.1" in asked.partition("\r\n")[0]:
            yield from flowing(count, *fields)
            yield b"0\r\n\r\n"
            return
        named = [f"HTTP/1.0 200 OK\r\nContent-Type: {STREAM}", *fields]
        yield "\r\n".join([*named, "", ""]).encode()
        for one in events(count):
            yield STEP_S
            yield one

    return answer


def large_by_version(asked: str) -> Iterator[Step]:
    """An endless stream whose events fill a proxy's buffers."""
    is_1_1 = "HTTP/1.1" in asked.partition("\r\n")[0]
    yield head() if is_1_1 else f"HTTP/1.0 200 OK\r\nContent-Type: {STREAM}\r\n\r\n".encode()
    for number in range(1, 1000):
        yield STEP_S / 2
        yield chunk(event(number, 700)) if is_1_1 else event(number, 700)


def as_recommended(program: str, url: str) -> RealIntermediary:
    """The program in front of a server, as its documentation advises."""
    place = urlsplit(url)
    assert place.hostname is not None and place.port is not None
    found = RealIntermediary(PROGRAMS[program], (place.hostname, place.port), "recommended")
    if found.missing:
        pytest.skip(found.missing)
    return found.start()
