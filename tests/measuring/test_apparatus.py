"""What a run's own apparatus spares the loop: the collector's full looks at what was there before."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

import labkit
from labkit.measuring.apparatus import FROZEN_BY_NOBODY, looking_at_what_is_new


@pytest.fixture
def unfrozen() -> Iterator[None]:
    """As outside of these tests, whose own start is frozen (``conftest.py``)."""
    gc.unfreeze()
    yield
    gc.freeze()


@pytest.mark.usefixtures("unfrozen")
def test_a_run_keeps_the_collector_from_what_was_there_before() -> None:
    frozen = list[int]()
    with labkit.Lab("spared") as lab:
        labkit.measure(lab, ["sse"], labkit.poisson(20, 0.2), at={0.05: lambda: frozen.append(gc.get_freeze_count())})
    assert frozen[0] > FROZEN_BY_NOBODY
    assert gc.get_freeze_count() == 0


@pytest.mark.usefixtures("unfrozen")
def test_a_run_that_fails_leaves_nothing_frozen() -> None:
    with pytest.raises(ZeroDivisionError), looking_at_what_is_new():
        raise ZeroDivisionError
    assert gc.get_freeze_count() == 0


def test_what_somebody_else_froze_stays_so() -> None:
    before = gc.get_freeze_count()
    with looking_at_what_is_new():
        pass
    assert FROZEN_BY_NOBODY < gc.get_freeze_count() <= before
