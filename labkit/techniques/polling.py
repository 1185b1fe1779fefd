"""Interval polling: the client asks at fixed times whether anything is new.

RFC 6202 section 2.1. The server answers at once, with an empty list if there is nothing; the client learns of an
event only when it next asks. Conditional requests (RFC 9110 section 13) on request: ``?etag=1``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from labkit.server.handler import PushHandler
from labkit.techniques.base import Opening, Technique
from labkit.techniques.delivery import Delivery
from labkit.techniques.expecting import POISSON
from labkit.theory import Expectation, Mark, Path, Silent, newest_latency, polling_latency
from labkit.wire.bodies import Told, Whole
from labkit.wire.events import Gap
from labkit.wire.first_word import answers


class PollingHandler(PushHandler):
    """Answers at once with what is held after the cursor, or as much of it as one answer carries."""

    async def get(self) -> None:
        page = self.page(self.after)
        self.set_header("Content-Type", "application/json")
        if self.flag("etag") and not page.more:  # whoever holds only a part of it is to ask again
            self.set_header("Cache-Control", "no-cache")  # a cache may keep it, and must ask again
            self.set_header("ETag", f'"{page.cursor}"')
            if self.check_etag_header():
                self.set_status(304)
                return
        await self.answer(self.context.hub.answer(self.topic, page).encode())


async def subscribe(
    opening: Opening,
    *,
    interval_s: float = 1.0,
    wait_after_answer: bool = False,
    start_delay_s: float = 0.0,
    etag: bool = False,
    conflate: bool = False,
    keep_alive: bool = True,
    http_version: str = "1.1",
) -> AsyncGenerator[Delivery | Gap, None]:
    """Poll every *interval_s* seconds, from the start of one request to the start of the next.

    An answer that says that there is more is followed by the next request at once; the interval counts from the
    first of them.

    Args:
        wait_after_answer: count the interval from the answer instead, as careless clients do.
        start_delay_s: the phase of the first poll.
        etag: send ``If-None-Match`` and take 304 for an empty answer.
        keep_alive: one connection for all polls; False opens one for each.
    """
    client = opening.http(keep_alive=keep_alive, version=http_version)
    reader, tell = opening.reader(), answers()
    clock = asyncio.get_running_loop().time
    began_s = next_s = clock() + start_delay_s
    seen: str | None = None
    try:
        while True:
            if not reader.more:
                await asyncio.sleep(max(0.0, next_s - clock()))
                began_s = next_s
            condition = {"If-None-Match": seen} if etag and seen else {}
            query = {"after": reader.cursor, "etag": "1" if etag else None, "conflate": "1" if conflate else None}
            await client.ask(query, condition)
            response, said = await client.told(Told(Whole(), tell), 204)
            next_s = max(clock(), began_s + interval_s) if not wait_after_answer else clock() + interval_s
            seen = response.headers.get("etag")
            for item in reader.take_answer(said, client.received_ns):
                yield item
    finally:
        client.close()


def expect(options: Mapping[str, Any], path: Path) -> Expectation | Silent:
    """Uniform between one transit and one transit more than a period; where only the newest is delivered, its age."""
    interval_s, waiting, jitter_s = options["interval_s"], options["wait_after_answer"], path.jitter_s
    fresh = path.fresh_connections or not options["keep_alive"] or options["http_version"] == "1.0"
    gap_s = path.gap_s(fresh)
    if why := path.why_not(quiet_s=0.0 if fresh else interval_s, fresh=fresh):
        return Silent(why)
    if options["conflate"]:
        if jitter_s:
            return Silent("conflated, with jitter: the closed form is about periods that are all the same")
        if path.rate_per_s is None or not path.poisson:
            return POISSON
        period_s = interval_s + gap_s if waiting else max(interval_s, gap_s)
        return newest_latency(path.rate_per_s, path.one_way_s, period_s)
    if not waiting and gap_s < interval_s < gap_s + 2 * jitter_s:
        return Silent("with this jitter an answer comes now before the next poll is due and now after it")
    return polling_latency(interval_s, path.one_way_s, gap_s=gap_s, waiting=waiting, jitter_s=jitter_s)


POLLING = Technique(
    name="polling",
    title="Interval polling",
    spec="RFC 6202 section 2.1",
    route="/polling",
    handler=PollingHandler,
    client=subscribe,
    short="polling",
    kind="poll",
    mark=Mark("#B84300", "circle", "solid"),
    theory=expect,
    body="answer",
    through_buffering=True,
    hint="asks every T seconds",
)
