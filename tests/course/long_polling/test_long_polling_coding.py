"""The coding exercise of 02_long_polling: the solution keeps the contract, and each wrong attempt has its hint."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cells import cell, code_with
from labkit.claims.coding import CodeReport, Coding
from labkit.course import coding
from labkit.course.long_polling.coding import CONTRACT, EXERCISES, SAID
from labkit.subscribing.contract import PROMISES

OWN = 8  # promises of its own, before those of the contract
EXERCISE = EXERCISES["02.4"]
SOLUTION = code_with("solutions/02_long_polling", "class LongPoll(")


def report(text: str, exercise: Coding = EXERCISE) -> CodeReport:
    found, _ = coding.report_on(exercise, cell(text)["LongPoll"])
    return found


def up_to(number: int, *, limit_s: float) -> Coding:
    """The exercise as far as one of its promises, which may take so long: what comes after it is not looked at."""
    *before, last = EXERCISE.promises[: number + 1]
    return replace(EXERCISE, promises=(*before, replace(last, limit_s=limit_s)))


def test_the_solution_keeps_every_promise() -> None:
    found = report(SOLUTION)
    assert found.right, found
    assert all(one.held for one in found.kept)
    sentences = [one.sentence for one in found.kept]
    assert sentences[-len(CONTRACT) :] == [SAID.get(p.name, p.sentence) for p in PROMISES if p.name in CONTRACT]


def test_the_notebook_comes_with_a_skeleton() -> None:
    found = report(code_with("02_long_polling", "class LongPoll("))
    assert found.right is None and "three dots" in found.text


HEAD = """
import asyncio
import json
import time

from tornado.web import HTTPError, RequestHandler

from labkit.techniques.long_polling import woken
from labkit.wire.events import Cursor


class LongPoll(RequestHandler):
    parked = None

    async def get(self):
        hub = self.settings["context"].hub
        topic, after = self.get_query_argument("topic", ""), self.get_query_argument("after", "")
        timeout_s = float(self.get_query_argument("timeout", "30"))
        cursor = Cursor.parse(after) if after else hub.cursor(topic)
"""
WAIT = """
        self.parked = hub.subscribe(topic, cursor, woken)
        try:
            await self.parked.wait_until_ready(timeout_s)
        finally:
            self.parked.close()
"""
ANSWER = """
        self.finish(hub.answer(topic, hub.since(topic, cursor)))
"""
LEAVES = """
    def on_connection_close(self):
        if self.parked:
            self.parked.close()
