"""The coding exercise of 01_polling: the solution keeps every promise, and each wrong attempt has a hint of its own."""

from __future__ import annotations

import pytest

from cells import cell, code_with
from labkit.claims.coding import CodeReport
from labkit.course import coding
from labkit.course.polling.coding import EXERCISES

EXERCISE = EXERCISES["01.4"]
SOLUTION = code_with("solutions/01_polling", "def poll(")


def report(text: str) -> CodeReport:
    found, _ = coding.report_on(EXERCISE, cell(text)["poll"])
    return found


def test_the_solution_keeps_every_promise() -> None:
    found = report(SOLUTION)
    assert found.right, found
    assert len(found.kept) == 8 and all(one.held for one in found.kept)


def test_the_notebook_comes_with_a_skeleton() -> None:
    found = report(code_with("01_polling", "def poll("))
    assert found.right is None and "three dots" in found.text


BODIES = {
    "sleeps first": (
        """
        cursor = None
        while True:
            sleep(interval_s)
            for event in (answer := ask(cursor))[0]:
                deliver(event)
            cursor = answer[1]
        """,
        0, "the first question was asked after 1 s", "ask first",
    ),
    "asks once": (
        """
        for event in ask(None)[0]:
            deliver(event)
        """,
        0, "it came back after 1 question", "while True",
    ),
    "forgets the cursor": (
        """
        while True:
            began_s = clock()
            for event in ask(None)[0]:
                deliver(event)
            sleep(max(0, began_s + interval_s - clock()))
        """,
        1, "event 1 was never delivered: at 1 s asked with None", "a server begins at now",
    ),
    "keeps the first cursor": (
        """
        events, first, more = ask(None)
        while True:
            sleep(interval_s)
            for event in ask(first)[0]:
                deliver(event)
        """,
        1, "event 1 was delivered twice", "with that one",
    ),
    "delivers the list": (
        """
        cursor = None
        while True:
            began_s = clock()
            events, cursor, more = ask(cursor)
            deliver(events)
            sleep(max(0, began_s + interval_s - clock()))
        """,
        1, "deliver was called with []", "each of them on by itself",
    ),
    "delivers the newest alone": (
        """
        cursor = None
        while True:
            began_s = clock()
            events, cursor, more = ask(cursor)
            if events:
                deliver(events[-1])
            sleep(max(0, began_s + interval_s - clock()))
        """,
        1, "event 1 was never delivered: at 1 s asked with '0@lab', answered events [1, 2]", "for every event of it",
    ),
    "waits after the answer": (
        """
        cursor = None
        while True:
            events, cursor, more = ask(cursor)
            for event in events:
                deliver(event)
            sleep(interval_s)
        """,
        2, "it asked at 0, 1.3, 3.05", "look at the clock before you ask",
    ),
    "never waits": (
        """
        cursor = None
        while True:
            events, cursor, more = ask(cursor)
            for event in events:
                deliver(event)
        """,
        2, "it asked at 0, 0.3, 0.75", "it does not wait",
    ),
    "looks at the clock in a loop": (
        """
        cursor = None
        while True:
            began_s = clock()
            events, cursor, more = ask(cursor)
            for event in events:
                deliver(event)
            while clock() < began_s + interval_s:
                pass
        """,
        0, "it looks at the clock again and again", "burns the time",
    ),
    "sleeps less than nothing": (
        """
        cursor = None
        while True:
            began_s = clock()
            events, cursor, more = ask(cursor)
            for event in events:
                deliver(event)
            sleep(began_s + interval_s - clock())
        """,
        3, "ValueError: sleep length must be non-negative, in line 8 of poll", "max(0, ...)",
    ),
    "takes two looks at the clock for one": (
        """
        cursor, next_s = None, clock()
        while True:
            events, cursor, more = ask(cursor)
            for event in events:
                deliver(event)
            next_s = max(next_s + interval_s, clock())
            sleep(next_s - clock())
        """,
        3, "ValueError: sleep length must be non-negative, in line 8 of poll", "max(0, ...)",
    ),
    "keeps a plan": (
        """
        cursor, next_s = None, clock()
        while True:
            sleep(max(0, next_s - clock()))
            next_s += interval_s
            events, cursor, more = ask(cursor)
            for event in events:
                deliver(event)
        """,
        3, "after an answer that took 3.5 s it asked at 5.5, 5.6, 5.7", "not from a plan",
    ),
    "waits a whole T after a slow answer": (
        """
        cursor = None
        while True:
            began_s = clock()
            events, cursor, more = ask(cursor)
            for event in events:
                deliver(event)
            left_s = began_s + interval_s - clock()
            sleep(left_s if left_s > 0 else interval_s)
        """,
        3, "the next question came 1 s after it", "nothing left to sleep",
    ),
    "does not expect a loss": (
        """
        cursor = None
        while True:
            began_s = clock()
            events, cursor, more = ask(cursor)
            for event in events:
                deliver(event)
            sleep(max(0, began_s + interval_s - clock()))
        """,
        4, "It raised ConnectionError: the answer was lost, in line 5 of poll", "catch that, wherever you call it",
    ),
    "starts anew after a loss": (
        """
        cursor = None
        while True:
            began_s = clock()
            try:
                events, cursor, more = ask(cursor)
            except ConnectionError:
                events, cursor = [], None
            for event in events:
                deliver(event)
            sleep(max(0, began_s + interval_s - clock()))
        """,
        4, "asked after 2@lab, the answer was lost; then it asked after None", "keep the cursor",
    ),
    "asks again at once after a loss": (
        """
        cursor = None
        while True:
            began_s = clock()
            try:
                events, cursor, more = ask(cursor)
            except ConnectionError:
                continue
            for event in events:
                deliver(event)
            sleep(max(0, began_s + interval_s - clock()))
        """,
        4, "it asked again after 0.3 s, and T is 1 s", "in trouble",
    ),
    "waits a whole T when it hears of a loss": (
        """
        cursor = None
        while True:
            began_s = clock()
            try:
                events, cursor, more = ask(cursor)
            except ConnectionError:
                sleep(interval_s)
                continue
            for event in events:
                deliver(event)
            sleep(max(0, began_s + interval_s - clock()))
        """,
        4, "it asked again after 1.3 s, and T is 1 s", "count T from the start of the question that was lost",
    ),
    "hears late of a loss, and waits on": (
        """
        cursor = None
        while True:
            began_s = clock()
            try:
                events, cursor, more = ask(cursor)
            except ConnectionError:
                left_s = began_s + interval_s - clock()
                sleep(left_s if left_s > 0 else interval_s)
                continue
            for event in events:
                deliver(event)
            sleep(max(0, began_s + interval_s - clock()))
        """,
        4, "it asked again after 3.5 s, and T is 1 s; that it was lost showed after 2.5 s", "nothing left to sleep",
    ),
    "hears late of a loss, and sleeps less than nothing": (
        """
        cursor = None
        while True:
            began_s = clock()
            try:
                events, cursor, more = ask(cursor)
            except ConnectionError:
                sleep(began_s + interval_s - clock())
                continue
            for event in events:
                deliver(event)
            sleep(max(0, began_s + interval_s - clock()))
        """,
        4, "ValueError: sleep length must be non-negative, in line 8 of poll", "max(0, ...)",
    ),
    "calls itself": (
        """
        def go_on(cursor):
            began_s = clock()
            events, cursor, more = ask(cursor)
            for event in events:
                deliver(event)
            sleep(max(0, began_s + interval_s - clock()))
            go_on(cursor)
        go_on(None)
        """,
        0, "RecursionError", "Python ends that at a thousand",
    ),
    "asks with an event's id": (
        """
        cursor = None
        while True:
            began_s = clock()
            events, cursor, more = ask(cursor)
            for event in events:
                deliver(event)
                cursor = event["id"]
            sleep(max(0, began_s + interval_s - clock()))
        """,
        0, "ask takes the cursor that it gave, or None, and not 2", "the second of the three values",
    ),
    "asks for all that is held": (
        """
        cursor = 0
        while True:
            events, cursor, more = ask(cursor)
        """,
        0, "ask takes the cursor that it gave, or None, and not 0", "with None at the beginning",
    ),
    "sleeps in milliseconds": (
        """
        cursor = None
        while True:
            began_s = clock()
            events, cursor, more = ask(cursor)
            sleep(1000 * max(0, began_s + interval_s - clock()))
        """,
        0, "it asked at 0 s, and then at 900 s", "are in seconds",
    ),
    "uses a name before it has a value": (
        """
        while True:
            events, cursor, more = ask(cursor)
        """,
        0, "UnboundLocalError", "has none before that",
    ),
    "counts T from the first of several questions": (
        """
        cursor = None
        while True:
            began_s, more = clock(), True
            while more:
                try:
                    events, cursor, more = ask(cursor)
                except ConnectionError:
                    break
                for event in events:
                    deliver(event)
            sleep(max(0, began_s + interval_s - clock()))
        """,
        6, "a question at 2.1 s was lost; it asked again after 0.9 s", "look at the clock before each",
    ),
    "delivers the answer before once more": (
        """
        cursor, events = None, []
        while True:
            began_s = clock()
            try:
                events, cursor, more = ask(cursor)
            except ConnectionError:
                pass
            for event in events:
                deliver(event)
            sleep(max(0, began_s + interval_s - clock()))
        """,
        4, "event 1 was delivered twice", "it was in one answer alone",
    ),
    "gives up": (
        """
        cursor = None
        while True:
            began_s = clock()
            try:
                events, cursor, more = ask(cursor)
            except ConnectionError:
                break
            for event in events:
                deliver(event)
            sleep(max(0, began_s + interval_s - clock()))
        """,
        4, "it came back after 3 questions", "while True",
    ),
    "catches its own end": (
        """
        cursor = None
        while True:
            try:
                began_s = clock()
                events, cursor, more = ask(cursor)
                for event in events:
                    deliver(event)
                sleep(max(0, began_s + interval_s - clock()))
            except:
                pass
        """,
        0, "it catches that as well", "a bare except:",
    ),
    "does not hear that there is more": (
        """
        cursor = None
        while True:
            began_s = clock()
            try:
                events, cursor, more = ask(cursor)
                for event in events:
                    deliver(event)
            except ConnectionError:
                pass
            sleep(max(0, began_s + interval_s - clock()))
        """,
        5, "brought events [1, 2, 3] and said that there is more; it asked again 0.9 s later", "ask again at once",
    ),
    "hears it for ever": (
        """
        cursor, behind = None, False
        while True:
            began_s = clock()
            try:
                events, cursor, more = ask(cursor)
                for event in events:
                    deliver(event)
                behind = behind or more
            except ConnectionError:
                pass
            if not behind:
                sleep(max(0, began_s + interval_s - clock()))
        """,
        5, "with nothing more to come it asked again after 0 s", "the newest answer alone",
    ),
    "hears it until there is an answer": (
        """
        cursor, more = None, False
        while True:
            began_s = clock()
            try:
                events, cursor, more = ask(cursor)
                for event in events:
                    deliver(event)
            except ConnectionError:
                pass
            if not more:
                sleep(max(0, began_s + interval_s - clock()))
        """,
        6, "a question at 2.1 s was lost; it asked again after 0.1 s", "make it False before each question",
    ),
    "expects no loss of what is more": (
        """
        cursor = None
        while True:
            began_s, more = clock(), False
            try:
                events, cursor, more = ask(cursor)
            except ConnectionError:
                events = []
            for event in events:
                deliver(event)
            while more:
                events, cursor, more = ask(cursor)
                for event in events:
                    deliver(event)
            sleep(max(0, began_s + interval_s - clock()))
        """,
        6, "It raised ConnectionError: the answer was lost, in line 12 of poll", "wherever you call it",
    ),
    "looks at the clock before it delivers": (
        """
        cursor = None
        while True:
            began_s = clock()
            events, cursor, more = ask(cursor)
            left_s = began_s + interval_s - clock()
            for event in events:
                deliver(event)
            sleep(max(0, left_s))
        """,
        2, "deliver takes 0.15 s", "just before you sleep",
    ),
    "asks with an empty text": (
        """
        cursor = ""
        while True:
            events, cursor, more = ask(cursor)
        """,
        0, "ask takes the cursor that it gave, or None, and not ''", "with None at the beginning",
    ),
    "takes two values": (
        """
        events, cursor = ask(None)
        """,
        0, "ValueError: too many values to unpack (expected 2), in line 2 of poll", "three values",
    ),
    "keeps events in a set": (
        """
        cursor, seen = None, set()
        while True:
            events, cursor, more = ask(cursor)
            for event in events:
                if event not in seen:
                    deliver(event)
                seen.add(event)
            sleep(interval_s)
        """,
        0, "unhashable type: 'dict', in line 6 of poll", "an event is a dict",
    ),
    "sleeps elsewhere": (
        """
        import time
        cursor = None
        while True:
            events, cursor, more = ask(cursor)
            for event in events:
                deliver(event)
            time.sleep(interval_s)
        """,
        0, "it waits by the clock on the wall", "that you are given",
    ),
    "looks at another clock": (
        """
        from time import monotonic
        cursor = None
        while True:
            began_s = monotonic()
            events, cursor, more = ask(cursor)
            for event in events:
                deliver(event)
            sleep(max(0, began_s + interval_s - monotonic()))
        """,
        2, "it asked at 0, 1.3", "that you are given",
    ),
}  # fmt: skip

