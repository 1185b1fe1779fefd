"""The control room: a run without an end, with a control for everything that can be set and charts that follow it.

Every control has the same effect from code: ``panel.rate_per_s = 10``, ``panel.start()``, ``run = panel.stop()``.
A callback of a widget only hands its work to the lab loop, which has a worker thread do it, one thing after the other;
so the panel behaves the same whichever thread a callback arrives on. What goes wrong is a sentence in the panel.
"""

from __future__ import annotations

import asyncio
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit import loop
from labkit.errors import LabClosed, LabkitError

try:
    from labkit.room.charts import LiveCharts
    from labkit.room.controls import Controls, shown
    from labkit.room.workers import Drawer, Place, Said, standing
except ImportError as missing:
    raise LabkitError(f"labkit.Panel needs {missing.name}: pip install anywidget, then restart the kernel") from None

from labkit.charts import pictures
from labkit.charts.lifelines import sequence
from labkit.measuring.endless import KEEP_EVENTS, LiveRun
from labkit.measuring.natures import Natures
from labkit.measuring.settings import NAMES, Settings
from labkit.measuring.tallies import BROWSER
from labkit.network.link import Link
from labkit.room.board import Board
from labkit.techniques import find

if TYPE_CHECKING:
    from labkit.lab.lab import Lab
    from labkit.measuring.explain import Explanation
    from labkit.measuring.run import Run

ERRORS_KEPT = 20
LONG_S = 10.0
NOT_RUNNING = "Nothing is running: press Start, or panel.start()."
NO_PICTURES = "No Chromium was found for static pictures: charts show here, and stay blank where no JavaScript runs."


