"""What each check can tell apart, on a tenth of the worlds of ``make power``; and that no claim was left out."""

from __future__ import annotations

import pytest

from conftest import UNIT
from labkit.claims.claim import DECLARED
from power.__main__ import confirmed, tried
from power.planted import PLANTED, UNSIMULATED, Planted


@pytest.mark.timeout(600 * UNIT)
@pytest.mark.parametrize("row", PLANTED, ids=lambda row: f"{row.id}: {row.effect}")
def test_a_planted_world_is_refuted_and_a_true_one_is_not(row: Planted, seed: int) -> None:
    outcome = tried(row, 0.1, seed)
    assert not confirmed(outcome.planted)
    assert outcome.planted["refuted"] >= 18, outcome.planted  # of 20, where 198 of 200 are promised
    assert not outcome.true["refuted"]
    assert confirmed(outcome.true) >= 0.9 * sum(outcome.true.values()), outcome.true


def test_each_claim_is_simulated_or_has_its_reason_why_not() -> None:
    simulated = {row.id for row in PLANTED}
    assert simulated | set(UNSIMULATED) == set(DECLARED)
    assert not simulated & set(UNSIMULATED)
