"""A long-poll handler of somebody's own behind a lab, and one poll of it after another over real sockets."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NoReturn
from urllib.parse import quote

from tornado.web import RequestHandler

from labkit import loop
from labkit.claims.coding import NotKept, need
from labkit.course.coding_child import slip_of, told
from labkit.lab.lab import Lab
from labkit.subscribing.contract.promise import Trial
from labkit.subscribing.contract.waiting import UNIT_S
from labkit.techniques import Technique
from labkit.techniques.long_polling import LONG_POLLING

Handler = type[RequestHandler]
SOON_S = 2 * UNIT_S  # for what is to be at once
HOLD_S = 2 * UNIT_S
LONG_S = 60 * UNIT_S  # a hold that nobody waits for
ENDS = "an answer ends with self.finish, or with the method: nothing is to wait behind it."
MADE = "hub.answer(topic, page) makes the JSON of an answer, and self.finish sends it."
NOTHING = "nothing was sent: self.finish(hub.answer(topic, page)), whether there are events or not."
NOT_200 = {
    400: "a query may lack each of them: get_query_argument(name, default) says what it is then.",
    404: "it answers a GET: async def get(self).",
    405: "a poll is a GET: async def get(self).",
}


def technique(handler: Handler) -> Technique:
    """Long polling with this server half, asked by the kit's client without the options that only the kit's knows.

    Held for a short time: of a request whose client goes while it is being read, Tornado tells a handler nothing. The
    kit's own look for that (``http1.watch``); a dozen lines may leave it to the time-out.
    """
    return replace(LONG_POLLING, handler=handler, fixed={"pipelined": False, "conflate": False, "hold_s": HOLD_S})


class Raised(logging.Handler):
    """What the handler raises, which Tornado only logs."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.told = self.hint = ""

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            self.told, self.hint = told(record.exc_info[1]), slip_of(record.exc_info[1])

    def check(self, asked: str) -> None:
        """Raise NotKept if it has raised something."""
        need(not self.told, f"asked {asked}, and it raised {self.told}", self.hint)


@dataclass
class Route:
    """A lab that serves the handler."""

    lab: Lab
    raised: Raised

    def publish(self, count: int) -> None:
        """So many events, between which nobody has a turn."""

        async def publish_all() -> None:
            for _ in range(count):
                self.lab.publish("tick")

        loop.run(publish_all())

    def left(self, but: int = 0) -> int:
        """How many subscribers there still are, *but* so many, when those who go have had the time to."""
        until_s = time.monotonic() + SOON_S
        while (left := int(self.lab.stats()["subscribers"]) - but) > 0 and time.monotonic() < until_s:
            time.sleep(0.005)
        return left

    @contextlib.contextmanager
    def asked(self, hold_s: float, after: str | None = None, topic: str = "") -> Iterator[Poll]:
        """A poll that has been sent."""
        connection = http.client.HTTPConnection("127.0.0.1", self.lab.ports["http"])
        connection.connect()
        poll = Poll(connection, self.raised, time.monotonic(), hold_s, after)
        try:
            where = "" if after is None else f"&after={quote(after)}"
            connection.request("GET", f"/long-polling?timeout={hold_s:g}&topic={topic}{where}")
            yield poll
        finally:
            connection.close()

    def wakes_s(self) -> float:
        """From an event to the answer of a poll that is parked, in seconds."""
        with self.asked(LONG_S) as poll:
            self.until_parked(poll)
            began_s = time.monotonic()
            self.publish(1)
            hint = "an event wakes the subscriber: after wait_until_ready, answer."
            need(poll.is_answered(SOON_S), f"an event came, and no answer within {SOON_S:g} s", hint)
            return time.monotonic() - began_s

    def until_parked(self, poll: Poll, count: int = 1) -> None:
        """Wait until the hub knows of it, and of *count* in all.

        Raises:
            NotKept: it answers, or raises, or nobody is there to be woken.
        """
        until_s = time.monotonic() + SOON_S
        while self.lab.stats()["subscribers"] != count:
            if self.raised.told or poll.is_answered():
                poll.too_early()
            if time.monotonic() > until_s:
                raise NotKept(
                    f"asked {poll.named}: it does not answer, and it is no subscriber of the hub",
                    "hub.subscribe makes one; only that is woken by an event.",
                )
            time.sleep(0.005)


@dataclass
class Poll:
    """One question, and what comes of it."""

    connection: http.client.HTTPConnection
    raised: Raised
    began_s: float
    hold_s: float
    after: str | None
    took_s: float = 0.0

    @property
    def named(self) -> str:
        return "without after" if self.after is None else f"after={self.after.partition('@')[0]}"

    def is_answered(self, within_s: float = 0.0) -> bool:
        """Whether something of an answer is there."""
        sock = self.connection.sock
        sock.settimeout(max(within_s, 0.001))
        try:
            sock.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            return False
        except OSError:
            pass
        return True  # its end is an answer as well

    def too_early(self) -> NoReturn:
        """There is an answer where there should be none yet."""
        ids = self.answer()["ids"]
        raise NotKept(
            f"asked {self.named} for at most {self.hold_s:g} s, and answered after {self.took_s * 1e3:.0f} ms: "
            f"events {ids}",
            "without `after` a poll begins at now, where its own topic is: hub.cursor(topic)."
            if self.after is None and ids
            else "do not answer yet: wait_until_ready comes back when there is something, or its seconds are up.",
        )

    def answer(self, within_s: float = SOON_S, hint: str = "") -> dict[str, Any]:
        """The answer: ``ids``, ``cursor`` and what else the JSON holds.

        Raises:
            NotKept: there is none in time, or it is none of long polling.
        """
        if not self.is_answered(within_s):
            raise NotKept(f"asked {self.named}, and had no answer within {within_s:g} s", hint)
        self.took_s = time.monotonic() - self.began_s
        self.connection.sock.settimeout(within_s)
        try:
            response = self.connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            self.raised.check(self.named)
            if isinstance(error, TimeoutError):
                raise NotKept(f"asked {self.named}; an answer began, and had no end", ENDS) from None
            raise NotKept(f"asked {self.named}; the answer broke off: {type(error).__name__}") from None
        self.raised.check(self.named)
        need(
            response.status == 200,
            f"asked {self.named}, answered {response.status} {response.reason}",
            NOT_200.get(response.status, "answer 200, with an empty list where there is nothing."),
        )
        return self._read(body)

    def _read(self, body: bytes) -> dict[str, Any]:
        try:
            said = json.loads(body)
            return {**said, "ids": [event["id"] for event in said["events"]], "cursor": str(said["cursor"])}
        except (ValueError, TypeError, KeyError):
            raise NotKept(
                f"asked {self.named}, answered {body[:60]!r}",
                MADE if body else NOTHING,
            ) from None


@contextlib.contextmanager
def heard() -> Iterator[Raised]:
    """An ear for what handlers raise meanwhile."""
    raised, tornado = Raised(), logging.getLogger("tornado")
    tornado.propagate = False
    tornado.addHandler(raised)
    try:
        yield raised
    finally:
        tornado.removeHandler(raised)


@contextlib.contextmanager
def served(handler: Handler, name: str = LONG_POLLING.name) -> Iterator[Route]:
    """A lab with the handler, under a name of its own where there is another."""
    with heard() as raised, Trial(replace(technique(handler), name=name)).lab() as lab:
        yield Route(lab, raised)