class _Setting:
    """A setting as an attribute of the panel."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, panel: Panel | None, owner: type) -> Any:
        return self if panel is None else getattr(panel._settings, self._name)

    def __set__(self, panel: Panel, value: Any) -> None:
        panel.set(**{self._name: value})


class Panel:
    """Controls and live charts for one lab. Display it, or drive it from code; it never has to be on a page.

    Args:
        lab: the lab. An earlier panel of it is closed.
        techniques: names; by default all of the lab's but the exhibits.
        keep_events: how many of the newest events a run remembers at most.
        theme: ``light`` or ``dark``; by default that of the page.
        settings: where the controls begin: ``rate_per_s``, ``payload_bytes``, ``one_way_s``, ``jitter_s``,
            ``poll_interval_s``, ``hold_s``, ``source``.

    Raises:
        LabClosed, UnknownTechnique, SettingError: at once.
    """

    techniques = _Setting()
    source = _Setting()
    rate_per_s = _Setting()
    payload_bytes = _Setting()
    one_way_s = _Setting()
    jitter_s = _Setting()
    poll_interval_s = _Setting()
    hold_s = _Setting()

    def __init__(
        self,
        lab: Lab,
        techniques: Iterable[str] | None = None,
        *,
        keep_events: int = KEEP_EVENTS,
        theme: str | None = None,
        **settings: Any,
    ) -> None:
        if lab.closed:
            raise LabClosed(f"lab {lab.name!r} is closed: start another with labkit.Lab()")
        names = tuple(t.name for t in lab.techniques if not t.exhibit)
        self._settings = Settings(names).changed(**settings, **({"techniques": techniques} if techniques else {}))
        for name in self._settings.techniques:
            find(name, lab.techniques)
        self._defaults = self._settings
        self._lab = lab
        self._keep_events, self._theme = keep_events, theme
        self._lock = threading.RLock()
        self._turns: asyncio.Lock | None = None
        self._live: LiveRun | None = None
        self._link: Link | None = None
        self._board: Board | None = None
        self._charts: LiveCharts | None = None
        self._drawer: Drawer | None = None
        self._runs: deque[Run] = deque(maxlen=5)
        self._message = ""
        self._closed = False
        self._told_of_pictures = False
        self._showing: set[int] = set()  # threads that put the controls where the settings are
        self._controls = Controls(lab.techniques, self._settings)
        self._connect_controls()
        for other in [a for a in lab.attached if isinstance(a, Place)]:
            other.panel.close()
        lab.attached.append(Place(self))

    # -- what one asks it -------------------------------------------------------------------------------------

    @property
    def lab(self) -> Lab:
        """Its lab."""
        return self._lab

    @property
    def link(self) -> Link:
        """The network of its runs; a page can go through it too: ``BrowserSubscriber(lab, "sse", through=...)``."""
        with self._lock:
            if self._link is None:
                self._check_open()
                self._link = Link(self._lab, one_way_s=self.one_way_s, jitter_s=self.jitter_s).start()
            return self._link

    @property
    def running(self) -> bool:
        """Whether a run is under way."""
        return self._live is not None

    @property
    def run(self) -> Run | None:
        """The last run that ended; None before the first."""
        return self._runs[-1] if self._runs else None

    @property
    def runs(self) -> list[Run]:
        """The last runs, at most five, the newest last."""
        return list(self._runs)

    @property
    def message(self) -> str:
        """The sentence that the panel shows."""
        return self._message

    @property
    def errors(self) -> str:
        """Tracebacks of callbacks that failed, as the panel shows them."""
        return "".join(output.get("text", "") for output in self._controls.errors.outputs)

    @property
    def draws(self) -> int:
        """How often the live charts of this run were drawn."""
        return self._drawer.draws if self._drawer is not None else 0

    @property
    def figure(self) -> Any:
        """A plain figure of the charts as they are now.

        Raises:
            LabkitError: nothing has run yet.
        """
        if self._charts is None:
            raise LabkitError("nothing has run yet: panel.start() first")
        return pictures.finished(self._charts.figure())

    # -- what one tells it ------------------------------------------------------------------------------------

    def set(self, **changes: Any) -> None:
        """Set several settings at once. During a run they hold at once, or the panel says what they need.

        Raises:
            SettingError, UnknownTechnique: a value that cannot be; nothing is changed then.
            LabClosed: the lab, or this panel, is closed.
        """
        with self._lock:
            self._set(changes)
            self._show_settings()

    def _set(self, changes: Mapping[str, Any]) -> None:
        with self._lock, Said(self):
            self._check_open()
            wanted = self._settings.changed(**changes)
            for name in wanted.techniques:
                find(name, self._lab.techniques)
            others = wanted.techniques != self._settings.techniques
            self._settings = wanted
            if self._live is None:
                self.say("")
            elif others:
                self._end_run()
                self._start_run()
                self.say("Other techniques need another run: the one before is kept (panel.run), a new one has begun.")
            else:
                self.say(self._live.change(**changes))

    def start(self) -> Panel:
        """Attach the subscribers and start the source."""
        with self._lock, Said(self):
            if self._live is not None:
                self.say("It is running already: stop it first, or change a control while it runs.")
                return self
            self._check_open()
            self._start_run()
            self.say("")
        return self

    def stop(self) -> Run:
        """End the run, wait for what is on its way, and return it; the last run if none is under way.

        Raises:
            LabkitError: nothing has run yet.
        """
        with self._lock, Said(self):
            if self._live is not None:
                if self._live.on_its_way_s > LONG_S:
                    self.say(f"Stopping: what is on its way may take {self._live.on_its_way_s:.0f} s.")
                run = self._end_run()
                no_pictures = pictures.find_chromium() is None and not self._told_of_pictures
                self._told_of_pictures |= no_pictures
                self.say(NO_PICTURES if no_pictures else "")
                return run
            if not self._runs:
                raise LabkitError("Nothing has run yet: press Start, or panel.start().")
            self.say(f"{NOT_RUNNING} The last run is kept.")
            return self._runs[-1]

    def run_for(self, seconds: float, at: Mapping[float, Callable[[], object]] | None = None) -> Run:
        """Start, let it run, stop. The first interrupt ends it early.

        Args:
            at: what to do at which second: ``{2.0: panel.cut, 3.0: panel.heal}``.
        """
        with Said(self):
            if self._live is not None:
                raise LabkitError("It is running already: panel.stop() first.")
        self.start()
        try:
            for at_s, act in sorted((at or {}).items()):
                self._sleep_until(min(at_s, seconds))
                act()
            self._sleep_until(seconds)
        except KeyboardInterrupt:
            run = self.stop()
            run.interrupted = True
            return run
        except BaseException:
            self.stop()
            raise
        return self.stop()

    def cut(self) -> None:
        """End every connection, and turn new ones away until :meth:`heal`."""
        self._fault(lambda live: live.cut(), "The link is cut: subscribers try to come back until Heal.")

    def stall(self) -> None:
        """Let nothing through until :meth:`heal`; nobody is told."""
        self._fault(lambda live: live.stall(), "The link is stalled: nothing passes, nobody is told, until Heal.")

    def heal(self) -> None:
        """Undo :meth:`cut` and :meth:`stall`."""
        self._fault(lambda live: live.heal(), "The link is whole.")

    def publish(self, data: str | bytes) -> int:
        """Publish one event now; returns its id. Without a run, subscribers of other programs still get it."""
        with self._lock, Said(self):
            self._check_open()
            event_id = self._live.publish(data) if self._live is not None else self._lab.publish(data)
            self._controls.open.put(event_id=str(event_id))
            self.say(f"Event {event_id} is published.")
            return event_id

    def explain(self, event_id: int, technique: str | None = None) -> Explanation:
        """Open one event in the panel: its sequence diagram, and its bytes on both sides of each hop.

        Raises:
            LabkitError: no such event, or nothing has run yet.
        """
        with self._lock, Said(self):
            run = self._live.snapshot() if self._live is not None else self.run
            if run is None:
                raise LabkitError("Nothing has run yet, so there is no event to open: press Start.")
            name = technique.removesuffix(BROWSER) if technique else None
            found = run.explain(event_id, name)
            self._controls.open.put(event_id=str(event_id), technique=name or "")
            self._show_details(shown(sequence(found, theme=self._look()), found, layout=self._controls.plain))
            over = f" over {Natures(run.settings).short(name)}" if name else ""
            self.say(f"Event {event_id}{over} is open below.")
            return found

    def save(self, path: str | Path | None = None) -> Path:
        """Write the last run to a file: ``run-DATE-TIME.parquet`` in this folder by default.

        Raises:
            LabkitError: nothing has run yet, or the file cannot be written.
        """
        with self._lock, Said(self):
            run = self._live.snapshot() if self._live is not None else self.run
            if run is None:
                raise LabkitError("Nothing has run yet, so there is nothing to save: press Start.")
            path = Path(path or datetime.now().strftime("run-%Y%m%d-%H%M%S.parquet"))
            run.save(path)
            self.say(f"The run is saved as {path}; labkit.load({str(path)!r}) reads it.")
            return path

    def reset(self) -> None:
        """Stop, put every control back where it began, clear charts and messages. Runs stay in ``runs``."""
        with self._lock, Said(self):
            if self._live is not None:
                self._end_run()
            self._settings = self._defaults
            self._show_settings()
            self._show_chart(None)
            self._show_details(None)
            self._controls.errors.outputs = ()
            self._controls.publish.put(text="")
            self._board = self._charts = None
            self._controls.stand("")
            self.say("Every control is back where it began.")

    def close(self) -> None:
        """End the run, if one is under way, and the panel. What was measured stays."""
        with self._lock:
            if self._closed:
                return
            if self._live is not None:
                self._end_run(settle=False)
            self._closed = True
            link, self._link = self._link, None
            if link is not None:
                link.close()
            self._lab.attached[:] = [a for a in self._lab.attached if getattr(a, "panel", None) is not self]
            self.say("This panel is closed. What was measured stays in panel.runs.")

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and name not in NAMES:
            raise AttributeError(f"a panel has no setting {name!r}; there are {', '.join(NAMES)}")
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        state = "closed" if self._closed else "running" if self.running else "not running"
        return f"<Panel of {self._lab!r}, {state}>"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        return self._controls.box._repr_mimebundle_(**kwargs)

    # -- runs -------------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._closed or self._lab.closed:
            raise LabClosed("This panel's lab is closed: start another with labkit.Lab(), and labkit.Panel(lab).")

    def _start_run(self) -> None:
        live = LiveRun(self._lab, self._settings, keep_events=self._keep_events, link=self.link)
        live.start()
        try:
            board = Board(live)
            charts = LiveCharts(board, self._look(), self._clicked)
            self._show_chart(charts.open_widget())
        except BaseException:
            live.stop(settle=False)
            raise
        self._live, self._board, self._charts = live, board, charts
        self._drawer = Drawer(self, live, board, charts)
        self._controls.running(True)

    def _end_run(self, *, settle: bool = True) -> Run:
        live, charts, board = self._live, self._charts, self._board
        assert live is not None and charts is not None and board is not None
        if self._drawer is not None:
            self._drawer.stop()
        try:
            board.feed(live.sample())
            were_open = board.open
            run = live.stop(settle=settle)
            board.feed(live.sample())
            board.open = were_open
            self._runs.append(run)
        finally:
            self._live = None
            self._controls.running(False)
            widget, charts.widget = charts.widget, None
            self._show_chart(shown(charts.figure(), layout=self._controls.plain))
            if widget is not None:
                widget.let_go()
            self._controls.stand(standing(live, "Stopped"))
        return run

    def _fault(self, act: Callable[[LiveRun], None], sentence: str) -> None:
        live = self._live
        if live is None:
            self.say(NOT_RUNNING)
            return
        with Said(self):
            act(live)
            self.say(sentence)

    def _sleep_until(self, second: float) -> None:
        live = self._live
        end_s = live.started_ns / 1e9 + second if live is not None else 0.0
        while self._live is live and live is not None and (left_s := end_s - time.perf_counter_ns() / 1e9) > 0:
            time.sleep(min(left_s, 0.1))

    # -- on the page ------------------------------------------------------------------------------------------

    def _look(self) -> str | None:
        """The theme of what is drawn now."""
        return self._theme or ("dark" if self._controls.dials["rate_per_s"].dark else None)

    def _show_chart(self, widget: Any) -> None:
        self._replace(self._controls.chart, widget)

    def _show_details(self, widget: Any) -> None:
        self._replace(self._controls.details, widget)

    @staticmethod
    def _replace(box: Any, widget: Any) -> None:
        before, box.children = box.children, () if widget is None else (widget,)
        for old in before:
            if not hasattr(old, "let_go"):
                old.outputs = ()  # some programs save the state of closed widgets too
                old.close()

    def say(self, text: str) -> None:
        self._message = text
        self._controls.say(text)

    def stand(self, text: str) -> None:
        self._controls.stand(text)

    def failed(self, error: BaseException) -> None:
        """A traceback below the charts, and a sentence that says so."""
        self.say(f"{type(error).__name__}: {error} (below: where it came from)")
        text = "".join(traceback.format_exception(error))
        kept = self._controls.errors.outputs[-(ERRORS_KEPT - 1) :]
        self._controls.errors.outputs = (*kept, {"output_type": "stream", "name": "stderr", "text": text})

    # -- callbacks: any thread --------------------------------------------------------------------------------

    def _connect_controls(self) -> None:
        controls = self._controls
        for tick in controls.techniques.values():
            tick.observe(lambda _: self._moved(self._ticked), names="value")
        for name, dial in controls.dials.items():
            dial.observe(lambda _, name=name: self._moved(lambda: self._turned(name)), names="value")
        controls.source.observe(lambda _: self._moved(lambda: self._turned("source")), names="value")
        acts: dict[str, Callable[[], object]] = {
            "start": lambda: self.stop() if self.running else self.start(),
            **{name: getattr(self, name) for name in ("cut", "stall", "heal", "reset", "save")},
        }
        for name, act in acts.items():
            controls.buttons[name].on_click(lambda _, act=act: self._later(act))
        controls.publish.on_press(lambda values: self._later(lambda: self._publish_text(**values)))
        controls.open.on_press(lambda values: self._later(lambda: self._open_event(**values)))

    def _show_settings(self) -> None:
        """Put every control where the settings say. That is nobody's wish: ticks half way would make a wrong one."""
        self._showing.add(threading.get_ident())
        try:
            self._controls.show(self._settings)
        finally:
            self._showing.discard(threading.get_ident())

    def _moved(self, act: Callable[[], object]) -> None:
        """Somebody moved a control: an observer runs on the thread that sets the value."""
        if threading.get_ident() not in self._showing:
            self._later(act)

    def _later(self, act: Callable[[], object]) -> None:
        """Have a worker do it after what was asked for before."""

        async def turn() -> None:
            if self._turns is None:
                self._turns = asyncio.Lock()
            async with self._turns:
                await asyncio.to_thread(self._guarded, act)

        loop.submit(turn())

    def _guarded(self, act: Callable[[], object]) -> None:
        try:
            act()
        except LabkitError as error:
            self.say(str(error))
        except Exception as error:
            self.failed(error)

    def _turned(self, name: str) -> None:
        """Take over where the control is now: of a slider that was dragged on meanwhile, only where it came to."""
        with self._lock:
            value = self._controls.setting(name).value
            if value == getattr(self._settings, name):
                return
            try:
                self._set({name: value})
            except Exception:
                self._show_settings()
                raise

    def _ticked(self) -> None:
        with self._lock:
            wanted = tuple(name for name, tick in self._controls.techniques.items() if tick.value)
            if not wanted:
                self._show_settings()
                self.say("At least one technique has to take part.")
            elif set(wanted) != set(self._settings.techniques):
                self._set({"techniques": wanted})

    def _publish_text(self, text: str) -> None:
        if not text:
            self.say("The text box is empty: type the event's data first.")
            return
        self.publish(text)
        self._controls.publish.put(text="")

    def _open_event(self, event_id: str, technique: str) -> None:
        if not event_id.isdecimal() or len(event_id) > 18:
            said = f"{event_id[:20]!r} is no event id. " if event_id else ""
            self.say(f"{said}Type the id of an event first: a whole number.")
            return
        self.explain(int(event_id), technique or None)

    def _clicked(self, technique: str, event_id: int) -> None:
        self._later(lambda: self.explain(event_id, technique))
