"""N1: waiting for a job. A resource that answers 202 until the job is done, and five ways to wait for it."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial, wraps
from typing import Any, ClassVar

from labkit.server.handler import PushHandler
from labkit.techniques import Delivery, Opening, Technique, find
from labkit.techniques.reading import Reader
from labkit.theory.jobs import Wait, asking_wait, held_wait
from labkit.wire.bodies import Told, Whole
from labkit.wire.envelope import told_answer
from labkit.wire.events import Cursor, Gap

MEAN_S = 1.3
INTERVAL_S = 0.5
FIRST_S, LONGEST_S = 0.1, 4.0  # of the backoff, which doubles


class JobHandler(PushHandler):
    """A job as a resource (RFC 9110 section 15.3.3): POST submits it, GET asks for its result.

    The job's result is the first event of its topic. ``Retry-After`` is what is left of the usual duration, in whole
    seconds, since the field has no others (RFC 9110 section 10.2.3); never under one.
    """

    usual_s = MEAN_S
    submitted: ClassVar[dict[str, float]] = {}

    def post(self) -> None:
        self.submitted[self.topic] = time.monotonic()
        self.set_status(202)
        self.set_header("Location", f"/job?topic={self.topic}")
        self.set_header("Retry-After", str(retry_after_s(0.0, self.usual_s)))
        self.finish()

    async def get(self) -> None:
        page = self.page(Cursor.parse("0"))
        self.set_header("Content-Type", "application/json")
        if page.events:
            self.submitted.pop(self.topic, None)
        else:
            waited_s = time.monotonic() - self.submitted.get(self.topic, time.monotonic())
            self.set_status(202)
            self.set_header("Retry-After", str(retry_after_s(waited_s, self.usual_s)))
        await self.answer(self.context.hub.answer(self.topic, page).encode())


def retry_after_s(waited_s: float, usual_s: float) -> int:
    """The server's advice: what is left of the usual duration, in whole seconds, at least one."""
    return max(1, math.ceil(usual_s - waited_s))


def _asking(pauses: Callable[[int, float], float]) -> Callable[..., AsyncGenerator[Delivery | Gap, None]]:
    """A client that submits the job, and asks for its result until it is there.

    Args:
        pauses: (number of the question, the server's advice in s) -> seconds before it, from the one before.
    """

    async def submit(opening: Opening) -> AsyncGenerator[Delivery | Gap, None]:
        client = opening.http()
        reader, clock = Reader("0", opening.on_open), asyncio.get_running_loop().time
        next_s, number = clock(), 0
        try:
            http = await client.connected()
            await http.request("POST", client.target(), client.headers)
            while True:
                response, said = await client.told(Told(Whole(), told_answer), 202)
                if response.status == 200:
                    for item in reader.take_answer(said, client.received_ns):
                        yield item
                    await asyncio.Event().wait()  # the job is done: nothing more is asked
                advice_s = float(response.headers.get("retry-after", "1"))
                from_s = clock() if pauses is _advised else next_s  # Retry-After counts from the answer
                next_s, number = from_s + pauses(number, advice_s), number + 1
                await asyncio.sleep(max(0.0, next_s - clock()))
                await client.ask({})
        finally:
            client.close()

    return submit


def _fixed(_number: int, _advice_s: float) -> float:
    return INTERVAL_S


def _backoff(number: int, _advice_s: float) -> float:
    return min(float(FIRST_S * 2**number), LONGEST_S)


def _advised(_number: int, advice_s: float) -> float:
    return advice_s


JOB = Technique(
    name="job",
    title="A job's resource",
    spec="RFC 9110 section 15.3.3",
    route="/job",
    handler=JobHandler,
    client=_asking(_fixed),
    exhibit=True,
)


def _once(technique: Technique, name: str) -> Technique:
    """The technique, followed until the first event of its topic and then left."""

    @wraps(technique.client)
    async def client(opening: Opening, **given: Any) -> AsyncGenerator[Delivery | Gap, None]:
        async with aclosing(technique.client(opening, **given)) as items:
            async for item in items:
                if isinstance(item, Delivery):
                    break
        yield item
        await asyncio.Event().wait()

    return technique.variant(name, client)


WAYS = (
    JOB.variant("fixed poll"),
    JOB.variant("backoff", _asking(_backoff)),
    JOB.variant("Retry-After", _asking(_advised)),
    _once(find("long-polling"), "long poll"),
    _once(find("sse"), "SSE"),
)


def expected_wait(way: str, duration_s: float, one_way_s: float) -> Wait:
    """What theory gives for the client's rule and a job that takes so long."""
    if way in ("long poll", "SSE"):
        return held_wait(duration_s, one_way_s)
    if way == "Retry-After":
        advice_s = partial(retry_after_s, usual_s=MEAN_S)
        return asking_wait(duration_s, one_way_s, _advised, advice_s, from_answers=True)
    return asking_wait(duration_s, one_way_s, _fixed if way == "fixed poll" else _backoff)
