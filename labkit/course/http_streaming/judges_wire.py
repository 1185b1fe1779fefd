"""The checks of 03_http_streaming about where a body ends: S1, S1b and S2."""

from __future__ import annotations

import h11

from labkit.claims.confidence import Verdict
from labkit.claims.finding import Finding, NoVerdict
from labkit.claims.judging import guilty, said, together
from labkit.course.http_streaming.borders import is_message
from labkit.course.http_streaming.ends import HOW, Endings, Seconds
from labkit.course.http_streaming.framing import Framing, Framings
from labkit.measuring.rounding import counted

# S1


def byte_by_byte(case: Framing) -> list[bytes]:
    """The lines of the body, parsed by h11 from reads of one byte each."""
    parser, body = h11.Connection(h11.CLIENT), b""
    parser.send(h11.Request(method="GET", target="/", headers=[("Host", "lab")]))
    parser.send(h11.EndOfMessage())
    for byte in (*(bytes([b]) for b in case.head + case.body), b""):
        parser.receive_data(byte)
        while isinstance(event := parser.next_event(), h11.Response | h11.Data | h11.EndOfMessage):
            body += event.data if isinstance(event, h11.Data) else b""
            if isinstance(event, h11.EndOfMessage):
                return body.splitlines()
    return body.splitlines()


def which_framing_can_stream(seen: Framings) -> Finding:
    """S1: 1.1 streams chunked and by EOF, 1.0 by EOF and never chunked; what of a length that is filled slowly?"""
    parts = []
    for case in (c for c in seen.cases if c.framing != "length"):
        parts.append(said(case.streamed == case.events, f"{case.title}: {case.streamed} of {case.events} in time"))
        is_chunked = b"chunked" in case.head.lower()
        parts.append(said(is_chunked == (case.framing == "chunked"), f"{case.title}: the head declares it so"))
    for case in seen.cases:
        ids = sum(map(is_message, byte_by_byte(case)))
        parts.append(said(ids == case.events, f"{case.title}: {ids} events from reads of one byte"))
    verdict, reason = together(parts).verdict, guilty(parts)
    lengths = [c for c in seen.cases if c.framing == "length"]
    counter = [c for c in lengths if c.version == "1.0" and c.streamed == c.events]
    if verdict == "confirmed":
        reason = "each event was read before the next was written, and survives reads of one byte"
        if counter:
            verdict = "refined"
            reason = (
                "EOF is the only one of HTTP/1.0 where the length is not known beforehand; a declared Content-Length "
                f"that is filled slowly streams too ({counter[0].streamed} of {counter[0].events} in time)\n{reason}"
            )
        elif not lengths:
            verdict, reason = "undecided", f"the counter-example, a Content-Length, was not tried\n{reason}"
    in_time = {case.title: float(case.streamed) for case in seen.cases}
    n = sum(case.events for case in seen.cases)
    return Finding(None, in_time, None, n, verdict, reason, "")


# S1b


def which_framing_keeps_the_connection(seen: Seconds) -> Finding:
    """S1b: after the end of a stream a chunked one's connection answers again, one that EOF ended cannot."""
    if any(not case.events for case in seen.cases):
        raise NoVerdict("undecided", "a first response brought no event")
    chunked = [c for c in seen.cases if c.framing == "chunked"]
    eof = [c for c in seen.cases if c.framing == "eof"]
    if not chunked or not eof:
        raise NoVerdict("not run", "needs both framings")
    again = [c for c in chunked if c.answer.startswith("HTTP/1.1 200")]
    eof_again = [c for c in eof if c.answer]
    reason = "\n".join(f"{c.title}: {c.answer or 'no answer, the server had closed'}" for c in seen.cases)
    verdict: Verdict = "refuted"
    if len(again) == len(chunked) and not eof_again:
        verdict = "refined"
        reason = f"chunked keeps the connection, EOF keeps it only as long as the stream lasts\n{reason}"
    elif len(again) == len(chunked) and len(eof_again) == len(eof):
        verdict = "confirmed"
    return Finding(None, None, None, len(seen.cases), verdict, reason, "")


# S2


def a_fault_looks_like_the_end(seen: Endings) -> Finding:
    """S2: cut by FIN, EOF is silent as at a proper end, in every client; chunked can be told, and RST shows in both.

    That some client does not tell although the chunks would let it is named, and no fault of the framing.
    """
    late = [c for c in seen.cases if c.events != seen.sent]
    if late:
        raise NoVerdict(
            "undecided", f"{late[0].client} had {late[0].events} of {counted(seen.sent, 'event')} when it was cut"
        )
    cut = {c.client: c.error for c in seen.cases if (c.framing, c.how) == ("chunked", "fin")}
    deaf = [client for client, error in cut.items() if not error]
    parts = [
        said(bool(c.error) == (c.how == "reset"), f"{c.client}, {c.framing}, {HOW[c.how]}: {c.error or 'silent'}")
        for c in seen.cases
        if (c.framing, c.how) != ("chunked", "fin")
    ]
    parts.append(said(len(deaf) < len(cut), f"{len(cut) - len(deaf)} of {len(cut)} clients tell a cut chunked body"))
    verdict, reason = together(parts).verdict, guilty(parts)
    if verdict == "confirmed":
        tell = ", ".join(client for client in cut if client not in deaf)
        reason = f"with EOF a cut by FIN is silent like the end in all {len(cut)} clients; with chunks {tell} tell it"
        reason += f", {', '.join(deaf)} does not although it could" if deaf else ""
    return Finding(None, None, None, len(seen.cases), verdict, reason, "")
