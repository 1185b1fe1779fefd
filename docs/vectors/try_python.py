"""Python's clients at the cases of `python -m labkit vectors`: the glue that README.md's table was made with.

    python docs/vectors/try_python.py http://127.0.0.1:PORT >> results.jsonl

Needs aiohttp, httpx-sse, mcp, requests, sseclient-py and websockets, in an environment of their own. One line of JSON
for each client and case. Where a library reads one answer and does not come back, the loop around it is this file's:
it asks again with the last id that the library gave, after the time that the library gave, until a 204 or a refusal.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import urllib.request
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.metadata import version
from typing import Any

import aiohttp
import httpx
import httpx2
import httpx_sse
import requests
import sseclient
import websockets
from mcp.shared._httpx_utils import sse_within_origin

AT_ONCE = 16
LIMIT_S = 120.0
MAX_ASKED = 12
RETRY_S = 0.1
Case = dict[str, Any]
Had = dict[str, Any]


class Final(Exception):
    """The source is closed for good."""


# -- event streams: (last event id) -> events as (type, data, id, retry in milliseconds) ------------------------------

Stream = Callable[[str, dict[str, str]], AsyncIterator[tuple[str, str, str, int | None]]]


async def httpx_stream(url: str, fields: dict[str, str]) -> AsyncIterator[Any]:
    async with httpx.AsyncClient(verify=False, timeout=30, follow_redirects=True) as client:
        async with httpx_sse.aconnect_sse(client, "GET", url, headers=fields) as source:
            if source.response.status_code != 200:
                raise Final
            try:
                async for event in source.aiter_sse():
                    yield event.event, event.data, event.id, event.retry
            except httpx_sse.SSEError:
                raise Final from None


async def mcp_stream(url: str, fields: dict[str, str]) -> AsyncIterator[Any]:
    """With what the SDK's own client of event streams reads them with; beyond that it wants JSON-RPC."""
    async with (
        httpx2.AsyncClient(verify=False, timeout=30) as client,
        sse_within_origin(client, url, headers=fields) as source,
    ):
        if source.response.status_code != 200:
            raise Final
        try:
            async for event in source:
                yield event.event, event.data, event.id, event.retry
        except httpx2.SSEError:
            raise Final from None


async def sseclient_stream(url: str, fields: dict[str, str]) -> AsyncIterator[Any]:
    def ask() -> tuple[Any, Any]:
        answer = requests.get(url, stream=True, timeout=30, headers={"Accept": "text/event-stream", **fields})
        if answer.status_code != 200 or not answer.headers.get("Content-Type", "").lower().startswith(
            "text/event-stream"
        ):
            raise Final
        return answer, sseclient.SSEClient(answer).events()

    answer, events = await asyncio.to_thread(ask)
    try:
        while (event := await asyncio.to_thread(next, events, None)) is not None:
            yield event.event, event.data, event.id or "", int(event.retry) if str(event.retry).isdecimal() else None
    finally:
        answer.close()


def event_stream(stream: Stream) -> Callable[[str, Case], Awaitable[Had]]:
    async def run(url: str, case: Case) -> Had:
        events: list[Any] = []
        last, retry_s, state = "", RETRY_S, 0
        for _ in range(MAX_ASKED):
            try:
                async for type, data, id, retry_ms in stream(url, {"Last-Event-ID": last} if last else {}):
                    last, retry_s = id, retry_s if retry_ms is None else retry_ms / 1000
                    events.append({"type": type, "data": data, "lastEventId": id})
            except Final:
                state = 2
                break
            except (httpx.HTTPError, httpx2.HTTPError, requests.RequestException, OSError):
                pass
            await asyncio.sleep(min(retry_s, 30))
        return {"events": events, "readyState": state}

    return run


# -- WebSocket ------------------------------------------------------------------------------------------------------


def said(data: str | bytes) -> Had:
    if isinstance(data, str):
        return {"type": "text", "data": data}
    return {"type": "binary", "base64": base64.b64encode(data).decode()}


async def with_websockets(url: str, case: Case) -> Had:
    messages: list[Had] = []
    close = case["does"].get("close")
    try:
        async with websockets.connect(url.replace("http", "ws", 1), max_size=None) as socket:
            try:
                async for message in socket:
                    messages.append(said(message))
                    if close:
                        await socket.close(close["code"], close["reason"])
            except websockets.ConnectionClosed:
                pass
    except (websockets.WebSocketException, OSError, EOFError):
        return {"messages": messages, "close": {"code": 1006, "clean": False}}
    code = socket.close_code
    return {"messages": messages, "close": {"code": code, "reason": socket.close_reason or "", "clean": code != 1006}}


async def aiohttp_socket(url: str, case: Case) -> Had:
    messages: list[Had] = []
    close = case["does"].get("close")
    try:
        async with aiohttp.ClientSession() as session:
            async with session.ws_connect(url, compress=15, max_msg_size=0) as socket:
                async for message in socket:
                    if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                        messages.append(said(message.data))
                    if message.type is aiohttp.WSMsgType.ERROR:  # its close_code is then what it has sent itself
                        return {"messages": messages, "close": {"code": 1006, "clean": False}}
                    if close:
                        await socket.close(code=close["code"], message=close["reason"].encode())
    except (aiohttp.ClientError, OSError):
        return {"messages": messages, "close": {"code": 1006, "clean": False}}
    return {"messages": messages, "close": {"code": socket.close_code}}


# -- lines, parts, polls ----------------------------------------------------------------------------------------------


async def httpx_lines(url: str, case: Case) -> Had:
    async def lines() -> AsyncIterator[str]:
        async with httpx.AsyncClient(verify=False, timeout=30) as client, client.stream("GET", url) as answer:
            async for line in answer.aiter_lines():
                yield line

    return await values_of(lines())


