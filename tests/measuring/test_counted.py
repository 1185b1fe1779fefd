"""A number of things, as it is said."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from labkit.measuring.rounding import counted

PACKAGE = Path(__file__).parent.parent.parent / "labkit"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (counted(1, "event"), "1 event"),
        (counted(0, "event"), "0 events"),
        (counted(2, "delivery"), "2 deliveries"),
        (counted(1, "delivery"), "1 delivery"),
        (counted(2, "day"), "2 days"),
        (counted(12345, "byte", "12 345"), "12 345 bytes"),
    ],
)
def test_one_is_said_of_one_alone(said: str, expected: str) -> None:
    assert said == expected


def test_nobody_makes_a_plural_of_his_own() -> None:
    own = re.compile(r"""['"]e?s['"] \* |\* ['"]e?s['"]|['"]e?s['"] if .* else ['"]{2}|else ['"]e?s['"]""")
    found = [f"{path.name}: {line.strip()}" for path in PACKAGE.rglob("*.py") for line in path.read_text().splitlines()
             if own.search(line) and "http" not in line]  # fmt: skip
    assert found == []
