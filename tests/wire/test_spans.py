"""Runs inside of runs: who reads a body says which bytes it carries, who reads those says what they were for."""

from __future__ import annotations

import pytest

from labkit.wire.spans import Run, Sighting, spliced

A, B = Sighting("1"), Sighting("2")


@pytest.mark.parametrize(
    ("runs", "inner", "expected"),
    [
        ([(5, "payload", "", None)], [(5, "envelope", "x", A)], [(5, "envelope", "x", A)]),
        (
            [(1, "framing", "f", None), (5, "payload", "", None), (1, "framing", "g", None)],
            [(2, "envelope", "x", A), (3, "payload", "", A)],
            [(1, "framing", "f", None), (2, "envelope", "x", A), (3, "payload", "", A), (1, "framing", "g", None)],
        ),
        (
            [(3, "payload", "", None), (1, "framing", "f", None), (4, "payload", "", None)],
            [(5, "envelope", "x", A), (0, "payload", "", B), (2, "payload", "", A)],
            [
                (3, "envelope", "x", A),
                (1, "framing", "f", None),
                (2, "envelope", "x", A),
                (0, "payload", "", B),
                (2, "payload", "", A),
            ],
        ),
        ([(5, "payload", "", None)], [(2, "envelope", "x", A)], [(2, "envelope", "x", A), (3, "payload", "", None)]),
        ([(2, "payload", "", None)], [(5, "envelope", "x", A)], [(2, "envelope", "x", A)]),
    ],
    ids=["whole", "between", "cut", "shorter", "longer"],
)
def test_inner_runs_stand_in_the_place_of_payload(runs: list[Run], inner: list[Run], expected: list[Run]) -> None:
    assert spliced(runs, inner) == expected
