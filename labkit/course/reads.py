"""The same bytes in reads of every size, for code that is to make the same of them, and how what it did is told."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from labkit.claims.coding import NotKept, need
from labkit.course import coding_child

LONGEST = 64
SHOWN = 8  # bytes, from the first that differs
SHARED = (
    "each object has its own: what is changed in place, a list or a bytearray, is made in __init__, not in the class"
)
ANOTHER = "what refuses it is to be a ValueError: write raise ValueError(...) where you see what is wrong"
SILENT = "it passes over it without a word, or waits for more: raise ValueError(...) as soon as it is there"
Reads = tuple[str, list[bytes]]
"""In words, and the bytes of each."""


def whole(wire: bytes) -> Reads:
    return f"{told(wire)} in one read", [wire]


def bytewise(wire: bytes) -> Reads:
    return f"{told(wire)} byte by byte", [wire[i : i + 1] for i in range(len(wire))]


def in_two(wire: bytes, at: int) -> Reads:
    return f"{told(wire[:at], from_behind=True)} and then {told(wire[at:])}", [wire[:at], wire[at:]]


def cuts(wire: bytes, most: int = 400) -> Iterator[Reads]:
    """*wire* in one read, byte by byte, and in two at every place.

    Args:
        most: of a longer *wire* only the places near its two ends, so many in all, and not byte by byte.
    """
    yield whole(wire)
    if len(wire) <= most:
        yield bytewise(wire)
    for at in range(1, len(wire)):
        if at <= most // 2 or at >= len(wire) - most // 2:
            yield in_two(wire, at)


def told(value: object, *, from_behind: bool = False) -> str:
    """A value as Python writes it, shortened."""
    text = repr(value)
    if len(text) <= LONGEST:
        return text
    return f"…{text[1 - LONGEST :]}" if from_behind else f"{text[: LONGEST - 1]}…"


def differs(found: bytes, wanted: bytes) -> str:
    """Where two texts of bytes part, and how each goes on from there."""
    same = zip(found, wanted, strict=False)
    at = next((i for i, (mine, theirs) in enumerate(same) if mine != theirs), min(len(found), len(wanted)))
    stop = at + SHOWN
    return f"from byte {at} on it is {found[at:stop]!r}, expected {wanted[at:stop]!r}"


def returned(how: str, came: Any, kinds: type | tuple[type, ...], named: str, hint: str, method: str = "feed") -> None:
    """Raise NotKept unless what a method has returned is of one of these *kinds*, which are *named* so."""
    found, fits = told(came), isinstance(came, kinds)
    if inspect.iscoroutine(came):
        came.close()  # or it would complain of never having been awaited
        found, hint = "a coroutine", f"async def makes one, and calling it runs nothing: write def; {hint}"
        fits = False
    elif inspect.isgenerator(came) or inspect.isasyncgen(came):
        fits = False
        found, hint = "a generator", f"with a yield in it, calling it runs nothing: collect, and return; {hint}"
    need(fits, f"{how}: {method} returned {found}, which is not {named}", hint)


def in_turns(make: Callable[[], Any], both: tuple[Reads, Reads]) -> list[list[Any]]:
    """What two new objects return for each of their reads, which they get in turns."""
    one, other = make(), make()
    found: list[list[Any]] = [[], []]
    for number in range(max(len(pieces) for _, pieces in both)):
        for at, (made, (how, pieces)) in enumerate(zip((one, other), both, strict=True)):
            if number < len(pieces):
                with given(f"{how}, and another one in turns with it", SHARED):
                    found[at].append(made.feed(pieces[number]))
    return found


@contextmanager
def given(what: str, hint: str = "") -> Iterator[None]:
    """What the code raises inside, as a promise not kept, beside what it was given."""
    try:
        yield
    except NotKept:
        raise
    except Exception as error:  # somebody's first attempt
        if not hint and isinstance(error, AttributeError | TypeError):  # of no bytes' making
            hint = coding_child.slip_of(error)
        hint = coding_child.hint_of(error) or hint
        raise NotKept(f"{what}: it raised {coding_child.told(error)}", hint) from error


def refused(what: str, read: Callable[[], object], hint: str) -> None:
    """Raise NotKept unless *read* raises ValueError."""
    with given(f"{what}, expected ValueError", ANOTHER):
        try:
            found = read()
        except ValueError:
            return
    raise NotKept(f"{what}: found {told(found)}, expected ValueError", hint if found else SILENT)
