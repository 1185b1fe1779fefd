"""The coding exercise of 01_polling: a polling client, tried in a simulated world and against a lab."""

from __future__ import annotations

from collections.abc import Callable

from labkit.claims.coding import Coding, NotKept, Promise, need
from labkit.course.polling.over_http import Sockets
from labkit.course.polling.simulated import GIVEN, Asked, World, go, takes_time_of_its_own
from labkit.lab.lab import Lab
from labkit.network.link import Link

T_S = 1.0
EVENTS_S = (0.4, 0.7, 1.3, 2.2, 2.3, 2.4, 4.6, 6.1, 7.7, 8.2)
NEAR_S = 1e-6
LATE_S = 0.1 + NEAR_S  # a client may wait in steps
MANY = 1200  # questions, one inside the other: more than Python lets be
Poll = Callable[..., object]


def seconds(times: list[float]) -> str:
    """Moments, as a sentence names them."""
    return ", ".join(f"{at:.3g}" for at in times[:5]) + " s"


# -- what is delivered ------------------------------------------------------------------------------------------------


def check_delivered(world: World, first: int = 1) -> None:
    """Everything that was answered has been handed on: in order, once, one event at a time.

    Raises:
        NotKept: it has not; names the question at which it went wrong.
    """
    for thing in world.handed_on:
        need(
            isinstance(thing, dict) and "id" in thing,
            f"deliver was called with {thing!r:.60}, which is no event",
            "ask gives a list of events: hand each of them on by itself.",
        )
    ids, wanted = [event["id"] for event in world.handed_on], list(range(first, world.newest_told + 1))
    twice = next((n for at, n in enumerate(ids) if n in ids[:at]), None)
    if twice is not None:
        answers = sum(twice in asked.ids for asked in world.asked if not asked.is_lost)
        raise NotKept(
            f"event {twice} was delivered twice: {world.question_of(twice, last=True)}",
            "each answer brings a cursor: the next question is to be asked with that one."
            if answers > 1
            else "it was in one answer alone: what is left over from an answer is not handed on again.",
        )
    lost = next((n for n in wanted if n not in ids), None)
    if lost is not None:
        raise NotKept(f"event {lost} was never delivered: {world.question_of(lost)}", hint_of_loss(world, lost))
    need(ids == wanted, f"delivered in the order {ids[:8]}", "hand events on in the order in which they were answered.")


def hint_of_loss(world: World, lost: int) -> str:
    if any(lost in asked.ids for asked in world.asked if not asked.is_lost):
        return "it was in an answer: call deliver for every event of it."
    if any(asked.cursor is None for asked in world.asked[1:]):
        return "asked with None, a server begins at now: keep the cursor of the newest answer, whatever happens."
    return "ask with the cursor of the newest answer that you have got."


def starts_at_once(poll: Poll) -> None:
    world = go(poll, World(EVENTS_S, until_s=10.0), T_S)
    need(world.asked, "it never asked", "call ask(None) first.")
    need(world.asked[0].at_s < LATE_S, f"the first question was asked after {world.asked[0].at_s:.3g} s")
    need(
        len(world.asked) > 1,
        f"T is {T_S:g} s; it asked at 0 s, and then at {world.now_s:.3g} s",
        "clock, sleep and T are in seconds: sleep for what is left of T.",
    )
    go(poll, World((), until_s=MANY * T_S), T_S)


def delivers_once(poll: Poll) -> None:
    check_delivered(go(poll, World(EVENTS_S, until_s=10.0), T_S))


# -- when it asks -----------------------------------------------------------------------------------------------------


def from_start_to_start(poll: Poll) -> None:
    d_s, takes_s = 0.15, 0.15
    world = go(poll, World(EVENTS_S, until_s=10.0, one_way_s=d_s, takes_s=takes_s), T_S)
    apart = world.apart_s
    if all(T_S - NEAR_S < each < T_S + LATE_S for each in apart):
        return
    asked = f"T is 1 s, an answer takes 0.3 s; it asked at {seconds([a.at_s for a in world.asked])}"
    if takes_time_of_its_own(poll):
        raise NotKept(asked, GIVEN)
    if min(apart) < T_S - NEAR_S:
        waits = min(apart) > 3 * d_s
        raise NotKept(asked, "does it sleep for what is left of T?" if waits else "it does not wait: sleep for T.")
    if min(apart) > T_S + 2 * d_s - NEAR_S:
        raise NotKept(asked, "that is T after each answer: look at the clock before you ask, not after.")
    hint = "what deliver takes is a part of T as well: look at the clock again just before you sleep."
    raise NotKept(f"{asked}. deliver takes {takes_s:g} s for each event", hint)


def slow_answers(poll: Poll) -> None:
    slow_s = 3.5
    world = go(poll, World(EVENTS_S, until_s=10.0, slow={2: slow_s}), T_S)
    need(len(world.asked) > 4, f"after an answer that took {slow_s} s it asked no more")
    slow, after, *rest = world.asked[2:]
    late_s = after.at_s - slow.until_s
    need(
        late_s < LATE_S,
        f"the answer took {slow_s} s and T is 1 s; the next question came {late_s:.3g} s after it",
        LONG_PASSED,
    )
    made_up = [one for one, other in zip([after, *rest], rest, strict=False) if other.at_s - one.at_s < T_S - NEAR_S]
    need(
        not made_up,
        f"after an answer that took {slow_s} s it asked at {seconds([a.at_s for a in [after, *rest]])}",
        "count T from the question before, not from a plan made at the beginning.",
    )
    check_delivered(world)


