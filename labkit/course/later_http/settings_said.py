"""H5: what clients say first on an HTTP/2 connection: their SETTINGS, server push among them, and their windows."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from labkit import loop
from labkit.course.alone import started_now
from labkit.course.later_http import chromium, raw, scripted
from labkit.course.later_http.not_run import or_says_why
from labkit.course.shown import Shown, as_table
from labkit.errors import LabkitError
from labkit.server.tls import forget, throw_away
from labkit.wire.events import now_ns
from labkit.wire.http2 import ACK, Kind

if TYPE_CHECKING:
    import pandas as pd

NAMES = {
    1: "HEADER_TABLE_SIZE", 2: "ENABLE_PUSH", 3: "MAX_CONCURRENT_STREAMS", 4: "INITIAL_WINDOW_SIZE",
    5: "MAX_FRAME_SIZE", 6: "MAX_HEADER_LIST_SIZE", 8: "ENABLE_CONNECT_PROTOCOL",
}  # fmt: skip
"""RFC 9113 section 6.5.2, RFC 8441 section 3."""
DEFAULTS = {"HEADER_TABLE_SIZE": 4096, "ENABLE_PUSH": 1, "INITIAL_WINDOW_SIZE": raw.DEFAULT_WINDOW}
WAIT_S = 20.0
NODE = """
const http2 = require("http2"), session = http2.connect(process.argv[1], { rejectUnauthorized: false });
session.on("error", () => process.exit()); const asked = session.request({ ":path": "/" });
asked.on("end", () => { session.close(); }); asked.resume();
"""


@dataclass(frozen=True)
class Words:
    """What one client said. ``window``: what may be sent to it on the whole connection before it acknowledges."""

    client: str
    settings: Mapping[str, int]
    window: int

    def value(self, name: str) -> int | None:
        """Of a setting: as it was said, else the default of the RFC."""
        return self.settings.get(name, DEFAULTS.get(name))


@dataclass(frozen=True, repr=False)
class FirstWords(Shown):
    """What clients said. ``missing``: by client, why it was not asked."""

    index = "bare"

    heard: Sequence[Words]
    missing: Mapping[str, str]
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def note(self) -> str:
        return "; ".join(f"{name}: {why}" for name, why in self.missing.items())

    def table(self) -> pd.DataFrame:
        """One row for each client: push, windows, table; a star marks what it left at the RFC's default."""
        rows = []
        for words in self.heard:
            shown = [f"{words.value(name):,}{'' if name in words.settings else ' *'}" for name in DEFAULTS]
            rows.append((words.client, shown[1], shown[2], f"{words.window:,}", shown[0]))
        columns = ["client", "ENABLE_PUSH", "window of a stream", "of the connection", "HEADER_TABLE_SIZE"]
        return as_table(rows, columns=columns).set_index("client")


@or_says_why
def first_words() -> FirstWords:
    """Let each HTTP/2 client that is installed here ask a server, over TLS, and put down what it says first."""
    raw.h2()
    return loop.run(_first_words())


async def _first_words() -> FirstWords:
    identity, found, missing = throw_away(), list[Words](), dict[str, str]()
    cafile = identity.publish_authority()
    try:
        async with scripted.http2(identity=identity) as heard:
            asked: dict[str, Callable[[scripted.Heard, str], Awaitable[str]]] = {
                "h2, as this notebook uses it": _by_hand, "curl": _curl, "node": _node,
                "Chrome": partial(_chrome, identity.fingerprint),
            }  # fmt: skip
            for name, ask in asked.items():
                before = len(heard.connections)
                try:
                    client = await asyncio.wait_for(ask(heard, cafile), WAIT_S)
                    spoke = next(seen for seen in heard.connections[before:] if seen)
                    found.append(_words(client or name, spoke))
                except (LabkitError, OSError, StopIteration, TimeoutError) as error:
                    missing[name] = str(error) or "it said nothing"
    finally:
        forget(cafile)
    return FirstWords(found, missing, started_now())


def _words(client: str, spoke: Sequence[raw.Seen]) -> Words:
    said, window = dict[str, int](), raw.DEFAULT_WINDOW
    for seen in spoke:
        frame = seen.frame
        if frame.kind == Kind.HEADERS:
            break
        if frame.kind == Kind.SETTINGS and not frame.flags & ACK:
            for at in range(0, len(frame.payload), 6):
                number = int.from_bytes(frame.payload[at : at + 2], "big")
                said[NAMES.get(number, str(number))] = int.from_bytes(frame.payload[at + 2 : at + 6], "big")
        if frame.kind == Kind.WINDOW_UPDATE and not frame.stream:
            window += int.from_bytes(frame.payload, "big")
    return Words(client, said, window)


async def _by_hand(heard: scripted.Heard, cafile: str) -> str:
    async with raw.talk(f"https://127.0.0.1:{heard.port}", cafile=cafile) as talk:
        stream = talk.ask("/")
        await talk.until(lambda: stream.end)
    return ""


async def _curl(heard: scripted.Heard, cafile: str) -> str:
    url = f"https://127.0.0.1:{heard.port}/"
    await _run("curl", "-sS", "--http2", "--noproxy", "*", "--cacert", cafile, "-o", os.devnull, url)
    version = await _run("curl", "--version")
    return " ".join(version.split()[:2])


async def _node(heard: scripted.Heard, cafile: str) -> str:
    await _run("node", "-e", NODE, f"https://127.0.0.1:{heard.port}")
    return f"node {(await _run('node', '--version')).strip().removeprefix('v')}"


async def _run(name: str, *arguments: str) -> str:
    if (program := shutil.which(name)) is None:
        raise OSError("not installed")
    running = await asyncio.create_subprocess_exec(
        program, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    return (await running.communicate())[0].decode()


async def _chrome(fingerprint: str, heard: scripted.Heard, cafile: str) -> str:
    def ask() -> str:
        with chromium.browser([fingerprint]) as opened:
            before = len(heard.connections)
            opened.open(f"https://127.0.0.1:{heard.port}/")
            deadline = now_ns() + int(WAIT_S / 2 * 1e9)
            while now_ns() < deadline and not any(heard.connections[before:]):
                asyncio.run(asyncio.sleep(0.05))
            return opened.version

    return await asyncio.to_thread(ask)
