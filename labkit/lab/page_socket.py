"""``/browser``: the WebSocket on which a page tells how it is and what it received.

Messages are JSON objects. From a page:

- ``{"clock": 12.5, "last": [10.1, 11.0]}``: its time in ms now; ``last``: when it asked before, and when it had the
  answer. Answered with the lab's times in ns at receiving and sending, and with the estimate so far.
- ``{"attach": {"subscriber": ..., "page": ..., "topic": ..., "through": ..., "streams": [...]}}``: answered with the
  serial number of the report kept last, and the cursor to go on from for each stream.
- ``{"report": 17, "arrivals": {"sse": [[id, at_ms, payload_bytes], ...]}, "cursors": {...}, "gaps": {...},
  "states": {...}, "presence": {...}}``: answered with ``{"kept": 17}``. A report that comes twice counts once.
"""

from __future__ import annotations

import json
from collections.abc import Coroutine
from typing import Any

from labkit.lab.pages import MAX_MS, Malformed, Page, Pages, text
from labkit.server.socket_route import AnsweringSocket
from labkit.wire import envelope
from labkit.wire.events import now_ns


class BrowserSocket(AnsweringSocket):
    """``/browser``: says which lab this is, answers clock round trips, and takes a page's reports."""

    pages: Pages
    _page: Page | None = None
    _asked: tuple[float, int, int] | None = None

    def initialize(self, context: Any, pages: Pages | None = None) -> None:
        super().initialize(context)
        self.pages = pages if pages is not None else Pages()

    def open(self) -> Coroutine[Any, Any, None] | None:
        super().open()
        return self.say(json.dumps({"lab": self.context.lab_id}))

    def on_message(self, message: str | bytes) -> Coroutine[Any, Any, None] | None:
        received_ns = now_ns()
        try:
            answer = self._answer(envelope.request(message), received_ns)
        except (ValueError, RecursionError) as error:
            sentence = str(error) if isinstance(error, Malformed) else "expected a JSON object"
            answer = {"error": sentence}
        return self.say(json.dumps(answer))

    def _answer(self, told: Any, received_ns: int) -> dict[str, Any]:
        match told:
            case {"clock": int() | float() as clock} if abs(clock) < MAX_MS:
                return self._tell_time(clock, told.get("last"), received_ns)
            case {"attach": dict(what)}:
                return self._attach(what)
            case {"report": _} if self._page is not None:
                return {"kept": self.pages.report(self._page, told)}
        raise Malformed('expected {"clock": ...}, {"attach": {...}}, and then {"report": ...}')

    def _tell_time(self, clock: float, last: Any, received_ns: int) -> dict[str, Any]:
        more = {}
        if self._page is not None and self._asked is not None and isinstance(last, list) and len(last) == 2:
            asked_ms, received_before_ns, sent_before_ns = self._asked
            if last[0] == asked_ms and isinstance(last[1], int | float) and abs(last[1]) < MAX_MS:
                self._page.clock.add(asked_ms, last[1], received_before_ns, sent_before_ns)
            if self._page.clock.trips:
                offset_ms, error_ms = self._page.clock.estimate
                more = {"offset_ms": offset_ms, "error_ms": error_ms, "trips": self._page.clock.trips}
        sent_ns = now_ns()
        self._asked = clock, received_ns, sent_ns
        return {"clock": clock, "received_ns": received_ns, "sent_ns": sent_ns, **more}

    def _attach(self, told: dict[str, Any]) -> dict[str, Any]:
        begin = str(self.context.hub.cursor(text(told, "topic", "")))
        page, before = self.pages.attach(told, self, begin)
        self._page = page
        if isinstance(before, BrowserSocket) and before is not self:
            before.close(4001, "another page has this one's place")
        return {"attached": {"kept": page.kept, "cursors": {s.technique: s.cursor for s in page.streams.values()}}}

    def on_close(self) -> None:
        super().on_close()
        if self._page is not None:
            self.pages.detach(self._page, self)
