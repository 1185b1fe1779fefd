"""The control room: a run without an end, with a control for everything that can be set and charts that follow it.

Every control has the same effect from code: ``panel.rate_per_s = 10``, ``panel.start()``, ``run = panel.stop()``.
A callback of a widget only hands its work to the lab loop, which has a worker thread do it, one thing after the other;
so the panel behaves the same whichever thread a callback arrives on. What goes wrong is a sentence in the panel.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.errors import LabClosed, LabkitError, naming_extras

with naming_extras("labkit.Panel"):
    from labkit.room.callbacks import Callbacks
    from labkit.room.controls import Controls
    from labkit.room.place import Place
    from labkit.room.runs import Runs, timed
    from labkit.room.screen import Screen

from labkit.charts import pictures
from labkit.charts.lifelines import sequence
from labkit.measuring.endless import KEEP_EVENTS, LiveRun
from labkit.measuring.natures import Natures
from labkit.measuring.settings import NAMES, Settings
from labkit.measuring.tallies import BROWSER
from labkit.techniques import find

if TYPE_CHECKING:
    from labkit.lab.lab import Lab
    from labkit.measuring.explain import Explanation
    from labkit.measuring.run import Run
    from labkit.network.link import Link

ACTS = ("cut", "stall", "heal", "reset", "save", "publish", "explain")
"""What a person at the controls can have done, besides starting and stopping."""
AGAIN = "run the cells with labkit.Lab() and labkit.Panel(lab) again"
CLOSED = (
    f"This panel is closed: its lab is closed, or has another panel. To have it back, {AGAIN}; "
    "what was measured stays in panel.runs."
)
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
        self._lock = threading.RLock()
        self._closed = False
        self._told_of_pictures = False
        self._controls = Controls(lab.techniques, self._settings)
        self._screen = Screen(self._controls)
        acts = {name: getattr(self, name) for name in ACTS}
        acts["start"] = lambda: self.stop() if self.running else self.start()
        self._callbacks = Callbacks(self._screen, acts, self._take_over)
        self._runs = Runs(lab, self._screen, self._callbacks.clicked, keep_events)
        for other in [a for a in lab.attached if isinstance(a, Place)]:
            other.panel.close()
        lab.attached.append(Place(self, self._screen, f"To go on, {AGAIN}."))

    # -- what one asks it -------------------------------------------------------------------------------------

    @property
    def lab(self) -> Lab:
        """Its lab."""
        return self._lab

    @property
    def link(self) -> Link:
        """The network of its runs; a page can go through it too: ``BrowserSubscriber(lab, "sse", through=...)``."""
        with self._lock:
            if self._runs.link is None:
                self._check_open()
            return self._runs.linked(self._settings)

    @property
    def running(self) -> bool:
        """Whether a run is under way."""
        return self._runs.live is not None

    @property
    def run(self) -> Run | None:
        """The last run that ended; None before the first."""
        return self._runs.ended[-1] if self._runs.ended else None

    @property
    def runs(self) -> list[Run]:
        """The last runs, at most five, the newest last."""
        return list(self._runs.ended)

    @property
    def message(self) -> str:
        """The sentence that the panel shows."""
        return self._screen.message

    @property
    def errors(self) -> str:
        """Tracebacks of callbacks that failed, as the panel shows them."""
        return self._screen.errors

    @property
    def draws(self) -> int:
        """How often the live charts of this run were drawn."""
        return self._runs.drawn.draws if self._runs.drawn is not None else 0

    @property
    def figure(self) -> Any:
        """A plain figure of the charts as they are now.

        Raises:
            LabkitError: nothing has run yet.
        """
        if self._runs.drawn is None:
            raise LabkitError("nothing has run yet: panel.start() first")
        return pictures.finished(self._runs.drawn.charts.figure())

    # -- what one tells it ------------------------------------------------------------------------------------

    def set(self, **changes: Any) -> None:
        """Set several settings at once. During a run they hold at once, or the panel says what they need.

        Raises:
            SettingError, UnknownTechnique: a value that cannot be; nothing is changed then.
            LabClosed: the lab, or this panel, is closed.
        """
        with self._lock:
            self._set(changes)
            self._screen.show_settings(self._settings)

    def _set(self, changes: Mapping[str, Any]) -> None:
        with self._lock, self._screen.saying():
            self._check_open()
            wanted = self._settings.changed(**changes)
            for name in wanted.techniques:
                find(name, self._lab.techniques)
            others = wanted.techniques != self._settings.techniques
            self._settings = wanted
            if self._runs.live is None:
                self._screen.say("")
            elif others:
                self._runs.end()
                self._runs.start(self._settings)
                self._screen.say(
                    "Other techniques need another run: the one before is kept (panel.run), a new one has begun."
                )
            else:
                self._screen.say(self._runs.live.change(**changes))

    def start(self) -> Panel:
        """Attach the subscribers and start the source."""
        with self._lock, self._screen.saying():
            if self._runs.live is not None:
                self._screen.say("It is running already: stop it first, or change a control while it runs.")
                return self
            self._check_open()
            self._runs.start(self._settings)
            self._screen.say("")
        return self

    def stop(self) -> Run:
        """End the run, wait for what is on its way, and return it; the last run if none is under way.

        Raises:
            LabkitError: nothing has run yet.
        """
        with self._lock, self._screen.saying():
            if self._runs.live is not None:
                if self._runs.live.on_its_way_s > LONG_S:
                    self._screen.say(f"Stopping: what is on its way may take {self._runs.live.on_its_way_s:.0f} s.")
                run = self._runs.end()
                no_pictures = pictures.find_chromium() is None and not self._told_of_pictures
                self._told_of_pictures |= no_pictures
                self._screen.say(NO_PICTURES if no_pictures else "")
                return run
            if not self._runs.ended:
                raise LabkitError("Nothing has run yet: press Start, or panel.start().")
            self._screen.say(f"{NOT_RUNNING} The last run is kept.")
            return self._runs.ended[-1]

    def run_for(self, seconds: float, at: Mapping[float, Callable[[], object]] | None = None) -> Run:
        """Start, let it run, stop. The first interrupt ends it early.

        Args:
            at: what to do at which second: ``{2.0: panel.cut, 3.0: panel.heal}``.

        Raises:
            DurationError, SettingError: before it starts; names what cannot be.
        """
        with self._screen.saying():
            acts = timed(seconds, at)
            if self._runs.live is not None:
                raise LabkitError("It is running already: panel.stop() first.")
        self.start()
        try:
            for at_s, act in acts:
                self._runs.sleep_until(min(at_s, seconds))
                act()
            self._runs.sleep_until(seconds)
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
        with self._lock, self._screen.saying():
            self._check_open()
            event_id = self._runs.live.publish(data) if self._runs.live is not None else self._lab.publish(data)
            self._controls.open.put(event_id=str(event_id))
            self._screen.say(f"Event {event_id} is published.")
            return event_id

    def explain(self, event_id: int, technique: str | None = None) -> Explanation:
        """Open one event in the panel: its sequence diagram, and its bytes on both sides of each hop.

        Raises:
            LabkitError: no such event, or nothing has run yet.
        """
        with self._lock, self._screen.saying():
            run = self._runs.newest
            if run is None:
                raise LabkitError("Nothing has run yet, so there is no event to open: press Start.")
            name = technique.removesuffix(BROWSER) if technique else None
            found = run.explain(event_id, name)
            self._controls.open.put(event_id=str(event_id), technique=name or "")
            self._screen.show_details(sequence(found), found)
            over = f" over {Natures(run.settings).short(name)}" if name else ""
            self._screen.say(f"Event {event_id}{over} is open below.")
            return found

    def save(self, path: str | Path | None = None) -> Path:
        """Write the last run to a file: ``run-DATE-TIME.parquet`` in this folder by default.

        Raises:
            LabkitError: nothing has run yet, or the file cannot be written.
        """
        with self._lock, self._screen.saying():
            run = self._runs.newest
            if run is None:
                raise LabkitError("Nothing has run yet, so there is nothing to save: press Start.")
            path = Path(path or datetime.now().strftime("run-%Y%m%d-%H%M%S.parquet"))
            run.save(path)
            self._screen.say(f"The run is saved as {path}; labkit.load({str(path)!r}) reads it.")
            return path

    def reset(self) -> None:
        """Stop, put every control back where it began, clear charts and messages. Runs stay in ``runs``."""
        with self._lock, self._screen.saying():
            if self._runs.live is not None:
                self._runs.end()
            self._settings = self._defaults
            self._screen.show_settings(self._settings)
            self._runs.drawn = None
            self._screen.clear()
            self._screen.say("Every control is back where it began.")

    def close(self) -> None:
        """End the run, if one is under way, and the panel. What was measured stays."""
        with self._lock:
            if self._closed:
                return
            self._runs.close()
            self._closed = True
            self._lab.attached[:] = [a for a in self._lab.attached if getattr(a, "panel", None) is not self]
            self._controls.lock()
            self._screen.say(CLOSED)

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and name not in NAMES:
            raise AttributeError(f"a panel has no setting {name!r}; there are {', '.join(NAMES)}")
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        state = "closed" if self._closed else "running" if self.running else "not running"
        return f"<Panel of {self._lab!r}, {state}>"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        return self._controls.box._repr_mimebundle_(**kwargs)

    # -- what only it calls ------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._closed or self._lab.closed:
            raise LabClosed(CLOSED)

    def _take_over(self, name: str) -> None:
        """Take over where a control is now: of a slider that was dragged on meanwhile, only where it came to."""
        with self._lock:
            before, wanted = getattr(self._settings, name), self._controls.wanted(name)
            if wanted == before or (name == "techniques" and set(wanted) == set(before)):
                return
            try:
                if wanted == ():
                    raise LabkitError("At least one technique has to take part.")
                self._set({name: wanted})
            except Exception:
                self._screen.show_settings(self._settings)
                raise

    def _fault(self, act: Callable[[LiveRun], None], sentence: str) -> None:
        live = self._runs.live
        if live is None:
            self._screen.say(NOT_RUNNING)
            return
        with self._screen.saying():
            act(live)
            self._screen.say(sentence)