"""
SLEEPS = "\n        await asyncio.sleep(9)\n"
NOW = "        cursor = hub.cursor(topic)\n"

ATTEMPTS = {
    "never waits": (
        HEAD + ANSWER + LEAVES, 1, "asked after=2 for at most 60 s, and answered after", "do not answer yet",
    ),
    "does not await": (
        HEAD + WAIT.replace("await ", "") + ANSWER + LEAVES,
        1, "asked after=2 for at most 60 s, and answered after", "do not answer yet",
    ),
    "waits though it is behind": (
        HEAD + WAIT.replace("cursor, woken", "hub.cursor(topic), woken") + ANSWER + LEAVES,
        0, "asked after=1, and had no answer within", "what it has missed is there already",
    ),
    "does not read after": (
        HEAD + NOW + WAIT + ANSWER + LEAVES,
        0, "asked after=1, and had no answer within", "what it has missed is there already",
    ),
    "answers the newest alone": (
        HEAD + WAIT + ANSWER.replace("topic, cursor", "topic, cursor, conflate=True") + LEAVES,
        0, "of 3 events asked after=1, answered events [3]", "all that comes after it",
    ),
    "answers all that is held": (
        HEAD + WAIT + ANSWER.replace("topic, cursor", "topic, Cursor(0)") + LEAVES,
        0, "of 3 events asked after=1, answered events [1, 2, 3]", "all that comes after it",
    ),
    "answers what comes after the wait": (
        HEAD + WAIT + NOW + ANSWER + LEAVES,
        0, "of 3 events asked after=1, answered events []", "all that comes after it",
    ),
    "begins at the first event": (
        HEAD.replace("hub.cursor(topic)", "Cursor(0)") + WAIT + ANSWER + LEAVES,
        1, "asked without after for at most 60 s, and answered after", "begins at now",
    ),
    "begins where no topic is": (
        HEAD.replace("else hub.cursor(topic)", 'else hub.cursor("")') + WAIT + ANSWER + LEAVES,
        2, "asked without after for at most 60 s, and answered after", "where its own topic is",
    ),
    "wants every argument": (
        HEAD.replace('"timeout", "30"', '"timeout"').replace('"topic", ""', '"topic"').replace('"after", ""', '"after"')
        + WAIT + ANSWER + LEAVES,
        1, "asked without after, answered 400", "get_query_argument(name, default)",
    ),
    "answers a POST": (
        HEAD.replace("async def get", "async def post") + WAIT + ANSWER + LEAVES,
        0, "asked after=1, answered 405", "a poll is a GET",
    ),
    "goes round an await that comes back": (
        HEAD + WAIT.replace("await", "while hub.cursor(topic) == cursor:\n                await") + ANSWER + LEAVES,
        3, "did not come back within", "a loop around an await that comes back at once",
    ),
    "keeps its subscriber in the class": (
        HEAD + (WAIT + ANSWER + LEAVES).replace("self.parked", "LongPoll.parked"),
        6, "the client of the first left; then the second was answered", "not in the class or a global",
    ),
    "keeps its subscriber in a global": (
        HEAD.replace("class Long", "current = None\n\n\nclass Long")
        .replace("hub = self", "global current\n        hub = self")
        + (WAIT + ANSWER + LEAVES).replace("self.parked", "current"),
        6, "the client of the first left; then the second was answered", "not in the class or a global",
    ),
    "sleeps before it answers": (
        HEAD + WAIT + "        await asyncio.sleep(0.3)" + ANSWER + LEAVES,
        7, "the quickest was answered 3", "nothing is to sleep",
    ),
    "sleeps long before it answers": (
        HEAD + WAIT + SLEEPS.replace("9", "1") + ANSWER + LEAVES,
        7, "the quickest was answered 1", "nothing is to sleep",
    ),
    "subscribes, and looks in steps": (
        HEAD + WAIT.replace(
            "            await self.parked.wait_until_ready(timeout_s)",
            """            end_s = time.monotonic() + timeout_s
            while time.monotonic() < end_s and hub.cursor(topic) == cursor and not self.parked.closed:
                await asyncio.sleep(0.2)""",
        ) + ANSWER + LEAVES,
        7, "the quickest was answered 1", "nothing is to sleep",
    ),
    "hands on a text for a cursor": (
        HEAD.replace("Cursor.parse(after)", "after") + WAIT + ANSWER + LEAVES,
        0, "it raised AttributeError: 'str' object has no attribute", "the line that raised it",
    ),
    "uses what it does not import": (
        HEAD.replace("from labkit.wire.events import Cursor\n", "") + WAIT + ANSWER + LEAVES,
        0, "it raised NameError: name 'Cursor' is not defined", "without your notebook",
    ),
    "cannot be made": (
        HEAD.replace("    parked = None\n", "    parked = None\n\n    def initialize(self, hub):\n        pass\n")
        + WAIT + ANSWER + LEAVES,
        0, "initialize() missing 1 required positional argument: 'hub'", "it is called as the exercise says",
    ),
    "writes an answer of its own": (
        HEAD + WAIT + "        self.finish({'events': [e.id for e in hub.since(topic, cursor).events]})\n" + LEAVES,
        0, "answered b'{\"events\": [2, 3]}'", "hub.answer(topic, page) makes the JSON",
    ),
    "looks every 50 ms": (
        HEAD + """
        while not hub.since(topic, cursor).events:
            await asyncio.sleep(0.05)
""" + ANSWER,
        1, "it does not answer, and it is no subscriber of the hub", "hub.subscribe makes one",
    ),
    "sleeps on the loop": (
        HEAD + """
        while not hub.since(topic, cursor).events:
            time.sleep(0.05)
""" + ANSWER,
        1, "did not come back within", "such as time.sleep",
    ),
    "takes milliseconds": (
        HEAD.replace('"30"))', '"30")) / 1000') + WAIT + ANSWER + LEAVES,
        1, "asked after=2 for at most 60 s, and answered after", "do not answer yet",
    ),
    "waits twice": (
        HEAD + WAIT.replace("    await", "    for _ in range(50):\n                await") + ANSWER + LEAVES,
        3, "asked after=2, and had no answer within", "`timeout` says for how many seconds",
    ),
    "answers 204 when time is up": (
        HEAD + WAIT + """
        if not hub.since(topic, cursor).events:
            self.set_status(204)
            return
