"""Following a technique across cut connections: reconnect, with backoff, and go on from the cursor."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

from labkit.client.backoff import Backoff
from labkit.client.connection import Opened
from labkit.client.ledger import Ledger
from labkit.errors import ConnectionLost, LabkitError, Refused
from labkit.techniques import Delivery, Technique
from labkit.wire.events import Gap, now_ns

TRY_AGAIN = frozenset({502, 503, 504, 1001, 1012, 1013})  # the server asks to come back later


async def follow(
    technique: Technique,
    url: str,
    *,
    after: str | None = None,
    ledger: Ledger | None = None,
    on_open: Opened | None = None,
    on_lost: Callable[[LabkitError], None] | None = None,
    give_up_s: float = 10.0,
    **options: Any,
) -> AsyncGenerator[Delivery | Gap, None]:
    """Whatever arrives through *technique*, over as many connections as it takes.

    Waits between attempts are those of :class:`labkit.client.backoff.Backoff`, or what the server asked for, if that is
    longer. What resets waiting and giving up is an item, or an answer that is a success (2xx, 304, 101); a request
    that was written is none.

    Args:
        on_lost: told why each attempt has ended.
        give_up_s: seconds without such an answer, or a connection that had one, after which the last error is raised.

    Raises:
        ConnectionLost: nothing of the kind for *give_up_s* seconds.
        Refused: the server will not have this client at all.
    """
    ledger = Ledger(0) if ledger is None else ledger
    options |= technique.taken_of({"give_up_s": give_up_s}) if technique.resumes else {}
    cursor, backoff, heard_ns = after, Backoff(), now_ns()

    def opened(at: str) -> None:
        nonlocal cursor
        cursor = at or cursor
        if on_open is not None:
            on_open(at)

    while True:
        lost = ConnectionLost(f"{technique.name}: the server ended the connection")
        asked_s, began_ns, brought, held = 0.0, now_ns(), False, True
        try:
            items = technique.connect(url, after=cursor, ledger=ledger, on_open=opened, **options)
            async with aclosing(items) as arriving:
                async for item in arriving:
                    cursor, heard_ns, brought = item.cursor, now_ns(), True
                    yield item
            if technique.resumes:
                return  # it comes back by itself: an end is what the server has asked for (204, WHATWG HTML 9.2.3)
        except ConnectionLost as error:
            lost = error
            held = not technique.resumes  # that one has tried for a while before it said so
        except Refused as error:
            if error.status not in TRY_AGAIN:
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
