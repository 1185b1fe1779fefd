"""A browser at the cases of `python -m labkit vectors`: presses the button of its page, and takes down what came of it.

    python docs/vectors/try_browser.py http://127.0.0.1:PORT chromium|firefox-esr >> results.jsonl

Needs the websockets library. Chromium is driven by its DevTools protocol, Firefox by WebDriver BiDi: both are messages
over a WebSocket, whose address the browser prints.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import sys
import tempfile
from typing import Any

import websockets

LIMIT_S = 600.0
TRY = """(async () => {
    while (!document.getElementById("try") || document.getElementById("try").disabled)
        await new Promise(resolve => setTimeout(resolve, 100));
    document.getElementById("slow").checked = true;
    document.getElementById("try").click();
    while (!document.body.dataset.tried) await new Promise(resolve => setTimeout(resolve, 100));
    return JSON.stringify(window.results);
})()"""
FLAGS = {
    "chromium": "--headless=new --no-sandbox --disable-gpu --no-first-run --user-data-dir={} --remote-debugging-port=0",
    "firefox-esr": "--headless --no-remote --profile {} --remote-debugging-port=0",
}


class Browser:
    """What one says to it, by either protocol."""

    def __init__(self, socket: Any, **session: str) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self.session = session

    async def say(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        await self._socket.send(json.dumps({"id": number, "method": method, "params": params, **self.session}))
        while True:
            said = json.loads(await self._socket.recv())
            if said.get("id") == number:
                if "error" in said:
                    raise RuntimeError(said)
                return said["result"]


async def in_chromium(address: str, url: str) -> tuple[str, str]:
    async with websockets.connect(address, max_size=None) as socket:
        browser = Browser(socket)
        version = (await browser.say("Browser.getVersion"))["product"].rpartition("/")[2]
        target = (await browser.say("Target.createTarget", url=url))["targetId"]
        attached = await browser.say("Target.attachToTarget", targetId=target, flatten=True)
        browser.session = {"sessionId": attached["sessionId"]}
        ready = {"expression": "location.protocol !== 'about:' && document.readyState"}
        while (await browser.say("Runtime.evaluate", **ready))["result"].get("value") != "complete":  # noqa: ASYNC110 - it is asked
            await asyncio.sleep(0.1)
        found = await browser.say("Runtime.evaluate", expression=TRY, awaitPromise=True)
        return f"Chromium {version}", found["result"]["value"]


async def in_firefox(address: str, url: str) -> tuple[str, str]:
    async with websockets.connect(f"{address}/session", max_size=None) as socket:
        browser = Browser(socket)
        session = await browser.say("session.new", capabilities={})
        (context,) = (await browser.say("browsingContext.getTree"))["contexts"]
        await browser.say("browsingContext.navigate", context=context["context"], url=url, wait="complete")
        target = {"context": context["context"]}
        found = await browser.say("script.evaluate", expression=TRY, target=target, awaitPromise=True)
        return f"Firefox {session['capabilities']['browserVersion']}", found["result"]["value"]


async def main(base: str, program: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        process = await asyncio.create_subprocess_exec(
            program,
            *FLAGS[program].format(folder).split(),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stderr is not None
        try:
            async with asyncio.timeout(LIMIT_S):
                while not (found := re.search(rb"listening on (ws://\S+)", await process.stderr.readline())):
                    pass
                drained = asyncio.ensure_future(process.stderr.read())
                drive = in_chromium if program == "chromium" else in_firefox
                client, results = await drive(found[1].decode(), f"{base}/")
                drained.cancel()
        finally:
            process.kill()
            await process.wait()
    for case, told in json.loads(results).items():
        line = {"client": client, "case": case, "right": told["right"], "differences": told["differences"][:3]}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1].rstrip("/"), sys.argv[2]))
