"""The bench: what one delivery and one held subscriber cost the server.

Fan-out: server CPU per delivery, for labkit's ``direct`` and ``plain`` fan-out over WebSocket and SSE; beside them,
``broadcast()`` of the ``websockets`` library, Tornado's own handlers written to in a loop, and a bare loop of
``send()``. All servers hold their subscribers at once, and send heartbeats as often as a lab does by default. The same
at one event a second to a few. Memory: growth of the server's resident memory per subscriber held, beyond the first
few hundred. The same of SSE over HTTP/2, and of both versions over TLS. What else ``labkit.choose`` reckons with is
measured by ``python bench/figures.py``.

This is the command: its arguments, what it needs of the machine, its table. ``costs`` measures, and
``versions``; ``roles`` has the processes, ``sink`` and ``streams`` the subscribers' end.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import select
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import labkit
from costs import Settings, fan_out, memory, trickle
from labkit.errors import LabkitError
from labkit.lab.listening import SPARE_DESCRIPTORS, available_connections
from sink import Void

QUICK = Settings(50, rounds=2, events=5, few=20, trickle_s=2, held=100, first=20)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table, and return 0; 1 if the run is void.

    Raises:
        LabkitError: the system has no epoll, or too few descriptors.
    """
    parser = argparse.ArgumentParser(
        prog="python bench",
        description=(__doc__ or "").partition("\n")[0],
        epilog="What labkit.choose reckons with: python bench/figures.py --help",
    )
    parser.add_argument("--quick", action="store_true", help="only see that it runs: few subscribers, few events")
    parser.add_argument("--subscribers", type=int, metavar="N", help="of each server in fan-out (default: 1000)")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write every round to this file")
    arguments = parser.parse_args(argv)
    settings = QUICK if arguments.quick else Settings()
    if arguments.subscribers is not None:
        settings = Settings(**{**asdict(settings), "subscribers": arguments.subscribers})
    check(settings)
    try:
        result = measure(settings)
    except Void as error:
        print(f"void: {error}", file=sys.stderr)
        return 1
    print(table(result))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


def check(settings: Settings) -> None:
    if not hasattr(select, "epoll"):
        raise LabkitError("the bench needs Linux: its clients use epoll, its clock is the kernel's")
    most = max(2 * settings.subscribers, settings.first + settings.held)
    if settings.subscribers < 1:
        raise LabkitError(f"--subscribers {settings.subscribers}: expected 1 or more")
    if most > available_connections():
        raise LabkitError(f"{most + SPARE_DESCRIPTORS} open files are needed: raise the limit with `ulimit -n`")


def measure(settings: Settings) -> dict[str, Any]:
    """Everything, as one value that JSON can hold."""
    load = [os.getloadavg()[0]]
    result: dict[str, Any] = {
        "settings": asdict(settings),
        "machine": {"system": platform.platform(), "processor": processor(), "cores": os.cpu_count()},
        "versions": {"labkit": labkit.__version__, "python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in ("tornado", "websockets")},
        "fan_out": fan_out(settings),
        "trickle": trickle(settings),
        "memory": [memory(technique, settings) for technique in ("sse", "websocket", "long-polling")],
        "http": of_versions(settings),
    }
    return result | {"load": [*load, os.getloadavg()[0]]}


def of_versions(settings: Settings) -> list[dict[str, Any]]:
    """What HTTP/2 and TLS cost, where both are installed."""
    if not all(map(importlib.util.find_spec, ("h2", "trustme"))):
        return []
    from versions import versions

    return versions(settings)


def processor() -> str:
    names = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.M)
    return names[0] if names else platform.machine()


def table(result: dict[str, Any]) -> str:
    """The result for people: minimum, median and maximum over the rounds."""
    settings = result["settings"]
    lines = [
        ", ".join(f"{name} {version}" for name, version in result["versions"].items()),
        f"{result['machine']['processor']}, {result['machine']['cores']} cores, load {result['load'][0]:.2f} before",
        f"fan-out to {settings['subscribers']} subscribers, {settings['payload_bytes']} bytes of data, "
        f"{settings['rounds']} rounds of {settings['events']} events: least, median, most over the rounds",
        f"{'server':<24}{'technique':<12}{'server CPU per delivery, µs':<30}ratio",
    ]
    for row in result["fan_out"]:
        lines.append(
            f"{row['server']:<24}{row['technique']:<12}{spread(row['cpu_us']):<30}"
            f"{spread(row['ratios'])} to {row['reference']}"
        )
    few = min(settings["few"], settings["subscribers"])
    lines.append(f"one event a second to {few} subscribers, for {settings['trickle_s']} s: mean")
    for row in result["trickle"]:
        ratio = f"{row['ratios'][0]:.2f} to {row['reference']}"
        lines.append(f"{row['server']:<24}{row['technique']:<12}{row['cpu_us'][0]:<30.2f}{ratio}")
    lines.append("server memory per subscriber held")
    for row in result["memory"]:
        lines.append(f"{row['technique']:<24}{row['held']:<12}{row['kib_per_subscriber']:.1f} KiB")
    lines += of_the_versions(result["http"])
    return "\n".join(lines)


def of_the_versions(rows: list[dict[str, Any]]) -> list[str]:
    if not rows:
        return ["HTTP/2 and TLS: not run, pip install -e '.[http2,tls]'"]
    lines = [
        f"{'SSE over':<26}{'CPU to begin':<14}{'memory':<12}{'CPU per delivery, µs':<26}ratio to {rows[0]['reference']}"
    ]
    for row in rows:
        lines.append(
            f"{row['server']:<26}{row['begin_us']:7.0f} µs    {row['kib_per_subscriber']:5.1f} KiB   "
            f"{spread(row['cpu_us']):<26}{spread(row['ratios'])}"
        )
    return lines


def spread(values: Sequence[float]) -> str:
    return "  ".join(f"{value:.2f}" for value in (min(values), median(values), max(values)))


def command() -> int:
    """As :func:`main`, with an error said in a line."""
    try:
        return main()
    except LabkitError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
