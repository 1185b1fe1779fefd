"""Risks are notes and no findings, and each one has a neighbour of which it is not said: rows 6, 10, 16, 17 and 18."""

from __future__ import annotations

from dataclasses import replace

import pytest
from test_probe_rules import stream

from labkit.strangers.probe.observation import Observation, Seen
from labkit.strangers.probe.rules import all_notes, findings

FLOWING = stream([0.5, 1.0, 1.5])


def noted(first: Observation, **others: Observation) -> set[int]:
    seen = Seen(first, {name: replace(one, name=name) for name, one in others.items()})
    assert not findings(seen)
    return {note.row for note in all_notes(seen)}


def says(row: int, first: Observation, **others: Observation) -> str:
    return next(note.says for note in all_notes(Seen(first, others)) if note.row == row)


@pytest.mark.parametrize(
    ("row", "risky", "healthy"),
    [
        (10, stream([1.0], end_s=8.0), stream([1.0, 4.0, 8.0], end_s=8.5)),
        (10, stream([1.0], end_s=8.0), stream([1.0], end_s=8.0, end="clean")),
        (16, FLOWING, replace(FLOWING, http_version="2")),
        (16, FLOWING, replace(FLOWING, end="clean", end_s=0.3)),
        (16, replace(FLOWING, address="https://x/", offers_http2=True), replace(FLOWING, address="https://x/")),
        (17, replace(FLOWING, retry_ms=3000), FLOWING),
        (18, FLOWING, replace(FLOWING, end="clean")),
        (18, replace(FLOWING, headers={"via": "1.1 x"}), replace(FLOWING, headers={"server": "uvicorn"})),
        (10, stream([1.0], end_s=8.0), stream([1.0], end_s=8.0, kind="messages", status=101)),
        (16, FLOWING, replace(FLOWING, kind="messages", status=101)),
        (18, FLOWING, Observation("first", "http://x/", status=200, headers={"server": "nginx"})),
        (27, replace(FLOWING, end="closed"), replace(FLOWING, end="clean", headers={"content-length": "60"})),
        (6, replace(FLOWING, issuer="ESET, spol. s r. o."), replace(FLOWING, issuer="Let's Encrypt")),
    ],
)
def test_a_risk_is_a_note_and_its_healthy_neighbour_has_none(
    row: int, risky: Observation, healthy: Observation
) -> None:
    assert row in noted(risky) and row not in noted(healthy)


def test_a_silence_that_was_outlived_says_who_ends_it() -> None:
    assert "bodyTimeout" in says(10, stream([1.0], end_s=306.0)) and "tap" not in says(10, stream([1.0], end_s=306.0))
    assert "`labkit tap --to http://x/`" in says(10, stream([1.0], end_s=290.0))


def test_a_time_to_come_back_that_differs_is_no_constant() -> None:
    first = replace(FLOWING, retry_ms=3000)
    assert "in each of 2 answers" in says(17, first, again=replace(FLOWING, retry_ms=3000))
    assert 17 not in noted(first, kept=replace(FLOWING, retry_ms=3400))


def test_a_refusal_that_says_when_to_come_back_is_worth_the_same_note() -> None:
    refused = Observation("first", "http://x/", status=503, headers={"retry-after": "5"}, end="clean")
    assert "Retry-After: 5" in says(17, refused)
    assert 17 not in {note.row for note in all_notes(Seen(replace(refused, headers={})))}


def test_where_the_address_behind_is_known_the_place_of_the_taps_is_said() -> None:
    direct = replace(FLOWING, headers={}, address="http://behind/")
    assert 18 not in noted(direct)
    assert "labkit tap --to http://behind/" in says(18, direct, also=replace(direct, name="also"))


@pytest.mark.parametrize(("host", "is_said"), [("app.example", True), ("127.0.0.1", False), ("localhost", False)])
def test_what_was_held_in_clear_text_over_a_network_may_have_been_read_on_the_way(host: str, is_said: bool) -> None:
    held = stream([1.0] * 8, end="clean", end_s=1.0, head_s=1.0)
    for one in (replace(held, address=f"http://{host}/"), Observation("first", f"http://{host}/", end="silent")):
        (found,) = findings(Seen(one))
        assert any("row 6" in cause for cause in found.left) is is_said
