"""The world of 01's coding exercise over HTTP: a lab behind a link that is cut. Beside it: ``simulated.py``."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from typing import Any
from urllib.parse import quote

from labkit.course.polling.simulated import Asked, World
from labkit.lab.lab import Lab
from labkit.network.link import Link
from labkit.subscribing.contract.waiting import UNIT_S


class Sockets(World):
    """The same over HTTP: a lab behind a link that is cut, and the clock on the wall."""

    EVENTS, CUTS = 60, (15, 35)
    is_simulated = False

    def __init__(self, lab: Lab, link: Link) -> None:
        super().__init__((), until_s=20.0 * UNIT_S)
        self.lab, self.link, self.began_s = lab, link, time.monotonic()
        self.connection: http.client.HTTPConnection | None = None
        self.cuts = 0

    def clock(self) -> float:
        return time.monotonic()

    def sleep(self, duration_s: float) -> None:
        time.sleep(duration_s)

    def ask(self, cursor: Any) -> tuple[list[dict[str, Any]], str, bool]:
        if len(self.handed_on) >= self.EVENTS or time.monotonic() > self.began_s + self.until_s:
            self.end()
        asked = Asked(time.monotonic() - self.began_s, cursor)
        self.asked.append(asked)
        try:
            said = self._get(cursor)
        except (OSError, http.client.HTTPException) as error:
            asked.is_lost = True
            self.hang_up()
            self.link.heal()
            raise ConnectionError(f"no answer: {type(error).__name__}") from error
        asked.ids = [event["id"] for event in said["events"]]
        asked.more = said.get("more", False)
        self._go_on(asked)
        return said["events"], said["cursor"], asked.more

    def _get(self, cursor: str | None) -> dict[str, Any]:
        if self.connection is None:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.link.ports["http"], timeout=5 * UNIT_S)
        if self.cuts < len(self.CUTS) and len(self.handed_on) >= self.CUTS[self.cuts]:
            self.cuts += 1
            threading.Timer(0.01, self.link.cut).start()  # while the question is under way, or its answer
        self.connection.request("GET", f"/polling?after={quote(cursor or '')}")
        found: dict[str, Any] = json.loads(self.connection.getresponse().read())
        return found

    def _go_on(self, asked: Asked) -> None:
        """Two events more for each answer, so that there is always something to lose."""
        for _ in range(2 if self.newest_told < self.EVENTS else 0):
            self.newest_told = self.lab.publish("tick")

    def hang_up(self) -> None:
        if self.connection is not None:
            with contextlib.suppress(OSError):
                self.connection.close()
            self.connection = None
