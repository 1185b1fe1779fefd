"""One HTML page, whole in one file: no script, and none can run in it.

What came over the wire stands in it as text alone, and the page's own policy allows nothing but its style (CSP3).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE = """html { color-scheme: light dark; background: light-dark(#fff, #111); color: light-dark(#111, #eee) }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem;
       overflow-wrap: anywhere }
.wide { overflow-x: auto } table { border-collapse: collapse; font-size: .85rem }
td, th { padding: .2rem .6rem; text-align: right; white-space: nowrap }
td:nth-child(-n+2), th:nth-child(-n+2) { text-align: left } pre { font-size: .8rem }
"""


def document(title: str, body: str, style: str) -> str:
    """The page's text.

    Args:
        body: HTML, in which all that others said is escaped.
        style: beside what all such pages have.
    """
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"><title>{escape(title)}</title>'
        f"<style>{_STYLE}{style}</style>{body}</html>"
    )


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of texts, which may be wider than the page."""
    cells = "".join(f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><tr>{"".join(f"<th>{escape(h)}</th>" for h in heads)}</tr>{cells}</table></div>'


def listed(texts: Iterable[str]) -> str:
    """A list of texts; nothing of none."""
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f"<ul>{items}</ul>" if items else ""
