"""What each check can tell apart, on some of the worlds of ``make power``; and that no claim was left out."""

from __future__ import annotations

import numpy as np
import pytest

from conftest import UNIT
from labkit.claims.checking import judge
from labkit.claims.claim import DECLARED
from power.__main__ import confirmed, verdicts
from power.planted import PLANTED, UNSIMULATED, Planted

PLANTED_WORLDS, TRUE_WORLDS = 10, 25


@pytest.mark.timeout(600 * UNIT)
@pytest.mark.parametrize("row", PLANTED, ids=lambda row: f"{row.id}: {row.effect}")
def test_a_planted_world_is_refuted_and_a_true_one_is_not(row: Planted, seed: int) -> None:
    planted = verdicts(row, PLANTED_WORLDS, seed, True)
    assert not confirmed(planted)
    assert planted["refuted"] >= 0.9 * PLANTED_WORLDS, planted  # where 198 of 200 are promised
    true = verdicts(row, TRUE_WORLDS * row.true, seed, False)
    assert not true["refuted"]
    assert confirmed(true) >= 0.9 * sum(true.values()), true


@pytest.mark.parametrize("row", {row.id: row for row in PLANTED}.values(), ids=lambda row: row.id)
def test_a_claim_is_predicted_in_the_unit_that_its_judge_measures_in(row: Planted) -> None:
    """Else no prediction of it is ever scored."""
    found = judge(row.id, row.world(np.random.default_rng(1), False))
    assert found.unit == DECLARED[row.id].unit


def test_each_claim_is_simulated_or_has_its_reason_why_not() -> None:
    simulated = {row.id for row in PLANTED}
    assert simulated | set(UNSIMULATED) == set(DECLARED)
    assert not simulated & set(UNSIMULATED)
