"""``labkit.probe``: ask, ask again with one thing changed, and say what follows."""

from __future__ import annotations

import concurrent.futures
import os
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from labkit import loop
from labkit.client import address
from labkit.client.proxy import Proxy
from labkit.errors import LabkitError
from labkit.progress import Progress
from labkit.strangers.probe.asking_all import Asking
from labkit.strangers.probe.expecting import Expected, unmet
from labkit.strangers.probe.observation import Seen
from labkit.strangers.probe.plan import Plan, planned, trust_of
from labkit.strangers.probe.report import Report
from labkit.strangers.probe.rules import all_notes, findings
from labkit.strangers.probe.surroundings import around
from labkit.strangers.probe.watch import Watch
from labkit.theory.durations import seconds as check_seconds
from labkit.wire.http1 import TOKEN, request_head

if TYPE_CHECKING:
    from labkit.techniques import Technique

LONGEST_S = 86_400.0
MOST_AT_ONCE = 100
AUTO = "auto"
OWN = frozenset({"Connection", "Upgrade", "Content-Length", "Transfer-Encoding", "Sec-Websocket-Key",
                 "Sec-Websocket-Version", "Sec-Websocket-Extensions"})  # fmt: skip
LOOK_S = 0.05


def probe(
    url: str,
    *,
    also: str | None = None,
    technique: str = AUTO,
    method: str | None = None,
    data: str | bytes = b"",
    headers: Mapping[str, str] | None = None,
    seconds: float = 10.0,
    again: bool = False,
    cut: bool = False,
    parallel: int = 0,
    publish: bool = False,
    expect: str = "",
    cafile: str | None = None,
    insecure: bool = False,
    http: int | None = None,
    proxy: str | None = None,
    progress: bool = True,
    say: Callable[[str], None] | None = print,
) -> Report:
    """What is wrong with a stream: one request measured, at most four more with one thing changed, and what follows.

    Only GET and HEAD are asked again; a request with a body is sent exactly once. The first interrupt ends it, and what
    was seen until then is told. ::

        print(labkit.probe("https://app.example/events", also="http://127.0.0.1:8000"))

    Args:
        url: ``http://``, ``https://``, ``ws://`` or ``wss://``.
        also: the address behind the hop that is suspected, asked at the same time; without a path, at the same one.
        technique: which client asks; ``auto``: an EventSource, and a WebSocket at ``ws://``.
        method, data: of the request; POST where there is a body.
        headers: more fields, such as a key. Their values are in nothing that is shown or saved.
        seconds: how long each answer is listened to.
        cut: come back with Last-Event-ID, as after a cut.
        parallel: so many more at once, to see how many are held.
        publish: behind the hop is a lab (``labkit serve``): POST events to it, through the hop, and time them; without
            *cut*, *parallel*, *method* and *data*.
        again: send a request with a body more than once.
        expect: such as ``first-event=2s,gap=5s``; what is not so counts as a finding.
        cafile, insecure: whose certificates are believed.
        http: the version of HTTP; None: over TLS what the server prefers.
        proxy: ``http://[NAME:PASSWORD@]HOST:PORT``, asked in the server's place; *also* is asked without it.
        progress: show a line when it takes over two seconds.
        say: told beforehand what will be sent; None for nobody.

    Raises:
        AddressError: an address that is not spoken to. Nothing was sent.
        LabkitError: something else in the arguments that cannot be.
    """
    client = _named(technique)
    body = data.encode() if isinstance(data, str) else data
    asked = (method or ("POST" if body else "GET")).upper()
    if not TOKEN.fullmatch(asked):
        raise LabkitError(f"method {method!r}: expected a word such as GET or POST (RFC 9110 section 9.1)")
    fields = fields_of(headers or {})
    request_head(asked, "/", fields.items())
    if isinstance(parallel, bool) or not 0 <= parallel <= MOST_AT_ONCE:
        raise LabkitError(f"parallel={parallel}: expected a whole number from 0 to {MOST_AT_ONCE}")
    trust = trust_of(cafile, insecure)
    trust.check()
    there = address.split(url)
    plan = planned(
        there,
        address.split(also) if also else None,
        technique=client,
        method=asked,
        body=body,
        headers=fields,
        seconds=check_seconds("seconds", seconds, LONGEST_S, above_0=True),
        again=again,
        trust=trust,
        proxy=_proxy(proxy, there, http),
        http=http,
        cut=cut,
        parallel=parallel,
        publishes=publish,
    )
    if plan.is_socket and (body or asked != "GET"):
        raise LabkitError("a WebSocket is asked for by a GET without a body: leave out method and data")
    if publish and (cut or parallel or not plan.sendable):
        raise LabkitError(
            "publish listens to its own events alone: leave out cut, parallel, method and data; ask twice"
        )
    wanted = Expected.of(expect)
    wanted.check(plan.first.seconds)
    for line in plan.said() if say is not None else ():
        assert say is not None
        say(line)
    when = datetime.now().astimezone().isoformat(" ", "seconds")
    seen = _waited_for(plan, progress)
    missed = unmet(wanted, seen.first, is_whole=not seen.interrupted)
    return Report(seen, tuple(findings(seen)), (*all_notes(seen), *around(plan, os.environ)), missed, when)


def fields_of(headers: Mapping[str, str]) -> dict[str, str]:
    """These as they are sent, with names as the probe writes its own, so that none is sent twice.

    Raises:
        LabkitError: one is the conversation itself.
    """
    named = {name.title().replace("Event-Id", "Event-ID"): value for name, value in headers.items()}
    for name in OWN.intersection(named):
        raise LabkitError(f"header {name}: the probe says that itself")
    return named


def _proxy(url: str | None, there: address.Address, http: int | None) -> Proxy | None:
    if url is None:
        return None
    proxy = Proxy(url)
    if http == 2 and not proxy.tunnels(there):
        raise LabkitError("http=2 in clear text is not asked of a proxy: ask https://, or http=1")
    return proxy


def _named(technique: str) -> Technique | None:
    """Whose client asks; None: that is seen by the address, and the registry stays unread."""
    if technique == AUTO:
        return None
    from labkit.techniques import TECHNIQUES

    clients = {each.name: each for each in TECHNIQUES if each.port == "http" and not each.exhibit}
    if technique not in clients:
        raise LabkitError(f"technique {technique!r}: expected one of {', '.join((AUTO, *clients))}")
    return clients[technique]


def _waited_for(plan: Plan, progress: bool) -> Seen:
    """All that is asked; the caller's thread only waits, so that an interrupt is heard at once."""
    if loop.on_lab_loop():
        raise RuntimeError("labkit.probe waits for what it asks, and was called on the lab loop itself")
    watch, line = Watch(), Progress(enabled=progress)
    asked = loop.submit(Asking(plan, watch).seen())
    try:
        try:
            while not asked.done():
                concurrent.futures.wait([asked], timeout=LOOK_S)
                line.show(watch.line())
        except KeyboardInterrupt:
            loop.get_loop().call_soon_threadsafe(watch.end)
        return asked.result()
    finally:
        asked.cancel()
        line.done()
