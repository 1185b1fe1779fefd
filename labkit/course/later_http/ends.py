"""H1: how clients are told that a body has ended, and that it has broken off, by each framing; and what can follow."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import textwrap
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, get_args

from labkit import loop
from labkit.course.alone import started_now
from labkit.course.later_http import raw, scripted
from labkit.course.later_http.not_run import or_says_why
from labkit.course.later_http.scripted import FIRST, Framing, How
from labkit.course.shown import Shown, as_table
from labkit.errors import ConnectionLost
from labkit.techniques.http_streaming import HTTP_STREAMING

if TYPE_CHECKING:
    import pandas as pd

TIMEOUT_S = 5.0
HOW: dict[How, str] = {"end": "ended properly", "give up": "the server gives up", "cut": "the connection is cut"}
KIT, BY_HAND, CURL = "this kit", "frames, by hand", "curl"


@dataclass(frozen=True)
class Ending:
    """How one client took the end of a body.

    Attributes:
        said: its error; empty if it took what came for the whole.
        again: whether its next request found the connection usable; None where that was not tried.
    """

    client: str
    framing: Framing
    how: How
    said: str
    again: bool | None = None


@dataclass(frozen=True, repr=False)
class Endings(Shown):
    """Bodies that ended and bodies that broke off, by framing."""

    index = "bare"
    left = True

    cases: Sequence[Ending]
    settings: dict[str, Any] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        """One row for each framing and client, one column for each ending."""
        rows = []
        for case in self.cases:
            then = "" if case.again is None else "; next request: " + ("same connection" if case.again else "a new one")
            rows.append((case.framing, case.client, HOW[case.how], (case.said or "silent") + then))
        wide = as_table(rows, ["framing", "client", "how", "said"]).pivot(
            index=["framing", "client"], columns="how", values="said"
        )
        order = [(framing, client) for framing in get_args(Framing) for client in (KIT, BY_HAND, CURL)]
        return wide.loc[[row for row in order if row in wide.index], list(HOW.values())]

    def of(self, framing: Framing, how: How) -> list[Ending]:
        return [case for case in self.cases if (case.framing, case.how) == (framing, how)]


@or_says_why
def endings() -> Endings:
    """Three events in each framing, ended in three ways, to a client of the kit's and to curl, where there is one."""
    raw.h2()
    return loop.run(_endings())


async def _endings() -> Endings:
    curl, cases = shutil.which("curl"), list[Ending]()
    for framing in get_args(Framing):
        for how in get_args(How):
            if framing != "HTTP/2" and how == "give up":
                continue  # it has no other way than the cut
            async with _server(framing, how) as heard:
                url = f"http://127.0.0.1:{heard.port}"
                said = await (_by_hand(url) if framing == "HTTP/2" else _with_the_kit(url))
                cases.append(Ending(BY_HAND if framing == "HTTP/2" else KIT, framing, how, said))
                if curl:
                    cases.append(Ending(CURL, framing, how, *await _with_curl(curl, url, framing)))
    return Endings(cases, started_now())


@contextlib.asynccontextmanager
async def _server(framing: Framing, how: How) -> AsyncIterator[scripted.Heard]:
    serving = scripted.http2(how) if framing == "HTTP/2" else scripted.http1(framing, how)
    async with serving as heard:
        yield heard


async def _by_hand(url: str) -> str:
    async with raw.talk(url) as talk:
        stream = talk.ask(FIRST)
        await talk.until(lambda: stream.end, TIMEOUT_S)
        return "" if stream.end == "END_STREAM" else stream.end or "no end came"


async def _with_the_kit(url: str) -> str:
    try:
        async for _ in HTTP_STREAMING.connect(url + FIRST):
            pass
    except ConnectionLost as error:
        return type(error).__name__
    return ""


async def _with_curl(curl: str, url: str, framing: Framing) -> tuple[str, bool]:
    """What it said of the first body, and whether the next request needed no connection of its own."""
    version = ["--http2-prior-knowledge"] if framing == "HTTP/2" else ["--http1.1"]
    command = [curl, "-sSN", "--noproxy", "*", "--max-time", str(TIMEOUT_S), "-w", "\n%{exitcode} %{num_connects}\n"]
    running = await asyncio.create_subprocess_exec(
        *command, *version, url + FIRST, url + "/second",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, error = await running.communicate()
    ends = [line.split() for line in out.decode().splitlines() if line and line[0].isdigit() and len(line.split()) == 2]
    text = error.decode().partition("\n")[0].removeprefix("curl: ")
    (first, _), (_, connects) = ends
    said = textwrap.shorten(text, 60, placeholder="...") if first != "0" else ""
    return said, connects == "0"
