"""A widget's module as one text: a front end loads it through the kernel, from where no file imports another."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from labkit.errors import LabkitError
from labkit.lab.page_files import PAGE
from labkit.techniques import Technique
from labkit.techniques.base import PAGE_BASE
from labkit.webpage.settings import COMM

HERE = Path(__file__).parent
_IMPORT = re.compile(r"^import\s*\{[^}]*\}\s*from\s*\"\./[\w.]+\";\n", re.MULTILINE)
_EXPORT = re.compile(r"^export (?!default)(?=(?:async )?\w+\*? (\w+))", re.MULTILINE)
_LEFT = re.compile(r"^(?:import|export(?! default))\b.*", re.MULTILINE)


def joined(techniques: Iterable[Technique]) -> str:
    """The page's code with the halves of these techniques, and with the comm as one more.

    Raises:
        LabkitError: a half does not export ``receive``, or imports something else than ``base.js``.
    """
    halves = [_entry(one.name, one.route.lstrip("/"), one.page_half()) for one in techniques]
    halves.append(_entry(COMM, None, _read(HERE / "comm.js")))
    below = [_plain(_read(path))[0] for path in (PAGE_BASE, PAGE / "slots.js", HERE / "finding.js")]
    above = [_plain(_read(HERE / name))[0] for name in ("view.js", "browser.js")]
    return "\n".join([*below, "const TECHNIQUES = {", *halves, "};\n", *above])


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _plain(text: str) -> tuple[str, list[str]]:
    """A module as lines of a larger one, and what it exports."""
    return _EXPORT.sub("", _IMPORT.sub("", text)), _EXPORT.findall(text)


def _entry(name: str, route: str | None, half: str) -> str:
    """A technique's half in a scope of its own."""
    text, exports = _plain(half)
    left = _LEFT.search(text)
    if left or "receive" not in exports:
        why = f"{left[0]!r} cannot be joined" if left else "it exports no function `receive`"
        raise LabkitError(f"the half of {name!r} for a page: {why}; labkit.source('sse', side='page') shows one")
    given = ", ".join([f"route: {json.dumps(route)}", *exports])
    return f"{json.dumps(name)}: (() => {{\n{text}\nreturn {{ {given} }};\n}})(),"
