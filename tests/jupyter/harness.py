"""A notebook as a person has it: a real JupyterLab, a real Chromium, Run All, and what is on the screen afterwards.

    with Jupyter(tmp_path) as jupyter:
        jupyter.write("a.ipynb", ["1 + 1"])
        notebook = jupyter.open(browser, "a.ipynb")
        notebook.run_all()
        assert notebook.errors() == [] and notebook.text(0) == "2"

Nothing here sleeps for a fixed time: each wait is for what it names, on JupyterLab's own objects, and says what was
there instead when that takes too long. What a cell has given is read from the notebook's model, not from the screen.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from playwright.sync_api import Browser, BrowserContext, Page
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from conftest import CHROMIUM_FLAGS, UNIT, find_chromium

ROOT = Path(__file__).parent.parent.parent
# A front end may draw a saved widget before its manager knows the model. It then leaves this in the widget's place,
# though the model comes and its code runs; whoever shows the widget again, or reloads once more, sees it.
UNKNOWN = "Error displaying widget: model not found"
ANSI = re.compile(r"\x1b\[[0-9;]*m")
START_S = 60 * UNIT
RUN_S = 120 * UNIT

SETTINGS = {
    # no virtual scrolling: a cell that is not on the screen must draw its widgets as well
    "notebook-extension/tracker": {"windowingMode": "none", "scrollPastEnd": False},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True},
}

# The notebook on top, as JupyterLab itself has it (LabApp.expose_app_in_browser).
OBJECTS = (
    "const panel = jupyterapp.shell.currentWidget ?? [...jupyterapp.shell.widgets('main')][0];"  # none without focus
    "const kernel = panel.sessionContext?.session?.kernel;"
    "const cells = panel.content.widgets.filter(cell => cell.model.type === 'code');"
)
READY = "return cells.length > 0 && panel.sessionContext.isReady && kernel?.status === 'idle'"
THERE = "return cells.length > 0 && panel.sessionContext.isReady && kernel"
CURRENT = (  # a command does nothing, and says nothing, while no notebook has the focus
    "panel.activate();"
    "while (!jupyterapp.commands.isEnabled('notebook:run-cell')) await new Promise(done => setTimeout(done, 50));"
)
PENDING = (
    "const waits = cells.map((cell, i) => cell.node.querySelector('.jp-InputPrompt').innerText.includes('*') ? i : -1);"
    "const pending = waits.filter(i => i >= 0);"
)
CALM = (  # on two looks in a row, since a cell that was just asked for does not show it at once
    "const calm = pending.length === 0 && kernel?.status === 'idle';"
    "const twice = calm && window.labkitCalm; window.labkitCalm = calm; return twice"
)


class Jupyter:
    """A JupyterLab on a free port of this machine, with a root folder, settings and a runtime folder of its own.

    Args:
        root: the folder that it shows; made if absent.
        base_url: such as ``/user/x/``.
        host: the name by which pages are opened; another than ``127.0.0.1`` needs a browser from :func:`launch`.
        python: the interpreter of its kernels; the one that runs the tests by default.
        environment: what its kernels find in their environment besides.
    """

    def __init__(
        self,
        root: Path,
        *,
        base_url: str = "/",
        host: str = "127.0.0.1",
        python: str = sys.executable,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.root = root
        self.root.mkdir(parents=True, exist_ok=True)
        self.base_url, self.host, self.token = base_url, host, secrets.token_hex(8)
        self.port = free_port()
        self._scratch = Path(tempfile.mkdtemp(prefix="labkit-jupyter-"))
        self._contexts: list[BrowserContext] = []
        for plugin, settings in SETTINGS.items():
            self._put(f"settings/@jupyterlab/{plugin}.jupyterlab-settings", settings)
        argv = [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        self._put("data/kernels/python3/kernel.json", {"argv": argv, "display_name": "Python 3", "language": "python"})
        with open(self._scratch / "log", "wb") as log:
            self._process = subprocess.Popen(
                self._command(), env=self._environment(environment or {}), cwd=root, stdout=log, stderr=log
            )
        try:
            self._wait()
        except BaseException:
            self.close()
            raise

    def _put(self, path: str, content: object) -> None:
        (self._scratch / path).parent.mkdir(parents=True, exist_ok=True)
        (self._scratch / path).write_text(json.dumps(content))

    def _command(self) -> list[str]:
        options = {
            "ServerApp.ip": "127.0.0.1",
            "ServerApp.port": self.port,
            "ServerApp.port_retries": 0,
            "ServerApp.root_dir": self.root,
            "ServerApp.base_url": self.base_url,
            "ServerApp.allow_remote_access": True,
            "IdentityProvider.token": self.token,
            "LabApp.expose_app_in_browser": True,
            "LabApp.news_url": None,
            "LabApp.check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
        }
        words = [f"--{name}={value}" for name, value in options.items()]
        return [sys.executable, "-m", "jupyterlab", "--allow-root", "--no-browser", *words]

    def _environment(self, more: Mapping[str, str]) -> dict[str, str]:
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        own = {
            "PYTHONPATH": path,
            "JUPYTERLAB_SETTINGS_DIR": str(self._scratch / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(self._scratch / "workspaces"),
            "JUPYTER_DATA_DIR": str(self._scratch / "data"),
            "JUPYTER_CONFIG_DIR": str(self._scratch / "config"),
            "JUPYTER_RUNTIME_DIR": str(self._scratch / "runtime"),
            "IPYTHONDIR": str(self._scratch / "ipython"),
            "LABKIT_CLAIMS": os.environ.get("LABKIT_CLAIMS", str(self._scratch / "claims.jsonl")),
        }
        return {**os.environ, **own, **more}

    def _wait(self) -> None:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{self.base_url}api", timeout=UNIT):
                    return
            except OSError:
                time.sleep(0.1)
        raise AssertionError("JupyterLab did not start:\n" + self.log[-2000:])

    @property
    def log(self) -> str:
        """What the server, and what kernels outside of cells, have printed."""
        return (self._scratch / "log").read_text(errors="replace")

    def address(self, name: str) -> str:
        """The address of a notebook in JupyterLab's single-document mode, with the token."""
        return f"http://{self.host}:{self.port}{self.base_url}doc/tree/{quote(name)}?reset&token={self.token}"

    def write(self, name: str, cells: Iterable[str]) -> Path:
        """Write a notebook of code cells."""
        code = [
            {"cell_type": "code", "id": f"c{i}", "source": text, "metadata": {}, "outputs": [], "execution_count": None}
            for i, text in enumerate(cells)
        ]
        spec = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        path = self.root / name
        path.write_text(json.dumps({"cells": code, "metadata": spec, "nbformat": 4, "nbformat_minor": 5}))
        return path

    def open(
        self,
        browser: Browser,
        name: str,
        *,
        context: BrowserContext | None = None,
        width: int = 1280,
        height: int = 800,
    ) -> Notebook:
        """Open a notebook and wait until its kernel is idle.

        Args:
            context: share cookies and the browser's connections with the tabs that are open there; new by default.
        """
        if context is None:
            context = browser.new_context(viewport={"width": width, "height": height})
            self._contexts.append(context)
        notebook = Notebook(context.new_page())
        notebook.page.goto(self.address(name))
        notebook.wait_ready()
        return notebook

    def close(self) -> None:
        """End the pages that were opened, the kernels, the server; remove its folder."""
        for context in self._contexts:
            with contextlib.suppress(PlaywrightError):  # the browser may have gone before
                context.close()
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(20 * UNIT)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        remove(self._scratch)

    def __enter__(self) -> Jupyter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Notebook:
    """A notebook open in a page. Cells are counted from 0, code cells only.

    Attributes:
        page: Playwright's page, for everything else.
        console: errors that the page's console showed, and exceptions that nobody caught.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.console: list[str] = []
        page.on("console", lambda message: self.console.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.console.append(str(error)))

    def evaluate(self, code: str, argument: object = None) -> Any:
        """Run JavaScript in the page: statements with a ``return``, ``panel``, ``kernel``, ``cells`` at hand."""
        return self.page.evaluate(f"async argument => {{ {OBJECTS} {code} }}", argument)

    def wait_until(self, code: str, timeout_s: float = 15 * UNIT) -> None:
        """Wait until JavaScript as for :meth:`evaluate` returns something true."""
        condition = f"() => {{ try {{ {OBJECTS} {code} }} catch (error) {{ return false }} }}"
        self.page.wait_for_function(condition, timeout=timeout_s * 1000, polling=100)

    def wait_ready(self) -> None:
        """Wait until the notebook is there and its kernel is idle."""
        self.wait_until(READY, START_S)

    def start(self) -> None:
        """Run All, without waiting."""
        self.evaluate(CURRENT + "jupyterapp.commands.execute('notebook:run-all-cells')")

    def run_all(self, timeout_s: float = RUN_S) -> None:
        """Run All, and wait until nothing is pending."""
        self.start()
        self.wait_idle(timeout_s)

    def run_cell(self, number: int, *, wait: bool = True, timeout_s: float = RUN_S) -> None:
        """Run one cell."""
        self.evaluate(
            CURRENT + "panel.content.activeCellIndex = panel.content.widgets.indexOf(cells[argument]);"
            "panel.content.deselectAll(); jupyterapp.commands.execute('notebook:run-cell')",
            number,
        )
        if wait:
            self.wait_idle(timeout_s)

    def restart(self) -> None:
        """Restart the kernel and wait until it is idle."""
        self.evaluate("await panel.sessionContext.restartKernel()")
        self.wait_ready()

    def interrupt(self) -> None:
        """Press the kernel's interrupt button."""
        self.evaluate("await kernel.interrupt()")

    def reload(self) -> None:
        """Reload the page; the kernel goes on."""
        self.evaluate("await panel.context.save()")
        self.page.reload()
        self.wait_until(THERE, START_S)

    def pending(self) -> list[int]:
        """The cells that show ``[*]``."""
        return list(self.evaluate(f"{PENDING} return pending"))

    def wait_idle(self, timeout_s: float = RUN_S) -> None:
        """Wait until no cell is pending and the kernel is idle."""
        self.page.evaluate("window.labkitCalm = false")
        try:
            self.wait_until(PENDING + CALM, timeout_s)
        except PlaywrightTimeout:
            raise AssertionError(f"after {timeout_s:.0f} s cells {self.pending()} wait; {self.errors()}") from None

    def outputs(self, number: int) -> list[dict[str, Any]]:
        """What a cell has given, as in nbformat."""
        return list(self.evaluate("return cells[argument].model.outputs.toJSON()", number))

    def text(self, number: int) -> str:
        """A cell's printed text and plain results, in order."""
        parts = []
        for output in self.outputs(number):
            found = output.get("text") or output.get("data", {}).get("text/plain", "")
            parts.append("".join(found))
        return "".join(parts)

    def errors(self) -> list[str]:
        """Every cell's exception, with its traceback, and what it wrote to stderr."""
        found = []
        for number, outputs in enumerate(self.evaluate("return cells.map(cell => cell.model.outputs.toJSON())")):
            for output in outputs:
                if output["output_type"] == "error":
                    found.append(
                        f"cell {number}: {output['ename']}: {output['evalue']}\n" + "\n".join(output["traceback"])
                    )
                elif output.get("name") == "stderr":
                    found.append(f"cell {number}: stderr: {''.join(output['text'])}")
        return found

    def wait_for_text(self, text: str, timeout_s: float = 15 * UNIT) -> None:
        """Wait until the page shows a text."""
        try:
            self.page.get_by_text(text).first.wait_for(timeout=timeout_s * 1000)
        except PlaywrightTimeout:
            shown = self.page.locator(".jp-OutputArea").all_inner_texts()
            raise AssertionError(f"{text!r} was not shown within {timeout_s:.0f} s; shown: {shown}") from None

    def scroll_to(self, number: int) -> None:
        """Bring a cell to the top of the screen."""
        self.evaluate("cells[argument].node.scrollIntoView({block: 'start'})", number)

    def dress(self, theme: str) -> None:
        """Change JupyterLab's theme to ``Light`` or ``Dark``, and wait until its style sheet is there."""
        name = f"JupyterLab {theme}"
        self.evaluate("await jupyterapp.commands.execute('apputils:change-theme', {theme: argument})", name)
        self.wait_until(f"return document.body.dataset.jpThemeName === {json.dumps(name)}")

    def screenshot(self, path: Path) -> Path:
        """Photograph what is on the screen."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=str(path), animations="disabled")
        return path


def remove(folder: Path) -> None:
    """Remove a folder that a process which has just ended may still be writing to."""
    for _ in range(50):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)


def launch(
    browser: Browser, *, hosts: Iterable[str] = (), unreachable: Iterable[str] = (), headless: bool = True
) -> Browser:
    """Another Chromium under the same Playwright, for which *hosts* are names of this machine. Close it."""
    rules = ",".join([f"MAP {host} 127.0.0.1" for host in hosts] + [f"MAP {host} ~NOTFOUND" for host in unreachable])
    flags = [*CHROMIUM_FLAGS, *([f"--host-resolver-rules={rules}"] if rules else [])]
    return browser.browser_type.launch(executable_path=find_chromium(), args=flags, headless=headless)


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
