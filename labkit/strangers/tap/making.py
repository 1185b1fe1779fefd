"""A run like any other of what a tap has seen: its deliveries, its connections' bytes, and the log itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from labkit.client.ledger import ConnectionRecord, Ledger
from labkit.measuring.natures import told_of
from labkit.measuring.provenance import versions, when
from labkit.measuring.run import Run
from labkit.strangers.secrets import NAMES, is_secret
from labkit.strangers.tap.exchanges import OTHER, Seen, reconnections
from labkit.strangers.tap.log import Log
from labkit.strangers.tap.named import POLLS
from labkit.techniques import TECHNIQUES
from labkit.wire.http2 import PREFACE
from labkit.wire.spans import Sighting


def run_of(log: Log, ledger: Ledger, found: Sequence[Seen], notes: Sequence[str]) -> Run:
    """The run: nothing is known of when events were due, so there are intervals and no latencies.

    Args:
        found: the log's exchanges, with their techniques.
        notes: what to say beside its table.
    """
    whose = subscribers(found)
    names = list(dict.fromkeys(seen.technique for seen in found))
    settings: dict[str, Any] = {
        "techniques": [name for name in names if name != OTHER] or names,
        "url": log.settings.get("to", ""),
        "server": "elsewhere",
        "headers": _secret_fields(log),
        "notes": list(notes),
        **when(log.started_ns),
        "tap": {"head": {**log.settings}, "entries": log.sorted()},
    }
    settings["natures"] = told_of([each for each in TECHNIQUES if each.name in names], settings)
    gaps = [{"technique": s.technique, "subscriber": whose[s.number], **g} for s in found for g in s.gaps]
    return Run(
        deliveries=list(_deliveries(log, found, whose)),
        published={},
        ledger=_as_clients(log, ledger, found, whose),
        settings=settings,
        missing=gaps,
        versions=versions(),
    )


def _secret_fields(log: Log) -> list[str]:
    """Those that are known to let somebody in, and those that passed here and are called alike."""
    passed = {name.lower(): name for entry in log.entries for name, _ in entry.get("fields", ()) if is_secret(name)}
    return [*NAMES, *(name for key, name in passed.items() if key not in {known.lower() for known in NAMES})]


def subscribers(found: Sequence[Seen]) -> dict[int, int]:
    """Which subscriber of its technique each exchange is: one that comes back is the same, and so is one that polls."""
    came_for = {after.number: before.number for before, after in reconnections(found)}
    whose: dict[int, int] = {}
    known: dict[tuple[str, Any], int] = {}
    for seen in found:
        polls = seen.technique in (*POLLS, OTHER)
        key = (seen.client.rpartition(":")[0], seen.path) if polls else seen.number
        if seen.number in came_for:
            whose[seen.number] = whose[came_for[seen.number]]
            continue
        count = sum(technique == seen.technique for technique, _ in known)
        whose[seen.number] = known.setdefault((seen.technique, key), count)
    return whose


def _deliveries(log: Log, found: Sequence[Seen], whose: dict[int, int]) -> Iterator[dict[str, Any]]:
    for seen in found:
        for place, entry in enumerate(seen.events, 1):
            wire_id = entry.get("id")
            yield {
                "technique": seen.technique,
                "client": "tap",
                "http_version": "",
                "topic": "",
                "subscriber": whose[seen.number],
                "event_id": Sighting(wire_id, place).id,
                "wire_id": wire_id,
                "due_ns": None,
                "published_ns": None,
                "received_ns": log.started_ns + entry["t_ns"],
                "latency_ms": None,
                "transit_ms": None,
                "clock_error_ms": None,
                "bytes": None,
                "payload_bytes": entry["bytes"],
                "scheduled": True,
                "conflated": 0,
            }


def _as_clients(log: Log, ledger: Ledger, found: Sequence[Seen], whose: dict[int, int]) -> Ledger:
    """The near sides, told as their clients would."""
    of: dict[int, Seen] = {}
    for seen in found:
        if seen.connection not in of or of[seen.connection].technique == OTHER:
            of[seen.connection] = seen
    told = Ledger(ledger.keep_bytes)
    for record in ledger.near():
        seen = of.get(record.subscriber, Seen(0, technique=OTHER))
        told.connections.append(_turned(log, record, seen.technique, whose.get(seen.number, 0)))
    return told


def _turned(log: Log, record: ConnectionRecord, technique: str, subscriber: int) -> ConnectionRecord:
    first = next((t.data for t in record.transfers if t.direction == "out"), b"")
    is_coded = first.startswith(PREFACE) and not log.with_secrets  # what lets in is anywhere in HTTP/2's tables
    return replace(
        record,
        technique=technique,
        subscriber=subscriber,
        hop="client",
        local=record.remote,
        remote=record.local,
        transfers=deque() if is_coded else record.transfers,
    )
