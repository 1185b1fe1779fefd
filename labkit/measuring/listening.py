"""Listening to somebody else's server with one of the kit's clients. It publishes nothing."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping
from typing import Any

from labkit import loop
from labkit.client import address
from labkit.client.speaking import versions_of
from labkit.client.tls import Trust
from labkit.errors import LabkitError
from labkit.measuring.measurement import remember
from labkit.measuring.natures import told_of
from labkit.measuring.provenance import versions, when
from labkit.measuring.rounding import counted
from labkit.measuring.run import Run
from labkit.measuring.subscription import Subscription
from labkit.progress import Progress
from labkit.sockets import MSS
from labkit.techniques import Technique, distinct, find
from labkit.theory.durations import seconds as check_seconds
from labkit.theory.path import QUIET_S, SILENCE_S
from labkit.wire.events import now_ns
from labkit.wire.http1 import request_head

LONGEST_S = 86_400.0
OWN = frozenset({"Connection", "Upgrade", "Content-Length", "Transfer-Encoding", "Last-Event-Id"})
"""Fields that no user has a say in: they are the conversation itself."""


def listen(
    url: str,
    technique: str | Technique,
    *,
    seconds: float = 10.0,
    progress: bool = True,
    silence_s: float = QUIET_S,
    cafile: str | None = None,
    insecure: bool = False,
    headers: Mapping[str, str] | None = None,
    http: int | None = None,
    **options: Any,
) -> Run:
    """Listen to somebody else's server for a while. Publishes nothing, sends what a subscriber must send.

    Nothing is known of when events were due, so due, published and latencies stay empty; ``event_id`` is the order of
    arrival, unless the server is a lab. Where nothing came at all, ``failures`` says why.

    Args:
        url: the full address, with ``http://``, ``https://``, ``ws://``, ``wss://``, or ``tcp://`` for a plugin socket.
            A name and a password in it are sent and kept nowhere.
        technique: which of the kit's clients to use.
        silence_s: how long the server may say nothing, and take to begin an answer, before the client connects anew.
            Silence alone is no failure: a note says how long it has lasted.
        cafile: a file of authorities (PEM) that are believed in place of the system's.
        insecure: believe any certificate. The run says so.
        headers: more fields of each request, such as a key or a session that the server asks for. No file of the run
            has their values, unless it is written ``with_secrets=True``.
        http: the version of HTTP to speak, 1 or 2. None: over TLS what the server prefers, else HTTP/1; a WebSocket is
            opened over HTTP/1 then, as browsers do. A note of the run says which was spoken.
        options: what its ``connect`` takes besides.

    Raises:
        BadTechnique: something that is none.
        UnknownOption: its client takes no such option, or not over HTTP/2.
        MissingPackage: HTTP/2, and the extra ``http2`` is not installed.
        AddressError: an address that the client does not speak to. Nothing was sent.
        TLSFailed: there is no certificate in *cafile*.
        LabkitError: *headers* that cannot be sent, or that are the client's own affair.
        DurationError: no number of seconds.
    """
    (chosen,) = distinct([find(technique) if isinstance(technique, str) else technique])
    place, trust = address.split(url, chosen.schemes), Trust(cafile, insecure)
    if place.is_secure:
        trust.check()
    seconds = check_seconds("seconds", seconds, math.inf, above_0=True)
    silence_s = check_seconds("silence_s", silence_s, LONGEST_S, above_0=True)
    chosen.check_options(options)
    more = checked(headers or {}, chosen)
    chosen.check_version(http, options)
    versions_of(http)
    progress_line, run_started_ns = Progress(enabled=progress), now_ns()
    interrupted = False

    async def start() -> tuple[Subscription, asyncio.Task[None]]:
        waits: dict[str, Any] = {"headers": more, "trust": trust, "silence_s": silence_s, "answer_s": silence_s}
        waits |= {"http": http} if chosen.http_version else {}
        subscription = Subscription(chosen, 0, "", {**options, **waits}, 1 << 20)
        return subscription, asyncio.ensure_future(subscription.receive(url, None))

    async def end(task: asyncio.Task[None]) -> tuple[str | None, list[str]]:
        failure, notes = outcome(subscription)
        if failure and place.scheme in ("http", "ws") and was_cut_off(subscription):
            failure += "; a server that speaks TLS may end plain text so: if it does, write https:// or wss://"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return failure, notes

    subscription, task = loop.run(start())
    try:
        while (now_ns() - run_started_ns) / 1e9 < seconds and not task.done():
            time.sleep(0.05)
            progress_line.show(f"listening to {place}: {counted(len(subscription.items), 'delivery')}")
    except KeyboardInterrupt:
        interrupted = True
    failure, notes = loop.run(end(task))
    if spoken := told_of_version(subscription):
        notes.append(spoken)
    if place.is_secure:
        notes.append(told_of_tls(subscription, trust))
    progress_line.done()
    settings: dict[str, Any] = {"techniques": [chosen.name], "url": str(place), "server": "elsewhere", "mss": MSS}
    settings |= {"options": {chosen.name: options}, **when(run_started_ns)}
    if more:
        settings["headers"] = list(more)
    settings["natures"] = told_of([chosen], settings)
    return remember(
        Run(
            deliveries=list(subscription.rows({})),
            published={},
            ledger=subscription.ledger,
            settings={**settings, "notes": notes},
            failures={chosen.name: failure} if failure else {},
            interrupted=interrupted,
            missing=list(subscription.gaps()),
            versions=versions(),
        )
    )


def checked(headers: Mapping[str, str], technique: Technique) -> dict[str, str]:
    """These fields as they are sent, with names as the client writes its own."""
    if not isinstance(headers, Mapping):
        raise LabkitError(
            f"headers must be values by name, as {{'X-Key': 'secret'}} is, not a {type(headers).__name__}"
        )
    for name, value in headers.items():
        if not isinstance(name, str) or not isinstance(value, str | bytes):
            wrong = name if isinstance(value, str | bytes) else value
            raise LabkitError(f"header {name}: a name and its value are text, and not {type(wrong).__name__}")
    named = {name.title(): value for name, value in headers.items()}
    if named and technique.port != "http":
        raise LabkitError(f"{technique.name} speaks no HTTP: there are no headers to send")
    for name in named:
        if name in OWN or name.startswith("Sec-Websocket-"):
            raise LabkitError(f"header {name}: {technique.name} says that itself")
    request_head("GET", "/", named.items())
    return named


def outcome(subscription: Subscription) -> tuple[str | None, list[str]]:
    """Why it has failed, if it has, and what else to know: silence is no measurement."""
    records = subscription.ledger.connections
    is_open = any(record.closed_ns is None for record in records)
    lost = None if is_open else subscription.lost
    if subscription.failure or subscription.items:
        notes = [f"The connection was lost at last: {lost}"] if lost else []
        heard_ns = max((record.heard_ns for record in records), default=0)
        if is_open and (quiet_s := (now_ns() - heard_ns) / 1e9) > SILENCE_S:
            notes.append(f"Nothing has come for the last {quiet_s:.0f} s, not a heartbeat, with the connection open.")
        return subscription.failure, notes
    if lost:
        return f"nothing came: {lost}", []
    if not records:
        return "nothing came: there was no connection yet", []
    if not sum(record.carried_in for record in records):
        return "nothing came: there was a connection, and the server has sent nothing", []
    name = subscription.technique.name
    return f"nothing came: the server answered, but with nothing that a client of {name} reads as an event", []


def told_of_tls(subscription: Subscription, trust: Trust) -> str:
    """Which TLS was spoken, and who vouched for the server."""
    spoken = {record.tls_version: None for record in subscription.ledger.connections if record.tls_version}
    return f"{', '.join(spoken)}: {trust}." if spoken else "No TLS was agreed on."


def told_of_version(subscription: Subscription) -> str:
    """Which HTTP was spoken, and how that came about; empty where the server has spoken none."""
    records = [record for record in subscription.ledger.connections if record.http_version]
    spoken = " and ".join(dict.fromkeys(f"HTTP/{record.http_version}" for record in records))
    if not spoken:
        return ""
    agreed = any(record.alpn for record in records)
    why = "agreed on in TLS (ALPN)" if agreed else "by prior knowledge" if spoken == "HTTP/2" else ""
    return f"{spoken} was spoken{f', {why}' * bool(why)}."


def was_cut_off(subscription: Subscription) -> bool:
    """Whether every connection was ended by the server before it had said anything."""
    records = subscription.ledger.connections
    return bool(records) and all(not r.bytes_in and r.closed_by in ("server", "reset") for r in records)
