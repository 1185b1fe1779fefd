"""The kit's own clients at the cases: each gives what it had, as a case's outcome says it."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncGenerator
from typing import Any

from labkit.client.ledger import Ledger
from labkit.client.websocket import WebSocketConnection
from labkit.client.wiring import Wiring
from labkit.errors import LabkitError
from labkit.strangers.vectors.case import Case
from labkit.subscribing.following import follow
from labkit.techniques.http_streaming import HTTP_STREAMING
from labkit.techniques.long_polling import LONG_POLLING
from labkit.techniques.sse import SSE


async def had(case: Case, url: str) -> dict[str, Any]:
    """What the kit's client had at the end of a case; an error that is not the kit's own is not caught."""
    if case.kind == "websocket":
        return await _websocket(url, **case.does.get("close", {}))
    return await CLIENTS[case.kind](url)


async def _event_stream(url: str) -> dict[str, Any]:
    items, _ = await _all(SSE.connect(url, retry_s=0.02, give_up_s=10.0))
    events = [{"data": item.data, "lastEventId": item.cursor} for item in items]
    return {"events": events, "readyState": 2}


async def _lines(url: str) -> dict[str, Any]:
    items, error = await _all(HTTP_STREAMING.connect(url))
    return {"values": [json.loads(item.data) for item in items], "ended": "cut" if error else "whole"}


async def _parts(url: str) -> dict[str, Any]:
    items, error = await _all(HTTP_STREAMING.connect(url))
    return {"parts": [{"data": item.data} for item in items], "ended": "cut" if error else "whole"}


async def _long_poll(url: str) -> dict[str, Any]:
    items, _ = await _all(follow(LONG_POLLING, url))
    return {"answers": [item.data for item in items]}


async def _websocket(url: str, code: int = 0, reason: str = "") -> dict[str, Any]:
    messages: list[dict[str, str]] = []
    try:
        socket = await WebSocketConnection.open(url, Wiring(Ledger(0), "websocket", 0), deflate=True)
    except LabkitError:
        return {"messages": [], "close": {"code": 1006, "clean": False}}
    try:
        async for said in socket:
            text = isinstance(said, str)
            value = {"data": said} if text else {"base64": base64.b64encode(said).decode()}
            messages.append({"type": "text" if text else "binary", **value})
            if code:
                await socket.close(code, reason)
    except LabkitError:  # lost, or it broke the rules: then the code is 1006
        pass
    finally:
        await socket.close()
    ended = {"code": socket.close_code, "reason": socket.close_reason, "clean": socket.close_code != 1006}
    return {"messages": messages, "close": ended}


async def _all(items: AsyncGenerator[Any, None]) -> tuple[list[Any], LabkitError | None]:
    taken = []
    try:
        async for item in items:
            taken.append(item)
    except LabkitError as error:
        return taken, error
    return taken, None


CLIENTS = {
    "event-stream": _event_stream,
    "lines": _lines,
    "parts": _parts,
    "long-poll": _long_poll,
}


async def verdicts(cases: list[Case], base: str, visits: Any, *, cut: str = "", at_once: int = 24) -> dict[str, Any]:
    """The verdict of each case by name; an error that is not the kit's own is told in its place."""
    from labkit.strangers.vectors.verdict import verdict

    free = asyncio.Semaphore(at_once)

    async def one(case: Case) -> tuple[str, Any]:
        url = f"{base}{case.address}?visit=kit{cut}" + (f"&cut={cut}" if cut else "")
        async with free:
            try:
                async with asyncio.timeout(60):
                    reported = await had(case, url)
            except TimeoutError:
                return case.name, {"right": False, "differences": "no end within 60 s"}
            except Exception as error:
                return case.name, {"right": False, "differences": f"{type(error).__name__}: {error}"}
            visit = visits.find(case, f"kit{cut}")
            if visit is not None:
                await visit.quiet(15)
            return case.name, verdict(case, reported, visit)

    return dict(await asyncio.gather(*(one(case) for case in cases)))
