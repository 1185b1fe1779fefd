"""The end: closing a lab ends what hangs on it, soon, whoever is slow."""

from __future__ import annotations

import contextlib
import pickle
import time
from collections.abc import Sequence

from labkit.lab.lab import Lab
from labkit.subscribing.contract.order import DATA, NUMBER, check_all
from labkit.subscribing.contract.promise import BOTH, FOREVER_S, Trial, is_held, promise, publish, tasks_of
from labkit.subscribing.contract.receiver import Receiver
from labkit.subscribing.contract.slow import stalled
from labkit.subscribing.contract.waiting import require
from labkit.techniques import Technique

GROUP = "the end"


def close(trial: Trial, lab: Lab) -> None:
    began_s = time.monotonic()
    lab.close()
    took_s = time.monotonic() - began_s
    require(took_s < trial.soon_s, f"closing took {took_s:.2g} s")


def ending(trial: Trial, lab: Lab, receivers: Sequence[Receiver]) -> None:
    """Closing *lab* ends these clients at once, and loses nothing that they were given."""
    first = int(lab.cursor().partition("@")[0]) + 1
    published = list(range(first, first + 5))
    publish(lab, len(published))
    for receiver in receivers:
        receiver.wait_until(published[-1])
    close(trial, lab)
    trial.until(lambda: not any(map(is_connected, receivers)), "a client's connections end with the lab", trial.soon_s)
    for receiver in receivers:
        if not receiver.technique.resumes:
            receiver.wait_end(trial.soon_s)
        require(receiver.ids == published, f"arrived before the end: {receiver.ids}, published: {published}")


def is_connected(receiver: Receiver) -> bool:
    return any(record.closed_ns is None for record in receiver.ledger.connections)


@promise(GROUP, "Closing a lab ends every client within a second, and every handler.", fanouts=BOTH)
def closing_ends_all(trial: Trial) -> None:
    before = tasks_of(trial.technique)
    with trial.lab() as lab, contextlib.ExitStack() as stack:
        ending(trial, lab, three(trial, lab, stack))
    trial.until(lambda: tasks_of(trial.technique) <= before, "its handlers end with the lab", trial.soon_s)


def three(trial: Trial, lab: Lab, stack: contextlib.ExitStack) -> list[Receiver]:
    return [stack.enter_context(trial.attach(lab, retry_s=FOREVER_S)) for _ in range(3)]


@promise(GROUP, "Closing a lab does not wait for a stalled reader.", why_not=is_held)
def closing_does_not_wait(trial: Trial) -> None:
    with trial.lab(slow="drop-oldest") as lab, stalled(trial, lab):
        close(trial, lab)


def elsewhere(technique: Technique) -> str | None:
    parts = {getattr(part, "__module__", "") for part in (technique.handler, technique.client)}
    if "__main__" in parts:
        return "a process of its own takes a technique from a module, not from a cell or a script"
    try:
        pickle.dumps(technique)
    except Exception as error:
        return f"it cannot be handed to a process of its own: {error}"
    return None


@promise(GROUP, "Served from a process of its own, it keeps order and ends when that is closed.", why_not=elsewhere)
def own_process(trial: Trial) -> None:
    with trial.lab(process=True) as lab, contextlib.ExitStack() as stack:
        in_order(trial, lab)
        ending(trial, lab, three(trial, lab, stack))


def in_order(trial: Trial, lab: Lab) -> None:
    topic = f"order {trial.technique.name}"
    with trial.attach(lab, topic=topic) as receiver:
        for data in DATA:
            lab.publish(data, topic)
        receiver.wait_until(NUMBER)
        check_all(receiver, DATA)
    trial.until(lambda: lab.stats()["subscribers"] == 0, "the subscriber that has gone is forgotten")


PROMISES = (closing_ends_all, closing_does_not_wait, own_process)
