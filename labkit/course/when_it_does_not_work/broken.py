"""The healthy stream behind one hop, which is wrong in one way; and the same with one line changed."""

from __future__ import annotations

import contextlib
import functools
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from labkit.course.when_it_does_not_work.hop import Hop
from labkit.course.when_it_does_not_work.stream import EVERY_S, Pauses, Stream, steadily
from labkit.course.when_it_does_not_work.tapped import Tapped, follow
from labkit.network.programs.nginx import DEFAULT, NGINX, RECOMMENDED
from labkit.network.real_intermediary import RealIntermediary
from labkit.strangers.tap.tap import tap

EVENTS = 8
LIMIT_S = 1.0
AGE_S = 0.85
TOOL_S = 1.5
"""How long a turn is silent, while a tool runs: longer than the limit."""
TURNS = (3, 5, 4)
"""Events before the tool runs, of one answer, the next, and so on."""
BEAT_S = 0.3
LATE_EVENTS, LATE_EVERY_S, LATE_AFTER_S = 6, 0.25, 1.0
"""Of the stream whose events come one late: how many, how far apart, and how long the last one waits for the end."""
BUFFERED = DEFAULT.replace("@target@; }", "@target@; proxy_http_version 1.0; }")
"""What nginx does by default before 1.29.7, said aloud: a later one asks in HTTP/1.1, and holds no chunk back."""
UNBUFFERED = DEFAULT.replace("@target@; }", "@target@; proxy_http_version 1.1; proxy_buffering off; }")
IDLE = RECOMMENDED.replace("proxy_read_timeout 1h", f"proxy_read_timeout {1000 * LIMIT_S:.0f}ms")


class Between(Protocol):
    """Something that stands in front of a port."""

    @property
    def url(self) -> str: ...

    def close(self) -> None: ...


Front = Callable[[int], Between]
"""Starts a hop in front of a port of this machine."""


def nginx(configuration: str) -> RealIntermediary:
    return RealIntermediary(replace(NGINX, default=configuration), None, "default")


def _before(port: int, configuration: str) -> Between:
    found = RealIntermediary(replace(NGINX, default=configuration), ("127.0.0.1", port), "default")
    return found.start()


@dataclass(frozen=True)
class Made:
    """One way to build it: the server's stream, and what stands in front."""

    pauses: Pauses
    front: Front
    beat_s: float | None = None
    after_s: float = 0.0


class Broken:
    """A server and a hop, running until ``close``.

    Attributes:
        program: which hop it is.
        line: what makes it whole.
        url: what a client is given.
        behind: the server's own address.
    """

    def __init__(self, made: Made, mended: Made, program: str, line: str) -> None:
        self._made, self._mended, self.program, self.line = made, mended, program, line
        with contextlib.ExitStack() as stack:
            self._server = Stream(made.pauses, made.beat_s, made.after_s).start()
            stack.callback(self._server.close)
            self._hop = made.front(self._server.port)
            stack.callback(self._hop.close)
            self._stack = stack.pop_all()
        self.behind = self._server.url
        self.url = _events(self._hop)

    def tapped(self) -> Tapped:
        """One client through a tap, the hop, and a tap."""
        with tap(self.behind) as far:
            hop = self._made.front(_port(far.url))
            try:
                with tap(_events(hop)) as near:
                    return follow(near, far)
            finally:
                hop.close()

    def mended(self) -> Broken:
        """The same with one line changed; this one is closed."""
        self.close()
        return Broken(self._mended, self._mended, self.program, "")

    def close(self) -> None:
        """End the hop and the server; again does nothing."""
        self._stack.close()

    def __repr__(self) -> str:
        return f"{self.url}  ({self.program}, in front of {self.behind})"


def _events(hop: Between) -> str:
    return f"http://127.0.0.1:{_port(hop.url)}/events"


def _port(url: str) -> int:
    return urllib.parse.urlsplit(url).port or 0


def _hop(**options: object) -> Front:
    return lambda port: Hop(port, **options).start()  # type: ignore[arg-type]


def held() -> Broken:
    """Row 1: nginx that asks in HTTP/1.0, or a hop that keeps an answer as it does."""
    pauses = steadily(EVENTS)
    if nginx(BUFFERED).missing:
        made, mended = (Made(pauses, _hop(hold=hold)) for hold in (True, False))
        return Broken(made, mended, "an emulated buffer: nginx is not installed", "Hop(port, hold=False)")
    made, mended = (Made(pauses, functools.partial(_before, configuration=text)) for text in (BUFFERED, UNBUFFERED))
    return Broken(made, mended, f"nginx {nginx(BUFFERED).version}", "proxy_http_version 1.1; proxy_buffering off;")


def compressed() -> Broken:
    """Row 3: a compressor that is flushed when the answer has ended."""
    made, mended = (Made(steadily(EVENTS), _hop(gzip=flush)) for flush in ("never", "after"))
    return Broken(made, mended, "a compressor", "out = z.compress(event) + z.flush(Z_SYNC_FLUSH)")


def one_late() -> Broken:
    """Row 4: a compressor that is flushed before each event, not after it."""
    pauses = steadily(LATE_EVENTS, LATE_EVERY_S)
    made, mended = (Made(pauses, _hop(gzip=flush), after_s=LATE_AFTER_S) for flush in ("before", "after"))
    return Broken(made, mended, "a compressor", "out = z.compress(event) + z.flush(Z_SYNC_FLUSH)")


def cut_when_idle() -> Broken:
    """Row 8: nginx that waits a second, or a hop that does, and a server that is silent for longer."""
    if nginx(IDLE).missing:
        front, program = _hop(idle_s=LIMIT_S), "an emulated idle limit: nginx is not installed"
    else:
        front = functools.partial(_before, configuration=IDLE)
        program = f"nginx {nginx(IDLE).version}, proxy_read_timeout {1000 * LIMIT_S:.0f}ms"
    return Broken(Made(_turns, front), Made(_turns, front, BEAT_S), program, f"a comment, `:` LF, each {BEAT_S:g} s")


def cut_by_age() -> Broken:
    """Row 9: a hop that gives no answer longer than a second."""
    made, mended = (Made(steadily(EVENTS), _hop(age_s=age_s)) for age_s in (AGE_S, 3600.0))
    return Broken(made, mended, "a hop with a lifetime limit", "timeout: 3600s")


def _turns(number: int) -> list[float]:
    return [*[EVERY_S] * TURNS[number % len(TURNS)], TOOL_S, EVERY_S, EVERY_S]