""" + ANSWER + LEAVES,
        3, "asked after=2, answered 204 No Content", "with an empty list",
    ),
    "answers 408 when time is up": (
        HEAD + WAIT + """
        if not hub.since(topic, cursor).events:
            raise HTTPError(408)
""" + ANSWER + LEAVES,
        3, "answered 408", "with an empty list",
    ),
    "does not notice that its client has left": (
        HEAD + WAIT + ANSWER,
        4, "after its client had closed the connection its poll was still parked", "on_connection_close is called",
    ),
    "answers whoever has left": (
        HEAD + WAIT + ANSWER + LEAVES + '            self.parked = None\n            self.missing.close()\n',
        4, "it raised AttributeError", "answer nobody",
    ),
    "stays a subscriber": (
        HEAD + WAIT.replace("self.parked.close()", "pass") + ANSWER + LEAVES,
        5, "two polls were answered, and the hub still has 2 subscriber(s)", "try ... finally",
    ),
    "has one topic": (
        HEAD.replace('self.get_query_argument("topic", "")', '""') + WAIT + ANSWER + LEAVES,
        2, "asked for topic='other', it answers an event of another topic", "it belongs into each call of the hub",
    ),
    "answers as of one topic": (
        HEAD + WAIT + ANSWER.replace("hub.answer(topic", 'hub.answer(""') + LEAVES,
        2, "with 'tock', answered 'tick', which is event 2 of another topic", "it belongs into each call of the hub",
    ),
    "returns the answer": (
        HEAD + WAIT + ANSWER.replace("self.finish(", "return (") + LEAVES,
        0, "answered b''", "nothing was sent",
    ),
    "says nothing when time is up": (
        HEAD + WAIT + "        if hub.since(topic, cursor).events:\n    " + ANSWER.lstrip("\n") + LEAVES,
        3, "answered b''", "whether there are events or not",
    ),
    "does not end its answer": (
        HEAD + WAIT + ANSWER.replace("finish", "write") + "        await self.flush()" + SLEEPS + LEAVES,
        0, "an answer began, and had no end", "nothing is to wait behind it",
    ),
    "takes whole seconds": (
        HEAD.replace("float(", "int(") + WAIT + ANSWER + LEAVES,
        3, "invalid literal for int() with base 10: '0.4'", "look at the line that raised it",
    ),
    "makes the JSON by itself, of text alone": (
        HEAD + WAIT + """
        events = [{"id": e.id, "data": e.data} for e in hub.since(topic, cursor).events if isinstance(e.data, str)]
        self.finish(json.dumps({"events": events, "cursor": hub.since(topic, cursor).cursor}))
""" + LEAVES,
        "every-event-once", "events are lost", "in the log",
    ),
    "forgets the gap": (
        HEAD + WAIT + """
        answer = json.loads(hub.answer(topic, hub.since(topic, cursor)))
        answer.pop("gap", None)
        self.finish(answer)
""" + LEAVES,
        "gap-first", "it tells no gap", "hand its page to hub.answer as it is",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTEMPTS)
def test_a_wrong_attempt_breaks_one_promise_first_and_has_its_hint(name: str) -> None:
    text, broken, said, hint = ATTEMPTS[name]
    number = OWN + list(CONTRACT).index(broken) if isinstance(broken, str) else broken
    limit_s = 3.0 if "not come back" in said else EXERCISE.promises[number].limit_s
    found = report(text, up_to(number, limit_s=limit_s))
    assert found.right is False, found
    first = next(at for at, one in enumerate(found.kept) if one.held is False)
    assert first == number and said in found.kept[first].how and hint in found.hint, found


def test_the_contract_is_for_those_who_keep_the_rest() -> None:
    found = report(ATTEMPTS["has one topic"][0])
    assert found.kept[2].held is False
    assert all(one.held is None for one in found.kept[OWN:])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("class LongPoll:\n    async def get(self):\n        return 17", "yours is no RequestHandler"),
        ("def LongPoll():\n    return 17", "found the function LongPoll: write class instead of def"),
        ("import tornado.web\nLongPoll = type('LongPoll', (tornado.web.RequestHandler,), {})", "in a cell of its own"),
    ],
)
def test_what_is_no_handler_is_said_at_once(text: str, said: str) -> None:
    found = report(text)
    assert found.right is False and said in found.text
