"""The checks of 03_http_streaming about where a body ends: S1, S1b and S2, and the values that they judge."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import h11

from labkit.claims import confidence
from labkit.claims.confidence import Verdict
from labkit.claims.finding import Finding, NoVerdict
from labkit.claims.judging import Part

if TYPE_CHECKING:
    import pandas as pd


class Tabled:
    """A value that shows itself as its table."""

    def table(self) -> pd.DataFrame:
        """One row for each thing that was tried."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return str(self.table().to_string())

    def _repr_html_(self) -> str:
        shown: str = self.table().to_html(border=0, index_names=False)
        return shown


def said(is_so: bool, text: str) -> Part:
    """A part that either holds or does not."""
    return Part("confirmed", text) if is_so else Part("refuted", f"not so: {text}")


def told(parts: Sequence[Part]) -> str:
    """What the parts say; only the guilty ones if there are any."""
    guilty = [part.text for part in parts if part.verdict != "confirmed"]
    return "; ".join(guilty or [part.text for part in parts])


def is_message(data: bytes) -> bool:
    """Whether these bytes are one whole event of the lab."""
    try:
        found = json.loads(data)
    except ValueError:
        return False
    return isinstance(found, dict) and "id" in found


# S1


@dataclass(frozen=True)
class Framing:
    """One response that was written event by event, the next one only when the last had been read.

    Attributes:
        framing: ``chunked``, ``eof`` or ``length`` (a Content-Length, filled slowly).
        head, body: the response's bytes as they came, chunk headers included.
        streamed: how many of the events were read before the next one was written.
    """

    version: str
    framing: str
    head: bytes
    body: bytes
    streamed: int
    events: int

    @property
    def title(self) -> str:
        return f"HTTP/{self.version}, {dict(eof='EOF', chunked='chunked', length='Content-Length')[self.framing]}"

    @property
    def declared(self) -> str:
        """The header field that says how long the body is."""
        names = (b"transfer-encoding", b"content-length", b"connection")
        lines = [line for line in self.head.split(b"\r\n") if line.lower().partition(b":")[0] in names]
        return "; ".join(line.decode("latin-1") for line in lines) or "none"


@dataclass(frozen=True, repr=False)
class Framings(Tabled):
    """The same events in each framing."""

    cases: tuple[Framing, ...]
    settings: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, title: str) -> Framing:
        return next(case for case in self.cases if case.title == title)

    def table(self) -> pd.DataFrame:
        """One row per framing: what the head declares, events that were read in time, bytes of the body."""
        import pandas as pd

        rows = [(c.title, c.declared, f"{c.streamed} of {c.events}", len(c.body)) for c in self.cases]
        return pd.DataFrame(rows, columns=["", "the head says", "read before the next", "bytes"]).set_index("")

    def raw(self, *titles: str) -> SideBySide:
        """The raw bytes of some of them, side by side."""
        return SideBySide(tuple(self[title] for title in titles))


@dataclass(frozen=True)
class SideBySide:
    """Raw responses beside each other: HTTP's own lines plain, chunk framing marked, the events in bold."""

    cases: tuple[Framing, ...]

    def __repr__(self) -> str:
        return "\n\n".join(f"{c.title}\n{(c.head + c.body).decode('utf-8', 'replace')}" for c in self.cases)

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<td style='text-align:left;vertical-align:top'><b>{html.escape(case.title)}</b>"
            f"<pre style='line-height:1.35'>{''.join(_lines(case))}</pre></td>"
            for case in self.cases
        )
        key = "<b>bold</b>: an event; <mark>marked</mark>: chunk framing; plain: HTTP and the cursor"
        return f"<table><tr>{cells}</tr></table><p>{key}; pale: CR is \\r and LF \\n.</p>"


def _lines(case: Framing) -> Iterator[str]:
    for number, line in enumerate((case.head + case.body).splitlines(keepends=True)):
        shown = html.escape(line.decode("utf-8", "replace").rstrip("\r\n"))
        ending = "\\r\\n" if line.endswith(b"\r\n") else "\\n"
        shown += f"<span style='opacity:0.45'>{ending}</span>\n"
        if line.startswith(b'{"id"'):
            yield f"<b>{shown}</b>"
        elif number >= case.head.count(b"\n") and not line.startswith(b"{"):
            yield f"<mark>{shown}</mark>"
        else:
            yield shown


def byte_by_byte(case: Framing) -> list[bytes]:
    """The lines of the body, parsed by h11 from reads of one byte each."""
    parser, body = h11.Connection(h11.CLIENT), b""
    parser.send(h11.Request(method="GET", target="/", headers=[("Host", "lab")]))
    parser.send(h11.EndOfMessage())
    for byte in (*(bytes([b]) for b in case.head + case.body), b""):
        parser.receive_data(byte)
        while isinstance(event := parser.next_event(), h11.Response | h11.Data | h11.EndOfMessage):
            body += event.data if isinstance(event, h11.Data) else b""
            if isinstance(event, h11.EndOfMessage):
                return body.splitlines()
    return body.splitlines()


