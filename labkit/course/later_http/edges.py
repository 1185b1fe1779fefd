"""Where HTTP/2 is spoken to a lab: by the lab itself, or by a program in front of one that speaks HTTP/1.1 alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from labkit.course.later_http.not_run import NothingSpeaksIt
from labkit.lab.lab import Lab
from labkit.network.link import Link
from labkit.network.real_intermediary import real_intermediary

LAB = "this lab"
FRONTS = ("nginx", "haproxy", "caddy", "traefik")


@dataclass(frozen=True, slots=True)
class Edge:
    """An address at which HTTP/2 is spoken: over TLS, or in clear text to who knows it.

    ``missing``: why there is none.
    """

    name: str
    url: str = ""
    port: int = 0
    cafile: str | None = None
    missing: str = ""

    def through(self, link: Link) -> str:
        """Its address through a link."""
        return f"{self.url.partition('://')[0]}://127.0.0.1:{link.address[1]}"

    def check(self) -> None:
        """Raise NothingSpeaksIt if there is none."""
        if self.missing:
            raise NothingSpeaksIt(f"nothing here speaks HTTP/2: {self.missing}")


@contextlib.contextmanager
def secure(lab: Lab, program: str = "nginx") -> Iterator[Edge]:
    """The lab itself where it speaks HTTP/2, else a program in front of it."""
    if 2 in lab.http:
        yield Edge(LAB, lab.url, lab.port, lab.cafile)
        return
    with front(lab, program) as edge:
        yield edge


@contextlib.contextmanager
def front(lab: Lab, program: str = "nginx") -> Iterator[Edge]:
    """A program as an HTTP/2 edge in front of the lab, as its documentation advises for streams."""
    with real_intermediary(program, lab, "recommended", http=2) as found:
        if found.missing:
            yield Edge(program, missing=found.missing)
        else:
            yield Edge(f"{program} {found.version}", found.url, found.address[1], found.cafile)
