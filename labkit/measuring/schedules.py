"""What is published, and when: periodic, Poisson, burst, jobs, a recorded trace, this machine's own counters.

A :class:`Schedule` is a plan and no more: it publishes nothing and starts nothing. It checks its parameters when
it is made, so that a run never begins with a plan that cannot be carried out, and a trace is read whole then. Its
plan depends on its parameters and seed alone: iterated twice, it is the same twice (but for what ``machine``
samples).
"""

from __future__ import annotations

import csv
import io
import json
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, get_args

from labkit.errors import ScheduleError, package
from labkit.measuring.rounding import counted
from labkit.theory.durations import too_long
from labkit.wire.events import now_ns

Distribution = Literal["exponential", "bimodal", "heavy-tailed", "fixed"]
DISTRIBUTIONS: tuple[Distribution, ...] = get_args(Distribution)
_FILLER = "abcdefghijklmnopqrstuvwxyz "
_MOST_EVENTS = 10_000_000
_MOST_BYTES = 4 << 30
MAX_DURATION_S = 86400.0  # a day: nobody waits in a cell for longer
_PARETO_SHAPE = 1.5  # a finite mean and an infinite variance: the tail that upsets fixed polling


@dataclass(frozen=True, slots=True)
class Planned:
    """One event to be published.

    Attributes:
        offset_s: when it is due, from the start of the run.
        data: its payload; a callable is called when the event is due, and gives the payload.
        topic: the topic to publish it to.
        starts_s: when the subscribers of its own topic come, from the start of the run; at 0 they are there before it
            starts. A job's: when it was submitted.
    """

    offset_s: float
    data: str | bytes | Callable[[], str | bytes]
    topic: str = ""
    starts_s: float = 0.0


@dataclass(frozen=True)
class Schedule:
    """A plan of events in the order of their offsets.

    Attributes:
        name: which kind of schedule.
        settings: its parameters, seed included.
        duration_s: when it is over; no event is due later.
        rate_per_s: the mean rate of events; None where there is none to speak of.
        poisson: whether the events are a Poisson process, as some of the models ask for.
    """

    name: str
    settings: dict[str, Any]
    duration_s: float
    rate_per_s: float | None
    poisson: bool
    _planner: Callable[[], Iterator[Planned]] = field(repr=False, compare=False)

    def plan(self) -> Iterator[Planned]:
        """The events, by increasing offset."""
        return self._planner()


