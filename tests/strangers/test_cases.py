"""The cases themselves, and the pure parts around them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from labkit.errors import LabkitError
from labkit.strangers.vectors.case import Answer, Case, Outcome, Pause, Write, head
from labkit.strangers.vectors.catalogue import ALL, CASES
from labkit.strangers.vectors.cutting import EACH_BYTES, check, cut
from labkit.strangers.vectors.listing import case_json
from labkit.strangers.vectors.site import about
from labkit.strangers.vectors.socket_case import TEXT, frame
from labkit.strangers.vectors.verdict import brief, verdict
from labkit.strangers.vectors.visit import FORGOTTEN_S, MAX_HELD, MAX_SEEN, MAX_VISITS, Visit, Visits

HAS = {
    "event-stream": {"events", "readyState"},
    "websocket": {"messages", "close"},
    "lines": {"values", "ended"},
    "parts": {"parts", "ended"},
    "long-poll": {"answers"},
}


def test_names_are_addresses_and_no_two_are_the_same() -> None:
    assert len(CASES) == len(ALL)
    assert [case.name for case in ALL if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", case.name)] == []


def test_a_case_says_what_is_right_and_where_that_is_written() -> None:
    for case in ALL:  # one test: there are hundreds
        assert re.match(r"(WHATWG HTML 9\.2\.\d$|RFC \d+ section \d|ndjson )", case.clause), case
        assert case.about.endswith("."), case
        assert all({*outcome.had} == HAS[case.kind] and outcome.sees["requests"] for outcome in case.outcomes), case
        assert [bool(outcome.why) for outcome in case.outcomes] == [False] + [True] * (len(case.outcomes) - 1), case
        assert json.loads(json.dumps(case_json(case)))["name"] == case.name
        assert case.clause in about(case)


def test_a_close_code_is_of_the_clause_that_has_it() -> None:
    """RFC 6455 section 7.4.1 ends at 1011 and 1015; later ones are registered (7.4.2)."""
    codes = {int(found[1]): case.clause for case in ALL if (found := re.fullmatch(r"ws-close-(\d+)", case.name))}
    assert {code for code, clause in codes.items() if clause.endswith("7.4.1")} == {1001, 1003, *range(1007, 1012)}
    assert {clause for clause in codes.values()} == {f"RFC 6455 section 7.4.{n}" for n in (1, 2)}


def test_what_ends_an_event_source_for_good_is_of_the_clause_that_says_so() -> None:
    """Status and content type are looked at in 9.2.2; what comes after an end is in 9.2.3."""
    clauses = {case.name: case.clause for case in ALL if case.kind == "event-stream"}
    refused = ("204-at-once", "204-later", "404", "500-and-a-return", "wrong-type", "type-with-parameters")
    assert {clauses[name] for name in refused} == {"WHATWG HTML 9.2.2"}
    assert {clauses[name] for name in ("ends-whole", "reset", "id-over-two-connections")} == {"WHATWG HTML 9.2.3"}


def test_the_readme_counts_them() -> None:
    readme = Path(__file__).parent.parent.parent / "README.md"
    assert f"labkit serves {len(ALL)} cases at" in readme.read_text(encoding="utf-8")


def test_bytes_of_a_page_are_escaped_for_html() -> None:
    sent = Answer((head("200 OK"), Write(b"<b>\xff\n")))
    page = about(
        Case("x", "lines", "<i>", "RFC 1 section 1", (sent,), (Outcome({"values": ["<u>"]}, {"requests": [None]}),))
    )
    assert "&lt;b&gt;\\xff\\n" in page and "&lt;i&gt;" in page and "&lt;u&gt;" in page
    assert not re.search("<[biu]>", page)


# -- cuts


def pieces(steps: list[Write | Pause], how: str) -> list[bytes]:
    return [step.data for step in cut(steps, how, 0.001) if isinstance(step, Write)]


STEPS: list[Write | Pause] = [Write(b"HEAD", is_head=True), Write(b"abc"), Pause(1), Write(b"def")]


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("whole", [b"HEAD", b"abc", b"def"]),
        ("every", [b"HEAD", b"a", b"b", b"c", b"d", b"e", b"f"]),
        ("all", [b"H", b"E", b"A", b"D", b"a", b"b", b"c", b"d", b"e", b"f"]),
        ("0", [b"HEAD", b"abc", b"def"]),
        ("1", [b"HEAD", b"a", b"bc", b"def"]),
        ("3", [b"HEAD", b"abc", b"def"]),
        ("5", [b"HEAD", b"abc", b"de", b"f"]),
        ("99", [b"HEAD", b"abc", b"def"]),
    ],
)
def test_a_cut_falls_where_it_was_asked_for(how: str, expected: list[bytes]) -> None:
    assert pieces(STEPS, how) == expected


def test_there_is_a_pause_at_each_cut_and_the_case_keeps_its_own() -> None:
    assert list(cut([Write(b"ab"), Pause(1), Write(b"c")], "every", 0.5)) == [
        Write(b"a"), Pause(0.5), Write(b"b"), Pause(1), Write(b"c"),
    ]  # fmt: skip


def test_of_a_long_write_the_rest_follows_at_once() -> None:
    found = pieces([Write(b"x" * (EACH_BYTES + 1000))], "every")
    assert len(found) == EACH_BYTES + 1 and len(found[-1]) == 1000


@pytest.mark.parametrize("how", ["", "-1", "none", "1.5", "٣", "1" * 10])
def test_another_cut_is_refused(how: str) -> None:
    with pytest.raises(LabkitError, match="none of whole, every, all"):
        check(how)


# -- frames


@pytest.mark.parametrize(
    ("size", "expected"),
    [(0, "8100"), (125, "817d"), (126, "817e007e"), (65535, "817effff"), (65536, "817f0000000000010000")],
)
def test_a_length_is_in_its_shortest_form(size: int, expected: str) -> None:
    assert frame(TEXT, b"x" * size).hex().removesuffix("78" * size) == expected


# -- verdicts


def one_event(data: str, **fields: Any) -> dict[str, Any]:
    return {"events": [{"type": "message", "data": data, "lastEventId": "", **fields}], "readyState": 2}


def what(found: dict[str, Any]) -> list[str]:
    return [difference["what"] for difference in found["differences"]]


def visited(case: Case, *last_ids: str | None) -> Visit:
    visit = Visit(case, "")
    for last in last_ids:
        seen, _ = visit.asked("GET", case.address, [] if last is None else [("last-event-id", last)])
        visit.wrote(seen)
    return visit


PLAIN = CASES["plain"]


@pytest.mark.parametrize(
    ("reported", "expected"),
    [
        (one_event("hello"), []),
        ({"events": [{"data": "hello"}]}, []),
        (one_event("hell"), ["events[0].data"]),
        (one_event("hello", type="x"), ["events[0].type"]),
        (one_event("hello", lastEventId="1"), ["events[0].lastEventId"]),
        ({**one_event("hello"), "readyState": 0}, ["readyState"]),
        ({"events": []}, ["events.length"]),
        ({"events": [{"data": "hello"}, {"data": ""}]}, ["events.length"]),
        ({"events": "hello"}, ["events"]),
        ({"events": [{}]}, ["events[0].data"]),
    ],
)
def test_what_was_had_is_compared_part_by_part(reported: dict[str, Any], expected: list[str]) -> None:
    found = verdict(PLAIN, reported, None)
    assert what(found) == expected and found["right"] is not bool(expected)


@pytest.mark.parametrize("reported", [{}, [], None, {"event": []}, {"comesBack": False}])
def test_a_report_of_nothing_that_was_asked_for_is_no_verdict(reported: Any) -> None:
    with pytest.raises(LabkitError, match="events, readyState"):
        verdict(PLAIN, reported, None)


def test_what_was_not_reported_is_said() -> None:
    assert verdict(PLAIN, {"events": [{"data": "hello"}]}, None)["notReported"] == ["readyState"]


@pytest.mark.parametrize(
    ("name", "last_ids", "reported", "expected"),
    [
        ("id", (None, "1"), {"comesBack": True}, []),
        ("id", (None, None), {}, ["seen.requests[1]"]),
        ("id", (None,), {}, ["seen.requests.length"]),
        ("id", (None,), {"comesBack": False}, []),
        ("id", (None, "1", "1"), {}, ["seen.requests.length"]),
        ("id-in-any-alphabet", (None, "한국-Ж-🙂"), {}, []),
        ("id-of-4000-characters", (None, "x" * 4000), {}, []),
        ("id-of-4000-characters", (None, "x" * 3999), {}, ["seen.requests[1].length", "seen.requests[1].sha256"]),
    ],
)
def test_what_the_server_saw_is_compared_too(
    name: str, last_ids: tuple[str | None, ...], reported: dict[str, Any], expected: list[str]
) -> None:
    case = CASES[name]
    assert what(verdict(case, {**case.outcomes[0].had, **reported}, visited(case, *last_ids))) == expected


def test_any_outcome_of_a_case_is_right_and_one_that_is_not_the_first_says_why() -> None:
    case = CASES["502-and-a-return"]
    stays, returns = case.outcomes
    assert verdict(case, stays.had, visited(case, None, "1"))["why"] == ""
    found = verdict(case, returns.had, visited(case, None, "1", "1", "2"))
    assert found["right"] and found["why"] == returns.why
    assert what(verdict(case, returns.had, visited(case, None, "1"))) != []


def test_a_client_that_asks_too_early_is_wrong() -> None:
    case = CASES["retry"]
    visit = visited(case, None, None)
    assert what(verdict(case, case.outcomes[0].had, visit)) == ["seen.wait[0]"]
    visit.seen[1].at_s += 0.7
    assert verdict(case, case.outcomes[0].had, visit)["right"]


def test_pongs_and_the_close_of_a_socket_are_compared() -> None:
    case = CASES["ws-ping"]
    visit = visited(case, None)
    assert what(verdict(case, case.outcomes[0].had, visit)) == ["seen.pongs.length", "seen.close"]
    pong = {"opcode": "pong", "payload": b"hello".hex(), "masked": True}
    visit.seen[0].frames += [pong, {"opcode": "close", "code": 1000, "masked": True}]
    assert verdict(case, case.outcomes[0].had, visit)["right"]
    visit.seen[0].frames[0]["masked"] = False
    assert what(verdict(case, case.outcomes[0].had, visit)) == ["seen.frames"]


def test_a_long_text_may_be_reported_whole_or_by_its_digest() -> None:
    case = CASES["long-line"]
    had = case.outcomes[0].had
    assert verdict(case, had, None)["right"] and verdict(case, brief(had), None)["right"]
    assert not verdict(case, {"events": [{"data": had["events"][0]["data"][:-1] + "x"}]}, None)["right"]


# -- visits


def test_each_visit_has_its_own_state_and_the_oldest_are_forgotten() -> None:
    visits = Visits()
    first = visits.enter(PLAIN, "a", "")
    assert visits.enter(PLAIN, "a", "another") is first and visits.enter(PLAIN, "b", "") is not first
    assert visits.enter(CASES["lf"], "a", "") is not first
    for number in range(MAX_VISITS):
        visits.enter(PLAIN, f"n{number}", "")
    assert visits.find(PLAIN, "a") is None and visits.find(PLAIN, "n0") is not None


def test_what_all_visits_remember_is_bounded() -> None:
    visits, fields = Visits(), [("x", "y" * 60_000)]
    for number in range(300):
        visit = visits.enter(PLAIN, str(number), "")
        for _ in range(MAX_SEEN + 10):
            visit.asked("GET", "/", fields)
        assert len(visit.seen) == MAX_SEEN
    held = [visits.find(PLAIN, str(number)) for number in range(300)]
    assert held[299] is not None and sum(visit.held_bytes for visit in held if visit) < MAX_HELD + 70_000 * MAX_SEEN


def test_secrets_of_other_servers_are_not_remembered() -> None:
    seen, _ = Visit(PLAIN, "").asked("GET", "/", [("Cookie", "a=b"), ("AUTHORIZATION", "x"), ("Accept", "y")])
    assert [value for _, value in seen.fields] == ["(not shown)", "(not shown)", "y"]


def test_without_a_token_a_new_visit_begins_when_the_last_is_over_or_long_ago() -> None:
    visits, case = Visits(), CASES["id"]
    first = visits.enter(case, "", "curl")
    first.asked("GET", "", [])
    assert visits.enter(case, "", "curl") is first and visits.enter(case, "", "another") is not first
    first.newest_s -= FORGOTTEN_S + 1
    second = visits.enter(case, "", "curl")
    assert second is not first
    second.asked("GET", "", [])
    second.asked("GET", "", [])
    assert second.is_over and visits.enter(case, "", "curl") is not second


def test_an_answer_that_needs_an_offer_is_only_given_for_one() -> None:
    case = CASES["ws-deflate-takeover"]
    offered, plain = case.answers[0], case.answers[0].instead
    assert Visit(case, "").asked("GET", "", [("sec-websocket-extensions", "permessage-deflate")])[1] is offered
    assert Visit(case, "").asked("GET", "", [])[1] is plain
