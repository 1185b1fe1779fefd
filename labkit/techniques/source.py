"""Small helps for notebooks."""

from __future__ import annotations

import html
import inspect
from dataclasses import dataclass
from typing import Any

from labkit.errors import UnknownTechnique


@dataclass(frozen=True)
class Source:
    """Source code that shows well: highlighted in a notebook, plain elsewhere."""

    text: str
    language: str = "python"

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__

    def _repr_html_(self) -> str:
        try:
            from IPython.display import Code
        except ImportError:
            return f"<pre>{html.escape(self.text)}</pre>"
        return str(Code(self.text, language=self.language)._repr_html_())  # type: ignore[no-untyped-call]


def source(*things: Any, side: str = "") -> Source:
    """The real source of what a notebook talks about.

    Args:
        things: functions, classes or modules; or techniques, by name or descriptor: their server halves and then
            their client halves.
        side: ``page`` for techniques' halves in a page instead, which are JavaScript.

    Raises:
        UnknownTechnique: a name that is no technique's; the message lists the known ones. Or a technique that has no
            half for a page.
        ValueError: another *side*, or the page's side of what is no technique.
    """
    from labkit.techniques import Technique, find

    if side not in ("", "page"):
        raise ValueError(f"side={side!r}: expected 'page', or nothing for the server's and the client's halves")
    found: list[str] = []
    for thing in things:
        named = find(thing) if isinstance(thing, str) else thing
        if side:
            found.append(_page_half(named))
            continue
        halves = [named.handler, named.connect] if isinstance(named, Technique) else [named]
        found += [inspect.getsource(half) for half in halves if half is not None]
    return Source("\n\n".join(text.rstrip() for text in found) + "\n", "javascript" if side else "python")


def _page_half(thing: Any) -> str:
    from labkit.techniques import Technique

    if not isinstance(thing, Technique):
        raise ValueError(f"side='page' is for techniques, not for {thing!r}")
    if not thing.in_browser:
        raise UnknownTechnique(f"{thing.name!r} is none for a page: it has no half in JavaScript")
    return thing.page_half()
