"""Code as a notebook's cell defines it, for what is handed in to an exercise; and the cells of our notebooks."""

from __future__ import annotations

import itertools
import json
import linecache
from pathlib import Path
from textwrap import dedent
from typing import Any

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
_numbers = itertools.count(1)


def cell(text: str, space: dict[str, Any] | None = None) -> dict[str, Any]:
    """Run *text* as a cell of a notebook: its definitions are of ``__main__``, and their source can be found."""
    space = {"__name__": "__main__"} if space is None else space
    text = dedent(text)
    file = f"/tmp/ipykernel_0/{next(_numbers)}.py"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    exec(compile(text, file, "exec", dont_inherit=True), space)
    return space


def code_with(notebook: str, words: str) -> str:
    """The one code cell of a notebook (``01_polling``, ``solutions/01_polling``) that has *words* in it."""
    content = json.loads((NOTEBOOKS / f"{notebook}.ipynb").read_text(encoding="utf-8"))
    texts = ["".join(one["source"]) for one in content["cells"] if one["cell_type"] == "code"]
    (found,) = (text for text in texts if words in text)
    return found
