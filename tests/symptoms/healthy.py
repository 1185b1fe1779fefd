"""Healthy servers, on which nothing may be found: the kit's own, and other people's, in ``foreign``."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import test_probe_healthy
from planted_programs import as_recommended, by_version
from planted_sockets import healthy_socket, recycled_socket
from planted_streams import planted

from labkit.lab.lab import Lab
from symptoms.foreign import FOREIGN

Asked = tuple[str, dict[str, Any]]
World = Callable[[], contextlib.AbstractContextManager[Asked]]
PROXIES = ("nginx", "haproxy", "caddy", "traefik", "envoy")


def of_lab(route: str) -> World:
    @contextlib.contextmanager
    def world() -> Iterator[Asked]:
        with Lab("probed") as lab, test_probe_healthy.publishing(lab):
            url = lab.url.rstrip("/") + route
            yield (url.replace("http:", "ws:") if "websocket" in route else url), {}

    return world


def of_answer(answer: Any, *, socket: bool = False) -> World:
    @contextlib.contextmanager
    def world() -> Iterator[Asked]:
        with planted(answer) as url:
            yield (url.replace("http:", "ws:") if socket else url), {}

    return world


def behind(program: str) -> World:
    @contextlib.contextmanager
    def world() -> Iterator[Asked]:
        with planted(by_version(8)) as direct, as_recommended(program, direct) as hop:
            yield hop.url, {"also": direct}

    return world


HEALTHY: list[tuple[str, World, float]] = [
    *((f"a lab, {route}", of_lab(route), 0.6) for route in test_probe_healthy.ROUTES),
    *((f"a stream, {name}", of_answer(answer), 1.6) for name, answer in test_probe_healthy.HEALTHY.items()),
    ("a WebSocket", of_answer(healthy_socket, socket=True), 1.0),
    ("a WebSocket, closed with 1001", of_answer(recycled_socket, socket=True), 1.0),
    *((f"behind {program} as recommended, --also", behind(program), 1.6) for program in PROXIES),
    *((name, world, 2.0) for name, world in FOREIGN.items()),
]