def payload(n: int, size_bytes: int) -> str:
    """ASCII text of exactly *size_bytes* that names event *n* as far as there is room for it."""
    name = f"event-{n}"
    if size_bytes < len(name):
        return str(n).zfill(size_bytes)[-size_bytes:] if size_bytes else ""
    repeats = -(-size_bytes // len(_FILLER))
    return f"{name} {_FILLER * repeats}"[:size_bytes]


def periodic(
    rate_per_s: float = 1.0, duration_s: float = 10.0, payload_bytes: int = 20, dither_s: float = 0.0, seed: int = 0
) -> Schedule:
    """Events at a fixed rate, the first at once.

    Args:
        dither_s: each event is put off by a uniformly random time up to this, at most one period. A periodic
            source against a periodic poll meets it at the same phase every time; dither breaks that.

    Raises:
        ScheduleError: a parameter is out of range.
    """
    settings = _settings(locals())
    _positive("periodic", rate_per_s=rate_per_s, duration_s=duration_s)
    _whole("periodic", 0, payload_bytes=payload_bytes)
    _bounded("periodic", rate_per_s * duration_s, payload_bytes)
    _whole("periodic", None, seed=seed)
    period_s = 1 / rate_per_s
    if not _is_number(dither_s) or not 0 <= dither_s <= period_s:
        allowed = f"a number from 0 to one period, {period_s:g} s"
        raise _refuse("periodic", "dither_s", dither_s, allowed)

    def planner() -> Iterator[Planned]:
        rng = random.Random(seed)
        for i in range(_count(rate_per_s * duration_s)):
            offset_s = i / rate_per_s + dither_s * rng.random()
            if offset_s <= duration_s:
                yield Planned(offset_s, payload(i + 1, payload_bytes))

    return Schedule("periodic", settings, duration_s, rate_per_s, False, planner)


def poisson(rate_per_s: float, duration_s: float, payload_bytes: int = 20, seed: int = 0) -> Schedule:
    """Events at independent, exponentially distributed intervals: what many independent sources look like.

    Raises:
        ScheduleError: a parameter is out of range.
    """
    settings = _settings(locals())
    _positive("poisson", rate_per_s=rate_per_s, duration_s=duration_s)
    _whole("poisson", 0, payload_bytes=payload_bytes)
    _bounded("poisson", rate_per_s * duration_s, payload_bytes)
    _whole("poisson", None, seed=seed)

    def planner() -> Iterator[Planned]:
        for i, offset_s in enumerate(_arrivals(random.Random(seed), rate_per_s, duration_s)):
            yield Planned(offset_s, payload(i + 1, payload_bytes))

    return Schedule("poisson", settings, duration_s, rate_per_s, True, planner)


def burst(events: int = 10, every_s: float = 1.0, duration_s: float = 10.0, payload_bytes: int = 20) -> Schedule:
    """*events* at the same instant, again every *every_s*, the first at once.

    Raises:
        ScheduleError: a parameter is out of range.
    """
    settings = _settings(locals())
    _positive("burst", every_s=every_s, duration_s=duration_s)
    _whole("burst", 1, events=events)
    _whole("burst", 0, payload_bytes=payload_bytes)
    _bounded("burst", events * (duration_s / every_s), payload_bytes)

    def planner() -> Iterator[Planned]:
        for i in range(_count(duration_s / every_s) * events):
            yield Planned(i // events * every_s, payload(i + 1, payload_bytes))

    return Schedule("burst", settings, duration_s, events / every_s, False, planner)


def jobs(
    rate_per_s: float,
    duration_s: float,
    mean_s: float = 1.0,
    distribution: Distribution = "exponential",
    seed: int = 0,
) -> Schedule:
    """Jobs submitted as a Poisson process; each publishes one event, to a topic of its own, when it is done.

    Topics are ``job-1``, ``job-2``, ... in the order of submission; events come in the order of completion.

    Args:
        duration_s: how long jobs are submitted; the schedule lasts until the last one is done.
        mean_s: mean duration of a job.
        distribution: ``exponential``; ``bimodal`` (nine jobs of ten take half the mean, the tenth 5.5 times it);
            ``heavy-tailed`` (Pareto, shape 1.5: finite mean, infinite variance); ``fixed``.

    Raises:
        ScheduleError: a parameter is out of range.
    """
    settings = _settings(locals())
    _positive("jobs", rate_per_s=rate_per_s, duration_s=duration_s, mean_s=mean_s)
    _bounded("jobs", rate_per_s * duration_s)
    _whole("jobs", None, seed=seed)
    if distribution not in DISTRIBUTIONS:
        raise _refuse("jobs", "distribution", distribution, "one of " + ", ".join(DISTRIBUTIONS))

    def planner() -> Iterator[Planned]:
        rng = random.Random(seed)
        done = []
        for i, starts_s in enumerate(list(_arrivals(rng, rate_per_s, duration_s))):
            took_s = _job_duration_s(rng, distribution, mean_s)
            text = f"job-{i + 1} done after {took_s:.3f} s"
            done.append(Planned(starts_s + took_s, text, f"job-{i + 1}", starts_s))
        return iter(sorted(done, key=lambda planned: planned.offset_s))

    last_s = max((planned.offset_s for planned in planner()), default=0.0)
    return Schedule("jobs", settings, max(duration_s, last_s), rate_per_s, False, planner)


def trace(path: str | Path) -> Schedule:
    """A recorded trace: a UTF-8 CSV file whose header is ``offset_s,data`` and whose offsets never decrease.

    Raises:
        ScheduleError: the file cannot be read as that; the message names the file and the line.
    """
    planned = _read_trace(Path(path))
    duration_s = planned[-1].offset_s
    rate_per_s = len(planned) / duration_s if duration_s > 0 else None
    return Schedule("trace", {"path": str(path)}, duration_s, rate_per_s, False, lambda: iter(planned))


def machine(every_s: float = 0.5, duration_s: float = 8.0) -> Schedule:
    """This machine's own CPU, memory and network counters, sampled when due, the first after one interval.

    Each payload is JSON: ``cpu_percent`` and the network rates since the sample before, ``memory_percent`` now.
    The network counters are of all interfaces, loopback included: the lab's own traffic is in them.

    Raises:
        ScheduleError: a parameter is out of range.
        MissingPackage: there is no psutil.
    """
    settings = _settings(locals())
    package("psutil")
    _positive("machine", every_s=every_s, duration_s=duration_s)
    _bounded("machine", duration_s / every_s)
    if every_s > duration_s:
        raise _refuse("machine", "every_s", every_s, f"a number above 0, up to duration_s ({duration_s:g})")

    def planner() -> Iterator[Planned]:
        sample = _Sampler()
        for i in range(1, math.floor(duration_s / every_s + 1e-9) + 1):
            yield Planned(i * every_s, sample)

    return Schedule("machine", settings, duration_s, 1 / every_s, False, planner)


class _Sampler:
    """Rates since the sample before; its own books, since psutil's belong to whichever thread asks first."""

    def __init__(self) -> None:
        self._before = self._read()

    def __call__(self) -> str:
        psutil = package("psutil")

        now = self._read()
        t_s, busy_s, total_s, received, sent = (new - old for new, old in zip(now, self._before, strict=True))
        self._before = now
        values = {
            "cpu_percent": round(100 * busy_s / total_s, 1) if total_s > 0 else 0.0,
            "memory_percent": psutil.virtual_memory().percent,
            "net_in_bytes_per_s": round(received / t_s) if t_s > 0 else 0,
            "net_out_bytes_per_s": round(sent / t_s) if t_s > 0 else 0,
        }
        return json.dumps(values, separators=(",", ":"))

    @staticmethod
    def _read() -> tuple[float, float, float, float, float]:
        psutil = package("psutil")

        cpu = psutil.cpu_times()._asdict()
        total_s = sum(cpu.values()) - cpu.get("guest", 0.0) - cpu.get("guest_nice", 0.0)  # Linux: part of user, nice
        idle_s = cpu["idle"] + cpu.get("iowait", 0.0)
        net = psutil.net_io_counters()  # None on a machine without an interface
        received, sent = (net.bytes_recv, net.bytes_sent) if net else (0, 0)
        return now_ns() / 1e9, total_s - idle_s, total_s, received, sent


def _read_trace(path: Path) -> tuple[Planned, ...]:
    try:
        text = path.read_bytes().decode("utf-8-sig")  # spreadsheets write a BOM
    except OSError as error:
        raise ScheduleError(f"trace {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ScheduleError(f"trace {path}, line {line}: not UTF-8; save the file as UTF-8") from None
    before = csv.field_size_limit(len(text) + 1)  # the reader's own would be far below what a lab takes as one event
    try:
        return _trace_rows(text, path)
    finally:
        csv.field_size_limit(before)


def _trace_rows(text: str, path: Path) -> tuple[Planned, ...]:
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    planned: list[Planned] = []
    header: list[str] | None = None
    line = 1
    try:
        for row in rows:
            if row and header is None:
                header = _trace_header(row, f"trace {path}, line {line}")
            elif row:
                earliest_s = planned[-1].offset_s if planned else 0.0
                planned.append(_trace_row(row, earliest_s, f"trace {path}, line {line}"))
            line = rows.line_num + 1
    except csv.Error as error:
        raise ScheduleError(f"trace {path}, line {line}: not CSV: {error}") from None
    if not planned:
        missing = "the file is empty" if header is None else "the file holds no events"
        raise ScheduleError(
            f"trace {path}, line {line}: {missing}; expected the header offset_s,data and rows below it"
        )
    return tuple(planned)


def _trace_header(row: list[str], where: str) -> list[str]:
    if [name.strip() for name in row] != ["offset_s", "data"]:
        raise ScheduleError(f"{where}: the header is {','.join(row)[:80]!r}, expected 'offset_s,data'")
    return row


def _trace_row(row: list[str], earliest_s: float, where: str) -> Planned:
    if len(row) != 2:
        raise ScheduleError(
            f"{where}: {counted(len(row), 'field')}, expected 2: offset_s,data (quote data that holds a comma)"
        )
    try:
        offset_s = float(row[0])
    except ValueError:
        raise ScheduleError(f"{where}: offset_s={row[0][:40]!r}, expected a number of seconds") from None
    if not math.isfinite(offset_s) or offset_s < 0:
        raise ScheduleError(f"{where}: offset_s={row[0][:40]!r}, expected a finite number of seconds from 0")
    if offset_s < earliest_s:
        raise ScheduleError(f"{where}: offset_s={row[0][:40]} after {earliest_s:g}; sort the rows by offset_s")
    if offset_s > MAX_DURATION_S:
        raise ScheduleError(f"{where}: {too_long('offset_s', offset_s, MAX_DURATION_S)}")
    return Planned(offset_s, row[1])


def _arrivals(rng: random.Random, rate_per_s: float, duration_s: float) -> Iterator[float]:
    at_s = rng.expovariate(rate_per_s)
    while at_s < duration_s:
        yield at_s
        at_s += rng.expovariate(rate_per_s)


def _job_duration_s(rng: random.Random, distribution: Distribution, mean_s: float) -> float:
    if distribution == "exponential":
        return rng.expovariate(1 / mean_s)
    if distribution == "bimodal":
        return mean_s * (0.5 if rng.random() < 0.9 else 5.5)
    if distribution == "heavy-tailed":
        shortest_s = mean_s * (_PARETO_SHAPE - 1) / _PARETO_SHAPE
        return shortest_s * rng.paretovariate(_PARETO_SHAPE)
    return mean_s


def _count(expected: float) -> int:
    return math.ceil(expected - 1e-9)  # 2.1 / 0.3 comes out a little over 7, and must be 7


def _settings(arguments: dict[str, Any]) -> dict[str, Any]:
    return {name: value.item() if hasattr(value, "item") else value for name, value in arguments.items()}


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _refuse(schedule: str, parameter: str, value: Any, allowed: str) -> ScheduleError:
    return ScheduleError(f"{schedule}: {parameter}={value!r}, expected {allowed}")


def _positive(schedule: str, **parameters: Any) -> None:
    for name, value in parameters.items():
        if not _is_number(value) or value <= 0:
            raise _refuse(schedule, name, value, "a finite number above 0")
        if name.endswith("_s") and not name.endswith("per_s") and value > MAX_DURATION_S:
            raise ScheduleError(f"{schedule}: {too_long(name, value, MAX_DURATION_S)}")


def _bounded(schedule: str, events: float, payload_bytes: int = 0) -> None:
    if events > _MOST_EVENTS:
        raise ScheduleError(f"{schedule}: {events:.3g} events planned, expected at most {_MOST_EVENTS}; lower the rate")
    planned_bytes = math.ceil(events) * int(payload_bytes)
    if planned_bytes > _MOST_BYTES:
        found = f"payload_bytes={payload_bytes} makes {planned_bytes} bytes of {math.ceil(events)} events"
        raise ScheduleError(f"{schedule}: {found}, expected at most {_MOST_BYTES}, which a run holds at once")


def _whole(schedule: str, least: int | None, **parameters: Any) -> None:
    for name, value in parameters.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or (least is not None and value < least):
            allowed = "a whole number" if least is None else f"a whole number from {least}"
            raise _refuse(schedule, name, value, allowed)
