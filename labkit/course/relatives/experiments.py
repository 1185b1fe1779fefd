"""The experiments of 06_plugins_and_relatives: X1 to X3."""

from __future__ import annotations

import asyncio
import html
import json
import os
import time
from datetime import UTC, datetime
from typing import Any

from labkit import loop
from labkit.client.connection import Connection, Wiring
from labkit.client.http import HTTPClient
from labkit.client.ledger import Ledger
from labkit.course.relatives.judges import Exchange, Manners, Page, Socket
from labkit.errors import LabkitError
from labkit.lab.lab import Lab
from labkit.measuring import schedules
from labkit.measuring.measurement import measure
from labkit.measuring.run import Run
from labkit.network.link import Link
from labkit.techniques import TECHNIQUES, exhibits

ONE_WAY_S = 0.05
READ_TIMEOUT_S = 5.0
PAGE_WAIT_S = 15.0
REPORTS = "06-page"


def lab(name: str = "exhibits") -> Lab:
    """A lab that serves the exhibits beside the techniques."""
    return Lab(name, techniques=(*TECHNIQUES, *exhibits.EXHIBITS))


# X1


class Conversation:
    """The plugin socket's conversation, as it shows in a notebook; ``seen`` is what the check takes."""

    def __init__(self, seen: Socket) -> None:
        self.seen = seen
        self.settings = seen.settings

    def __repr__(self) -> str:
        return "\n".join(f"{e.title}\n  > {e.sent!r}\n  < {e.received!r}" for e in self.seen.exchanges)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td style='text-align:left'>{html.escape(e.title)}</td>"
            f"<td style='text-align:left'><code>{_shown(e.sent)}</code></td>"
            f"<td style='text-align:left'><code>{_shown(e.received)}</code></td>"
            f"<td style='text-align:left'>{'the server closes' if e.ended else 'stays open'}</td></tr>"
            for e in self.seen.exchanges
        )
        return f"<table><tr><th></th><th>client</th><th>server</th><th></th></tr>{rows}</table>"


def flash(lab: Lab) -> Conversation:
    """Speak to the plugin socket as a Flash movie did: policy file, subscription, an event each way; then as HTTP.

    Raises:
        LabClosed: the lab is closed.
    """
    seen = loop.run(_flash(lab))
    return Conversation(seen)


