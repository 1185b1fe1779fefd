"""What a sentence says of the chart or table beside it is held by an assertion over its notebook's own variables.

The rows stand in the metadata of the cell that makes the chart, where nbmake runs them after it: ``assert PREDICATE,
"the sentence as it stands"``. Here, without a kernel: each sentence is in the text of its notebook, word by word.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent.parent.parent / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
MOST_ROWS = 15
TENS = {"ten": 10, "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80,
        "ninety": 90}  # fmt: skip
MINUTES = {"fifteen": 15, **TENS, **{f"{word}-five": number + 5 for word, number in TENS.items()},
           "a hundred and five": 105}  # fmt: skip
LINKS = (
    "https://datatracker.ietf.org/doc/html/rfc6202",
    "https://datatracker.ietf.org/doc/html/rfc6455",
    "https://dydtjr1128.github.io/etc/2019/09/23/polling-long-polling-streaming.html",
    "https://bcho.tistory.com/896",
    "https://stackoverflow.com/questions/12555043/my-understanding-of-http-polling-long-polling-http-streaming-and-websockets",
    "https://sendbird.com/ko/developer/tutorials/websocket-vs-http-communication-protocols",
)
"""Those of the founding notes."""


def cells(name: str, kind: str) -> list[dict[str, Any]]:
    book = json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))
    return [cell for cell in book["cells"] if cell["cell_type"] == kind]


def text(name: str) -> str:
    return "\n".join("".join(cell["source"]) for cell in cells(name, "markdown"))


def rows(name: str) -> Iterator[tuple[ast.expr, str]]:
    """Each row's predicate and sentence."""
    for cell in cells(name, "code"):
        for line in cell["metadata"].get("nbmake", {}).get("post_cell_execute", []):
            (said,) = ast.parse(line).body
            assert isinstance(said, ast.Assert) and isinstance(said.msg, ast.Constant), line
            yield said.test, str(said.msg.value)


def bound(name: str) -> set[str]:
    """The names that a notebook's cells bind."""
    found = set()
    for cell in cells(name, "code"):
        source = "\n".join(line for line in "".join(cell["source"]).splitlines() if not line.startswith("!"))
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found.add(node.id)
            if isinstance(node, ast.alias):
                found.add((node.asname or node.name).split(".")[0])
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_sentence_that_is_held_stands_in_its_notebook(name: str) -> None:
    held = [sentence for _, sentence in rows(name)]
    written = text(name)
    assert [sentence for sentence in held if sentence not in written] == []
    assert 0 < len(held) <= MOST_ROWS and len(set(held)) == len(held)


@pytest.mark.parametrize("name", NAMES)
def test_a_row_looks_at_something_that_its_notebook_made(name: str) -> None:
    made = bound(name)
    for test, sentence in rows(name):
        assert made & {node.id for node in ast.walk(test) if isinstance(node, ast.Name)}, sentence


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_and_the_list_of_notebooks_give_it_the_same_time(name: str) -> None:
    said = re.search(r"\*About ([a-z -]+) minutes to read", text(name))
    listed = re.search(rf"\]\({name}\.ipynb\) \|[^|]*\| (\d+) \|", (FOLDER / "README.md").read_text(encoding="utf-8"))
    assert said and listed and MINUTES[said[1]] == int(listed[1])


def test_the_founding_notes_links_have_their_places() -> None:
    written = "\n".join(map(text, NAMES))
    assert [link for link in LINKS if f"]({link})" not in written] == []
