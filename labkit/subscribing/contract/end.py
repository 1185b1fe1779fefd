"""The end: closing a lab ends what hangs on it, soon, whoever is slow."""

from __future__ import annotations

import pickle
import time

from labkit.lab.lab import Lab
from labkit.subscribing.contract.order import DATA, NUMBER, check_all
from labkit.subscribing.contract.promise import BOTH, FOREVER_S, Trial, is_held, promise, publish, tasks_of
from labkit.subscribing.contract.receiver import Receiver
from labkit.subscribing.contract.slow import stalled
from labkit.subscribing.contract.waiting import UNIT_S, require
from labkit.techniques import Technique

GROUP = "the end"


def close(lab: Lab) -> None:
    began_s = time.monotonic()
    lab.close()
    took_s = time.monotonic() - began_s
    require(took_s < UNIT_S, f"closing took {took_s:.2g} s")


def ending(trial: Trial, lab: Lab, already: int = 0) -> None:
    """Closing *lab* ends three clients within a second, and loses nothing that they were given."""
    from_here = list(range(already + 1, already + 6))
    receivers = [trial.attach(lab, retry_s=FOREVER_S) for _ in range(3)]
    try:
        publish(lab, 5)
        for receiver in receivers:
            receiver.wait_until(already + 5)
        close(lab)
        trial.until(lambda: not any(map(is_connected, receivers)), "a client's connections end with the lab", UNIT_S)
        for receiver in receivers:
            if not receiver.technique.resumes:
                receiver.wait_end(UNIT_S)
            require(receiver.ids == from_here, f"arrived before the end: {receiver.ids}, published: {from_here}")
    finally:
        for receiver in receivers:
            receiver.close()


@promise(GROUP, "Closing a lab ends every client within a second, and every handler.", fanouts=BOTH)
def closing_ends_all(trial: Trial) -> None:
    before = tasks_of(trial.technique)
    with trial.lab() as lab:
        ending(trial, lab)
    trial.until(lambda: tasks_of(trial.technique) <= before, "its handlers end with the lab", UNIT_S)


@promise(GROUP, "Closing a lab does not wait for a stalled reader.", why_not=is_held)
def closing_does_not_wait(trial: Trial) -> None:
    with trial.lab(slow="drop-oldest") as lab, stalled(trial, lab):
        close(lab)


def is_connected(receiver: Receiver) -> bool:
    return any(record.closed_ns is None for record in receiver.ledger.connections)


def elsewhere(technique: Technique) -> str | None:
    parts = {getattr(part, "__module__", "") for part in (technique.handler, technique.connect)}
    if "__main__" in parts:
        return "a process of its own takes a technique from a module, not from a cell or a script"
    try:
        pickle.dumps(technique)
    except Exception as error:
        return f"it cannot be handed to a process of its own: {error}"
    return None


@promise(GROUP, "Served from a process of its own, it keeps order and ends when that is closed.", why_not=elsewhere)
def own_process(trial: Trial) -> None:
    with trial.lab(process=True) as lab:
        with trial.attach(lab) as receiver:
            for data in DATA:
                lab.publish(data)
            receiver.wait_until(NUMBER)
            check_all(receiver, DATA)
        trial.until(lambda: lab.stats()["subscribers"] == 0, "the subscriber that has gone is forgotten")
        ending(trial, lab, already=NUMBER)


PROMISES = (closing_ends_all, closing_does_not_wait, own_process)
