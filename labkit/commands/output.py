"""What a command prints: in whatever encoding, and to a reader who may have left."""

from __future__ import annotations

import io
import os
import sys

UNHEARD = 141
"""As a shell has it of a program that SIGPIPE has ended."""


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
