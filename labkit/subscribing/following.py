"""Following a technique across cut connections: reconnect, with backoff, and go on from the cursor."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

from labkit.client.backoff import Backoff
from labkit.client.ledger import Ledger
from labkit.errors import ConnectionLost, LabkitError, Refused
from labkit.techniques import Delivery, Technique
from labkit.techniques.reading import Opened
from labkit.theory.path import SILENCE_S
from labkit.wire.events import Gap, now_ns

GIVE_UP_S = 10.0
LEAST_S = 1.0  # what a server that is about to be given up has to answer
TRY_AGAIN = frozenset({408, 429, 502, 503, 504, 1001, 1012, 1013, 1014})  # the server asks to come back later
FALTERS = frozenset({500})
"""So an intermediary tells that the server behind it has died; of one never heard it is the server's own word."""


async def follow(
    technique: Technique,
    url: str,
    *,
    after: str | None = None,
    ledger: Ledger | None = None,
    on_open: Opened | None = None,
    on_lost: Callable[[LabkitError], None] | None = None,
    give_up_s: float = GIVE_UP_S,
    silence_s: float = SILENCE_S,
    answer_s: float | None = None,
    **options: Any,
) -> AsyncGenerator[Delivery | Gap, None]:
    """Whatever arrives through *technique*, over as many connections as it takes.

    Waits between attempts are those of :class:`labkit.client.backoff.Backoff`, or what the server asked for, if that is
    longer. What resets waiting and giving up is an item, or an answer that is a success (2xx, 304, 101); a request
    that was written is none.

    Args:
        on_lost: told why each attempt has ended.
        give_up_s: seconds without such an answer, or a connection that had one, after which the last error is raised.
        silence_s, answer_s: how long the server may say nothing, and take to begin an answer, as ``connect`` has them;
            by default an answer has what is left until it is given up.

    Raises:
        ConnectionLost: nothing of the kind for *give_up_s* seconds.
        Refused: the server will not have this client at all.
        WireError: it broke a rule, and would again.
    """
    ledger = Ledger(0) if ledger is None else ledger
    options |= technique.taken_of({"give_up_s": give_up_s}) if technique.resumes else {}
    cursor, backoff, heard_ns, arrived = after, Backoff(), now_ns(), 0

    def opened(at: str) -> None:
        nonlocal cursor
        cursor = at or cursor
        if on_open is not None:
            on_open(at)

    while True:
        lost = ConnectionLost(f"{technique.name}: the server ended the connection")
        asked_s, began_ns, brought, held = 0.0, now_ns(), False, True
        left_s = max(give_up_s - (began_ns - heard_ns) / 1e9, min(give_up_s, LEAST_S))
        try:
            items = technique.connect(
                url, after=cursor, ledger=ledger, on_open=opened, arrived=arrived, silence_s=silence_s,
                answer_s=min(silence_s, left_s) if answer_s is None else answer_s, **options,
            )  # fmt: skip
            async with aclosing(items) as arriving:
                async for item in arriving:
                    cursor, heard_ns, brought = item.cursor, now_ns(), True
                    arrived += isinstance(item, Delivery)
                    yield item
            if technique.resumes:
                return  # it comes back by itself: an end is what the server has asked for (204, WHATWG HTML 9.2.2)
        except ConnectionLost as error:
            lost = error
            held = not technique.resumes  # that one has tried for a while before it said so
        except Refused as error:
            if error.status not in TRY_AGAIN and not (error.status in FALTERS and ledger.accepted_ns):
                raise
            lost, asked_s = ConnectionLost(str(error)), error.retry_after_s or 0.0
        heard_ns = max(heard_ns, ledger.accepted_ns)
        if heard_ns > began_ns:
            backoff.answered((now_ns() - began_ns) / 1e9, brought=brought)
            heard_ns = now_ns() if held else heard_ns
        if on_lost is not None:
            on_lost(lost)
        if (now_ns() - heard_ns) / 1e9 > give_up_s:
            raise lost
        await asyncio.sleep(max(asked_s, backoff.next_s()))
