"""The check of L5b: what has to be done again after an answer, and what stays."""

from __future__ import annotations

from labkit.claims.finding import Finding, NoVerdict
from labkit.claims.seen import uninterrupted
from labkit.course.long_polling.exchanges import FRESH, KEPT, Connections
from labkit.measuring.rounding import counted


def a_request_again(seen: Connections) -> Finding:
    """L5b: after each answer there is another request; the connection need not be another one.

    ``measured``: requests for each answer over the kept connections, of each of which one may be parked at the end.
    """
    uninterrupted(seen.run)
    kept = list(seen.run.ledger.of(KEPT))
    asked, answered = sum(record.requests for record in kept), sum(record.responses for record in kept)
    opened, fresh = len(kept), len(list(seen.run.ledger.of(FRESH)))
    clients = max(1, len({topic for topic, _ in seen.run.published}))
    if answered < 2 or fresh < 2:
        raise NoVerdict("undecided", f"too few answers: {answered}", answered)
    if int(seen.run.summary()["lost"].sum()) or not answered <= asked <= answered + clients:
        why = f"{counted(asked, 'request')} for {counted(answered, 'answer')}: it does not ask once after each"
        return Finding(1, asked / answered, None, answered, "refuted", why, "requests")
    if opened > clients:
        took = f"{counted(asked, 'request')} of {counted(clients, 'client')} took {counted(opened, 'connection')}"
        why = f"{took}: asking again does not keep them"
        return Finding(1, asked / answered, None, answered, "refuted", why, "requests")
    why = f"a new request after each of {answered} answers, and no new connection: {asked} requests went over {opened}"
    return Finding(1, asked / answered, None, answered, "refined", why, "requests")
