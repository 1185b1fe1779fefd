"""X3: Bayeux and BOSH beside long polling."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from labkit import loop
from labkit.client.http import HTTPClient
from labkit.course.background import cancelled
from labkit.course.shown import OfRun
from labkit.course.variants import client_of, several
from labkit.errors import LabkitError
from labkit.lab.lab import Lab
from labkit.measuring import schedules
from labkit.measuring.measurement import measure
from labkit.measuring.run import Run
from labkit.measuring.schedules import Schedule
from labkit.network.link import Link

ONE_WAY_S = 0.05


@dataclass(frozen=True)
class Manners(OfRun):
    """Bayeux and BOSH: a run beside long polling, one with advice to pause, and BOSH's second request.

    ``released_s``: how long after the second request was sent the first one was answered; ``wait_s`` what it would
    have waited by itself.
    """

    run: Run
    advised: Run
    advised_interval_s: float
    released_s: float
    wait_s: float


def relatives(lab: Lab, *, duration_s: float = 6.0, one_way_s: float = ONE_WAY_S) -> Manners:
    """Bayeux and BOSH beside long polling; Bayeux once more with the advice to pause; BOSH's second request."""
    names = ["long-polling", "bayeux", "bosh"]
    run = measure(lab, names, _eight_a_second(duration_s, 7), one_way_s=one_way_s)
    pause_s = 6 * one_way_s
    schedule, told = _eight_a_second(duration_s, 17), {"bayeux": {"advised_interval_s": pause_s}}
    advised = measure(lab, ["bayeux"], schedule, one_way_s=one_way_s, options=told)
    wait_s = 5.0
    return Manners(run, advised, pause_s, loop.run(_second_request(lab, one_way_s, wait_s)), wait_s)


def _eight_a_second(duration_s: float, seed: int) -> Schedule:
    """In two topics, each with as many: what a mean needs to be told from a stream's."""
    return several({f"{n}": schedules.poisson(8, duration_s, seed=seed + n) for n in range(2)}, 8.0, name="poisson")


async def _second_request(lab: Lab, one_way_s: float, wait_s: float) -> float:
    """Send BOSH's second request while the first is held; how long the first then took to be answered."""
    async with Link(lab, one_way_s=one_way_s) as link:
        address = f"http://127.0.0.1:{link.ports['http']}/bosh"
        first, second = (client_of(address, "bosh", "06-bosh") for _ in range(2))
        try:
            begun = await _bosh(first, f"rid='1' wait='{wait_s:g}' hold='1'")
            sid = begun.partition("sid='")[2].partition("'")[0]
            held = asyncio.ensure_future(_bosh(first, f"rid='2' sid='{sid}'"))
            await second.connected()
            await asyncio.sleep(2 * one_way_s)  # the first request is at the server by then
            began_s = time.monotonic()
            freeing = asyncio.ensure_future(_bosh(second, f"rid='3' sid='{sid}'"))
            await held
            released_s = time.monotonic() - began_s
            await cancelled(freeing)
            return released_s
        finally:
            first.close()
            second.close()


async def _bosh(client: HTTPClient, attributes: str) -> str:
    http = await client.connected()
    body = f"<body xmlns='http://jabber.org/protocol/httpbind' {attributes}/>".encode()
    await http.request("POST", client.target(), client.headers, body=body)
    response = await http.response()
    text = (await http.read_body()).decode()
    http.next_cycle()
    if response.status != 200:
        raise LabkitError(f"BOSH answered {response.status}: {text}")
    return text
