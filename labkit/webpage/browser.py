"""The notebook's own page as a subscriber: its EventSource, its WebSocket and its fetch, measured like the others.

A widget whose module runs in the page that shows the notebook. The page subscribes by itself and tells the lab, over
the lab's ``/browser`` WebSocket, what arrived when; so a synchronous :func:`labkit.measure` includes it. The comm
between kernel and page carries settings only, but for the technique ``notebook-comm``, whose events travel on it.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import math
import secrets
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from labkit import loop
from labkit.client.tls import Trust
from labkit.errors import LabClosed, LabkitError, NoAnswer, naming_extras
from labkit.lab.attached import Part, Published
from labkit.lab.pages import MAX_ARRIVALS
from labkit.measuring.rounding import counted
from labkit.network.between import Between
from labkit.network.relay import Relay
from labkit.progress import Progress
from labkit.subscribing.following import follow
from labkit.techniques import Delivery
from labkit.theory import Nature
from labkit.webpage import rows as page_rows
from labkit.webpage.module import joined
from labkit.webpage.settings import CARRIER, COMM, COMM_NATURE, NO_PAGE, check, has_front_end, to_believe

with naming_extras("labkit.BrowserSubscriber"):
    import anywidget
    import traitlets

if TYPE_CHECKING:
    import pandas as pd

    from labkit.lab.lab import Lab

WAIT_S = 15.0
COMM_EVERY_S = 0.004
RECONNECT_S = 5.0  # a browser's EventSource waits three by itself


class BrowserSubscriber(anywidget.AnyWidget):
    """The page that shows this notebook, as a subscriber of a lab. It subscribes at once, displayed or not.

    Every measurement of the lab includes it, with ``client`` ``browser`` in its rows. Each page that shows the
    notebook is a subscriber of its own. A page that is reloaded goes on from its cursor. The browser must believe the
    certificate of a lab with ``tls=True``: the subscriber says how, where it is displayed.

    Args:
        lab: the lab.
        techniques: one or several of the lab's that have a half for a page (polling, long-polling, http-streaming,
            sse, websocket, or your own), and notebook-comm.
        topic: what to subscribe to.
        through: a :class:`labkit.Link`, another relay or a real intermediary to the lab that the page's subscriptions
            go through; what it reports does not.
        via: ``port`` (the lab's own port), ``proxy`` (jupyter-server-proxy), or ``auto``: the port if it answers as
            this lab within a second, else the proxy.
        accept: the Accept header of http-streaming: ``text/event-stream`` or ``*/*`` (a page's own default).
        poll_interval_s: from the start of one poll to the start of the next.
        while_hidden: ``pause`` gives back held connections and polls no more while the tab is hidden; ``go on``
            shows what a browser makes of that.
        name: another subscriber of the same name at the same lab is closed; by default it is made of the settings,
            so that a cell can be run again.

    Raises:
        UnknownTechnique: names what a page can do.
        DurationError, ValueError, TypeError: another setting cannot be so; the message names it.
        LabClosed: the lab is closed.
    """

    key = traitlets.Unicode().tag(sync=True)
    token = traitlets.Unicode().tag(sync=True)
    lab_id = traitlets.Unicode().tag(sync=True)
    scheme = traitlets.Unicode("http").tag(sync=True)
    version = traitlets.Unicode("1.1").tag(sync=True)
    port = traitlets.Int().tag(sync=True)
    stream_port = traitlets.Int().tag(sync=True)
    techniques = traitlets.List(traitlets.Unicode()).tag(sync=True)
    topic = traitlets.Unicode().tag(sync=True)
    via = traitlets.Unicode("auto").tag(sync=True)
    accept = traitlets.Unicode("").tag(sync=True)
    poll_interval_s = traitlets.Float(1.0).tag(sync=True)
    while_hidden = traitlets.Unicode("pause").tag(sync=True)
    closed = traitlets.Unicode("").tag(sync=True)
    """Why it has ended, as a few words; empty while it lives."""

    def __init__(
        self,
        lab: Lab,
        techniques: str | Iterable[str],
        topic: str = "",
        *,
        through: Between | None = None,
        via: str = "auto",
        accept: str = "",
        poll_interval_s: float = 1.0,
        while_hidden: str = "pause",
        name: str | None = None,
    ) -> None:
        names = [techniques] if isinstance(techniques, str) else list(dict.fromkeys(techniques))
        check(lab, names, topic, {"via": via, "accept": accept, "while_hidden": while_hidden}, poll_interval_s, through)
        self._esm = joined(one for one in lab.techniques if one.name in names)
        self.lab = lab
        self.relay = through if isinstance(through, Relay) else None  # nobody counts bytes in a real one
        self.name = name or "; ".join(
            [", ".join(names), topic, via, accept, f"{poll_interval_s:g}", while_hidden, str(through and id(through))]
        )
        self._told: list[dict[str, Any]] = []
        self._arrived: dict[str, deque[tuple[int, int, float, int]]] = {}
        self._counts: dict[str, int] = {}
        not_run = through.missing if through is not None and not through.running else ""
        self._over = bool(not_run)  # the lab has nothing more to tell
        self._gave_up = False
        self._comm_task: Future[None] | None = None
        self._lock = threading.Lock()
        token = secrets.token_urlsafe(24)
        lab.allow_origin(None, token)
        for earlier in [other for other in lab.attached if getattr(other, "name", None) == self.name]:
            earlier.end("replaced by a newer one of the same settings")  # type: ignore[attr-defined]
        if through is not None and not through.running and not not_run:
            raise LabkitError("through: start the relay first, e.g. `with labkit.Link(lab) as link:`")
        super().__init__(
            key=secrets.token_hex(8),
            token=token,
            lab_id=lab.id,
            scheme="https" if lab.cafile else "http",
            version="" if lab.cafile and len(lab.http) > 1 else "2" if lab.http == (2,) else "1.1",
            port=lab.port,
            stream_port=lab.port if through is None else through.ports.get("http", 0),
            techniques=names,
            topic=topic,
            via=via,
            accept=accept,
            poll_interval_s=float(poll_interval_s),
            while_hidden=while_hidden,
            closed=f"not run: {not_run}" if not_run else "",
        )
        if not_run:
            return
        self.on_msg(self._heard)
        lab.attached.append(self)
        if COMM in names:
            self._comm_task = loop.submit(self._push())

    # -- over the comm ----------------------------------------------------------------------------------------

    def _heard(self, _: object, content: Any, __: object) -> None:
        """The page says what its origin is: pages of it may use the lab, with this widget's token."""
        origin = content.get("origin") if isinstance(content, dict) else None
        if isinstance(origin, str) and not self.closed:
            with contextlib.suppress(LabClosed, NoAnswer):
                self.lab.allow_origin(origin, self.token)

    async def _push(self) -> None:
        """notebook-comm: receive each event in the kernel, and send it on to the page in a custom message.

        A Jupyter server stops all output of a kernel that sends 1000 messages a second: events that come faster
        than every 4 ms share one.
        """
        clock = asyncio.get_running_loop()
        trust: dict[str, Any] = {"trust": Trust(self.lab.cafile)} if self.lab.cafile else {}
        items = follow(CARRIER, self.lab.url_of(CARRIER.name), topic=self.topic, give_up_s=math.inf, **trust)
        waiting: list[dict[str, Any]] = []
        next_s = 0.0

        def send() -> None:
            nonlocal next_s
            next_s = clock.time() + COMM_EVERY_S
            self.send({"events": waiting})
            waiting.clear()

        with contextlib.suppress(LabkitError):
            async with aclosing(items) as arriving:
                async for item in arriving:
                    if isinstance(item, Delivery):
                        waiting.append({"id": item.event_id, "cursor": item.cursor, **encoded(item.data)})
                        if len(waiting) == 1:
                            clock.call_at(next_s, send)  # at once, if that is past

    # -- how it is --------------------------------------------------------------------------------------------

    def pages(self) -> list[dict[str, Any]]:
        """What each page that has attached tells, as ``Pages.of`` has it, with all that arrived."""
        return [
            {
                **page,
                "streams": [{**s, "arrivals": list(self._arrived[page_rows.place(page, s)])} for s in page["streams"]],
            }
            for page in self._pages_now()
        ]

    def _pages_now(self) -> list[dict[str, Any]]:
        """The same without what arrived: that may be much."""
        self.keep()
        return self._told

    def keep(self) -> None:
        """Fetch what the pages have told the lab since the last time. What was fetched outlives the lab."""
        with self._lock:
            if self._over:
                return
            have = {place: self._counts[place] for place in self._arrived}
            try:
                self._told = self.lab.pages_of(self.key, have)
            except LabClosed:
                self._over = True
            except NoAnswer:  # what the pages have told by then is there another time
                return
            else:
                self._absorb()
        if self._over:
            self.end("the lab is closed")

    def _absorb(self) -> None:
        for page in self._told:
            for stream in page["streams"]:
                place = page_rows.place(page, stream)
                self._arrived.setdefault(place, deque(maxlen=MAX_ARRIVALS)).extend(stream.pop("arrivals"))
                self._counts[place] = stream["count"]

    @property
    def attached(self) -> bool:
        """Whether a page is there and subscribed."""
        return not self.closed and any(page_rows.is_there(page) for page in self._pages_now())

    @property
    def settle_s(self) -> float:
        """How long the last event may take to get to the page and be told back."""
        polls = any(nature.kind == "poll" for nature in self.natures.values())
        return RECONNECT_S + (float(self.poll_interval_s) if polls else 0.0)

    @property
    def natures(self) -> dict[str, Nature]:
        """What it subscribes by, by name."""
        known = {t.name: t.nature(COMM_NATURE.expected) for t in self.lab.techniques} | {COMM: COMM_NATURE}
        return {name: known[name] for name in self.techniques}

    def wait(self, timeout_s: float = WAIT_S, *, progress: bool = True) -> bool:
        """Wait until a page is attached; whether one is. Without a front end there will be none: that is said at once.

        Args:
            progress: show a line while waiting, and the outcome if there is no page.
        """
        line, deadline = Progress(enabled=progress), time.monotonic() + timeout_s
        names = ", ".join(self.techniques)
        while not (there := self.attached) and not self.closed and self._hopes() and time.monotonic() < deadline:
            line.show(f"waiting for this notebook's page to subscribe ({names}): {deadline - time.monotonic():.0f} s")
            time.sleep(0.05)
        line.done()
        if not there:
            if has_front_end():
                self._gave_up = True  # a measurement does not wait again for a page that is not there
            if progress:
                print(self.status())
        return there

    def _hopes(self) -> bool:
        return has_front_end() and not self._gave_up

    def status(self) -> str:
        """How it stands, in words."""
        names = ", ".join(self.techniques)
        if self.closed:
            return f"BrowserSubscriber({names}): {self.closed}; {counted(self.count(), 'event')} had arrived"
        pages = self._pages_now()
        if not pages:
            why = "" if has_front_end() else ": this kernel has no front end"
            why = why or ": " + (
                to_believe(self.lab)
                or "open this notebook in a page, which says what it needs where the subscriber is displayed"
            )
            return f"BrowserSubscriber({names}): {NO_PAGE}{why}. The rest of the notebook goes on."
        return "; ".join(page_rows.in_words(page) for page in pages)

    def count(self, technique: str | None = None) -> int:
        """How many events have arrived, over all pages."""
        pages = self._pages_now()
        return sum(s["count"] for p in pages for s in p["streams"] if technique in (None, s["technique"]))

    @property
    def clock(self) -> dict[str, float]:
        """What to add to the newest page's clock to have the lab's, how far off that may be, and the round trip."""
        pages = self._pages_now()
        names = ("offset_ms", "error_ms", "round_trip_ms")
        return {name: pages[-1][name] if pages else math.nan for name in names}

    @property
    def deliveries(self) -> pd.DataFrame:
        """All that has arrived, as a run has it; nothing is known of when it was published."""
        from labkit.client.ledger import Ledger
        from labkit.measuring.run import Run

        return Run(self.part({}, 0).rows, {}, Ledger(), {}).deliveries

    # -- in a run ---------------------------------------------------------------------------------------------

    def settled(self, newest: Mapping[str, int]) -> bool:
        """Whether every page that is there has everything up to these ids, by topic, or cannot have it now."""
        wanted = newest.get(self.topic, 0)
        return all(
            stream["newest"] >= wanted
            for page in self._pages_now()
            if page["attached"]
            for stream in page["streams"]
            if stream["state"] in (page_rows.SUBSCRIBED, "reconnecting")
        )

    def part(self, published: Published, since_ns: int) -> Part:
        """What the pages have received since then, as rows of a run, and what there is to say about it."""
        rows, gaps, notes, told = [], [], [], []
        pages = self.pages()
        for page in pages:
            late = page["came_ns"] > since_ns > 0
            notes += [f"Browser: {sentence}" for sentence in page_rows.notes(page, since_ns)]
            told.append({"techniques": list(self.techniques), **page_rows.facts(page, since_ns), "came_late": late})
            for stream in page["streams"]:
                if not late:  # it cannot have what was published before it came
                    rows += list(page_rows.rows(page, stream, published, since_ns))
                    gaps += [{**gap, "topic": page["topic"]} for gap in stream["gaps"] if gap["at_ns"] >= since_ns]
        if not pages:
            notes.append(f"Browser: {NO_PAGE} ({', '.join(self.techniques)}).")
        return Part(rows, gaps, notes, told)

    # -- ending it --------------------------------------------------------------------------------------------

    def lab_closes(self) -> None:
        """Keep what the page has told, and let it know."""
        self.end("the lab is closed")

    def end(self, why: str = "ended") -> None:
        """Unsubscribe. What had arrived stays."""
        if self.closed:
            return
        self.keep()
        self._over = True
        with contextlib.suppress(Exception):  # when the interpreter exits, there is no comm any more
            self.closed = why
        if self._comm_task is not None:
            self._comm_task.cancel()
        if self in self.lab.attached:
            self.lab.attached.remove(self)
        with contextlib.suppress(LabClosed, NoAnswer):
            self.lab.forget_pages(self.key, self.token)

    def close(self) -> None:
        """Unsubscribe, and take the widget from the page."""
        if getattr(self, "lab", None) is not None:
            self.end()
        super().close()

    def __repr__(self) -> str:
        return self.status()

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """Without a front end only words: a viewer of the saved notebook has no use for a widget."""
        if not has_front_end():
            return {"text/plain": self.status()}, {}
        return super()._repr_mimebundle_(**kwargs)


def encoded(data: str | bytes) -> dict[str, str]:
    """An event's data as JSON carriers have it."""
    return {"data": data} if isinstance(data, str) else {"base64": base64.b64encode(data).decode()}
