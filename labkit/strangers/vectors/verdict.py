"""Whether what a client had, and what was seen of it, is right. Pure.

Whatever a client reports is compared, and what it does not report is not; what the server saw is compared too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from labkit.errors import LabkitError
from labkit.strangers.vectors.case import Case, Outcome
from labkit.strangers.vectors.visit import Visit

MAX_TEXT = 1024
"""A longer text is told by its length and its digest, in what is expected and in what is compared."""
MAX_DIFFERENCES = 50
EARLY = 0.9
"""A wait is kept if it lasted so much of what was asked for: clocks and timers round."""


def brief(value: Any) -> Any:
    """*value* with each text of over :data:`MAX_TEXT` characters as its length and the SHA-256 of its UTF-8."""
    if isinstance(value, str) and len(value) > MAX_TEXT:
        digest = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
        return {"length": len(value), "sha256": digest}
    if isinstance(value, Mapping):
        return {key: brief(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [brief(item) for item in value]
    return value


def verdict(case: Case, reported: Any, visit: Visit | None) -> dict[str, Any]:
    """What is right and wrong, as JSON.

    Args:
        reported: as an outcome's ``had``, any part of it; ``comesBack`` false says that this client never asks again
            by itself, so that only its first request is compared.

    Raises:
        LabkitError: nothing that this case asks about.
    """
    keys = [*case.outcomes[0].had]
    if not isinstance(reported, Mapping) or not any(key in reported for key in keys):
        raise LabkitError(f"report a JSON object with any of {', '.join(keys)}")
    reported = brief(reported)
    found = [differences(outcome, reported, visit) for outcome in case.outcomes]
    best = next((at for at, differing in enumerate(found) if not differing), 0)
    return {
        "case": case.name,
        "right": not found[best],
        "differences": found[best][:MAX_DIFFERENCES],
        "notReported": [key for key in keys if key not in reported],
        "why": case.outcomes[best].why,
    }


def differences(outcome: Outcome, reported: Mapping[str, Any], visit: Visit | None) -> list[dict[str, Any]]:
    """Where *reported* and what was seen part from *outcome*: what, what was expected, what was there."""
    found: list[dict[str, Any]] = []
    for key, expected in outcome.had.items():
        if key in reported:
            _compare(key, brief(expected), reported[key], found)
    if visit is not None and visit.seen:
        _compare_seen(outcome.sees, visit, bool(reported.get("comesBack", True)), found)
    return found


def _compare(what: str, expected: Any, had: Any, found: list[dict[str, Any]]) -> None:
    if isinstance(expected, Mapping) and isinstance(had, Mapping):
        for key in expected:
            if key in had or key not in ("code", "reason", "clean", "type", "lastEventId"):
                _compare(f"{what}.{key}", expected[key], had.get(key), found)
    elif isinstance(expected, list) and isinstance(had, list):
        for at, (left, right) in enumerate(zip(expected, had, strict=False)):
            _compare(f"{what}[{at}]", left, right, found)
        if len(expected) != len(had):
            rest = {"expected": expected[len(had) :][:3], "had": had[len(expected) :][:3]}
            found.append({"what": f"{what}.length", "expected": len(expected), "had": len(had), "beyond": rest})
    elif expected != had or isinstance(expected, bool) != isinstance(had, bool):
        found.append({"what": what, "expected": expected, "had": had})


def _compare_seen(sees: Mapping[str, Any], visit: Visit, comes_back: bool, found: list[dict[str, Any]]) -> None:
    expected = [None if id is None else brief(id) for id in sees["requests"]]
    had = [brief(seen.field("Last-Event-ID")) for seen in visit.seen]
    if comes_back:
        _compare("seen.requests", expected, had, found)
        _compare_waits(visit, found)
    first, newest = visit.seen[0], visit.seen[-1]
    for name, value in sees.get("fields", {}).items():
        if value not in (first.field(name) or ""):
            found.append({"what": f"seen.{name}", "expected": value, "had": first.field(name)})
    if "pongs" in sees:
        _compare("seen.pongs", sees["pongs"], [f["payload"] for f in newest.frames if f["opcode"] == "pong"], found)
    if isinstance(sees.get("close"), Mapping):
        _compare("seen.close", sees["close"], newest.close or {}, found)
    elif sees.get("close") and newest.close is None:
        found.append({"what": "seen.close", "expected": "a close frame", "had": None})
    if any(not frame["masked"] for frame in newest.frames):
        found.append({"what": "seen.frames", "expected": "masked, all of them", "had": "one that is not"})
    if newest.broke:
        found.append({"what": "seen.frames", "expected": "frames as RFC 6455 has them", "had": newest.broke})


def _compare_waits(visit: Visit, found: list[dict[str, Any]]) -> None:
    for at, wanted_ms in enumerate(visit.case.waits_ms):
        if at + 1 < len(visit.seen) and (written_s := visit.seen[at].written_s) is not None:
            waited_ms = (visit.seen[at + 1].at_s - written_s) * 1000
            if waited_ms < EARLY * wanted_ms:
                found.append({"what": f"seen.wait[{at}]", "expected": f"{wanted_ms} ms", "had": f"{waited_ms:.0f} ms"})
