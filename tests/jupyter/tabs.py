"""A Chromium with a window, on a screen of its own, whose tabs really hide.

Headless Chromium never hides a page, and Playwright tells every page that it attaches to that it has the focus. So
this one is driven by the DevTools protocol alone, under Xvfb.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness import OBJECTS, free_port, remove
from websockets.sync.client import connect

from conftest import CHROMIUM_FLAGS, UNIT, find_chromium

WHY_NOT = None if shutil.which("xvfb-run") else "no xvfb-run found. Debian and Ubuntu: apt-get install -y xvfb xauth"


class Tabs:
    """Two tabs of one window; the first one is of interest, and the second one hides it."""

    def __init__(self) -> None:
        self._port = free_port()
        self._folder = tempfile.mkdtemp(prefix="labkit-tabs-")
        flags = [f"--user-data-dir={self._folder}", f"--remote-debugging-port={self._port}"]
        command = ["xvfb-run", "-a", str(find_chromium()), *CHROMIUM_FLAGS, *flags, "about:blank"]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
        self._stack = contextlib.ExitStack()
        self._numbers = itertools.count(1)
        try:
            self._ids = [self.until(self._first, "no page")]
            address = f"ws://127.0.0.1:{self._port}/devtools/page/{self._ids[0]}"
            self._socket = self._stack.enter_context(connect(address, max_size=None))
            self._ids.append(self._ask("new?about:blank", "PUT")["id"])
            self.show(0)
        except BaseException:
            self.close()
            raise

    def _ask(self, path: str, method: str = "GET") -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{self._port}/json/{path}", method=method)
        with urllib.request.urlopen(request, timeout=10 * UNIT) as answer:
            body = answer.read()
            return json.loads(body) if body[:1] in b"[{" else body

    def _first(self) -> str | None:
        with contextlib.suppress(OSError):
            return next((target["id"] for target in self._ask("list") if target["type"] == "page"), None)
        return None

    def show(self, number: int) -> None:
        """Bring a tab to the front: the other one is hidden."""
        self._ask(f"activate/{self._ids[number]}")
        self.until(lambda: self.evaluate("return document.hidden") == (number != 0), "the tabs did not change places")

    def evaluate(self, code: str) -> Any:
        """Run JavaScript in the first tab: statements with a ``return``; None where they fail."""
        number = next(self._numbers)
        expression = f"(async () => {{ {code} }})()"
        options = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        self._socket.send(json.dumps({"id": number, "method": "Runtime.evaluate", "params": options}))
        while (answer := json.loads(self._socket.recv(60 * UNIT))).get("id") != number:
            pass
        result = answer.get("result", {})
        return None if "exceptionDetails" in result else result.get("result", {}).get("value")

    def notebook(self, code: str) -> Any:
        """The same with ``panel``, ``kernel`` and ``cells`` of the notebook that it shows."""
        return self.evaluate(OBJECTS + code)

    def until(self, condition: Callable[[], Any], what: str, timeout_s: float = 60 * UNIT) -> Any:
        """Wait until *condition* gives something true, and return that."""
        deadline = time.monotonic() + timeout_s
        while not (value := condition()):
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {timeout_s} s: {what}")
            time.sleep(0.05)
        return value

    def close(self) -> None:
        """Close the window and its screen."""
        self._stack.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(10 * UNIT)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        remove(Path(self._folder))

    def __enter__(self) -> Tabs:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
