"""What every experiment asks of its lab and of its numbers before it begins."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import labkit
from labkit.course.alone import ready
from labkit.errors import LabClosed


@pytest.fixture(scope="module")
def lab() -> Iterator[labkit.Lab]:
    with labkit.Lab("alone") as lab:
        yield lab


@pytest.mark.parametrize("value", [0, -1, None, "x", math.nan, math.inf, True, [3]])
def test_what_is_no_number_or_too_small_is_named(lab: labkit.Lab, value: Any) -> None:
    with pytest.raises(ValueError, match=r"^events must be a number, at least 1, not "):
        ready(lab, events=(value, 1))


def test_what_is_large_enough_passes(lab: labkit.Lab) -> None:
    ready(lab, events=(1, 1), every=(np.int64(3), 2), one_way_s=(np.float64(0.05), 0.04))


def test_a_closed_lab_is_told_from_a_wrong_number() -> None:
    with labkit.Lab("alone") as lab:
        pass
    with pytest.raises(LabClosed, match="is closed"):
        ready(lab, events=(0, 1))
