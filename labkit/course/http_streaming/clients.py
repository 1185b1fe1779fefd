"""Clients of S6: those that are installed here, each with its default reading."""

from __future__ import annotations

import http.client
import importlib
import shutil
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

TIMEOUT_S = 5.0


def clients(missing: dict[str, str]) -> Iterator[tuple[str, Callable[[str], object]]]:
    """Name and version of each client, and a function that returns once the first event shows."""
    yield "urllib, read()", partial(_with_urllib, lambda answer: answer.read())
    yield "urllib, read(1024)", partial(_with_urllib, lambda answer: answer.read(1024))
    yield "urllib, for line in", partial(_with_urllib, lambda answer: next(iter(answer)))
    if curl := shutil.which("curl"):
        version = subprocess.run([curl, "--version"], capture_output=True, text=True).stdout.split()[1]
        yield f"curl {version}", partial(_with_curl, [curl, "-sS"])
        yield f"curl {version}, -N", partial(_with_curl, [curl, "-sSN"])
    else:
        missing["curl"] = "not installed"
    for name, ways in _LIBRARIES.items():
        try:
            library = importlib.import_module(name)
        except ImportError:
            missing[name] = "not installed"
            continue
        for way, first in ways.items():
            yield f"{name} {library.__version__}, {way}", partial(first, library)


def _with_urllib(first: Callable[[http.client.HTTPResponse], object], url: str) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=2 * TIMEOUT_S) as answer:
        first(answer)


def _with_curl(command: list[str], url: str) -> None:
    """What another program sees of it: standard output is a pipe."""
    with subprocess.Popen([*command, "--noproxy", "*", url], stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        process.kill()


def _requests_get(requests: Any, url: str) -> None:
    with _requests(requests) as session:
        session.get(url, timeout=2 * TIMEOUT_S)


def _requests_lines(requests: Any, url: str) -> None:
    with _requests(requests) as session, session.get(url, stream=True, timeout=2 * TIMEOUT_S) as answer:
        next(answer.iter_lines())


@contextmanager
def _requests(requests: Any) -> Iterator[Any]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


def _httpx_lines(httpx: Any, url: str) -> None:
    with httpx.Client(trust_env=False, timeout=2 * TIMEOUT_S) as client, client.stream("GET", url) as answer:
        next(answer.iter_lines())


_LIBRARIES: dict[str, dict[str, Callable[[Any, str], None]]] = {
    "requests": {"get()": _requests_get, "iter_lines()": _requests_lines},
    "httpx": {"iter_lines()": _httpx_lines},
}
