"""The soak of claims: it tells a verdict that turns from one that stays, and goes on where it ended."""

from __future__ import annotations

import json
import sys
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


@pytest.mark.parametrize(
    ("verdicts", "busy", "idle"),
    [
        ("c" * 10, True, True),
        ("c" * 9 + "u", True, False),  # of one claim 7 of 10 are enough, of all claims 95 of 100
        ("c" * 19 + "u", True, True),
        ("c" + "u" * 9, True, False),
        ("u" * 10, False, False),
        ("c" * 9 + "r", False, False),
    ],
)
def test_a_check_that_does_not_decide_is_none(verdicts: str, busy: bool, idle: bool) -> None:
    words = {"c": "confirmed", "u": "undecided", "r": "refuted"}
    tried = {"P1": results(*(words[letter] for letter in verdicts))}
    assert (soak.passed(tried, False), soak.passed(tried, True)) == (busy, idle)


def test_one_claim_that_seldom_decides_fails_beside_many_that_do() -> None:
    tried = {f"P{n}": results(*["confirmed"] * 10) for n in range(9)}
    assert soak.passed({**tried, "P9": results(*["confirmed"] * 7, *["undecided"] * 3)}, True)
    assert not soak.passed({**tried, "P9": results(*["confirmed"] * 6, *["undecided"] * 4)}, True)
    report = list(soak._report({"P9": results("confirmed", "undecided")}, False))
    assert report == ["ok   P9    50% decided: 1 confirmed, 1 undecided", "50% of 2 verdicts decided"]


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


def test_it_is_said_what_is_tried_before_it_takes_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def trying(id: str) -> dict[str, Any]:
        assert capsys.readouterr().out == "P1 1/1: "
        return results("confirmed")[0]

    monkeypatch.setattr(soak, "_apart", trying)
    soak.soak(["P1"], 1, tmp_path / "soak.jsonl")
    assert capsys.readouterr().out == "confirmed (1 s)\n"


def test_what_it_needs_besides_is_said_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)
    monkeypatch.setattr(soak, "experiments", lambda: pytest.fail("loaded"))
    assert main(["soak", "P1"]) == 2
    assert 'needs scipy, which is not installed: pip install "labkit[notebook]"' in capsys.readouterr().err
