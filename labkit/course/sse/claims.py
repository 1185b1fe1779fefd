"""What 04_server_sent_events claims: each sentence, its source, its experiment, its judge."""

from __future__ import annotations

from labkit.claims.claim import Claim, of_notebook
from labkit.course.alone import in_a_lab
from labkit.course.sse import judges
from labkit.course.sse.beats import heartbeats
from labkit.course.sse.decoders import conformance
from labkit.course.sse.event_bytes import framing
from labkit.course.sse.giving_up import endings
from labkit.course.sse.reconnections import Resumption, cut, returns

CLAIMS = of_notebook(
    "04_server_sent_events",
    Claim(
        "E1",
        source="WHATWG HTML 9.2.5 and 9.2.6",
        sentence="Lines must be processed, in the order they are received, as follows [every rule for a "
        "line and a field]",
        unit="rules",
        measures="rules that are kept",
        judge=judges.every_rule,
        experiment=conformance,
    ),
    Claim(
        "E2",
        source="WHATWG HTML 9.2.3",
        sentence="“Wait a delay equal to the reconnection time of the event source. [...] Set (Last-Event-ID, "
        "lastEventIDValue) in request's header list”",
        measures="median time away, for the middle one of the reconnection times",
        judge=judges.comes_back,
        experiment=in_a_lab(lambda lab: Resumption(returns(), cut(lab))),
    ),
    Claim(
        "E3",
        source="WHATWG HTML 9.2.1 and 9.2.2",
        sentence="“a client can be told to stop reconnecting using the HTTP 204 No Content response code; "
        "[...] if res's Content-Type is not text/event-stream, then fail the connection”",
        unit="requests",
        measures="most requests that any client made where it is to make one",
        judge=judges.stops,
        experiment=endings,
    ),
    Claim(
        "E5",
        source="High Performance Browser Networking, chapter on WebSocket",
        sentence="“SSE adds as little as 5 bytes per message but is restricted to UTF-8 content only”",
        unit="bytes",
        measures="bytes of framing in the barest event that is dispatched",
        judge=judges.five_bytes,
        experiment=in_a_lab(framing),
    ),
    Claim(
        "E6",
        source="practice",
        sentence="a comment heartbeat tells the page nothing",
        measures="mean time until a watchdog on named heartbeats notices a stall",
        judge=judges.tells_nothing,
        experiment=heartbeats,
    ),
)
