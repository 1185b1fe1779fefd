"""Requests that were not answered as asked: rows 15, 19 and 20, and what has no row."""

from __future__ import annotations

import re

from labkit.client.http_connection import NOT_READ
from labkit.client.redirects import location
from labkit.strangers.probe.finding import Finding, tap_between
from labkit.strangers.probe.observation import Observation, Seen
from labkit.strangers.probe.remedies import UPGRADE, lines
from labkit.wire.bodies import codings_of
from labkit.wire.codings import BROUGHT_BY, CODINGS, is_readable
from labkit.wire.http1 import printable

WAITED_S = 1.0
"""What ends a connection later than that may have been waiting."""
CERTIFICATES = {
    "certificate has expired": "renew the server's certificate  (--insecure asks without checking it)",
    "certificate is not yet valid": "set the clock of this machine, or have the certificate made anew",
    "mismatch": "ask by the name that the certificate is for, or have one made for this name",
    "is not valid for": "ask by the name that the certificate is for, or have one made for this name",
    "self-signed": "--cafile FILE with the authority that made it  (--insecure asks without checking it)",
    "local issuer": "send the whole chain from the server, or --cafile FILE with the authority that made it",
}
"""By what OpenSSL says of a certificate: what to change."""
LOG_INS = (401, 403)
LOG_IN = re.compile(r"login|(?<![a-z])(?:log|sign)[-_]?in(?![a-z])|\bsso\b|oauth|saml|openid|/auth\b", re.IGNORECASE)
KEYS = ("a key or a session: --header 'Authorization: Bearer KEY', or --header 'Cookie: NAME=VALUE'",
        "(it is shown nowhere; a name and a password may also stand in the address)")  # fmt: skip


def not_reached(seen: Seen) -> Finding | None:
    """No connection, no TLS, no way through a proxy."""
    first = seen.first
    if first.end != "refused" or first.status:
        return None
    why = first.complaint
    by_proxy = "--proxy http://NAME:PASSWORD@HOST:PORT, or what it lets through"
    otherwise = by_proxy if first.proxy else "the address: is it spelt so, and does a server listen there?"
    remedy = next((line for words, line in CERTIFICATES.items() if words in why), otherwise)
    return Finding(0, "seen", f"it could not be asked: {why}", remedy=(remedy,), unasked=True)


def no_answer(seen: Seen) -> Finding | None:
    """The connection ended before a head: of which side, nobody can say."""
    first, also = seen.first, seen.others.get("also")
    if first.status or first.end not in ("cut", "reset"):
        return None
    silent = first.end_s >= WAITED_S
    evidence = [f"{'reset' if first.end == 'reset' else 'FIN'} {first.end_s:.2f} s after the request, before an answer"]
    if also is not None and also.status:
        evidence.append(f"{also.address} answered {also.status}")
    left = (f"a limit of about {first.end_s:.0f} s at a hop, in a silence (row 8)",
            "a proxy that held the head until then (row 1)") if silent else ()  # fmt: skip
    return Finding(
        0, "consistent with", "the connection ended before an answer", tuple(evidence),
        (*left, "a server, or a worker of it, that died", "a hop that reaches no server, or refuses this client",
         "another protocol at this port (TLS, HTTP/2)"),
        ("the log of the server, and of each hop, at that moment",), tap_between(seen, "who ended it"),
    )  # fmt: skip


def redirected(seen: Seen) -> Finding | None:
    """A redirection, as to a log-in."""
    first = seen.first
    where = printable(location(first.status, first.headers) or "")
    if not where:
        return None
    if LOG_IN.search(where):
        says = f"the answer is a redirection ({first.status}) to a log-in: {where}"
        return Finding(0, "seen", says, (f"Location: {where}",), remedy=KEYS, unasked=True)
    return Finding(
        0, "seen", f"the answer is a redirection ({first.status}): it leads on to {where}", (f"Location: {where}",),
        remedy=(f"ask the address that it leads on to: {where}",), unasked=True,
    )  # fmt: skip


def log_in(seen: Seen) -> Finding | None:
    """Row 15 by 401 and 403; a page that asks for a password, where a stream was asked for."""
    first = seen.first
    if first.status in LOG_INS:
        asks = first.headers.get("www-authenticate", "").partition(" ")[0].rstrip(",")
        how = f" ({printable(asks, 20)})" if asks else ""
        says = f"a log-in is wanted{how}" if first.status == 401 else "this request is not let in"
        said = (f"status {first.status}: {first.words}".rstrip(": "),
                "an EventSource that gets it never comes back by itself")  # fmt: skip
        return Finding(15, "seen", f"the answer is {first.status}: {says}", said, remedy=KEYS, unasked=True)
    if first.status == 200 and first.asks_password:
        says_so = "the answer is a page that asks for a log-in, and no stream"
        shown = (f"status 200, {first.headers.get('content-type', '')}: {first.words[:80]}",)
        return Finding(0, "seen", says_so, shown, remedy=KEYS, unasked=True)
    return None


