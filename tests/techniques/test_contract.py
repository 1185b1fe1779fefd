"""The contract: every promise by every registered technique; each can be broken, and is found to be; how it is told."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from broken import PLANTED, Items, Planted, changed, lost, with_client

import labkit
from labkit.errors import LabkitError, UnknownTechnique
from labkit.lab.lab import Lab
from labkit.subscribing.contract import PROMISES, Broken, Promise
from labkit.subscribing.contract.end import ending, in_order, three
from labkit.subscribing.contract.promise import Trial
from labkit.techniques import TECHNIQUES, Opening, Technique, find
from labkit.techniques.base import Client

BY_NAME = {p.name: p for p in PROMISES}


def cases() -> Iterator[Any]:
    """Every promise, with each fan-out that it names, by every technique that it applies to."""
    for promise in (p for p in PROMISES if p.name != "own-process"):  # all of them share one, below
        for technique in TECHNIQUES:
            if promise.why_not(technique) is None:
                for fanout in promise.fanouts:
                    yield pytest.param(promise, technique, fanout, id=f"{promise.name}-{technique.name}-{fanout}")


@pytest.mark.parametrize(("promise", "technique", "fanout"), list(cases()))
def test_every_technique_keeps(promise: Promise, technique: Technique, fanout: str) -> None:
    promise.keep(Trial(technique, fanout))


def test_every_technique_keeps_order_from_one_process_and_all_end_with_it() -> None:
    with Lab("contract", process=True) as lab, contextlib.ExitStack() as stack:
        for technique in TECHNIQUES:
            in_order(Trial(technique), lab)
        receivers = [r for t in TECHNIQUES for r in three(Trial(t), lab, stack)]
        ending(Trial(TECHNIQUES[0]), lab, receivers)


def test_what_does_not_apply_is_known() -> None:
    never = {t.name: {p.name for p in PROMISES if p.why_not(t) is not None} for t in TECHNIQUES}
    for_streams = {"says-where-it-begins", "drop-oldest", "drop-newest", "disconnect", "conflate"}
    for_streams |= {"conflate-on-request", "unbounded", "slows-nobody", "leaves-one-unread"}
    for_held = {"forgotten-at-once", "raw-client-goes", "never-reads", "closing-does-not-wait"}
    assert never == {
        "polling": for_streams | for_held,
        "long-polling": for_streams,
        "http-streaming": {"one-answer"},
        "sse": {"one-answer"},
        "websocket": {"one-answer"},
        "plugin-socket": {"one-answer", "conflate-on-request"},
    }


# -- each can be broken ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("one", PLANTED, ids=lambda one: one.promise)
def test_a_technique_that_breaks_a_promise_is_found(one: Planted) -> None:
    with pytest.raises(Broken, match=one.says):
        BY_NAME[one.promise].keep(one.trial())


def test_no_turn_of_another_thread_saves_one_that_waits_for_nobody() -> None:
    (greedy,) = (one for one in PLANTED if one.promise == "disconnect")
    every_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for _ in range(5):
            with pytest.raises(Broken, match=greedy.says):
                BY_NAME["disconnect"].keep(greedy.trial())
    finally:
        sys.setswitchinterval(every_s)


def test_each_promise_can_be_broken() -> None:
    assert {one.promise for one in PLANTED} == set(BY_NAME)


# -- how it is told --------------------------------------------------------------------------------------------------

LOSES = replace(with_client(changed, change=lost), name="mine", route="/mine", title="<Mine>")


def test_a_report_says_which_promise_is_broken_and_how() -> None:
    report = labkit.contract(LOSES, only=["topics-apart", "burst", "one-answer"], progress=False)
    assert list(report.broken) == ["burst"]
    assert report.broken["burst"] == "10 of 101 events are lost, the first is [7] (fanout='direct')"
    table = report.table()
    assert table["verdict"].to_dict() == {"burst": "broken", "topics-apart": "held", "one-answer": "does not apply"}
    assert table.loc["one-answer", "how"] == "one response, and no answers"
    assert table.loc["burst", "took_s"] > 0
    assert repr(report) == "<Report of mine: 1 held, 1 broken (burst), 1 do not apply>"
    shown = report._repr_html_()
    assert "✗ broken" in shown and "10 of 101 events are lost" in shown and "order, and once" in shown


def test_a_learners_own_is_judged_beside_the_registered_ones() -> None:
    mine = replace(find("websocket"), name="mine", route="/mine")
    groups = ["resuming", "where it begins, and gaps", "leaving"]
    report = labkit.contract(mine, only=groups, progress=False)
    assert report.broken == {} and not report.interrupted
    assert [one.promise for one in report.outcomes] == [p for p in PROMISES if p.group in groups]


def test_one_of_a_cell_is_not_handed_to_a_process() -> None:
    async def connect(opening: Opening, **options: Any) -> Items:
        raise NotImplementedError
        yield

    connect.__module__ = "__main__"
    reason = BY_NAME["own-process"].why_not(replace(LOSES, client=connect))
    assert reason == "a process of its own takes a technique from a module, not from a cell or a script"


def test_a_group_is_chosen_by_its_name_and_a_registered_technique_by_its_own() -> None:
    report = labkit.contract("polling", only="the end", progress=False)
    verdicts = {one.promise.name: one.verdict for one in report.outcomes}
    held, not_asked = "held", "does not apply"
    assert verdicts == {"closing-ends-all": held, "closing-does-not-wait": not_asked, "own-process": held}
    assert str(report) == "polling: 2 held, 0 broken, 1 do not apply"


async def interrupting(opening: Opening, *, real: Client, **options: Any) -> Items:
    if opening.topic:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    async for item in real(opening, **options):
        yield item


def test_an_interrupt_returns_what_there_is_and_leaves_nothing() -> None:
    mine = replace(LOSES, client=partial(interrupting, real=find("sse").client))
    report = labkit.contract(mine, only=["burst", "topics-apart", "resuming"], progress=False)
    assert report.interrupted and [one.promise.name for one in report.outcomes] == ["burst"]
    assert str(report).endswith("interrupted: these are the promises up to then")


def test_what_cannot_be_tried_is_refused() -> None:
    with pytest.raises(TypeError, match="takes a Technique, and <class"):
        labkit.contract(Technique)  # type: ignore[arg-type]
    with pytest.raises(UnknownTechnique, match="known are"):
        labkit.contract("smoke signals")
    with pytest.raises(LabkitError, match="no promise is called 'gaps'; they are: every-event-once, "):
        labkit.contract("polling", only="gaps")
    with pytest.raises(ValueError, match="http=3: expected 1 or 2"):
        labkit.contract("polling", http=3)


async def on_the_lab_loop() -> None:
    labkit.contract("polling")


def test_on_the_lab_loop_it_is_refused() -> None:
    with pytest.raises(RuntimeError, match="call it from a cell or a thread"):
        labkit.run(on_the_lab_loop())


@pytest.mark.parametrize("name", ["long-polling", "websocket"])
def test_it_is_kept_over_tls(name: str) -> None:
    pytest.importorskip("trustme")
    report = labkit.contract(name, tls=True, progress=False)
    assert not report.broken
    assert sum(outcome.verdict == "held" for outcome in report.outcomes) > 15
