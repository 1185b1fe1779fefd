"""The soak of claims: it tells a verdict that turns from one that stays, and goes on where it ended."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labkit.__main__ import main
from labkit.commands import soak
from labkit.course.claims import CLAIMS


def results(*verdicts: str) -> list[dict[str, Any]]:
    return [{"id": "P1", "verdict": verdict, "reason": "r", "seconds": 1} for verdict in verdicts]


@pytest.mark.parametrize(
    ("verdicts", "steady"),
    [
        (("confirmed", "confirmed"), True),
        (("confirmed", "undecided"), True),
        (("undecided",), True),
        (("confirmed", "refuted"), False),
        (("confirmed", "error"), False),
        (("error",), False),
    ],
)
def test_undecided_is_no_change_of_mind(verdicts: tuple[str, ...], steady: bool) -> None:
    assert soak.steady(results(*verdicts)) is steady


def test_every_experiment_is_of_a_claim_that_has_a_judge() -> None:
    assert all(claim.judge for claim in CLAIMS.values() if claim.experiment)
    assert set(soak.experiments()) == {claim.id for claim in CLAIMS.values() if claim.experiment}


def test_what_was_tried_before_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = iter(results("confirmed", "confirmed"))
    monkeypatch.setattr(soak, "_apart", lambda id: next(tried))
    file = tmp_path / "soak.jsonl"
    file.write_text(json.dumps(results("confirmed")[0]) + "\n")
    assert len(soak.soak(["P1"], 3, file)["P1"]) == 3
    assert len(file.read_text().splitlines()) == 3
    assert len(soak.soak(["P1"], 3, file)["P1"]) == 3


def test_a_claim_without_an_experiment_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["soak", "nonsense"]) == 2
    assert "no experiment for nonsense" in capsys.readouterr().err


def test_an_experiment_that_fails_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    result = soak._apart("nonsense")
    assert result["verdict"] == "error" and "nonsense" in result["reason"]


@pytest.fixture(autouse=True)
def no_busy_core(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import contextlib

    monkeypatch.setattr(soak, "busy_core", contextlib.nullcontext)
    yield
