"""Feed a decoder the same bytes in every way that reads can cut them, and expect the same of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from time import thread_time
from typing import Any

from labkit.errors import WireError


def cuts(wire: bytes) -> Iterator[list[bytes]]:
    """Whole; byte by byte, with empty reads between; in two reads, cut at every place."""
    yield [wire]
    yield [read for i in range(len(wire)) for read in (wire[i : i + 1], b"")]
    for i in range(1, len(wire)):
        yield [wire[:i], wire[i:]]


def drain(decoder: Any, reads: Sequence[bytes]) -> tuple[list[Any], str | None]:
    """What came out, and the clause of the error that ended it, if one did."""
    items: list[Any] = []
    for read in reads:
        try:
            items += decoder.feed(read)
        except WireError as error:
            return items + decoder.before_error, error.clause
    return items, None


def assert_decodes(
    make: Callable[[], Any],
    wire: bytes,
    expected: Sequence[Any],
    *,
    left_over: bytes = b"",
    then: Callable[[Any], None] = lambda decoder: None,
) -> None:
    """*wire* gives *expected* however it is cut, also with the beginning of something else behind it.

    Args:
        make: gives a new decoder.
        left_over: bytes that complete nothing.
        then: looks at the decoder afterwards.
    """
    for behind in {b"", left_over}:
        for reads in cuts(wire + behind):
            decoder = make()
            assert drain(decoder, reads) == (list(expected), None), reads
            then(decoder)


def assert_breaks(make: Callable[[], Any], wire: bytes, clause: str, *, after: Sequence[Any] = ()) -> None:
    """*wire* breaks that clause however it is cut; what came whole before it is not lost."""
    for reads in cuts(wire):
        assert drain(make(), reads) == (list(after), clause), reads
    decoder = make()
    drain(decoder, [wire])
    if hasattr(decoder, "before_error"):
        assert drain(decoder, [b"\0"])[1] == clause, "a broken decoder took more"


def bytewise_cost(make: Callable[[], Any], wire: bytes) -> float:
    """CPU seconds to feed *wire* one byte at a time: for ratios only, whatever else the machine does."""
    decoder = make()
    started = thread_time()
    for i in range(len(wire)):
        decoder.feed(wire[i : i + 1])
    return thread_time() - started


def assert_linear(make: Callable[[], Any], wire: Callable[[int], bytes], size: int = 10_000) -> None:
    """Eight times the bytes, one at a time, cost about eight times as much: a quadratic decoder takes 64."""
    small = min(bytewise_cost(make, wire(size)) for _ in range(3))
    large = min(bytewise_cost(make, wire(8 * size)) for _ in range(3))
    assert large < 24 * small


def assert_cost_is_linear(prepared: Callable[[int], Callable[[], object]], size: int) -> None:
    """Eight times the size costs about eight times as much.

    Args:
        prepared: for a size, what is to be done, once all that it takes is there.
    """

    def cost_s(size: int) -> float:
        do = prepared(size)
        started = thread_time()
        do()
        return thread_time() - started

    cost_s(size)
    small, large = (min(cost_s(each) for _ in range(3)) for each in (size, 8 * size))
    assert large < 24 * small, "64 times where it is quadratic"
