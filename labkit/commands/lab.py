"""``python -m labkit lab``: JupyterLab on the notebooks, from the Python that runs this.

JupyterLab runs as a child in a session of its own, so that Ctrl-C reaches only this process: it then stops the
child once, without the question that a terminal would get from it.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import quote

from labkit.commands.notebooks import FIRST, find_notebook_to_open
from labkit.errors import LabkitError

HELP = "open JupyterLab on the first notebook"
START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 15.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("notebook", nargs="?", default=FIRST, help="which notebook (default: %(default)s)")
    parser.add_argument("--port", type=int, default=None, help="JupyterLab's port (default: 8888, or a free one above)")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")


def run(arguments: argparse.Namespace) -> int:
    """As :func:`open_lab`."""
    return open_lab(arguments.notebook, browser=False if arguments.no_browser else None, port=arguments.port)


def open_lab(notebook: str = FIRST, *, browser: bool | None = None, port: int | None = None) -> int:
    """Run JupyterLab on the notebook's folder until it ends or Ctrl-C ends it.

    Args:
        notebook: the notebook to open, by its name in the course, or a path.
        browser: open a browser; None opens one where there is a display.
        port: the port to listen on; None takes 8888 or the next free one.

    Returns:
        The exit status: 0 after Ctrl-C, else JupyterLab's own.

    Raises:
        LabkitError: JupyterLab is not installed, the notebook is not found, or the server does not start.
    """
    if importlib.util.find_spec("jupyterlab") is None:
        raise LabkitError(f"JupyterLab is not installed here. Install it: {sys.executable} -m pip install jupyterlab")
    path = find_notebook_to_open(notebook)
    with_browser = has_display() if browser is None else browser
    environment = dict(os.environ)
    environment.setdefault("JUPYTER_TOKEN", secrets.token_hex(24))
    with _signals_as_interrupt():
        process = subprocess.Popen(
            command(path, browser=with_browser, port=port),
            cwd=path.parent,
            env=environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            print(f"JupyterLab: {_address(process, path)}  (Ctrl-C ends it)", flush=True)
            return process.wait()
        except KeyboardInterrupt:
            print("\nStopping JupyterLab", flush=True)
            return 0
        finally:
            _stop(process)


def has_display() -> bool:
    """Whether a browser window can be shown on this machine."""
    if sys.platform in ("win32", "darwin"):
        return "SSH_CONNECTION" not in os.environ
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def command(path: Path, *, browser: bool, port: int | None = None) -> list[str]:
    """The command that starts JupyterLab on the notebook at *path*."""
    words = [sys.executable, "-m", "jupyterlab", path.name, f"--ServerApp.root_dir={path.parent}"]
    # One address is printed here: the server's own start-up text would only hide it.
    words += ["--Application.log_level=WARN"]
    # A first start asks about news and looks for updates, which needs a network and hides the notebook.
    words += ["--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    if port is not None:
        words += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    if not browser:
        words += ["--no-browser"]
    if getattr(os, "geteuid", lambda: 1)() == 0:
        words += ["--allow-root"]
    return words


def _address(process: subprocess.Popen[bytes], path: Path) -> str:
    """The notebook's address with its token, once the server listens."""
    info = _server_info(process, time.time())
    token = f"?token={info['token']}" if info.get("token") else ""
    return f"{info['url']}lab/tree/{quote(path.name)}{token}"


def _server_info(process: subprocess.Popen[bytes], started_s: float) -> dict[str, Any]:
    """What the server wrote down about itself, when it also listens there, which it does a little later."""
    from jupyter_core.paths import jupyter_runtime_dir

    path = Path(jupyter_runtime_dir()) / f"jpserver-{process.pid}.json"
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise LabkitError(f"JupyterLab ended at its start with status {process.returncode}; its reason is above")
        # absent, left by a killed server that had the same process id, or still being written
        with contextlib.suppress(OSError, ValueError):
            if path.stat().st_mtime >= started_s - 1.0:
                info: dict[str, Any] = json.loads(path.read_text())
                if _listens(info):
                    return info
        time.sleep(0.1)
    raise LabkitError(f"JupyterLab did not listen within {START_TIMEOUT_S:.0f} s")


def _listens(info: dict[str, Any]) -> bool:
    if info.get("sock"):
        return os.path.exists(info["sock"])
    with contextlib.suppress(OSError):
        socket.create_connection((info["hostname"], info["port"]), timeout=1.0).close()
        return True
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the server and its kernels; a second Ctrl-C, or a server that does not end, kills it."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        process.kill()
        process.wait()


@contextlib.contextmanager
def _signals_as_interrupt() -> Iterator[None]:
    """Let SIGTERM, and the SIGHUP of a closed terminal, end the server as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
