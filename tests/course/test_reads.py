"""Every way in which reads may cut the same bytes, and what is told of code that raises."""

from __future__ import annotations

from typing import ClassVar

import pytest

from labkit.claims.coding import NotKept
from labkit.course import coding_child
from labkit.course.reads import ANOTHER, SILENT, cuts, differs, given, in_turns, refused, returned, told


def test_bytes_are_cut_at_every_place_and_into_single_ones() -> None:
    wire = b"5\r\nhello\r\n"
    ways = [reads for _, reads in cuts(wire)]
    assert all(b"".join(reads) == wire and b"" not in reads for reads in ways)
    assert ways[0] == [wire] and [bytes([byte]) for byte in wire] in ways
    assert [len(reads[0]) for reads in ways if len(reads) == 2] == list(range(1, len(wire)))


def test_long_ones_are_cut_near_their_ends() -> None:
    wire = bytes(70_000)
    ways = [reads for _, reads in cuts(wire, most=20)]
    assert [len(reads[0]) for reads in ways[1:]] == [*range(1, 11), *range(69_990, 70_000)]


def test_what_is_long_is_told_from_the_end_that_matters() -> None:
    assert told(b"a" * 99).startswith("b'aaa") and told(b"a" * 99).endswith("…")
    assert told(b"a" * 99, from_behind=True).startswith("…") and told(b"abc") == "b'abc'"


def test_what_code_raises_is_told_beside_what_it_was_given() -> None:
    with pytest.raises(NotKept, match=r"^b'x': it raised KeyError: 7") as found, given("b'x'", "look"):
        raise KeyError(7)
    assert found.value.hint == "look"
    with pytest.raises(NotKept, match=r"^as it was$"), given("b'x'"):
        raise NotKept("as it was")


def test_only_a_value_error_refuses() -> None:
    refused("b'x'", lambda: int("x"), "look")
    for read, how, hint in (
        (lambda: 7, "b'x': found 7, expected ValueError", "look"),
        (lambda: b"", "b'x': found b'', expected ValueError", SILENT),
        (lambda: 1 // 0, "b'x', expected ValueError: it raised ZeroDivisionError", ANOTHER),
    ):
        with pytest.raises(NotKept, match=how) as found:
            refused("b'x'", read, "look")
        assert found.value.hint == hint


def test_a_name_that_is_not_there_is_no_fault_of_the_bytes() -> None:
    def unbound() -> object:
        found = late  # noqa: F821
        late = 1
        return found, late

    for read, hint in ((lambda: nowhere, coding_child.NOT_THERE), (unbound, coding_child.NOT_YET)):  # noqa: F821
        with pytest.raises(NotKept) as found, given("b'x'", "look"):
            read()
        assert found.value.hint == hint


def test_texts_of_bytes_are_shown_from_where_they_part() -> None:
    assert differs(b"0123456789abc", b"0123x") == "from byte 4 on it is b'456789ab', expected b'x'"
    assert differs(b"012", b"01234") == "from byte 3 on it is b'', expected b'34'"


def test_what_is_of_another_type_is_said_to_be_that() -> None:
    async def late() -> bytes:
        return b""

    returned("b'x'", b"", bytes, "bytes", "bytes, please")
    for came, hint in (
        (None, "bytes, please"),
        (late(), "async def makes one"),
        ((_ for _ in ()), "a yield in it"),
    ):
        with pytest.raises(NotKept, match=r"^b'x': feed returned .+, which is not bytes$") as found:
            returned("b'x'", came, bytes, "bytes", "bytes, please")
        assert hint in found.value.hint and found.value.hint.endswith("bytes, please")


def test_two_objects_get_their_reads_in_turns() -> None:
    class Kept:
        all: ClassVar[list[bytes]] = []

        def feed(self, data: bytes) -> bytes:
            self.all.append(data)
            return b"".join(self.all)

    found = in_turns(Kept, (("one", [b"a", b"b"]), ("other", [b"x"])))
    assert found == [[b"a", b"axb"], [b"ax"]]
