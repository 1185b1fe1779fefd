"""What is written for readers is true of the tree: links lead somewhere, and the list of rooms is the rooms."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from labkit.__main__ import COMMANDS, _parser
from test_architecture import ROOMS

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "notebooks/README.md"])
def test_links_to_files_lead_to_one(name: str) -> None:
    path = ROOT / name
    links = re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text(encoding="utf-8"))
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_commands_of_the_readme_are_taken_as_they_stand() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    told = re.findall(r"^(?:\$ )?python -m labkit (.*)$", text, re.MULTILINE)
    assert len(told) > 12
    for words in told:
        _parser(COMMANDS).parse_args(shlex.split(words.rstrip("& "), comments=True))


def test_contributing_lists_the_rooms_in_their_order() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\| (`[^|]*`) \|", text, re.MULTILINE)
    named = [re.sub(r"(/|\.py)$", "", word) for cell in cells for word in re.findall(r"`([^`]+)`", cell)]
    assert named == list(ROOMS)
    assert (ROOT / "labkit" / "server" / "http1.py").is_file() and "`server/http1.py`" in text


def test_paths_in_backquotes_are_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = re.findall(r"`((?:labkit|tests|notebooks|bench|\.ci)/[^`\s]*)`", text)
    assert paths and [p for p in paths if p != "labkit/techniques/mine.py" and not (ROOT / p).exists()] == []


def test_files_and_classes_that_docstrings_name_are_there() -> None:
    sources = [p for room in ("labkit", "tests", "bench") for p in (ROOT / room).rglob("*.py")]
    files, lost = {f"/{p.relative_to(ROOT).as_posix()}" for p in sources}, []
    for source in sources:
        text = source.read_text(encoding="utf-8")
        for name in re.findall(r"``([a-z0-9_/]+\.py)``", text):
            if not any(path.endswith(f"/{name}") for path in files | {"/techniques/mine.py"}):
                lost.append((source.name, name))
        for module, _ in re.findall(r":(?:class|func):`(labkit(?:\.[a-z_0-9]+)+)\.(\w+)`", text):
            place = ROOT / module.replace(".", "/")
            if not place.is_dir() and not place.with_suffix(".py").exists():
                lost.append((source.name, module))
    assert lost == []


def test_what_a_notebook_shows_as_text_is_not_broken_inside_words() -> None:
    """JupyterLab's style breaks a pre anywhere, unless it says otherwise itself."""
    pages = {"page.py", "site.py"}  # these stand by themselves
    bare = []
    for source in (ROOT / "labkit").rglob("*.py"):
        text = source.read_text(encoding="utf-8")
        if "<pre" in text and source.name not in pages:
            if not re.search(r"word-break: ?normal|white-space: ?pre;", text) or "<pre>" in text:
                bare.append(source.name)
    assert bare == []


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_the_minutes_of_a_notebook_are_reckoned_as_the_table_says(path: Path) -> None:
    """150 words a minute, half a minute for a cell; and both tables agree."""
    text = (ROOT / "notebooks" / "README.md").read_text(encoding="utf-8")
    listed = re.search(rf"^\| \[{path.stem}\].*\| (\d+) \|[^|]*\|$", text, re.MULTILINE)
    row = re.search(rf"^\| {path.stem} \| \d+ \| (\d+) \| \d+ \| \d+ \| (\d+) \|$", text, re.MULTILINE)
    assert listed and row
    minutes, reading, doing = (int(found) for found in (listed[1], row[1], row[2]))
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    words = sum(len("".join(cell["source"]).split()) for cell in cells if cell["cell_type"] == "markdown")
    reckoned = words / 150 + sum(cell["cell_type"] == "code" for cell in cells) / 2
    assert 0.8 < reading / reckoned < 1.25
    assert abs(minutes - reading - doing) <= 5
