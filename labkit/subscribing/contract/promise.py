"""What a promise is, and what it is tried on: a lab of its own that serves the technique beside the others."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from labkit import loop
from labkit.client.tls import Trust
from labkit.lab.lab import Lab
from labkit.subscribing.contract.receiver import Receiver
from labkit.subscribing.contract.waiting import PATIENCE_S, UNIT_S, Broken, until
from labkit.techniques import TECHNIQUES, Technique

QUICK = {"interval_s": 0.02 * UNIT_S, "retry_s": 0.01 * UNIT_S}
PACE = (*QUICK, "hold_s")
"""Options that a promise sets for whoever takes them."""
FOREVER_S = 600 * UNIT_S
BOTH = ("direct", "plain")


@dataclass(frozen=True, slots=True)
class Trial:
    """One technique, and how it is tried.

    Attributes:
        fanout: how its events are fanned out.
        http: the version of HTTP that it is tried over.
        patience_s: how long what has to come may take.
        soon_s: how long what is promised to be at once may take.
        tls: whether the lab speaks TLS.
    """

    technique: Technique
    fanout: str = "direct"
    http: int = 1
    patience_s: float = PATIENCE_S
    soon_s: float = UNIT_S
    tls: bool = False

    @contextlib.contextmanager
    def lab(self, **options: Any) -> Iterator[Lab]:
        """A lab with this technique, in the place of any registered one that it would clash with."""
        mine = self.technique
        others = [t for t in TECHNIQUES if t.name != mine.name and (not t.route or t.route != mine.route)]
        versions = (1, 2) if self.http == 2 else (1,)
        options = {"fanout": self.fanout, "http": versions, "tls": self.tls, **options}
        named = f"contract of {mine.name}{' over TLS' * self.tls}"
        with Lab(named, techniques=(*others, mine), **options) as lab:
            yield lab

    def attach(self, lab: Lab, technique: Technique | None = None, **options: Any) -> Receiver:
        """A subscriber from now on, in place before anything else is published."""
        return attach(lab, technique or self.technique, **self.how(technique), **options)

    def how(self, technique: Technique | None = None) -> dict[str, Any]:
        """How a client of the technique, or of another, is tried: patience, and the version if it speaks HTTP."""
        has_http = bool((technique or self.technique).http_version)
        return {"patience_s": self.patience_s} | ({"http": self.http} if has_http else {})

    def until(self, condition: Callable[[], Any], what: str, timeout_s: float | None = None) -> Any:
        return until(condition, what, self.patience_s if timeout_s is None else timeout_s)

    def until_forgotten(self, lab: Lab, timeout_s: float | None = None) -> None:
        """Wait until the lab has no subscriber and no connection any more."""

        def forgotten() -> bool:
            stats = lab.stats()
            return stats["subscribers"] == 0 and stats["connections"] == 0

        self.until(forgotten, "a client that has gone is still a subscriber or a connection of the server", timeout_s)


def attach(lab: Lab, technique: Technique, **options: Any) -> Receiver:
    """A subscriber of *technique* from now on, in place before anything else is published."""
    options.setdefault("after", lab.cursor(options.get("topic", "")))
    given = {name: value for name, value in options.items() if name not in PACE} | technique.taken_of(
        {**QUICK, **options}
    )
    return Receiver(technique, lab.url_of(technique.name), **trusting(lab), **given)


def trusting(lab: Lab) -> dict[str, Any]:
    """What a client is told so that it believes a lab that speaks TLS."""
    return {} if lab.cafile is None else {"trust": Trust(lab.cafile)}


def url_at(lab: Lab, technique: Technique, port: int) -> str:
    """The address of a technique where *port* stands in front of its own."""
    return technique.url("127.0.0.1", {**lab.ports, technique.port: port}, tls=lab.cafile is not None)


def epoch_of(lab: Lab) -> str:
    return lab.cursor().partition("@")[2]


def publish(lab: Lab, count: int, size: int = 0) -> None:
    """Publish *count* events of *size* bytes."""
    for _ in range(count):
        lab.publish("x" * size)


def publish_at_once(lab: Lab, count: int, size: int = 0) -> None:
    """The same on the lab loop: nobody has a turn before the last of them."""

    async def all_of_them() -> None:
        publish(lab, count, size)

    loop.run(all_of_them())


# -- what a promise asks a technique ---------------------------------------------------------------------------------


def streams(technique: Technique) -> str | None:
    return None if technique.kind == "stream" else "each answer is asked for"


def polls(technique: Technique) -> str | None:
    return None if technique.kind != "stream" else "one response, and no answers"


def is_held(technique: Technique) -> str | None:
    return None if technique.kind != "poll" else "the server holds nothing of it between two requests"


def conflates(technique: Technique) -> str | None:
    return None if "conflate" in technique.options else "its client has no option `conflate`"


def always(_: Technique) -> None:
    return None


# -- promises --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Promise:
    """Something that every technique keeps.

    Attributes:
        name: what it is called in tables and in ``only``.
        group: what it belongs to.
        sentence: what is promised.
        why_not: why it does not apply to a technique; None if it does.
        fanouts: the ways of fan-out that it is kept with.
    """

    name: str
    group: str
    sentence: str
    why_not: Callable[[Technique], str | None]
    fanouts: tuple[str, ...]
    _try: Callable[[Trial], None]

    def keep(self, trial: Trial) -> None:
        """Try it.

        Raises:
            Broken: it is not kept; says how.
        """
        before = tasks_of(trial.technique)
        try:
            self._try(trial)
        except Broken:
            raise
        except Exception as error:
            raise Broken(f"{type(error).__name__}: {error}") from error
        finally:
            loop.run(end_all_but(before, trial))


def promise(
    group: str,
    sentence: str,
    *,
    why_not: Callable[[Technique], str | None] = always,
    fanouts: tuple[str, ...] = ("direct",),
) -> Callable[[Callable[[Trial], None]], Promise]:
    """Make a function that tries something, and raises :class:`Broken`, a promise of its name."""

    def made(trying: Callable[[Trial], None]) -> Promise:
        return Promise(trying.__name__.replace("_", "-"), group, sentence, why_not, fanouts, trying)

    return made


Tasks = set[asyncio.Task[Any]]


def tasks_of(technique: Technique) -> Tasks:
    """The tasks on the lab loop that run this technique's server half: its file's coroutines, its handler's."""

    async def find() -> Tasks:  # on the loop, where no frame runs meanwhile
        return tasks_here(technique)

    return loop.run(find())


def tasks_here(technique: Technique) -> Tasks:
    handler = technique.handler
    parts = [inspect.unwrap(technique.client), *(vars(handler).values() if handler is not None else ())]
    files = {part.__code__.co_filename for part in parts if isinstance(part, FunctionType)}

    def is_its(task: asyncio.Task[Any]) -> bool:
        frame = getattr(task.get_coro(), "cr_frame", None)
        if frame is None:
            return False
        owner = frame.f_locals.get("self")
        return frame.f_code.co_filename in files or (handler is not None and isinstance(owner, handler))

    return {task for task in asyncio.all_tasks() if is_its(task)}


async def end_all_but(before: Tasks, trial: Trial) -> None:
    """Nothing of a technique stays: what its handlers still have to do is waited for, then cancelled."""
    if left := tasks_here(trial.technique) - before:
        _, left = await asyncio.wait(left, timeout=trial.soon_s)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=trial.soon_s)
