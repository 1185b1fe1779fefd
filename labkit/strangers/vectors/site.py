"""The pages and the JSON beside the cases: the index, what each case is, what was seen, what a client had."""

from __future__ import annotations

import html
import json
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from labkit.errors import LabkitError
from labkit.measuring.rounding import counted
from labkit.strangers.vectors.case import CORS, Case
from labkit.strangers.vectors.catalogue import ALL, CASES
from labkit.strangers.vectors.listing import case_json, seen_json
from labkit.strangers.vectors.peer import Request
from labkit.strangers.vectors.verdict import verdict
from labkit.strangers.vectors.visit import Visits

PREFLIGHT = ("Access-Control-Allow-Methods: *", "Access-Control-Allow-Headers: *", "Allow: GET, HEAD, POST, OPTIONS")
QUIET_S = 5.0
"""How long a verdict waits for what is under way."""
TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
FOLDER = files("labkit.strangers.vectors") / "page"


@dataclass(frozen=True, slots=True)
class Page:
    """One answer of this site."""

    status: str
    content_type: str
    body: bytes
    fields: tuple[str, ...] = ()

    def head(self, *, keeps: bool) -> bytes:
        """Its status and fields."""
        length = () if self.status.startswith("204") else (f"Content-Length: {len(self.body)}",)
        ending = () if keeps else ("Connection: close",)
        fields = (f"Content-Type: {self.content_type}; charset=utf-8", *length, *ending, *CORS, *self.fields)
        return "\r\n".join((f"HTTP/1.1 {self.status}", *fields, "", "")).encode()


def page(status: str, text: str, content_type: str = "text/plain") -> Page:
    return Page(status, content_type, text.encode())


def as_json(value: Any, status: str = "200 OK") -> Page:
    return page(status, json.dumps(value, indent=1) + "\n", "application/json")


class Site:
    """Answers everything but the cases themselves."""

    def __init__(self, visits: Visits) -> None:
        self._visits = visits

    async def answer(self, request: Request) -> Page:
        """A page, or a sentence about what there is not."""
        path = request.path
        if request.method == "OPTIONS":
            return Page("204 No Content", "text/plain", b"", PREFLIGHT)
        match path.split("/")[1:]:
            case [""]:
                return _file("index.html")
            case ["page", name] if name in ("style.css", "vectors.js"):
                return _file(name)
            case ["cases.json"]:
                return as_json({"cases": [case_json(case) for case in ALL]})
            case ["cases", name] if name.removesuffix(".json") in CASES:
                return as_json(case_json(CASES[name.removesuffix(".json")]))
            case ["cases", name, "seen.json"] if name in CASES:
                case = CASES[name]
                return as_json(seen_json(case, self._visits.find(case, request.query("visit"))))
            case ["cases", name, "had"] if name in CASES:
                return await self._had(CASES[name], request)
            case [kind, name] if name in CASES and CASES[name].kind == kind:  # a HEAD: it is for clients that read
                return page("405 Method Not Allowed", "GET it\n")
            case [kind, name, "about"] if name in CASES and CASES[name].kind == kind:
                return page("200 OK", about(CASES[name]), "text/html")
        return page("404 Not Found", f"nothing at {path[:200]}; / lists every case, /cases.json as JSON\n")

    async def _had(self, case: Case, request: Request) -> Page:
        if request.method != "POST":
            return page("405 Method Not Allowed", "POST what your client had, as JSON\n")
        visit = self._visits.find(case, request.query("visit"))
        if visit is not None:
            await visit.quiet(QUIET_S)
        try:
            told = verdict(case, json.loads(request.body), visit)
            return page("200 OK", json.dumps(told) + "\n", "application/json")
        except (LabkitError, ValueError, RecursionError) as error:
            return page("400 Bad Request", f"{error}\n")


def _file(name: str) -> Page:
    return page("200 OK", (FOLDER / name).read_text(encoding="utf-8"), TYPES[name.rpartition(".")[2]])


def about(case: Case) -> str:
    """What a case is, for people."""
    told = case_json(case)
    answers = "".join(
        f"<li><pre>{html.escape(shown(answer.body))}</pre><p>then {ENDS[answer.end]}</p></li>"
        for answer in case.answers
    )
    outcomes = "".join(
        f"<h2>{html.escape(outcome['why'] or 'What a right client has')}</h2>"
        f"<pre>{html.escape(json.dumps(outcome['had'], indent=1, ensure_ascii=False))}</pre>"
        f"<h3>What the server has seen</h3><pre>{html.escape(json.dumps(outcome['sees'], ensure_ascii=False))}</pre>"
        for outcome in told["outcomes"]
    )
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{case.name}: labkit vectors</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/page/style.css">
<p><a href="/">All cases</a></p>
<h1>{case.name}</h1>
<p>{html.escape(case.about)} <span class="clause">{html.escape(case.clause)}</span></p>
<p>Its address is <a href="{case.address}"><code>{case.address}</code></a>; add <code>?visit=ANY</code> for a state of
your own, <code>cut=every</code>, <code>cut=all</code> or <code>cut=NUMBER</code> for other writes. As JSON:
<a href="/cases/{case.name}.json">the case</a>, <a href="/cases/{case.name}/seen.json">what was seen</a>. Report with
<code>POST /cases/{case.name}/had?visit=ANY</code>, for a verdict.</p>
{outcomes}
<h2>What the server sends</h2>
<p>Behind the head of each answer, to the first request, the second and so on; the last to all that follow.</p>
<ol>{answers}</ol>
</html>
"""


ENDS = {"keep": "the connection stays", "fin": "a FIN", "echo": "the client's own close", "reset": "a reset"}


def shown(body: bytes, limit: int = 2000) -> str:
    """Bytes as text, each that is not printable ASCII escaped; a line for each that ends in LF."""
    lines = body[:limit].decode("latin-1").encode("unicode_escape").decode().replace("\\n", "\\n\n")
    return lines + (f"... {counted(len(body) - limit, 'byte')} more" if len(body) > limit else "")
