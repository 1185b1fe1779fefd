"""What a person does to the controls, handed over: a callback of a widget only ever submits to the lab loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from labkit import loop
from labkit.errors import LabkitError
from labkit.room.screen import Screen


class Callbacks:
    """Has a worker thread do what was asked for, one thing after the other, whichever thread a callback arrives on.

    Args:
        acts: what the buttons do, by their names, and the two forms: ``publish(text)``, ``explain(id, technique)``.
        take_over: told the name of a setting whose control was moved.
    """

    def __init__(
        self, screen: Screen, acts: Mapping[str, Callable[..., object]], take_over: Callable[[str], None]
    ) -> None:
        self._screen, self._acts, self._take_over = screen, acts, take_over
        self._turns: asyncio.Lock | None = None
        self._connect()

    def later(self, act: Callable[[], object]) -> None:
        """Have a worker do it after what was asked for before."""

        async def turn() -> None:
            if self._turns is None:
                self._turns = asyncio.Lock()
            async with self._turns:
                await asyncio.to_thread(self._guarded, act)

        loop.submit(turn())

    def clicked(self, technique: str, event_id: int) -> None:
        """A dot of a chart was clicked."""
        self.later(lambda: self._acts["explain"](event_id, technique))

    def _connect(self) -> None:
        controls = self._screen.controls
        for tick in controls.techniques.values():
            tick.observe(lambda _: self._moved("techniques"), names="value")
        for name, control in {**controls.dials, "source": controls.source}.items():
            control.observe(lambda _, name=name: self._moved(name), names="value")
        for name, button in controls.buttons.items():
            button.on_click(lambda _, act=self._acts[name]: self.later(act))
        controls.publish.on_press(lambda values: self.later(lambda: self._publish(**values)))
        controls.open.on_press(lambda values: self.later(lambda: self._open(**values)))

    def _moved(self, name: str) -> None:
        """Somebody moved a control: an observer runs on the thread that sets the value."""
        if not self._screen.is_showing:
            self.later(lambda: self._take_over(name))

    def _guarded(self, act: Callable[[], object]) -> None:
        try:
            act()
        except LabkitError as error:
            self._screen.say(str(error))
        except Exception as error:
            self._screen.failed(error)

    def _publish(self, text: str) -> None:
        if not text:
            self._screen.say("The text box is empty: type the event's data first.")
            return
        self._acts["publish"](text)
        self._screen.controls.publish.put(text="")

    def _open(self, event_id: str, technique: str) -> None:
        if not event_id.isdecimal() or len(event_id) > 18:
            said = f"{event_id[:20]!r} is no event id. " if event_id else ""
            self._screen.say(f"{said}Type the id of an event first: a whole number.")
            return
        self._acts["explain"](int(event_id), technique or None)
