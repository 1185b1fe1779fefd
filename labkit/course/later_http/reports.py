"""Pages of this folder that a browser opens from a lab, and what they report to it."""

from __future__ import annotations

import json
import ssl
import time
import urllib.parse
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

from labkit.lab.lab import Lab
from labkit.server.handler import PushHandler
from labkit.techniques import Technique, find

TOPIC = "14-page"
WAIT_S = 30.0


def page_of(name: str) -> Technique:
    """The page ``name.html`` of this folder as a route of a lab, ``/name``."""
    file = Path(__file__).parent / f"{name.replace('-', '_')}.html"

    class PageHandler(PushHandler):
        def get(self) -> None:
            self.set_header("Content-Type", "text/html; charset=utf-8")
            self.finish(file.read_bytes())

    return replace(find("long-polling"), name=name, route=f"/{name}", handler=PageHandler, exhibit=True)


class Reports:
    """What pages have published on a topic of their own, by the name of the page."""

    def __init__(self, lab: Lab) -> None:
        self._lab, self._cursor = lab, "0"
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if lab.cafile is not None:
            handlers.append(urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=lab.cafile)))
        self._opener = urllib.request.build_opener(*handlers)
        self._found: dict[str, dict[str, Any]] = {}

    def of(self, *names: str, timeout_s: float = WAIT_S) -> dict[str, Any] | None:
        """The newest report of a page, or of whichever has one; None if there is none in time."""
        deadline = time.monotonic() + timeout_s
        while not (found := [name for name in names if name in self._found]):
            if time.monotonic() > deadline:
                return None
            answer = json.loads(self._poll())
            self._cursor = answer["cursor"]
            for event in answer["events"]:
                report = json.loads(event["data"])
                self._found[report["name"]] = report
            time.sleep(0.05)
        return self._found.pop(found[0])

    def _poll(self) -> str:
        query = urllib.parse.urlencode({"topic": TOPIC, "after": self._cursor})
        with self._opener.open(f"{self._lab.url}/polling?{query}", timeout=WAIT_S) as answer:
            return str(answer.read().decode())
