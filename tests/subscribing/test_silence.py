"""No client waits without an end for a server that has stopped, or on a link that carries nothing any more."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
import time
from typing import Any

import pytest

from conftest import UNIT
from labkit import loop
from labkit.client.connection import Connection
from labkit.client.ledger import Ledger
from labkit.client.wiring import Wiring
from labkit.errors import ConnectionLost
from labkit.lab.lab import Lab
from labkit.measuring.listening import listen
from labkit.network.link import Link
from labkit.subscribing.following import follow
from labkit.techniques import TECHNIQUES, Technique, base, exhibits, find
from labkit.theory.path import HEARTBEAT_S, HOLD_S, SILENCE_S
from wait import TIMEOUT_S, read_all, read_until, serving, until

EVERY = (*TECHNIQUES, *exhibits.EXHIBITS)
VARIANTS: list[tuple[Technique, dict[str, Any]]] = [
    *((technique, {}) for technique in EVERY),
    (find("polling"), {"keep_alive": False}),
    (find("long-polling"), {"pipelined": True}),
    (find("http-streaming"), {"framing": "eof"}),
    (find("http-streaming"), {"format": "multipart"}),
    (find("sse"), {"http_version": "1.0"}),
    (find("websocket"), {"deflate": True}),
    (find("websocket"), {"binary": True}),
]
SHORT_S = 0.3 * UNIT
QUICK = {"interval_s": 0.05 * UNIT, "hold_s": 0.1 * UNIT, "retry_s": 0.05 * UNIT}


def test_a_lab_is_never_silent_for_as_long_as_its_clients_wait() -> None:
    assert SILENCE_S >= 3 * HEARTBEAT_S and SILENCE_S >= HOLD_S + HEARTBEAT_S


def test_every_client_gives_up_a_link_that_has_stalled_and_one_that_never_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(base, "HEARTBEAT_S", 0.1 * UNIT)  # which a held request has beyond its hold
    waits = {"silence_s": 1.5 * UNIT, "give_up_s": 1.5 * UNIT}

    async def one(number: int, link: Link, after: str) -> str:
        technique, options = VARIANTS[number]
        items = follow(
            technique, technique.url("127.0.0.1", link.ports), after=after,
            **technique.taken_of(QUICK), **options, **waits,
        )  # fmt: skip
        try:
            async for _ in items:
                heard.add(number)
        except ConnectionLost as error:
            return str(error)
        return "ended"

    async def all_of_them(lab: Lab) -> list[str]:
        async with Link(lab, one_way_s=0.0) as link, asyncio.timeout(TIMEOUT_S):
            after = lab.cursor()
            lab.publish("x")
            receiving = [asyncio.create_task(one(number, link, after)) for number in range(len(VARIANTS))]
            await asyncio.to_thread(until, lambda: len(heard) == len(VARIANTS) or any(t.done() for t in receiving))
            link.stall()
            return await asyncio.gather(*receiving)

    heard: set[int] = set()
    with Lab("stalled", techniques=EVERY) as lab:
        ends = loop.run(all_of_them(lab))
    assert heard == set(range(len(VARIANTS))), ends
    for (technique, options), why in zip(VARIANTS, ends, strict=True):
        assert re.search(r"no answer within|nothing came for|no connection", why), (technique.name, options, why)


@pytest.mark.parametrize("technique", EVERY, ids=lambda t: t.name)
def test_a_server_that_takes_connections_and_never_answers_is_given_up_when_that_is_said(
    technique: Technique, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "HEARTBEAT_S", 0.1 * UNIT)

    async def first(url: str) -> None:
        async for _ in follow(
            technique, url, after="1@abcd", give_up_s=SHORT_S, silence_s=SHORT_S, **technique.taken_of(QUICK)
        ):
            pass

    with serving(read_all) as url:
        url = url.replace("http", technique.schemes[0])
        began_s = time.monotonic()
        with pytest.raises(ConnectionLost, match=r"no answer within|nothing came"):
            loop.run(asyncio.wait_for(first(url), TIMEOUT_S))
        assert time.monotonic() - began_s >= SHORT_S


def test_a_peer_that_takes_nothing_is_given_up() -> None:
    ended = threading.Event()

    async def work(url: str) -> None:
        port = int(url.rpartition(":")[2][:-1])
        connection = await Connection.open("127.0.0.1", port, Wiring(Ledger(0), "polling", silence_s=SHORT_S))
        with pytest.raises(ConnectionLost, match="has taken nothing for"):
            await connection.write(b"x" * (64 << 20))
        assert connection.closed

    with serving(lambda sock: ended.wait(TIMEOUT_S)) as url:
        loop.run(asyncio.wait_for(work(url), TIMEOUT_S))
        ended.set()


def test_silence_of_somebody_elses_server_is_noted_and_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labkit.measuring.listening.SILENCE_S", 0.1 * UNIT)

    def script(sock: socket.socket) -> None:
        read_until(sock, b"\r\n\r\n")
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: x\n\n")
        read_all(sock)

    with serving(script) as url:
        run = listen(url, "sse", seconds=0.6 * UNIT, progress=False)
        assert run.failures == {} and any("Nothing has come for the last" in note for note in run.notes)
        assert len(run.ledger.connections) == 1
        again = listen(url, "sse", seconds=0.6 * UNIT, progress=False, silence_s=0.1 * UNIT, retry_s=0.0)
        assert len(again.ledger.connections) > 1, "a shorter silence is one that is said"
