"""``labkit.source``: the real code of what a notebook talks about, so that nothing is retyped."""

from __future__ import annotations

import ast
import html
import inspect
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from labkit.errors import UnknownTechnique
from labkit.techniques import Technique, find, known

COMMENTS = ".labkit-source [class^=c] { color: var(--jp-ui-font-color2) }"
"""JupyterLab's own colour of comments has a contrast of 4.1 on its dark ground."""
UNBROKEN = "white-space:pre; overflow-x:auto"
"""JupyterLab breaks a pre inside words."""


@dataclass(frozen=True)
class Source:
    """Source code that shows well: in a notebook in the colours of JupyterLab's own editor, plain elsewhere."""

    text: str
    language: str = "python"

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__

    def _repr_html_(self) -> str:
        try:
            from jupyterlab_pygments import JupyterStyle
            from pygments import formatters, highlight, lexers
        except ImportError:
            return f"<pre style='{UNBROKEN}'>{html.escape(self.text)}</pre>"
        look = formatters.HtmlFormatter(style=JupyterStyle, cssclass="labkit-source", nobackground=True)
        colors = look.get_style_defs(".labkit-source") + COMMENTS + f".labkit-source pre {{ {UNBROKEN} }}"
        return f"<style>{colors}</style>{highlight(self.text, lexers.get_lexer_by_name(self.language), look)}"


def source(*things: Any, side: str = "") -> Source:
    """The real source of what a notebook talks about.

    Args:
        things: functions, classes or modules; or techniques, by descriptor or by name (the kit's, and those that a lab
            of this process has served): the whole of each, what is on the wire, server half, client half, descriptor.
        side: ``page`` for techniques' halves in a page instead, which are JavaScript.

    Raises:
        UnknownTechnique: a name that is no technique's; the message lists the known ones. Or a technique that has no
            half for a page.
        ValueError: another *side*, or the page's side of what is no technique.
    """
    if side not in ("", "page"):
        raise ValueError(f"side={side!r}: expected 'page', or nothing for the whole of a technique")
    found = []
    for thing in things:
        named = find(thing, known()) if isinstance(thing, str) else thing
        if side:
            found.append(_page_half(named))
        else:
            found.append(_whole(named) if isinstance(named, Technique) else inspect.getsource(named))
    return Source("\n\n".join(text.rstrip() for text in found) + "\n", "javascript" if side else "python")


def _page_half(thing: Any) -> str:
    if not isinstance(thing, Technique):
        raise ValueError(f"side='page' is for techniques, not for {thing!r}")
    if not thing.in_browser:
        raise UnknownTechnique(f"{thing.name!r} is none for a page: it has no half in JavaScript")
    return thing.page_half()


def _whole(technique: Technique) -> str:
    """The kit's: its file. Another's: what belongs to it of each file that a half is in; of a cell, the half."""
    halves = [half for half in (technique.handler, inspect.unwrap(technique.client)) if half is not None]
    parts = []
    for module in dict.fromkeys(sys.modules[half.__module__] for half in halves):
        names = [half.__name__ for half in halves if half.__module__ == module.__name__]
        names += [name for name, value in vars(module).items() if value is technique]
        try:
            text = inspect.getsource(module)
        except (OSError, TypeError):
            parts += [inspect.getsource(half) for half in halves if half.__name__ in names]
        else:
            ours = module.__name__.startswith(f"{__package__}.")
            parts += [text] if ours else _belonging(text, names)
    return "\n\n\n".join(part.rstrip() for part in parts)


def _belonging(text: str, names: list[str]) -> Iterator[str]:
    """The definitions of those names in *text*, and of what they use in turn, in the order in which they stand."""
    defined: dict[str, ast.stmt] = {}
    for node in ast.parse(text).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", node)]
        defined |= {name: node for target in targets if (name := getattr(target, "id", getattr(target, "name", "")))}
    wanted, taken = list(names), set[str]()
    while wanted:
        name = wanted.pop()
        if name in defined and name not in taken:
            taken.add(name)
            wanted += [used.id for used in ast.walk(defined[name]) if isinstance(used, ast.Name)]
    lines = text.splitlines()
    for node in dict.fromkeys(node for name, node in defined.items() if name in taken):
        first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])
        yield "\n".join(lines[first - 1 : node.end_lineno])
