"""What ``labkit probe --json`` found of a path, as the chooser's words for it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

from labkit.errors import LabkitError

HELD = (1, 2, 7, 28)
"""Rows of docs/symptoms.md in which a hop holds an answer back."""
CUT_WHEN_IDLE = (8, 12)
REFUSED = 20


class Report(Protocol):
    """What :func:`labkit.probe` gives."""

    def as_json(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Probed:
    """What a probe says of a path.

    Attributes:
        path: as :func:`labkit.choose` takes it.
        said: what was taken and what was not, as sentences.
    """

    path: tuple[str, ...]
    tls: bool
    said: tuple[str, ...]


def is_probe(path: Any) -> bool:
    """Whether this is what a probe said: its dict, its report, or the file that it wrote."""
    named = isinstance(path, str) and path.endswith(".json")
    return named or isinstance(path, Mapping | PathLike) or hasattr(path, "as_json")


def probed(source: Any) -> Probed:
    """What the chooser takes from a probe.

    Raises:
        LabkitError: it is no probe's, or the probe could not ask.
    """
    report = _read(source)
    try:
        url, status, findings, requests = (report[name] for name in ("url", "status", "findings", "requests"))
        first = requests[0]
        is_held = any(list(_obstacles(finding, first)) for finding in findings)  # not even a head: it was asked
        if status == 2 or not (first["status"] or is_held):
            raise LabkitError(f"choose: path: the probe could not ask {url}: {first['complaint'] or first['end']}")
        return _taken(url, findings, first)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise LabkitError(f"choose: path={source!r:.60}: not what `labkit probe --json` writes ({error!r})") from None


def _read(source: Any) -> Any:
    if hasattr(source, "as_json"):
        return source.as_json()
    if isinstance(source, Mapping):
        return source
    try:
        return json.loads(Path(source).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LabkitError(f"choose: path={str(source)!r}: no file of `labkit probe --json` ({error})") from None


def _taken(url: str, findings: Any, first: Mapping[str, Any]) -> Probed:
    tls = url.startswith(("https:", "wss:"))
    taken = [each for finding in findings for each in _obstacles(finding, first)]
    if first["http_version"] == "2":
        taken.append(("http2-edge", "HTTP/2 is spoken"))
    path = list(dict.fromkeys(obstacle for obstacle, _ in taken))
    if tls and {"buffering-proxy", "blocks-upgrade"}.intersection(path):
        path.append("ends-tls")
        taken.append(("ends-tls", "what is in the way reads inside of TLS"))
    named = [f"{obstacle} ({why})" for obstacle, why in taken] + (["tls=True"] if tls else [])
    said = [f"The path is what a probe of {url} found: {'; '.join(named) or 'plain, nothing was in the way'}."]
    left = [str(f["says"]) for f in findings if not list(_obstacles(f, first))]
    if left:
        said.append(f"Found as well, and not in this arithmetic: {'; '.join(left)}.")
    return Probed(tuple(path) or ("plain",), tls, tuple(said))


def _obstacles(finding: Mapping[str, Any], first: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a finding is to the chooser, and what it rests on: how sure the probe was is said with it."""
    row, grade = int(finding["row"]), finding["grade"]
    why = f"{grade}: {finding['says']}"
    if row in HELD:
        yield "buffering-proxy", why
    elif row == REFUSED:
        yield "blocks-upgrade", why
    elif row in CUT_WHEN_IDLE and (idle_s := _idle_s(row, first)) > 0:
        yield f"idle-timeout:{idle_s:.3g}", why


def _idle_s(row: int, first: Mapping[str, Any]) -> float:
    """From the last byte that counted to the end; to a hop that does not count pings only messages do (row 12)."""
    events = first["events"]
    last_s = events[-1]["t_s"] if row == 12 and events else first["last_s"] or 0.0
    idle_s = float(first["end_s"]) - float(last_s)
    return idle_s if math.isfinite(idle_s) else 0.0