STEPS = """
def poll(ask, deliver, interval_s, clock, sleep):
    cursor = None
    while True:
        began_s, more = clock(), False
        try:
            events, cursor, more = ask(cursor)
            for event in events:
                deliver(event)
        except ConnectionError:
            pass
        while not more and clock() < began_s + interval_s:
            sleep({step_s})
"""


@pytest.mark.parametrize("step_s", [0.01, 0.03, 0.1])
def test_who_waits_in_steps_keeps_every_promise(step_s: float) -> None:
    found = report(STEPS.format(step_s=step_s))
    assert found.right, found


@pytest.mark.parametrize("name", BODIES)
def test_a_wrong_attempt_breaks_one_promise_first_and_has_a_hint_of_its_own(name: str) -> None:
    body, number, said, hint = BODIES[name]
    found = report("def poll(ask, deliver, interval_s, clock, sleep):" + body.replace("\n    ", "\n"))
    assert found.right is False, found
    first = next(at for at, one in enumerate(found.kept) if one.held is False)
    assert first == number and said in found.kept[first].how and hint in found.hint, found
    assert found.kept[-1].held is None, "sockets are for those who keep the rest"


def test_hints_differ() -> None:
    hints = [hint for *_, hint in BODIES.values()]
    assert len(set(hints)) >= 0.8 * len(hints)