async def aiohttp_lines(url: str, case: Case) -> Had:
    async def lines() -> AsyncIterator[bytes]:
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            async for line in answer.content:
                yield line

    return await values_of(lines())


async def requests_lines(url: str, case: Case) -> Had:
    async def lines() -> AsyncIterator[bytes]:
        answer = await asyncio.to_thread(requests.get, url, stream=True, timeout=30)
        found = answer.iter_lines()
        while (line := await asyncio.to_thread(next, found, None)) is not None:
            yield line

    return await values_of(lines())


async def values_of(lines: AsyncIterator[str | bytes]) -> Had:
    values, ended = [], "whole"
    try:
        async for line in lines:
            if line.strip():
                values.append(json.loads(line))
    except (httpx.HTTPError, aiohttp.ClientError, requests.RequestException, OSError):
        ended = "cut"
    return {"values": values, "ended": ended}


async def aiohttp_parts(url: str, case: Case) -> Had:
    parts, ended = [], "whole"
    try:
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            reader = aiohttp.MultipartReader.from_response(answer)
            while (part := await reader.next()) is not None:
                data = (await part.read()).decode()
                parts.append({"type": part.headers.get("Content-Type", "text/plain"), "data": data})
    except (aiohttp.ClientError, OSError):
        ended = "cut"
    return {"parts": parts, "ended": ended}


Ask = Callable[[], Awaitable[tuple[int, bytes, str]]]


async def polls(ask: Ask) -> Had:
    """The loop is this file's; how connections are kept and answers are read is the library's."""
    answers: list[str] = []
    for _ in range(MAX_ASKED):
        try:
            status, body, wait = await ask()
        except (httpx.HTTPError, aiohttp.ClientError, requests.RequestException, OSError):
            await asyncio.sleep(RETRY_S)
            continue
        if status == 410:
            break
        if status == 200 and body:
            answers.append(body.decode())
        if status >= 500:
            await asyncio.sleep(float(wait or 0) + RETRY_S)
    return {"answers": answers}


async def httpx_polls(url: str, case: Case) -> Had:
    async with httpx.AsyncClient(verify=False, timeout=90) as client:

        async def ask() -> tuple[int, bytes, str]:
            answer = await client.get(url)
            return answer.status_code, answer.content, answer.headers.get("Retry-After", "")

        return await polls(ask)


async def aiohttp_polls(url: str, case: Case) -> Had:
    async with aiohttp.ClientSession() as session:

        async def ask() -> tuple[int, bytes, str]:
            async with session.get(url) as answer:
                return answer.status, await answer.read(), answer.headers.get("Retry-After", "")

        return await polls(ask)


async def requests_polls(url: str, case: Case) -> Had:
    with requests.Session() as session:

        async def ask() -> tuple[int, bytes, str]:
            answer = await asyncio.to_thread(session.get, url, timeout=90)
            return answer.status_code, answer.content, answer.headers.get("Retry-After", "")

        return await polls(ask)


CLIENTS: dict[str, tuple[str, Callable[[str, Case], Awaitable[Had]]]] = {
    "httpx-sse": ("event-stream", event_stream(httpx_stream)),
    "mcp": ("event-stream", event_stream(mcp_stream)),
    "sseclient-py": ("event-stream", event_stream(sseclient_stream)),
    "websockets": ("websocket", with_websockets),
    "aiohttp": ("websocket", aiohttp_socket),
    "httpx iter_lines": ("lines", httpx_lines),
    "aiohttp content": ("lines", aiohttp_lines),
    "requests iter_lines": ("lines", requests_lines),
    "aiohttp MultipartReader": ("parts", aiohttp_parts),
    "httpx get": ("long-poll", httpx_polls),
    "aiohttp get": ("long-poll", aiohttp_polls),
    "requests get": ("long-poll", requests_polls),
}


async def try_case(base: str, name: str, case: Case) -> dict[str, Any]:
    token = uuid.uuid4().hex
    try:
        async with asyncio.timeout(LIMIT_S):
            had = await CLIENTS[name][1](f"{base}{case['address']}?visit={token}", case)
    except TimeoutError:
        return {
            "right": False,
            "differences": [{"what": "it", "expected": "an end", "had": f"none in {LIMIT_S:.0f} s"}],
        }
    except Exception as error:  # whatever a library raises that its users do not expect
        raised = f"{type(error).__name__}: {error}"[:120]
        return {"right": False, "differences": [{"what": "it", "expected": "no error", "had": raised}]}
    body = json.dumps(had).encode()
    request = urllib.request.Request(f"{base}/cases/{case['name']}/had?visit={token}", body)
    return json.loads(await asyncio.to_thread(lambda: urllib.request.urlopen(request).read()))


async def main(base: str, chosen: list[str]) -> None:
    listed = await asyncio.to_thread(lambda: urllib.request.urlopen(f"{base}/cases.json").read())
    cases = json.loads(listed)["cases"]
    free = asyncio.Semaphore(AT_ONCE)

    async def one(name: str, case: Case) -> None:
        async with free:
            found = await try_case(base, name, case)
        told = {"client": f"{name.replace(' ', f' {version(name.split()[0])} ', 1)}", "case": case["name"]}
        if " " not in name:
            told["client"] = f"{name} {version(name)}"
        print(json.dumps({**told, "right": found["right"], "differences": found["differences"][:3]}), flush=True)

    pairs = [(n, c) for n in chosen or CLIENTS for c in cases if c["kind"] == CLIENTS[n][0]]
    await asyncio.gather(*(one(name, case) for name, case in pairs))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1].rstrip("/"), sys.argv[2:]))