async def _flash(lab: Lab) -> Socket:
    policy = await _exchange(lab, "policy file", b"<policy-file-request/>\0", until=b"\0")
    http = await _exchange(lab, "an HTTP request", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", until=b"")
    topic = "06-flash"
    subscribe = json.dumps({"subscribe": {"topic": topic, "after": "0"}}, separators=(",", ":")).encode() + b"\0"
    connection = await _open(lab)
    try:
        await connection.write(subscribe)
        begun = await _read(connection, b"\0")
        lab.publish("from the server", topic)
        down = await _read(connection, b"\0")
        upward = b'{"publish":"from the client","ref":1}\0'
        await connection.write(upward)
        up = await _read(connection, b"published")
    finally:
        connection.close()
    exchanges = (
        policy,
        Exchange("subscribe; an event comes", subscribe, begun + down, False),
        Exchange("publish on the same connection", upward, up, False),
        http,
    )
    went_down = b'"from the server"' in down and down.endswith(b"\0")
    return Socket(exchanges, went_down, b'"published"' in up, {"started": datetime.now(UTC).isoformat()})


async def _open(lab: Lab) -> Connection:
    return await Connection.open("127.0.0.1", lab.plugin_port, Wiring(Ledger(0), "plugin-socket", 0))


async def _exchange(lab: Lab, title: str, sent: bytes, until: bytes) -> Exchange:
    connection = await _open(lab)
    try:
        await connection.write(sent)
        received = await _read(connection, until) if until else b""
        rest = await _read(connection, None)
        return Exchange(title, sent, received + rest, connection.ended)
    finally:
        connection.close()


async def _read(connection: Connection, until: bytes | None) -> bytes:
    """Read until *until* has come; None: until the end."""
    data = b""
    async with asyncio.timeout(READ_TIMEOUT_S):
        while until is None or until not in data:
            piece = await connection.read()
            if not piece:
                break
            data += piece
    return data


def _shown(data: bytes) -> str:
    text = data.decode("utf-8", "replace").replace("\r", "␍").replace("\n", "␊").replace("\0", "␀")
    return html.escape(text)


# X2


def old_tricks(lab: Lab, *, events: int = 40, one_way_s: float = ONE_WAY_S) -> Run:
    """Forever frame and JSONP polling beside HTTP streaming and long polling, through one link."""
    names = ["http-streaming", "forever-frame", "long-polling", "jsonp-polling"]
    schedule = schedules.poisson(rate_per_s=8, duration_s=events / 8, seed=6)
    return measure(lab, names, schedule, one_way_s=one_way_s)


def in_the_page(lab: Lab, *, events: int = 20) -> Page:
    """The same two in the browser that shows this notebook: a page of the lab's in a frame, which reports what came.

    Without a page it says so at once; one that does not answer is waited for at most 15 s.
    """
    if "JPY_SESSION_NAME" not in os.environ:
        return Page(why="no page attached")
    from IPython.display import IFrame, display

    display(IFrame(f"http://127.0.0.1:{lab.port}/forever-frame?page=1", width="100%", height=110))  # type: ignore[no-untyped-call]
    return watch_page(lab, events=events)


def watch_page(lab: Lab, *, events: int = 20, wait_s: float = PAGE_WAIT_S) -> Page:
    """Wait for the page's reports, publish, and gather what it says has come."""
    cursor, ready = "0", ""
    deadline_s = time.monotonic() + wait_s
    while not ready:
        if time.monotonic() > deadline_s:
            return Page(why=f"no page answered within {wait_s:g} s: it must reach the lab's own port")
        time.sleep(0.05)
        cursor, reports = _reports(lab, cursor)
        ready = next((r["browser"] for r in reports if r.get("ready")), "")
    wanted = tuple(lab.publish(f"event {number}", "06-old") for number in range(events))
    arrived: dict[str, list[int]] = {"forever-frame": [], "jsonp-polling": []}
    deadline_s = time.monotonic() + READ_TIMEOUT_S
    while any(len(ids) < events for ids in arrived.values()) and time.monotonic() < deadline_s:
        time.sleep(0.05)
        cursor, reports = _reports(lab, cursor)
        for report in reports:
            if "ids" in report:
                arrived[report["technique"]] += report["ids"]
    return Page(wanted, {name: tuple(ids) for name, ids in arrived.items()}, ready)


def _reports(lab: Lab, cursor: str) -> tuple[str, list[dict[str, Any]]]:
    page = json.loads(loop.run(_get(lab, f"/polling?topic={REPORTS}&after={cursor}")))
    return page["cursor"], [json.loads(event["data"]) for event in page["events"]]


async def _get(lab: Lab, path: str) -> str:
    client = HTTPClient(f"http://127.0.0.1:{lab.port}{path}", topic="", token=None, wiring=Wiring(Ledger(0), "", 0))
    try:
        await client.ask({})
        return (await client.answer())[1]
    finally:
        client.close()


# X3


def relatives(lab: Lab, *, duration_s: float = 6.0, one_way_s: float = ONE_WAY_S) -> Manners:
    """Bayeux and BOSH beside long polling; Bayeux once more with the advice to pause; BOSH's second request."""
    names = ["long-polling", "bayeux", "bosh"]
    run = measure(lab, names, schedules.poisson(8, duration_s, seed=7), one_way_s=one_way_s)
    pause_s = 6 * one_way_s
    schedule, told = schedules.poisson(8, duration_s, seed=8), {"bayeux": {"advised_interval_s": pause_s}}
    advised = measure(lab, ["bayeux"], schedule, one_way_s=one_way_s, options=told)
    wait_s = 5.0
    return Manners(run, advised, pause_s, loop.run(_second_request(lab, one_way_s, wait_s)), wait_s)


async def _second_request(lab: Lab, one_way_s: float, wait_s: float) -> float:
    """Send BOSH's second request while the first is held; how long the first then took to be answered."""
    async with Link(lab, one_way_s=one_way_s) as link:
        address = f"http://127.0.0.1:{link.ports['http']}/bosh"
        first, second = (
            HTTPClient(address, topic="06-bosh", token=None, wiring=Wiring(Ledger(0), "bosh", n)) for n in (0, 1)
        )
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
            freeing.cancel()
            await asyncio.gather(freeing, return_exceptions=True)
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
