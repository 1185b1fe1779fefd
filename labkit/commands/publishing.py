"""The arguments that say what is published, which ``serve`` and ``measure`` share."""

from __future__ import annotations

import argparse
from typing import Any

from labkit.errors import ScheduleError
from labkit.measuring import schedules
from labkit.measuring.schedules import Schedule

SOURCES = "machine, periodic, poisson, burst, jobs, or trace FILE"


def add_source(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--source", nargs="+", metavar="SOURCE", help=what + SOURCES)
    parser.add_argument("--rate", type=float, default=5.0, help="events per second (default: %(default)s)")
    parser.add_argument("--payload-bytes", type=int, default=20, help="size of each event (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of what is random (default: %(default)s)")


def schedule_of(arguments: argparse.Namespace, seconds: float) -> Schedule:
    """The schedule that the arguments of :func:`add_source` ask for, *seconds* long.

    Raises:
        ScheduleError: no such source, or a trace without its file.
    """
    name, *rest = arguments.source or ["poisson"]
    rate, size, seed = arguments.rate, arguments.payload_bytes, arguments.seed
    if (name == "trace") != (len(rest) == 1) or len(rest) > 1:
        raise ScheduleError(f"--source {' '.join([name, *rest])}: expected {SOURCES}")
    if name in ("machine", "burst") and rate <= 0:
        raise ScheduleError(f"--rate {rate:g}: expected a number above 0")
    made: dict[str, Any] = {
        "machine": lambda: schedules.machine(every_s=1 / rate, duration_s=max(seconds, 1 / rate)),
        "periodic": lambda: schedules.periodic(rate, seconds, size, seed=seed),
        "poisson": lambda: schedules.poisson(rate, seconds, size, seed=seed),
        "burst": lambda: schedules.burst(every_s=10 / rate, duration_s=seconds, payload_bytes=size),
        "jobs": lambda: schedules.jobs(rate, seconds, seed=seed),
        "trace": lambda: schedules.trace(rest[0]),
    }
    if name not in made:
        raise ScheduleError(f"--source {name}: expected {SOURCES}")
    schedule: Schedule = made[name]()
    return schedule
