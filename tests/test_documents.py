"""What is written for readers is true of the tree: links lead somewhere, and the list of rooms is the rooms."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from test_architecture import ROOMS

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "notebooks/README.md"])
def test_links_to_files_lead_to_one(name: str) -> None:
    path = ROOT / name
    links = re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text(encoding="utf-8"))
    assert [link for link in links if not (path.parent / link).exists()] == []


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
