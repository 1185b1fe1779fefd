"""What the server saw of one client at one case, and which answer is its next. Bounded."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from labkit.strangers.vectors.case import Answer, Case

MAX_VISITS = 2000
MAX_HELD = 64 * 1024 * 1024
"""Bytes of what all visits remember, about."""
SECRET = {"authorization", "cookie", "proxy-authorization"}
"""A browser sends what belongs to other servers of this machine, and any page may ask what was seen."""
MAX_SEEN = 64
"""Requests that a visit remembers."""
MAX_FRAMES = 2000
"""Frames of one request that it remembers."""
FORGOTTEN_S = 10.0
"""A client that names no visit begins a new one after so many seconds without a request."""


@dataclass(slots=True)
class Seen:
    """One request of a visit, and what came of it."""

    at_s: float
    method: str
    target: str
    fields: list[tuple[str, str]]
    answered: str = ""
    frames: list[dict[str, Any]] = field(default_factory=list)
    broke: str = ""
    written_s: float | None = None
    ended_by: str = ""

    def field(self, name: str) -> str | None:
        """The first field of that name, None if there is none."""
        return next((value for key, value in self.fields if key.lower() == name.lower()), None)

    @property
    def head_bytes(self) -> int:
        """About what it takes to remember its head."""
        return len(self.target) + sum(200 + len(name) + len(value) for name, value in self.fields)

    @property
    def close(self) -> dict[str, Any] | None:
        """The client's close frame, its code 1005 if it had none; None if it sent no such frame."""
        return next((frame for frame in self.frames if frame["opcode"] == "close"), None)


class Visit:
    """One client at one case."""

    def __init__(self, case: Case, token: str) -> None:
        self.case = case
        self.token = token
        self.seen: list[Seen] = []
        self.count = 0
        self.newest_s = monotonic()
        self._open = 0
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._began_s = monotonic()

    @property
    def is_over(self) -> bool:
        """Whether its last answer has been given."""
        return self.count >= len(self.case.answers)

    @property
    def held_bytes(self) -> int:
        """About what it remembers."""
        return 2000 + sum(seen.head_bytes + 1000 * len(seen.frames) for seen in self.seen)

    def asked(self, method: str, target: str, fields: list[tuple[str, str]]) -> tuple[Seen, Answer]:
        """Take note of a request, and say what it is answered with."""
        self.newest_s = monotonic()
        shown = [(name, "(not shown)" if name.lower() in SECRET else value) for name, value in fields]
        seen = Seen(self.newest_s - self._began_s, method, target, shown)
        if len(self.seen) < MAX_SEEN:
            self.seen.append(seen)
        answer = self.case.answers[min(self.count, len(self.case.answers) - 1)]
        self.count += 1
        wanted = f"{seen.field('Sec-WebSocket-Extensions') or ''} {seen.field('Accept-Encoding') or ''}"
        return seen, answer if answer.needs in wanted or answer.instead is None else answer.instead

    def opened(self) -> None:
        """An answer has begun."""
        self._open += 1
        self._quiet.clear()

    def wrote(self, seen: Seen) -> None:
        """All of an answer has been written."""
        seen.written_s = monotonic() - self._began_s

    def closed(self) -> None:
        """An answer, with its closing handshake if it is a WebSocket, is over."""
        self._open -= 1
        if not self._open:
            self._quiet.set()

    async def quiet(self, timeout_s: float) -> None:
        """Wait until no answer is under way, so that what the client has sent last is seen."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._quiet.wait()


class Visits:
    """All visits, the newest last; the oldest are forgotten."""

    def __init__(self) -> None:
        self._visits: OrderedDict[tuple[str, str], Visit] = OrderedDict()

    def enter(self, case: Case, token: str, who: str) -> Visit:
        """The visit that a request belongs to; *who* asks, where no token says which."""
        key = (case.name, token or f" {who}")
        visit = self._visits.get(key)
        if visit is None or (not token and (visit.is_over or monotonic() - visit.newest_s > FORGOTTEN_S)):
            visit = self._visits[key] = Visit(case, token)
        self._visits.move_to_end(key)
        held_bytes = sum(one.held_bytes for one in self._visits.values())
        while len(self._visits) > MAX_VISITS or (held_bytes > MAX_HELD and len(self._visits) > 1):
            held_bytes -= self._visits.popitem(last=False)[1].held_bytes
        return visit

    def find(self, case: Case, token: str) -> Visit | None:
        """That of a token; without one the newest of the case."""
        if token:
            return self._visits.get((case.name, token))
        return next((visit for (name, _), visit in reversed(self._visits.items()) if name == case.name), None)
