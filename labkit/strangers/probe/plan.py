"""What a probe sends: the request as asked, and at most four more with one thing changed. Said beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from labkit.client.address import Address
from labkit.client.proxy import Proxy
from labkit.client.speaking import versions_of
from labkit.client.tls import SYSTEM, Trust
from labkit.strangers.probe.asking import Question
from labkit.strangers.probe.observation import Observation
from labkit.strangers.probe.rules.at_once import came_at_once
from labkit.strangers.probe.rules.resumed import BACK
from labkit.strangers.secrets import shown
from labkit.wire.codings import BROUGHT_BY, CODINGS, is_readable, readable

if TYPE_CHECKING:
    from labkit.techniques import Technique

MOST = 5
"""Requests of one probe, the first included."""
SHORT_S = 0.5
"""An answer that is over sooner is a poll's, and may be asked for on a used connection."""
REPEATABLE = ("GET", "HEAD")
STREAM, ANY, POSTED = "text/event-stream", "*/*", "application/json, text/event-stream"


@dataclass(frozen=True, slots=True)
class Plan:
    """What may be asked."""

    first: Question
    also: Address | None = None
    is_socket: bool = False
    sendable: bool = True
    cut: bool = False
    parallel: int = 0
    publishes: bool = False
    holds: bool = False
    """Whether whose client asks waits for an answer as long as it takes: a long poll."""

    @property
    def crowd_s(self) -> float:
        """How long those are held that are held at once."""
        return min(3.0, self.first.seconds)

    def _offered(self) -> list[str]:
        """Which codings are, and which for want of a decoder are not."""
        if self.is_socket or "accept-encoding" in self.first.secret:
            return []
        left = [name for name in CODINGS if not is_readable(name)]
        why = f"; not {' and '.join(left)}, which nothing installed here decodes ({BROUGHT_BY})" if left else ""
        return [f"  Accept-Encoding: {', '.join(readable())}{why}"]

    def said(self) -> list[str]:
        """What will be sent, before anything is."""
        first = self.first
        kind = "a WebSocket" if self.is_socket else first.method
        body = f" with a body of {len(first.body)} bytes" if first.body else ""
        said = [f"will send: {kind} {shown(str(first.address))}{body}, listening for {first.seconds:g} s"]
        if first.proxy is not None:
            how = "by CONNECT" if first.proxy.tunnels(first.address) else "which is asked by the whole address"
            said.append(f"  through the proxy {first.proxy}, {how}")
        said += self._offered()
        if self.also is not None and self.sendable:
            way = ", without the proxy" if first.proxy is not None else ""
            said.append(f"  and the same to {shown(str(self.also))}, at the same time{way}")
        if self.publishes:
            said.append("  and POSTs to /events beside it, four a second, to a topic of its own (--publish)")
        if not self.sendable:
            left = ", nor sent to --also," if self.also is not None else ""
            said.append(f"  once: a {first.method} is not repeated{left} without --again")
        elif self.publishes:
            said += (
                []
                if self.is_socket
                else ["  and the same with Accept-Encoding: identity beside it, where it is compressed"]
            )
        else:
            what = "the same again where it is cut" if self.is_socket else (
                "and only where the first answer asks for it, one thing changed: Accept-Encoding: identity where it is "
                "compressed, another Accept, with the same beside it, where it is held or no event stream, HTTP/1.1 "
                "alone where HTTP/2 fails, a used connection where its pieces ask for it, the same again where it is "
                "cut or recorded")  # fmt: skip
            said.append(f"  {what}: {MOST} requests at most")
            if self.cut:
                said.append("  and once more with Last-Event-ID, as after a cut (--cut)")
            if self.parallel:
                said.append(f"  and {self.parallel} at once (--parallel), for {self.crowd_s:g} s")
        return said


def planned(
    address: Address,
    also: Address | None,
    *,
    technique: Technique | None,
    method: str,
    body: bytes,
    headers: Mapping[str, str],
    seconds: float,
    again: bool,
    trust: Trust,
    proxy: Proxy | None,
    http: int | None,
    cut: bool,
    parallel: int,
    publishes: bool,
) -> Plan:
    """The plan for an address.

    Args:
        technique: which client asks; None: an EventSource, and a WebSocket at ``ws://``.
    """
    by_address = "messages" if address.scheme in ("ws", "wss") else "event-stream"
    awaited = by_address if technique is None else technique.body
    is_socket = awaited == "messages"
    fields: dict[str, str] = {}
    if not is_socket:
        accept = STREAM if awaited == "event-stream" else ANY
        fields = {"Accept": POSTED if body or method == "POST" else accept, "Accept-Encoding": ", ".join(readable())}
        if body:
            fields["Content-Type"] = "application/json"
    named = {name.lower() for name in headers}
    fields = {name: value for name, value in fields.items() if name.lower() not in named} | dict(headers)
    if address.authorization is not None and "authorization" not in named:
        fields["Authorization"] = address.authorization
    versions = versions_of(http, is_socket=is_socket, is_secure=address.is_secure)
    first = Question("first", address, "", method, body, fields, frozenset(named), versions, seconds, trust, proxy)
    holds = technique is not None and technique.kind == "hold"
    return Plan(first, also, is_socket, again or (method in REPEATABLE and not body), cut, parallel, publishes, holds)


