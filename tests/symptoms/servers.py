"""Servers of other people's programs, each in a process of its own that ends with its context.

Packages of Python are looked for beside the Python that ``LABKIT_FOREIGN_PYTHON`` names, else beside this one; those of
node where ``NODE_PATH`` says. What is not installed is skipped.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from planted_streams import ndjson, planted

UP_S = 60.0
Served = tuple[str, dict[str, object]]

NODE_STREAM = """
const http = require("http"), compression = require("compression"), express = require("express")
const app = express()
app.use(compression({level: 6, filter: () => true}))
app.get("/", (request, response) => {
  response.set("Content-Type", "text/event-stream")
  let n = 0
  const flush = "%s"
  const timer = setInterval(() => {
    if (flush === "before") response.flush()
    response.write(`id: ${++n}\\ndata: event ${n}\\n\\n`)
    if (flush === "after") response.flush()
  }, 250)
  request.on("close", () => clearInterval(timer))
})
app.listen(process.env.PORT, "127.0.0.1")
"""
WSGI = """
import time
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/event-stream")])
    for n in range(100):
        yield b"id: %d\\ndata: x\\n\\n" % n
        time.sleep(0.1)
"""


def python() -> str:
    return os.environ.get("LABKIT_FOREIGN_PYTHON", sys.executable)


def needs(*modules: str) -> None:
    """Skip where that Python has not all of these."""
    done = subprocess.run([python(), "-c", f"import {', '.join(modules)}"], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"{python()} has no {' or no '.join(modules)}")


def node(*modules: str) -> str:
    """Where node is; skip where it is not, or has not all of these."""
    found = shutil.which("node")
    names = " ".join(f"require({name!r});" for name in modules)
    if found is None or subprocess.run([found, "-e", names], capture_output=True, check=False).returncode:
        pytest.skip(f"node is not installed, or has no {' or no '.join(modules)} (NODE_PATH)")
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def running(words: list[str], port: int, folder: str | None = None) -> Iterator[str]:
    """A program, once it takes connections at that port; in the environment it is PORT. Yields its URL."""
    environment = {**os.environ, "PORT": str(port)}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(words, cwd=folder, env=environment, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + UP_S
            while not _takes(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise RuntimeError(f"{words[0]} did not come up: {log.read()[-800:].decode(errors='replace')}")
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}/"
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()
            process.wait()


def _takes(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def compressing(flush: str) -> Iterator[Served]:
    """An event stream through node's ``compression``, flushed never, before or after each event."""
    with running([node("compression", "express"), "-e", NODE_STREAM % flush], free_port()) as url:
        yield url, {}


def gunicorn() -> Iterator[Served]:
    needs("gunicorn")
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "served.py").write_text(WSGI)
        words = [python(), "-m", "gunicorn", "-w", "2", "-b", f"127.0.0.1:{port}", "served:app"]
        with running(words, port, folder) as url:
            yield url, {"parallel": 5}


def jupyter_proxy() -> Iterator[Served]:
    """jupyter-server-proxy streams where Accept is exactly text/event-stream; lines are asked for with any."""
    if subprocess.run([sys.executable, "-c", "import jupyter_server_proxy"], capture_output=True).returncode:
        pytest.skip("jupyter-server-proxy is not installed")
    port = free_port()
    words = [sys.executable, "-m", "jupyter", "server", "--allow-root", "--no-browser", f"--port={port}",
             "--IdentityProvider.token=", "--ServerApp.password=", "--ServerApp.port_retries=0"]  # fmt: skip
    with planted(lambda asked: ndjson(asked, held_for_any=False)) as direct, running(words, port) as url:
        yield f"{url}proxy/{direct.rstrip('/').rpartition(':')[2]}/", {"technique": "http-streaming"}
