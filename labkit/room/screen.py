"""What the panel shows of itself: its sentences, the chart, what is open below it, and tracebacks."""

from __future__ import annotations

import contextlib
import threading
import traceback
from collections.abc import Iterator
from typing import Any

from labkit.errors import LabkitError
from labkit.measuring.settings import Settings
from labkit.room.controls import Controls, shown

ERRORS_KEPT = 20


class Screen:
    """The panel's controls as something to show things on.

    Attributes:
        message: the sentence that stands there.
    """

    def __init__(self, controls: Controls) -> None:
        self.controls = controls
        self.message = ""
        self._showing: set[int] = set()  # threads that put the controls where the settings are

    @property
    def errors(self) -> str:
        """The tracebacks that stand there."""
        return "".join(output.get("text", "") for output in self.controls.errors.outputs)

    def say(self, text: str) -> None:
        """One sentence, or none."""
        self.message = text
        self.controls.say(text)

    @contextlib.contextmanager
    def saying(self) -> Iterator[None]:
        """What goes wrong inside is said here too."""
        try:
            yield
        except (LabkitError, ValueError, TypeError) as error:
            self.say(str(error))
            raise

    def stand(self, text: str) -> None:
        """How the run stands."""
        self.controls.stand(text)

    def failed(self, error: BaseException) -> None:
        """A traceback below the charts, and a sentence that says so."""
        self.say(f"{type(error).__name__}: {error} (below: where it came from)")
        text = "".join(traceback.format_exception(error))
        kept = self.controls.errors.outputs[-(ERRORS_KEPT - 1) :]
        self.controls.errors.outputs = (*kept, {"output_type": "stream", "name": "stderr", "text": text})

    def show_settings(self, settings: Settings) -> None:
        """Put every control where the settings say. That is nobody's wish: ticks half way would make a wrong one."""
        self._showing.add(threading.get_ident())
        try:
            self.controls.show(settings)
        finally:
            self._showing.discard(threading.get_ident())

    @property
    def is_showing(self) -> bool:
        """Whether it is this thread that is putting controls where the settings are."""
        return threading.get_ident() in self._showing

    def show_chart(self, *things: Any) -> None:
        """A widget, or figures; nothing at all."""
        self._replace(self.controls.chart, things)

    def show_details(self, *things: Any) -> None:
        """What is open below the chart, if anything."""
        self._replace(self.controls.details, things)

    def clear(self) -> None:
        """Take down charts, details, tracebacks and sentences."""
        self.show_chart()
        self.show_details()
        self.controls.errors.outputs = ()
        self.controls.publish.put(text="")
        self.stand("")

    def _replace(self, box: Any, things: tuple[Any, ...]) -> None:
        live = [thing for thing in things if hasattr(thing, "let_go")]
        before, box.children = box.children, live or ([shown(*things, layout=self.controls.plain)] if things else [])
        for old in before:
            if not hasattr(old, "let_go"):
                old.outputs = ()  # some programs save the state of closed widgets too
                old.close()