def to_also(plan: Plan) -> Question | None:
    """The same question to the address behind the suspected hop; a path that it does not name is the first one's.

    It is asked without the proxy, which is a hop before it.
    """
    if plan.also is None:
        return None
    there = plan.also
    if there.path == "/" and not there.query:
        there = replace(there, path=plan.first.address.path, query=plan.first.address.query)
    versions = plan.first.versions if there.is_secure else (1,)
    return replace(plan.first, name="also", address=there, changed=f"also {shown(str(there))}",
                   versions=versions, proxy=None)  # fmt: skip


def without_coding(plan: Plan) -> Question:
    """Asked when the first answer turns out to be compressed."""
    fields = {name: value for name, value in plan.first.fields.items() if name.lower() != "accept-encoding"}
    return replace(plan.first, name="identity", changed="Accept-Encoding: identity",
                   fields={**fields, "Accept-Encoding": "identity"})  # fmt: skip


def afterwards(plan: Plan, first: Observation) -> list[Question]:
    """What is asked when the first answer is over."""
    asked = list[Question]()
    question = plan.first
    is_silent = first.end == "silent" and not plan.holds
    if not plan.is_socket and first.status in (0, 200) and (is_silent or came_at_once(first)):
        other = ANY if question.fields.get("Accept") == STREAM else STREAM
        if "accept" not in question.secret:
            asked.append(replace(question, name="accept", changed=f"Accept: {other}",
                                 fields={**question.fields, "Accept": other}))  # fmt: skip
    elif not plan.is_socket and first.status == 200 and first.kind in ("lines", "parts") and first.events:
        if "accept" not in question.secret and question.fields.get("Accept") == STREAM:
            asked.append(replace(question, name="accept", changed=f"Accept: {ANY}", enough=len(first.events),
                                 fields={**question.fields, "Accept": ANY}))  # fmt: skip
    if first.end == "broken" and 2 in question.versions:
        asked.append(replace(question, name="http/1.1", changed="HTTP/1.1 alone", versions=(1,), seconds=min(
            3.0, question.seconds)))  # fmt: skip
    if (first.is_cut and first.status in (200, 101)) or "age" in first.headers:
        asked.append(replace(question, name="again", changed="the same again"))
    if _in_pieces(plan, first):
        name = "on a connection that was used before (HEAD)"
        asked.append(replace(question, name="kept", changed=name, warm_up=True, seconds=min(3.0, question.seconds),
                             enough=max(len(first.events), 1)))  # fmt: skip
    ids = [event.wire_id for event in first.events if event.wire_id]
    if plan.cut and len(ids) > BACK:
        held = ids[-1 - BACK]
        asked.append(replace(question, name="return", changed=f"Last-Event-ID: {held}",
                             fields={**question.fields, "Last-Event-ID": held}))  # fmt: skip
    return asked


def beside(plan: Plan, question: Question) -> list[Question]:
    """What is asked at the same time, to compare: what was silent once may have had nothing to say."""
    if question.name != "accept":
        return []
    return [replace(question, name="beside", changed="as asked, beside that", fields=plan.first.fields)]


def _in_pieces(plan: Plan, first: Observation) -> bool:
    """Whether an event came in more than one write, or a short answer may have: one may wait for an acknowledgement."""
    if plan.is_socket or first.status != 200 or first.is_coded or first.http_version == "2" or first.head_s is None:
        return False
    if first.kind == "whole":
        return first.end == "clean" and 0 < len(first.pieces) < 9 and first.end_s < SHORT_S
    return len(first.events) > 2 and max(len(first.pieces), len(first.chunks)) > 1.5 * len(first.events)


def crowd(plan: Plan) -> list[Question]:
    """Those that are asked at once."""
    one = replace(plan.first, seconds=plan.crowd_s)
    return [replace(one, name=f"parallel {n}", changed=f"{n} of {plan.parallel} at once")
            for n in range(1, plan.parallel + 1)]  # fmt: skip


def trust_of(cafile: str | None, insecure: bool) -> Trust:
    return Trust(cafile, insecure) if cafile or insecure else SYSTEM
