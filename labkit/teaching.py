"""Small helps for notebooks."""

from __future__ import annotations

import html
import inspect
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Source:
    """Source code that shows well: highlighted in a notebook, plain elsewhere."""

    text: str

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__

    def _repr_html_(self) -> str:
        try:
            from pygments import highlight
            from pygments.formatters import HtmlFormatter
            from pygments.lexers import PythonLexer
        except ImportError:
            return f"<pre>{html.escape(self.text)}</pre>"
        return str(highlight(self.text, PythonLexer(), HtmlFormatter(noclasses=True, nobackground=True)))


def source(*objects: Any) -> Source:
    """The real source of functions, classes or modules, or of a technique's server and client halves.

    Args:
        objects: anything that ``inspect.getsource`` takes, or a technique.
    """
    found: list[str] = []
    for thing in objects:
        handler, connect = getattr(thing, "handler", None), getattr(thing, "connect", None)
        if connect is not None:
            found += [inspect.getsource(half) for half in (handler, connect) if half is not None]
        else:
            found.append(inspect.getsource(thing))
    return Source("\n\n".join(text.rstrip() for text in found) + "\n")
