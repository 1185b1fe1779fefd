"""``open_lab`` starts a real JupyterLab, says where it is, and ends it on Ctrl-C without a word too many."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from conftest import UNIT
from labkit.commands import lab
from labkit.commands.lab import command, has_display, open_lab
from labkit.commands.notebooks import find_notebook
from labkit.errors import LabkitError

NOTEBOOK = '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with ``notebooks/first.ipynb`` in it."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "first.ipynb").write_text(NOTEBOOK)
    return tmp_path


@contextlib.contextmanager
def start(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    code = (
        f"from labkit.commands.lab import open_lab; raise SystemExit(open_lab('first.ipynb', {', '.join(arguments)}))"
    )
    root = str(Path(__file__).parents[2])
    environment = os.environ | {"PYTHONPATH": root, "JUPYTER_RUNTIME_DIR": str(folder / "runtime")}
    environment |= {"HOME": str(folder), "JUPYTER_CONFIG_DIR": str(folder / "config")}
    environment.pop("JUPYTER_TOKEN", None)
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        try:
            yield process
        except BaseException:  # a test that fails is not to wait for what would go on
            process.terminate()
            raise


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_line_says_where_and_one_signal_ends_it(folder: Path, number: signal.Signals) -> None:
    with start(folder, "browser=False") as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "Ctrl-C" in line:
                break
        text = "".join(lines)
        found = re.search(r"http://\S+/lab/tree/first\.ipynb\?token=\w+", lines[-1])
        assert found, text
        with urllib.request.urlopen(found[0], timeout=20 * UNIT) as answer:
            assert answer.status == 200
        server = psutil.Process(process.pid).children()
        process.send_signal(number)
        rest, _ = process.communicate(timeout=30 * UNIT)
    assert process.returncode == 0
    assert "Traceback" not in rest
    assert "Shut down this" not in rest
    assert [child for child in server if child.is_running()] == []


def test_where_it_is_is_said_only_when_it_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    with socket.socket() as sock, subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as server:
        sock.bind(("127.0.0.1", 0))
        info = {"hostname": "127.0.0.1", "port": sock.getsockname()[1], "url": "http://127.0.0.1/"}
        (tmp_path / f"jpserver-{server.pid}.json").write_text(json.dumps(info))
        listening = threading.Timer(0.3 * UNIT, sock.listen)
        listening.start()
        found = lab._server_info(server, time.time())
        assert listening.finished.is_set() and found == info
        server.communicate(b"\n")
        listening.join()


def test_a_port_in_use_is_an_error_that_ends(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with start(folder, "browser=False", f"port={port}") as process:
            text, _ = process.communicate(timeout=60 * UNIT)
    assert process.returncode != 0
    assert "LabkitError: JupyterLab ended at its start" in text
    assert str(port) in text


def test_a_notebook_is_looked_for_here_and_in_the_notebooks_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    expected = (folder / "notebooks" / "first.ipynb").resolve()
    assert find_notebook("first.ipynb") == expected
    assert find_notebook("notebooks/first.ipynb") == expected
    assert find_notebook(str(expected)) == expected
    with pytest.raises(LabkitError, match=r"absent\.ipynb is neither in .*notebooks"):
        find_notebook("absent.ipynb")


def test_without_jupyterlab_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(LabkitError, match="pip install jupyterlab"):
        open_lab()


@pytest.mark.parametrize(("uid", "allowed"), [(0, True), (1000, False)])
def test_only_root_gets_allow_root(monkeypatch: pytest.MonkeyPatch, uid: int, allowed: bool) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    assert ("--allow-root" in command(Path("a.ipynb"), browser=True)) is allowed


def test_a_browser_is_opened_only_where_there_is_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert not has_display()
    monkeypatch.setenv("DISPLAY", ":0")
    assert has_display()
    assert "--no-browser" in command(Path("a.ipynb"), browser=False)
    assert "--no-browser" not in command(Path("a.ipynb"), browser=True)