LONG_PASSED = "T had long passed: there is nothing left to sleep."
FROM_ITS_START = "count T from the start of the question that was lost, as of any other: look at the clock before each."
IN_TROUBLE = "a server in trouble is not helped by being asked at once: wait for the rest of T as ever."


def answers_lost(poll: Poll) -> None:
    world = go(poll, World(EVENTS_S, until_s=15.0, one_way_s=0.15, lost={2, 4, 5, 8}, slow={8: 2.5}), T_S)
    for lost, after in zip(world.asked, world.asked[1:], strict=False):
        if lost.is_lost:
            check_after_loss(lost, after)
    need(len(world.asked) > 9, "after a question without an answer it asked no more")
    check_delivered(world)


def check_after_loss(lost: Asked, after: Asked, hint: str = IN_TROUBLE) -> None:
    need(
        after.cursor == lost.cursor,
        f"asked after {lost.cursor}, the answer was lost; then it asked after {after.cursor}",
        "an answer that was lost changes nothing: keep the cursor.",
    )
    waited_s, took_s = after.at_s - lost.at_s, lost.until_s - lost.at_s
    how = f"a question at {lost.at_s:.3g} s was lost; it asked again after {waited_s:.3g} s, and T is {T_S:g} s"
    if took_s > T_S:
        need(waited_s < took_s + LATE_S, f"{how}; that it was lost showed after {took_s:.3g} s", LONG_PASSED)
        return
    need(waited_s > T_S - NEAR_S, how, hint if waited_s < took_s + LATE_S else FROM_ITS_START)
    need(waited_s < T_S + LATE_S, how, FROM_ITS_START)


def catches_up(poll: Poll) -> None:
    world = go(poll, World((1.2,) * 10, until_s=8.0, carries=3), T_S)
    for one, other in zip(world.asked, world.asked[1:], strict=False):
        pause_s = round(other.at_s - one.until_s, 9)
        need(
            not one.more or pause_s < LATE_S,
            f"an answer brought events {one.ids} and said that there is more; it asked again {pause_s:.3g} s later",
            "where more is true, ask again at once.",
        )
        need(
            one.more or pause_s > T_S / 2,
            f"with nothing more to come it asked again after {pause_s:.3g} s",
            "more is about the newest answer alone.",
        )
    check_delivered(world)


def loses_what_is_more(poll: Poll) -> None:
    """The two questions after an answer that said that there is more."""
    world = go(poll, World((1.2,) * 10, until_s=8.0, carries=3, lost={3, 4}), T_S)
    for lost, after in zip(world.asked, world.asked[1:], strict=False):
        if lost.is_lost:
            hint = "more is what the newest answer said, and there was none: make it False before each question."
            check_after_loss(lost, after, hint)
    need(len(world.asked) > 6, "after a question without an answer it asked no more")
    check_delivered(world)


# -- over real sockets ------------------------------------------------------------------------------------------------


def over_sockets(poll: Poll) -> None:
    with Lab("coding 01") as lab, Link(lab, one_way_s=0.02) as link:
        world = Sockets(lab, link)
        try:
            go(poll, world, 0.05)
        finally:
            world.hang_up()
    world.newest_told = min(world.newest_told, world.EVENTS)
    check_delivered(world)


EXERCISES: dict[str, Coding] = {
    "01.4": Coding(
        "poll(ask, deliver, interval_s, clock, sleep)",
        (
            Promise(
                "It asks at once, with None, and goes on asking.",
                starts_at_once,
                "ask first, and sleep afterwards.",
            ),
            Promise(
                "Every event is delivered once, in order.",
                delivers_once,
                "ask with the cursor of the answer before, and call deliver for each event.",
            ),
            Promise(
                "T runs from the start of one question to the start of the next.",
                from_start_to_start,
                "clock() before the question says when it started; sleep for what is left of T.",
            ),
            Promise(
                "After an answer that took longer than T it asks at once, and makes up for nothing.",
                slow_answers,
                "what is left of T may be less than nothing: max(0, ...).",
            ),
            Promise(
                "A question without an answer costs nothing: the same cursor again, T after its start.",
                answers_lost,
                "ask raises ConnectionError where the answer was lost: catch that, and go on.",
            ),
            Promise(
                "Where an answer says that there is more, it asks again at once.",
                catches_up,
                "the third value that ask gives says whether to sleep at all.",
            ),
            Promise(
                "So it is where the question is lost that follows at once: T after its start, and not at once again.",
                loses_what_is_more,
                "each question may be lost, that one as well: catch ConnectionError around every call of ask.",
            ),
            Promise(
                "Over HTTP, from a lab behind a link that is cut twice, every event comes once.",
                over_sockets,
                "look at what happens between an answer that was lost and the next question.",
                limit_s=40.0,
                needs_all=True,
            ),
        ),
        "It keeps all of them, in a simulated world and against a lab over real sockets.",
    )
}
