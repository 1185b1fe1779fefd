"""A real browser that nobody sees: Chromium without a window, which opens pages and is told whose key to believe.

What a page does is the page's own matter: it reports to the lab. The certificate of a lab is of a throw-away authority,
so the browser is given the hash of the one key that it may believe beside its authorities.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from labkit.lab.lab import Lab

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PLACES = ("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome", "/snap/bin/chromium")
MISSING = "no Chromium here: apt install chromium, or Google Chrome's own installer"
UP_S = 30.0
FLAGS = (
    "--headless=new", "--remote-debugging-port=0", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--no-default-browser-check", "--no-proxy-server", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-extensions", "--disable-dev-shm-usage",
)  # fmt: skip


def find() -> str:
    """The browser's program; empty where there is none."""
    found = next(filter(None, map(shutil.which, NAMES)), "")
    return found or next((place for place in PLACES if Path(place).exists()), "")


class Browser:
    """A running one."""

    def __init__(self, profile: Path, process: subprocess.Popen[bytes]) -> None:
        self._profile, self._process = profile, process
        self.version = ""

    def up(self) -> None:
        """Wait until pages can be opened.

        Raises:
            OSError: it has ended, or takes too long.
        """
        deadline, file = time.monotonic() + UP_S, self._profile / "DevToolsActivePort"
        while self._process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError, ValueError):
                self._port = int(file.read_text().split()[0])
                self.version = self._ask("GET", "version").partition('"Browser": "')[2].partition('"')[0]
                return
            time.sleep(0.05)
        raise OSError("Chromium does not come up")

    def open(self, url: str) -> str:
        """Open a page in a tab of its own; the tab."""
        tab = json.loads(self._ask("PUT", f"new?{urllib.parse.quote(url, safe='')}"))
        return str(tab["id"])

    def close(self, tab: str) -> None:
        """Close a tab, as a reader does."""
        self._ask("GET", f"close/{tab}")

    def connections(self, port: int) -> int | None:
        """How many it has to a port of this machine; None where nobody can say."""
        try:
            import psutil

            mine = psutil.Process(self._process.pid)
            found = [c for p in (mine, *mine.children(recursive=True)) for c in p.net_connections("tcp")]
        except (ImportError, psutil.Error):
            return None
        return len([c for c in found if c.raddr and c.raddr.port == port and c.status == psutil.CONN_ESTABLISHED])

    def _ask(self, method: str, what: str) -> str:
        request = urllib.request.Request(f"http://127.0.0.1:{self._port}/json/{what}", method=method)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=UP_S) as answer:
            return str(answer.read().decode())


@contextlib.contextmanager
def labs(made: Callable[..., Lab]) -> Iterator[tuple[Lab, Lab]]:
    """A lab for HTTP/1.1, in clear, and one that offers HTTP/2, over TLS, as browsers demand.

    Raises:
        OSError: there is no browser here, so neither is started.
        LabkitError: what HTTP/2 or TLS takes is not installed.
    """
    if not find():
        raise OSError(MISSING)
    with made() as old, made(tls=True, http=(1, 2)) as new:
        yield old, new


@contextlib.contextmanager
def browser(keys: Iterable[str] = ()) -> Iterator[Browser]:
    """A browser with a profile of its own, which ends with the block and leaves nothing.

    Args:
        keys: that it believes whoever vouches for them, by the fingerprint of each (``lab.fingerprint``).

    Raises:
        OSError: there is none here, or it does not come up.
    """
    if not (program := find()):
        raise OSError(MISSING)
    with tempfile.TemporaryDirectory(prefix="labkit-browser-", ignore_cleanup_errors=True) as profile:
        command = [program, *FLAGS, f"--user-data-dir={profile}"]
        command += [f"--ignore-certificate-errors-spki-list={','.join(keys)}"] * bool(keys)
        command += ["--no-sandbox"] * (hasattr(os, "geteuid") and os.geteuid() == 0)  # it refuses to be root otherwise
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(
            [*command, "about:blank"], stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True
        )
        try:
            found = Browser(Path(profile), process)
            found.up()
            yield found
        finally:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL) if hasattr(os, "killpg") else process.kill()
            process.wait()
