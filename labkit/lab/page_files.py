"""``GET /`` and its files: a plain page that shows every technique live, with no notebook.

The files of ``page/``, ``base.js`` and the techniques' own halves are served as one folder, so that they import each
other by ``./``; only names from this listing are answered.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path, PurePath

from labkit.server.access import Context, Refusal
from labkit.server.handler import PushHandler
from labkit.techniques import TECHNIQUES, Technique
from labkit.techniques.base import PAGE_BASE
from labkit.techniques.polling import POLLING

PAGE = Path(__file__).parent / "page"
POLICY = "default-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


class PageHandler(PushHandler):
    """One file of the page. Browsers send an Origin for modules, which behind an intermediary that rewrites Host is not
    this lab's: a file is no secret, and the page says by itself what may not use the lab."""

    public = True

    def initialize(self, context: Context, techniques: Iterable[Technique] = ()) -> None:
        super().initialize(context)
        self.techniques = techniques

    def get(self, name: str = "index.html") -> None:
        text = file(name, shown(self.techniques))
        if not text:
            raise Refusal(404, f"no such file: {name[:80]!a}")
        self.set_header("Content-Type", f"{TYPES.get(PurePath(name).suffix, 'text/plain')}; charset=utf-8")
        self.set_header("Content-Security-Policy", POLICY)
        self.finish(text)


def shown(served: Iterable[Technique]) -> tuple[Technique, ...]:
    """The kit's own techniques, served or not, and the lab's others."""
    return tuple({one.name: one for one in (*TECHNIQUES, *served)}.values())


def file(name: str, techniques: Iterable[Technique]) -> str:
    """The text of that name, empty if there is none. The name itself opens nothing."""
    if name == "listing.js":
        return listing(techniques)
    paths = (path for path in (*PAGE.iterdir(), PAGE_BASE) if path.name == name and path.is_file())
    halves = (one.page_half() for one in techniques if half_name(one) == name)
    return next((path.read_text(encoding="utf-8") for path in paths), "") or next(halves, "")


def half_name(technique: Technique) -> str:
    return f"technique-{technique.name}.js"


def listing(techniques: Iterable[Technique]) -> str:
    """What there is to show, as a module. The kit's own halves come with it; a fault in another is not the page's."""
    imports, rows, none = [], [], []
    for number, one in enumerate(techniques):
        if not one.in_browser:
            none += [f"{one.title} ({one.name})"] if one.port == "http" else []
            continue
        known = {"name": one.name, "title": one.title, "route": one.route.lstrip("/")}
        row = json.dumps({**known, "bidirectional": one.bidirectional})
        if one in TECHNIQUES:
            imports.append(f"import * as half{number} from {json.dumps('./' + half_name(one))};")
            row = f"{row[:-1]}, half: half{number}}}"
        rows.append(f"  {row},")
    sentence = f"Not on this page, for want of a half in JavaScript: {', '.join(none)}." if none else ""
    return "\n".join(
        (
            *imports,
            f"export const BEGINNING = {json.dumps(POLLING.route.lstrip('/'))}; // tells the cursor of now",
            f"export const NONE = {json.dumps(sentence)};",
            "export const TECHNIQUES = [",
            *rows,
            "];\n",
        )
    )
