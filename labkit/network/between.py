"""What stands between a client and a target: pointed at the target, with an address of its own, started and closed."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from labkit.errors import LabkitError
from labkit.network.relay_target import HOST, Target, check_address
from labkit.theory import Stretch


class Between(ABC):
    """A relay of the kit, or a program of somebody else's.

    ``start`` and ``close`` may be called from any thread and do nothing the second time. Works as a context manager,
    with ``with`` and with ``async with``.

    Args:
        target: a lab, a relay or ``(host, port)``; may be given later, to :meth:`bind`.
        name: what it is called in messages and figures.
    """

    kinds: tuple[str, ...] | None = None
    """Which of the target's ports it stands in front of, by name; None: all."""

    def __init__(self, target: Target | None, name: str) -> None:
        self.name = name
        self.disturbed = 0
        """How often it was cut, stalled, or set otherwise: nothing is expected of a run in which that happened."""
        self._target: Target | None = None
        if target is not None:
            self.bind(target)

    @property
    def missing(self) -> str:
        """Why it cannot be started on this machine, and what to do; empty if it can."""
        return ""

    @property
    def target(self) -> Target | None:
        """What it stands in front of; None while it is unbound."""
        return self._target

    @property
    def stretch(self) -> Stretch:
        """What theory is told of it."""
        return Stretch(self.name)

    @property
    @abstractmethod
    def running(self) -> bool:
        """Whether it takes connections."""

    @property
    @abstractmethod
    def ports(self) -> Mapping[str, int]:
        """Its listening ports, under the names of the target's; empty while it is not running."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that stand in for the target's HTTP port.

        Raises:
            LabkitError: it is not running.
        """
        ports = self.ports
        if not ports:
            raise LabkitError(self.missing or f"{self.name} has no address yet: start() it first")
        return HOST, ports.get("http") or next(iter(ports.values()))

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``, in place of the target's.

        Raises:
            LabkitError: it is not running.
        """
        return "http://{}:{}".format(*self.address)

    def bind(self, target: Target | None) -> Self:
        """Point it at *target*; None unbinds it.

        Raises:
            ValueError: not a lab, a relay or ``(host, port)``.
            LabkitError: it is running.
        """
        if self.running:
            raise LabkitError(f"{self.name} is running: close() it before you bind it")
        if target is self:
            raise ValueError(f"{self.name} cannot be its own target")
        has_ports = isinstance(getattr(target, "ports", None), Mapping)
        self._target = target if target is None or has_ports else check_address(target)
        return self

    @abstractmethod
    def start(self) -> Self:
        """Take connections.

        Raises:
            LabkitError: it has no target, or its target is not running.
        """

    @abstractmethod
    def close(self) -> None:
        """End, with every connection."""

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.close)


def led_through(target: Target | None) -> tuple[list[Between], Target | None]:
    """What this leads through, from the first on, and what is behind the last."""
    found: list[Between] = []
    while isinstance(target, Between):
        found.append(target)
        target = target.target
    return found, target