def which_framing_can_stream(seen: Framings) -> Finding:
    """S1: 1.1 streams chunked and by EOF, 1.0 by EOF and never chunked; what of a length that is filled slowly?"""
    parts = []
    for case in (c for c in seen.cases if c.framing != "length"):
        parts.append(said(case.streamed == case.events, f"{case.title}: {case.streamed} of {case.events} in time"))
        is_chunked = b"chunked" in case.head.lower()
        parts.append(said(is_chunked == (case.framing == "chunked"), f"{case.title}: the head declares it so"))
    for case in seen.cases:
        ids = sum(map(is_message, byte_by_byte(case)))
        parts.append(said(ids == case.events, f"{case.title}: {ids} events from reads of one byte"))
    verdict = confidence.combine(part.verdict for part in parts)
    reason = told(parts)
    lengths = [c for c in seen.cases if c.framing == "length"]
    counter = [c for c in lengths if c.version == "1.0" and c.streamed == c.events]
    if verdict == "confirmed":
        reason = "each event was read before the next was written, and survives reads of one byte"
        if counter:
            verdict = "refined"
            reason = (
                "EOF is the only one of HTTP/1.0 where the length is not known beforehand; a declared Content-Length "
                f"that is filled slowly streams too ({counter[0].streamed} of {counter[0].events} in time); {reason}"
            )
        elif not lengths:
            verdict, reason = "undecided", f"the counter-example, a Content-Length, was not tried; {reason}"
    in_time = {case.title: float(case.streamed) for case in seen.cases}
    n = sum(case.events for case in seen.cases)
    return Finding(None, in_time, None, n, verdict, reason, "")


# S1b


@dataclass(frozen=True)
class Second:
    """A second request on a connection whose first response, a stream, has ended. ``answer``: its status line."""

    title: str
    framing: str
    events: int
    answer: str
    closed: bool


@dataclass(frozen=True, repr=False)
class Seconds(Tabled):
    """What can follow a stream on its connection."""

    cases: tuple[Second, ...]
    settings: dict[str, Any] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        """One row per framing: events of the first response, the answer to the second request."""
        import pandas as pd

        rows = [
            (c.title, c.events, c.answer or "none", "closed by the server" if c.closed else "open") for c in self.cases
        ]
        columns = ["", "events in the first", "answer to the second", "then the connection is"]
        return pd.DataFrame(rows, columns=columns).set_index("")


def which_framing_keeps_the_connection(seen: Seconds) -> Finding:
    """S1b: after the end of a stream a chunked one's connection answers again, one that EOF ended cannot."""
    if any(not case.events for case in seen.cases):
        raise NoVerdict("undecided", "a first response brought no event")
    chunked = [c for c in seen.cases if c.framing == "chunked"]
    eof = [c for c in seen.cases if c.framing == "eof"]
    if not chunked or not eof:
        raise NoVerdict("not run", "needs both framings")
    again = [c for c in chunked if c.answer.startswith("HTTP/1.1 200")]
    eof_again = [c for c in eof if c.answer]
    reason = "; ".join(f"{c.title}: {c.answer or 'no answer, the server had closed'}" for c in seen.cases)
    verdict: Verdict = "refuted"
    if len(again) == len(chunked) and not eof_again:
        verdict = "refined"
        reason = f"chunked keeps the connection, EOF keeps it only as long as the stream lasts; {reason}"
    elif len(again) == len(chunked) and len(eof_again) == len(eof):
        verdict = "confirmed"
    return Finding(None, None, None, len(seen.cases), verdict, reason, "")


# S2


@dataclass(frozen=True)
class Ending:
    """How one client took the end of a stream.

    Attributes:
        how: ``end`` (the server ends it properly), ``fin`` or ``reset`` (cut in the middle, by FIN or RST).
        events: how many events the client had by then.
        error: what it raised or said; empty if it took it for the end.
    """

    client: str
    framing: str
    how: str
    events: int
    error: str


@dataclass(frozen=True, repr=False)
class Endings(Tabled):
    """Streams ended properly and cut, as several clients saw it."""

    cases: tuple[Ending, ...]
    sent: int
    settings: dict[str, Any] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        """One row per client and framing; a column per ending: silent, or the error."""
        import pandas as pd

        rows = [(c.client, c.framing, _HOW[c.how], c.error or "silent") for c in self.cases]
        frame = pd.DataFrame(rows, columns=["client", "framing", "how", "said"])
        wide = frame.pivot(index=["framing", "client"], columns="how", values="said")
        return wide[[name for name in _HOW.values() if name in wide]].sort_index(ascending=[False, True])


_HOW = {"end": "ended properly", "fin": "cut, with FIN", "reset": "cut, with RST"}


def a_fault_looks_like_the_end(seen: Endings) -> Finding:
    """S2: cut by FIN, EOF is silent as at a proper end, in every client; chunked can be told, and RST shows in both.

    That some client does not tell although the chunks would let it is named, and no fault of the framing.
    """
    late = [c for c in seen.cases if c.events != seen.sent]
    if late:
        raise NoVerdict("undecided", f"{late[0].client} had {late[0].events} of {seen.sent} events when it was cut")
    cut = {c.client: c.error for c in seen.cases if (c.framing, c.how) == ("chunked", "fin")}
    deaf = [client for client, error in cut.items() if not error]
    parts = [
        said(bool(c.error) == (c.how == "reset"), f"{c.client}, {c.framing}, {_HOW[c.how]}: {c.error or 'silent'}")
        for c in seen.cases
        if (c.framing, c.how) != ("chunked", "fin")
    ]
    parts.append(said(len(deaf) < len(cut), f"{len(cut) - len(deaf)} of {len(cut)} clients tell a cut chunked body"))
    verdict = confidence.combine(part.verdict for part in parts)
    reason = told(parts)
    if verdict == "confirmed":
        tell = ", ".join(client for client in cut if client not in deaf)
        reason = f"with EOF a cut by FIN is silent like the end in all {len(cut)} clients; with chunks {tell} tell it"
        reason += f", {', '.join(deaf)} does not although it could" if deaf else ""
    return Finding(None, None, None, len(seen.cases), verdict, reason, "")
