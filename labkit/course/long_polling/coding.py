"""The coding exercise of 02_long_polling: a long-poll handler, asked over real sockets and held to the contract."""

from __future__ import annotations

import re
import time
from functools import partial

from tornado.web import RequestHandler

from labkit.claims.coding import Coding, NotKept, Promise, need
from labkit.course.long_polling.own_handler import LONG_S, SOON_S, Handler, heard, served, technique
from labkit.subscribing import contract
from labkit.subscribing.contract.waiting import UNIT_S
from labkit.techniques.long_polling import LongPollingHandler

WAKES = 5
SLOW_S, SLOW_TIMES = 0.05 * UNIT_S, 5
"""What an answer may take beyond so many times that of the lab's own: a sleep, or a look every now and then."""
OF_ITS_OWN = "each poll has a handler of its own: keep its subscriber in self, not in the class or a global."
CLOSED = "on_connection_close is called when the client has gone: wake up whoever waits, and answer nobody."

CONTRACT = {
    "every-event-once": "between an answer and the next poll events are published as well: they are in the log.",
    "burst": "what is published together is answered together: hub.since, after the wait.",
    "topics-apart": "`topic` says what is listened to: it belongs into each call of the hub.",
    "cut-link": "a client comes back with the cursor of what it has read: answer what comes after that one.",
    "cursor-for-any-other": "the cursor of an answer is the hub's: leave it as hub.answer writes it.",
    "gap-first": "hub.since finds the gap: hand its page to hub.answer as it is.",
    "gap-with-nothing-held": "a gap is an answer, at once: hub.subscribe is told the cursor that was asked with.",
    "everything-held": "the cursor 0 asks for all that is held; only without `after` a poll begins at now.",
    "newest-is-no-gap": "a poll at the newest event waits for the next.",
    "listening-makes-no-log": "hub.cursor(topic) says where a topic is, also one that nobody has published to.",
    "forgotten-at-once": CLOSED,
    "raw-client-goes": CLOSED,
    "one-answer": "hub.since(topic, cursor) is a page of all that was missed.",
    "closing-ends-all": "a poll that is parked is woken when the lab closes: it should not wait on by itself.",
    "closing-does-not-wait": "a poll that is parked is woken when the lab closes: it should not wait on by itself.",
}
SAID = {"one-answer": "What a poll has missed shares one answer."}
"""Sentences without what only the kit's own clients ask for."""
OBJECT = r"<\w+ [^<>]*>"
"""An object as Python shows it."""
"""Promises of the contract that a handler of a dozen lines can keep, and what to look at where it does not.

Not these: that a peer which never reads is let go, for which a handler has to bound its writes as PushHandler does,
and what needs a module rather than a cell.
"""


# -- its own promises -------------------------------------------------------------------------------------------------


def answers_what_is_held(handler: Handler) -> None:
    with served(handler) as route:
        route.publish(1)
        first = route.lab.cursor()
        route.publish(2)
        with route.asked(LONG_S, first) as poll:
            found = poll.answer(hint="a client that is behind is not to wait: what it has missed is there already.")
        hint = "go on from the cursor in `after`: hub.since(topic, cursor) is all that comes after it."
        need(found["ids"] == [2, 3], f"of 3 events asked after=1, answered events {found['ids']}", hint)
        newest = route.lab.cursor()
        need(found["cursor"] == newest, f"answered events 2, 3 with the cursor {found['cursor']}, which is {newest}")


def parks(handler: Handler) -> None:
    with served(handler) as route:
        route.publish(2)
        for after in (route.lab.cursor(), None):
            with route.asked(LONG_S, after) as poll:
                route.until_parked(poll)
                if poll.is_answered(0.1):
                    poll.too_early()
                route.publish(3)
                newest = int(route.lab.cursor().partition("@")[0])
                found = poll.answer(hint="an event wakes the subscriber: after wait_until_ready, answer.")
            wanted = list(range(newest - 2, newest + 1))
            need(
                found["ids"] == wanted,
                f"parked {poll.named}; then events {wanted} were published, and it answered {found['ids']}",
                "answer with everything after the cursor that was asked with, or that was newest when it was asked.",
            )


def keeps_to_its_topic(handler: Handler) -> None:
    with served(handler) as route:
        route.lab.publish("tock", "other")
        before, hint = route.lab.cursor(), CONTRACT["topics-apart"]
        with route.asked(LONG_S, topic="other") as poll:
            route.until_parked(poll)
            route.publish(5)
            need(not poll.is_answered(0.1), "asked for topic='other', it answers an event of another topic", hint)
            with route.asked(LONG_S, before) as others:
                others.answer()
            route.lab.publish("tock", "other")
            found = poll.answer(hint=hint)
        asked = "asked for topic='other', whose event 2 was published"
        need(found["ids"] == [2], f"{asked}, answered {found['ids']}", hint)
        data = found["events"][0]["data"]
        need(data == "tock", f"{asked} with 'tock', answered {data!r}, which is event 2 of another topic", hint)


