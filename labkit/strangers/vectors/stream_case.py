"""How a case of an event stream is written down: its body, and the events that it dispatches. Pure."""

from __future__ import annotations

from labkit.strangers.vectors.case import NO_CONTENT, Answer, Case, Had, Outcome, whole

EVENT_STREAM = "text/event-stream"
PARSING = "WHATWG HTML 9.2.5"
INTERPRETING = "WHATWG HTML 9.2.6"
INTERFACE = "WHATWG HTML 9.2.2"
PROCESSING = "WHATWG HTML 9.2.3"


def event(data: str, id: str = "", type: str = "message") -> Had:
    """An event as a page has it: *id* is the stream's last event id at that moment."""
    return {"type": type, "data": data, "lastEventId": id}


def ended(*events: Had, requests: tuple[str | None, ...], why: str = "") -> Outcome:
    """These events and a source that is closed, after requests that had these last event ids."""
    return Outcome({"events": list(events), "readyState": 2}, {"requests": list(requests)}, why)


def stream(
    body: bytes, *, content_type: str = EVENT_STREAM, cut: str = "whole", fields: tuple[str, ...] = ()
) -> Answer:
    """An event stream that ends as it should."""
    return whole(body, content_type, cut=cut, fields=fields)


def stream_case(
    name: str,
    about: str,
    clause: str,
    answer: bytes | Answer,
    *events: Had,
    comes_with: str | None = None,
    waits_ms: int = 0,
) -> Case:
    """A stream that ends, and a 204 for the client that comes back.

    Args:
        answer: the body, or the whole answer.
        comes_with: the Last-Event-ID of the second request.
        waits_ms: that request comes no sooner after the end of the stream.
    """
    first = answer if isinstance(answer, Answer) else stream(answer)
    outcome = ended(*events, requests=(None, comes_with))
    return Case(name, "event-stream", about, clause, (first, NO_CONTENT), (outcome,), (waits_ms,) if waits_ms else ())
