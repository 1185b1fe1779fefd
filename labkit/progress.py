"""One line of progress for what takes over two seconds: in a notebook, in a terminal, or nowhere.

And what a command prints: in whatever encoding, and to a reader who may have left.
"""

from __future__ import annotations

import io
import os
import sys
import time
from typing import Any

QUIET_S = 2.0
EVERY_S = 0.25
UNHEARD = 141
"""As a shell has it of a program that SIGPIPE has ended."""


class Progress:
    """A line that is rewritten while something runs. Nothing is shown in the first two seconds."""

    def __init__(self, *, enabled: bool = True) -> None:
        self._enabled = enabled
        self._started_s = time.monotonic()
        self._shown_s = 0.0
        self._handle: Any = None
        self._terminal = False

    def show(self, line: str) -> None:
        """Show *line*, at most four times a second."""
        now_s = time.monotonic()
        if not self._enabled or now_s - self._started_s < QUIET_S or now_s - self._shown_s < EVERY_S:
            return
        self._shown_s = now_s
        self._put(line)

    def done(self) -> None:
        """Take away what was shown, if anything was: what came of it is for the caller to say."""
        if self._handle is not None:
            self._handle.update({}, raw=True)
        if self._terminal:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
        self._handle, self._terminal = None, False

    def _put(self, line: str) -> None:
        if _in_notebook():
            from IPython.display import display

            text = _Text(line)
            if self._handle is None:
                self._handle = display(text, display_id=True)  # type: ignore[no-untyped-call]
            else:
                self._handle.update(text)
        elif sys.stderr is not None and sys.stderr.isatty():
            self._terminal = True
            sys.stderr.write(f"\r\x1b[K{line}")
            sys.stderr.flush()


class _Text:
    def __init__(self, line: str) -> None:
        self._line = line

    def __repr__(self) -> str:
        return self._line


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and hasattr(shell, "kernel")


def write_any_character() -> None:
    """What the output's encoding has no character for is written as its number, as in a console of cp1252."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def flush() -> None:
    """Raises BrokenPipeError where nobody reads any longer."""
    if sys.stdout is not None:
        sys.stdout.flush()


def go_unheard() -> None:
    """Let what is printed from now on, and what the interpreter flushes at its end, go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