def runs_out(handler: Handler) -> None:
    hold_s = 0.4
    with served(handler) as route:
        route.publish(2)
        newest = route.lab.cursor()
        with route.asked(hold_s, newest) as poll:
            found = poll.answer(hold_s + SOON_S, "`timeout` says for how many seconds the poll may be held.")
        need(
            poll.took_s > 0.8 * hold_s,
            f"asked with timeout={hold_s:g}, and answered after {poll.took_s:.2g} s: events {found['ids']}",
            "wait_until_ready takes the seconds that `timeout` says.",
        )
        need(found["ids"] == [], f"nothing had happened, and it answered events {found['ids']}")
        need(found["cursor"] == newest, f"time ran out at {newest}, and the answer's cursor is {found['cursor']}")


def notices(handler: Handler) -> None:
    with served(handler) as route:
        with route.asked(LONG_S) as poll:
            route.until_parked(poll)
        left = route.left()
        need(not left, f"{SOON_S:g} s after its client had closed the connection its poll was still parked", CLOSED)
        time.sleep(0.05)  # for what it does then
        need(not route.raised.told, f"its client had gone, and it raised {route.raised.told}", CLOSED)


def forgets(handler: Handler) -> None:
    with served(handler) as route:
        for _ in range(2):
            with route.asked(LONG_S, "0") as poll:
                route.publish(1)
                poll.answer()
        left = route.left()
        need(not left, f"two polls were answered, and the hub still has {left} subscriber(s)")


def are_apart(handler: Handler) -> None:
    with served(handler) as route:
        route.publish(2)
        with route.asked(LONG_S) as first:
            route.until_parked(first)
            with route.asked(LONG_S) as second:
                route.until_parked(second, 2)
                first.connection.close()
                route.left(but=1)
                told = "two polls were parked, and the client of the first left; then the second"
                need(not second.is_answered(0.1), f"{told} was answered, and nothing had happened", OF_ITS_OWN)
                route.publish(1)
                ids = second.answer(hint=OF_ITS_OWN)["ids"]
                need(ids == [3], f"{told} answered events {ids}, and event 3 was published", OF_ITS_OWN)
        left = route.left()
        need(not left, f"of two polls one was answered, one client left, and the hub still has {left} subscriber(s)")


def wakes_at_once(handler: Handler) -> None:
    with served(handler) as own, served(LongPollingHandler, "the-labs-own") as labs:
        took_s = [(own.wakes_s(), labs.wakes_s()) for _ in range(WAKES)]
    own_s, labs_s = (min(each) for each in zip(*took_s, strict=True))
    need(
        own_s < SLOW_S + SLOW_TIMES * labs_s,
        f"of {WAKES} polls that were parked when an event came, the quickest was answered {own_s * 1e3:.0f} ms later; "
        f"by the lab's own handler, {labs_s * 1e3:.0f} ms",
    )


# -- the contract -----------------------------------------------------------------------------------------------------


def in_contract(name: str, handler: Handler) -> None:
    """One promise of :func:`labkit.contract`."""
    (promise,) = contract.choose(name)
    with heard() as raised:
        found = contract.tried(promise, technique(handler))
    if found.verdict == "broken":
        why = f"; it raised {raised.told}" if raised.told else ""
        raise NotKept(f"{re.sub(OBJECT, 'a client', found.how)[:300]}{why}")


def contract_promise(name: str, hint: str) -> Promise:
    (one,) = contract.choose(name)
    return Promise(SAID.get(name, one.sentence), partial(in_contract, name), hint, limit_s=60.0, needs_all=True)


EXERCISES: dict[str, Coding] = {
    "02.4": Coding(
        "LongPoll(RequestHandler)",
        (
            Promise(
                "A client that is behind is answered at once, with everything that it has missed.",
                answers_what_is_held,
                "hub.since(topic, cursor) is what comes after the cursor; hub.answer makes the JSON of it.",
            ),
            Promise(
                "Where there is nothing it waits, and answers all that was published when something is.",
                parks,
                "hub.subscribe, then wait_until_ready, then the answer.",
            ),
            Promise("It listens to its `topic` alone.", keeps_to_its_topic, CONTRACT["topics-apart"]),
            Promise(
                "When the time in `timeout` is up it answers with an empty list.",
                runs_out,
                "the answer is made the same way, whether there is something or not.",
            ),
            Promise("It notices that its client has left.", notices, CLOSED),
            Promise(
                "An answered poll is no subscriber any more.",
                forgets,
                "close the subscriber when the wait is over, however it ended: try ... finally.",
            ),
            Promise("Of two polls at once, one that goes leaves the other parked.", are_apart, OF_ITS_OWN),
            Promise(
                "An event is answered as soon as it is there.",
                wakes_at_once,
                "answer when wait_until_ready comes back, and look for events in no other way: nothing is to sleep.",
            ),
            *(contract_promise(name, hint) for name, hint in CONTRACT.items()),
        ),
        "It keeps what a long poll promises, and the contract of every technique.",
        form="class",
        base=RequestHandler,
    )
}