def protocol_broken(seen: Seen) -> Finding | None:
    """Row 19 over HTTP/2; over HTTP/1, an answer that breaks its rules."""
    first = seen.first
    if first.end != "broken":
        return None
    if unread := [name for name in codings_of(first.headers.get("content-encoding", "")) if not is_readable(name)]:
        return _coded(first, unread[0])
    is_2 = first.http_version == "2" or "9113" in first.complaint
    plain = seen.others.get("http/1.1")
    evidence = [first.complaint]
    if is_2 and plain is not None and plain.status == 200:
        evidence.append("the same request in HTTP/1.1 is answered")
    remedy = ("leave Connection, Keep-Alive, Transfer-Encoding and Upgrade out of the answer where HTTP/2 is spoken "
              "(RFC 9113 section 8.2.2)",) if is_2 else ("what the clause asks for",)  # fmt: skip
    version = "HTTP/2" if is_2 else "HTTP/1"
    return Finding(19 if is_2 else 0, "seen", f"the answer breaks a rule of {version}: {first.complaint}",
                   tuple(evidence), remedy=remedy)  # fmt: skip


def _coded(first: Observation, name: str) -> Finding:
    """A coding that was not offered; or one that a --header asked for, and nothing here reads."""
    said = (f"Content-Encoding: {first.headers['content-encoding']}",)
    if NOT_READ in first.complaint:
        remedy = BROUGHT_BY if name in CODINGS else "ask for another coding"
        says = f"it could not be read: the answer is in {name}, which --header asked for and nothing here reads"
        return Finding(0, "seen", says, said, remedy=(remedy,), unasked=True)
    return Finding(0, "seen", f"the answer is in {name}, which Accept-Encoding did not offer", said, remedy=(
        "answer in a coding that Accept-Encoding names, or in none (RFC 9110 section 12.5.3)",))  # fmt: skip


def upgrade(seen: Seen) -> Finding | None:
    """Row 20."""
    first = seen.first
    if first.kind != "messages" or first.end in ("refused", "broken", "silent") or first.status in (0, 101):
        return None
    also = seen.others.get("also")
    evidence = (f"GET with Upgrade: websocket was answered {first.status} {first.words}".rstrip(),)
    if also is not None and also.status == 101:
        return Finding(20, "seen", f"a hop before {also.address} drops the Upgrade: {first.status} here, 101 there",
                       (*evidence, f"{also.address} answered 101"), remedy=lines(UPGRADE, first))  # fmt: skip
    if first.status in LOG_INS or location(first.status, first.headers):
        return None
    return Finding(
        20, "consistent with", f"the answer to Upgrade is {first.status} and not 101", evidence,
        ("a hop that does not pass Upgrade and Connection on (nginx's default, a firewall)",
         "a server that has no WebSocket at this address, or refuses this client (Origin, log-in)"),
        lines(UPGRADE, first), tap_between(seen, "whether the Upgrade reaches the server"),
    )  # fmt: skip


def status(seen: Seen) -> Finding | None:
    """Row 15: an EventSource that gets this never comes back."""
    first = seen.first
    if first.kind == "messages" or not first.status or first.status in (200, 101):
        return None
    if location(first.status, first.headers):
        return None
    if first.status == 304 or (first.status == 206 and first.method == "GET"):
        return None
    if 200 < first.status < 300 and (first.method != "GET" or not first.is_event_source):
        return None
    waited = (f"a hop has waited {first.head_s or 0:.1f} s for the server's answer (an idle limit, as in row 8)",
              ) if first.status == 504 else ()  # fmt: skip
    why = {204: "which tells an EventSource to stop for good"}.get(first.status, "after which an EventSource never "
                                                                     "comes back by itself")  # fmt: skip
    own = first.proxy and first.status in (502, 503, 504)
    whose = (f"the proxy {first.proxy} may have said so itself: it does where it does not reach the server",
             ) if own else ()  # fmt: skip
    return Finding(
        15, "seen", f"the answer is {first.status}, {why}",
        (f"status {first.status}, {first.headers.get('content-type', 'no type')}: {first.words}".rstrip(": "),
         *waited, *whose),
        remedy=("answer 200 with Content-Type: text/event-stream (and retry:), or wrap EventSource in a client that "
                "asks again",) if first.status >= 500 or first.status == 204 else
               ("what lets the request in: the address, --header, --method",),
    )  # fmt: skip
