"""Following a technique across cut connections: reconnect, with backoff, and go on from the cursor."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from labkit.client.connection import Opened
from labkit.errors import ConnectionLost, Refused
from labkit.techniques import Delivery, Technique
from labkit.wire.events import Gap

FIRST_WAIT_S = 0.05
LONGEST_WAIT_S = 2.0
TRY_AGAIN = frozenset({502, 503, 504, 1001, 1012, 1013})  # the server asks to come back later


async def follow(
    technique: Technique,
    url: str,
    *,
    after: str | None = None,
    on_open: Opened | None = None,
    give_up_s: float = 10.0,
    **options: Any,
) -> AsyncGenerator[Delivery | Gap, None]:
    """Whatever arrives through *technique*, over as many connections as it takes.

    Waits between attempts double from 0.05 s to 2 s, each uniformly jittered, so that many clients that were cut
    together do not come back together.

    Args:
        give_up_s: seconds without a connection after which the last error is raised.

    Raises:
        ConnectionLost: no connection for *give_up_s* seconds.
        Refused: the server will not have this client at all.
    """
    clock = asyncio.get_running_loop().time
    cursor, last_s, wait_s = after, clock(), FIRST_WAIT_S
    asked_s: float | None = None

    def opened(at: str) -> None:
        nonlocal cursor, last_s, wait_s
        cursor, last_s, wait_s = at or cursor, clock(), FIRST_WAIT_S
        if on_open is not None:
            on_open(at)

    while True:
        lost = ConnectionLost(f"{technique.name}: the server ended the connection")
        asked_s = None
        try:
            async with aclosing(technique.connect(url, after=cursor, on_open=opened, **options)) as items:
                async for item in items:
                    cursor, last_s, wait_s = item.cursor, clock(), FIRST_WAIT_S
                    yield item
        except ConnectionLost as error:
            lost = error
        except Refused as error:
            if error.status not in TRY_AGAIN:
                raise
            lost, asked_s = ConnectionLost(str(error)), error.retry_after_s
        if clock() - last_s > give_up_s:
            raise lost
        await asyncio.sleep(asked_s if asked_s is not None else random.uniform(0, wait_s))
        wait_s = min(2 * wait_s, LONGEST_WAIT_S)
