"""What judges `labkit probe`: its one word is right, and every row that a client can see is planted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from planted_streams import held_whole, planted

from labkit.strangers.probe.finding import Finding, Note
from labkit.strangers.probe.observation import Observation, Seen
from labkit.strangers.probe.probing import probe
from labkit.strangers.probe.report import Report
from symptoms.judging import Word, judged
from symptoms.plants import PLANTS

DOCUMENT = Path(__file__).parents[3] / "docs" / "symptoms.md"
SEEN_8 = Finding(8, "seen", "")
LEFT_1_OR_9 = Finding(7, "consistent with", "", left=("a proxy (row 1)", "a lifetime (row 9)"))


@pytest.mark.parametrize(
    ("found", "rows", "is_risk", "word"),
    [
        ((SEEN_8,), {8}, False, "named"),
        ((SEEN_8,), {9}, False, "wrong"),
        ((LEFT_1_OR_9,), {9}, False, "graded"),
        ((LEFT_1_OR_9,), {7}, False, "graded"),
        ((LEFT_1_OR_9,), {8}, False, "wrong"),
        ((SEEN_8, LEFT_1_OR_9), {8}, False, "wrong"),
        ((SEEN_8, LEFT_1_OR_9), {8, 9}, False, "named"),
        ((), {16}, True, "noted"),
        ((), {16}, False, "nothing"),
        ((), {17}, True, "nothing"),
    ],
)
def test_one_word_says_what_was_made_of_it(
    found: tuple[Finding, ...], rows: set[int], is_risk: bool, word: Word
) -> None:
    report = Report(Seen(Observation("first", "http://x/")), found, (Note(16, ""),))
    assert judged(report, frozenset(rows), is_risk=is_risk) == word


def test_each_row_that_a_client_can_see_is_planted() -> None:
    table = re.findall(r"^\| (\d+) \|.*\| ([^|]*) \|$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    seen = {int(row) for row, asks in table if asks.strip().startswith("C")}
    assert seen and seen <= {row for plant in PLANTS for row in plant.rows}


def test_a_cause_that_is_taken_for_another_is_wrong() -> None:
    with planted(held_whole) as url:
        report = probe(url, seconds=2, say=None)
    assert judged(report, frozenset({1}), is_risk=False) == "graded"
    assert judged(report, frozenset({8}), is_risk=False) == "wrong"
