"""The line of progress: in a notebook and in a terminal, and nothing of it left when it is done."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from typing import Any

import pytest

from conftest import UNIT

SHOWS = """
from labkit import progress
progress.QUIET_S = progress.EVERY_S = 0.0
line = progress.Progress()
line.show("one of two")
line.show("two of two")
{end}
"""


RUN = """
import json, sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(sys.argv[1])])
NotebookClient(notebook, timeout=60).execute()
print(json.dumps(notebook.cells[0].outputs))
"""


def outputs(end: str) -> list[dict[str, Any]]:
    """What a cell in a kernel leaves."""
    child = subprocess.run([sys.executable, "-c", RUN, SHOWS.format(end=end)], capture_output=True, check=True)
    found: list[dict[str, Any]] = json.loads(child.stdout)
    return found


@pytest.mark.timeout(120 * UNIT)
def test_in_a_notebook_the_line_goes_when_it_is_done() -> None:
    (shown,) = outputs("")
    assert shown["data"]["text/plain"] == "two of two"
    (left,) = outputs("line.done()")
    assert left["output_type"] == "display_data" and left["data"] == {}  # which a page shows as nothing


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_in_a_terminal_the_line_goes_when_it_is_done() -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        subprocess.run([sys.executable, "-c", SHOWS.format(end="line.done()")], stderr=theirs, check=True)
        os.close(theirs)
        said = terminal.read(1000)
    assert said.endswith(b"\r\x1b[Ktwo of two\r\x1b[K")


def test_what_was_never_shown_leaves_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    subprocess.run([sys.executable, "-c", SHOWS.format(end="line.done()")], check=True)  # no terminal
    assert capfd.readouterr() == ("", "")
