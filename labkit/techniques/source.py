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
            from IPython.display import Code
        except ImportError:
            return f"<pre>{html.escape(self.text)}</pre>"
        return str(Code(self.text, language="python")._repr_html_())  # type: ignore[no-untyped-call]


def source(*things: Any) -> Source:
    """The real source of what a notebook talks about.

    Args:
        things: functions, classes or modules; or techniques, by name or descriptor: their server halves and then
            their client halves.

    Raises:
        UnknownTechnique: a name that is no technique's; the message lists the known ones.
    """
    from labkit.techniques import Technique, find

    found: list[str] = []
    for thing in things:
        named = find(thing) if isinstance(thing, str) else thing
        halves = [named.handler, named.connect] if isinstance(named, Technique) else [named]
        found += [inspect.getsource(half) for half in halves if half is not None]
    return Source("\n\n".join(text.rstrip() for text in found) + "\n")
