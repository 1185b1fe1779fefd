"""Real intermediaries: nginx, HAProxy and others between client and lab, where they are installed.

An :class:`labkit.network.intermediary.Intermediary` does what it is told; these do what they do. Each is started
unprivileged, on loopback, from a configuration in a temporary folder that ``configuration`` shows, and ended with the
notebook: nothing stays behind, not even after a SIGKILL of the kernel (``watchdog.py``).

Its connections are its own, and nobody counts their bytes: what it did is seen from both sides of it.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import sys
import threading
import time
from functools import cached_property
from typing import Literal, Self, get_args

from labkit import loop as lab_loop
from labkit.errors import LabkitError
from labkit.network.between import Between
from labkit.network.programs import PROGRAMS
from labkit.network.programs.program import Program, filled, search_path
from labkit.network.relay_target import HOST, Target, addresses
from labkit.server.tls import forget, throw_away
from labkit.sockets import dial
from labkit.theory import Stretch

if sys.platform != "win32":
    from labkit.network.watched import Watched

Configuration = Literal["default", "recommended"]

UP_S = 30.0
LOOK_S = 0.02
TRIES = 5  # another program may be quicker to take a port that was free
LAST_LINES = 8
TAKEN = "address already in use"


def real_intermediary(
    program: str, target: Target | None = None, config: Configuration = "default", *, http: int = 1
) -> RealIntermediary:
    """nginx, HAProxy or another real program between client and lab: started here, if it is installed.

    With a target it is started at once; without one by ``measure(through=...)``, which points it at the lab or at the
    next one on the path, and ends it. It runs as you, or as ``nobody`` where you are root. ::

        with labkit.real_intermediary("nginx", lab) as nginx:
            labkit.measure(lab, through=nginx)

    A program that is not installed is no error, so that a notebook goes on: the object is there, its ``missing`` says
    how to install it, and a run through it leaves every technique *not run*, for that reason.

    Args:
        program: ``nginx``, ``haproxy``, ``squid``, ``varnish``, ``caddy``, ``apache``, ``lighttpd``, ``traefik``
            or ``envoy``.
        target: a lab, a relay or ``(host, port)``. Only its HTTP port is passed on: a plugin socket is *not run*.
        config: ``default`` has nothing but the target's address; ``recommended`` is what the program's own
            documentation advises for streams and WebSocket. ``configuration`` shows it.
        http: 2 makes it an HTTP/2 edge: over TLS, with a certificate of an authority made for it (``cafile``), it
            offers HTTP/2 and HTTP/1.1 (ALPN), and asks the target in HTTP/1 as before. nginx, haproxy, caddy, traefik.

    Raises:
        ValueError: a program, a configuration or an edge that the kit does not know; lists those that it knows.
        LabkitError: the program does not come up (the last lines of its log are in the message), or the target is not
            running.
    """
    if program not in PROGRAMS:
        raise ValueError(f"there is no real intermediary {program!r}; known: {', '.join(PROGRAMS)}")
    if config not in get_args(Configuration):
        raise ValueError(f"config must be one of {', '.join(get_args(Configuration))}, not {config!r}")
    edges = [name for name, known in PROGRAMS.items() if known.edge]
    if http not in (1, 2) or (http == 2 and program not in edges):
        raise ValueError(
            f"{program} as an edge of HTTP/{http}: known are HTTP/2 with {', '.join(edges)}, HTTP/1 with all"
        )
    found = RealIntermediary(PROGRAMS[program], target, config, http)
    return found if target is None or found.missing else found.start()


class RealIntermediary(Between):
    """A program of somebody else's in front of a target; :func:`real_intermediary` makes it.

    ``start``, ``close``, ``with``, ``async with``, ``address`` and ``url`` are as with a :class:`labkit.Link`; a
    ``with`` block around one that is missing is entered all the same.
    """

    kinds = ("http",)

    def __init__(self, program: Program, target: Target | None, config: Configuration, http: int = 1) -> None:
        self.program = program
        self.config = config
        self.http = http
        self.cafile: str | None = None
        """Where the certificate of the authority is that vouches for an HTTP/2 edge, while it runs; PEM."""
        self.fingerprint: str | None = None
        """Of the edge's key, for Chromium, as ``lab.fingerprint``."""
        self._lock = threading.RLock()
        self._watched: Watched | None = None
        self._port, self._text, self._log = 0, "", ""
        super().__init__(target, program.name)

    @property
    def missing(self) -> str:
        """Why it cannot be started on this machine, and what to do; empty if it can."""
        if sys.platform == "win32":
            return f"{self.name} is not started on Windows: most of these programs are made for POSIX. Use WSL"
        if self.program.find() is None:
            return f"{self.name} is not installed: {self.program.install}"
        return ""

    @cached_property
    def version(self) -> str:
        """Its version, as the program itself says it; empty where it is missing."""
        if self.missing:
            return ""
        command = [self.name, *self.program.version]
        said = subprocess.run(
            command, executable=self.program.find(), capture_output=True, text=True, timeout=UP_S, errors="replace"
        )
        number = re.search(r"\d+(\.\d+)+", said.stdout + said.stderr)
        return number[0] if number else ""

    @property
    def configuration(self) -> str:
        """Its configuration as text. Until it has run, ``@port@``, ``@target@`` and ``@folder@`` stand for theirs."""
        return self._text or self.program.text(self.config, self.http)

    def log(self) -> str:
        """What it has written to its log, the newest 256 KiB; after its end, what that was then."""
        if self._watched is not None:
            self._log = self._watched.log()
        return self._log

    @property
    def running(self) -> bool:
        return self._port > 0 and self._watched is not None and not self._watched.look()

    @property
    def ports(self) -> dict[str, int]:
        """Its port under the name of the target's, ``http``; empty while it is not running."""
        return {"http": self._port} if self.running else {}

    @property
    def pid(self) -> int | None:
        """Of its first process; None while it is not running."""
        return self._watched.pid if self._watched is not None and self.running else None

    @property
    def stretch(self) -> Stretch:
        edge = ", HTTP/2 edge" if self.http == 2 else ""
        named = f"{self.name} {self.version} ({self.config}{edge})".replace("  ", " ")
        return Stretch(named, gateway=True, obstacle=f"what {named} does to an answer is not known beforehand")

    def start(self) -> Self:
        """Start the program and wait until it takes connections.

        Raises:
            LabkitError: it is missing or does not come up, or its target is not running.
        """
        with self._lock:
            if self.running:
                return self
            self.close()
            if why := self.missing:
                raise LabkitError(why)
            address = addresses(self._target, self.name, self.kinds)["http"]
            _running[id(self)] = self
            for _ in range(TRIES):
                try:
                    why = self._try(address, _free_port())
                except BaseException:
                    self.close()
                    raise
                if not why:
                    return self
                self.close()
                if TAKEN not in self._log.lower():
                    break
            last = self._log.splitlines()[-LAST_LINES:] or ["(it has written nothing)"]
            raise LabkitError("\n".join([f"{self.name} {self.version} {why}. The last lines of its log:", *last]))

    def _try(self, target: tuple[str, int], port: int) -> str:
        """Start the program on *port* and wait until it is up; why it is not."""
        host = f"[{target[0]}]" if ":" in target[0] else target[0]
        values = {"port": port, "target": f"{host}:{target[1]}", "target_host": target[0], "target_port": target[1]}
        executable = self.program.find()
        self._text = filled(self.program.text(self.config, self.http), values)
        files = {self.program.file: self._text}
        if self.http == 2:
            identity = throw_away()
            files["identity.pem"], self.fingerprint = identity.chain.decode(), identity.fingerprint
            self.cafile = identity.publish_authority()
        self._watched = Watched(
            self.name,
            [str(executable), *(filled(word, values) for word in self.program.arguments)],
            files,
            {"PATH": search_path(), "LC_ALL": "C"},
            self.program.grace_s,
        )
        self._text = self._text.replace("@folder@", str(self._watched.folder))
        deadline = time.monotonic() + UP_S
        while not self._watched.look():
            if self._is_up(port, self._watched.pid):
                self._port = port
                return ""
            if time.monotonic() > deadline:
                return f"takes no connections after {UP_S:g} s"
            time.sleep(LOOK_S)
        return "has ended at once"

    def _is_up(self, port: int, pid: int) -> bool:
        """Whether it takes connections, and it is not another program that was quicker to take the port."""
        try:
            with dial(port, LOOK_S * 50) as sock:
                if not _is_of(port, pid):
                    return False
                if not self.program.ready:
                    return True
                sock.sendall(f"GET {self.program.ready} HTTP/1.0\r\nHost: {HOST}\r\n\r\n".encode())
                return b" 200 " in sock.recv(64)
        except OSError:
            return False

    def close(self) -> None:
        """End the program, all of its workers included, and remove its folder."""
        with self._lock:
            watched, self._port = self._watched, 0
            forget(self.cafile)
            self.cafile = self.fingerprint = None
            if watched is not None:
                watched.close()
                self._log, self._watched = watched.log(), None
            _running.pop(id(self), None)

    @property
    def url(self) -> str:
        return super().url.replace("http:", "https:") if self.http == 2 else super().url

    def __enter__(self) -> Self:
        return self if self.missing else self.start()

    async def __aenter__(self) -> Self:
        try:
            return await asyncio.to_thread(self.__enter__)  # it takes up to seconds
        except asyncio.CancelledError:
            await asyncio.to_thread(self.close)
            raise

    def __repr__(self) -> str:
        state = f"on {self.url}" if self.running else f"missing: {self.missing}" if self.missing else "not running"
        return f"<{self.stretch.name}, {state}>"


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def _is_of(port: int, pid: int) -> bool:
    """Whether it is that process, or a child of it, that listens there; True where nobody can say."""
    try:
        import psutil

        process = psutil.Process(pid)
        connections = [c for p in (process, *process.children(recursive=True)) for c in p.net_connections("tcp")]
        return any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in connections)
    except ImportError:
        return True
    except psutil.Error as error:
        return isinstance(error, psutil.AccessDenied)


_running: dict[int, RealIntermediary] = {}


def _close_all() -> None:
    for program in list(_running.values()):
        program.close()


def _forget_after_fork() -> None:
    """The programs are the parent's: in a forked child they count as ended, and nothing of them is touched."""
    for program in _running.values():
        program._lock = threading.RLock()
        if program._watched is not None:
            program._watched.abandon()
        program._watched, program._port = None, 0
    _running.clear()


lab_loop.at_exit(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
