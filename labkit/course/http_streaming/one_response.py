"""S1c: a stream goes on answering after its first answer. Its experiment and its check."""

from __future__ import annotations

from labkit.claims.finding import Finding, NoVerdict
from labkit.course.http_streaming.recycling import variant
from labkit.lab.lab import Lab
from labkit.measuring.measurement import measure
from labkit.measuring.rounding import counted
from labkit.measuring.run import Run
from labkit.measuring.schedules import periodic

LEAST_EVENTS = 3


def streams(lab: Lab) -> Run:
    """A few events over a chunked stream and over one that ends with its connection."""
    both = [variant("chunked"), variant("eof", framing="eof")]
    return measure(lab, both, periodic(rate_per_s=5, duration_s=1), one_way_s=0.05)


def goes_on_answering(run: Run) -> Finding:
    """S1c: many events, one request, one connection. ``measured``: events of the stream that brought the fewest."""
    events = run.summary()["events"]
    if not len(events) or events.min() < LEAST_EVENTS:
        raise NoVerdict("undecided", "too few events to go on with", int(events.sum()))
    fewest, n, said = int(events.min()), int(events.sum()), []
    for name in events.index:
        records = list(run.ledger.of(name))
        asked, answered = sum(record.requests for record in records), sum(record.responses for record in records)
        if (asked, answered, len(records)) != (1, 1, 1):
            took = ", ".join(
                [counted(asked, "request"), counted(answered, "response"), counted(len(records), "connection")]
            )
            return Finding(
                None, fewest, None, n, "refuted", f"{name}: {counted(events[name], 'event')} took {took}", "events"
            )
        said.append(f"{name} {events[name]}")
    why = f"it goes on, in the one response that it began, to one request on one connection: events {', '.join(said)}"
    return Finding(None, fewest, None, n, "refined", why, "events")
