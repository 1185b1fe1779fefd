"""One request, measured: over the kit's counted client, and told as an observation."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from labkit.client.address import Address
from labkit.client.http import target
from labkit.client.http_connection import HTTPConnection, Response
from labkit.client.ledger import ConnectionRecord, Ledger
from labkit.client.proxy import Proxy, through
from labkit.client.redirects import location
from labkit.client.secure_connection import NO_FAREWELL
from labkit.client.speaking import Exchanges, speaking
from labkit.client.tls import SYSTEM, Trust
from labkit.client.wiring import Wiring
from labkit.errors import ConnectionLost, Refused, TLSFailed, WireError
from labkit.measuring.rounding import counted
from labkit.sockets import MSS
from labkit.strangers.probe.body_reader import BodyReader, kind_of, reads_as_events
from labkit.strangers.probe.observation import End, Observation, Piece
from labkit.strangers.probe.watch import Watch
from labkit.strangers.secrets import LEFT_OUT, hidden, is_secret, shown, values_in, values_of_query
from labkit.wire.bodies import AsItComes
from labkit.wire.chunks import ChunkCutter
from labkit.wire.events import now_ns
from labkit.wire.http1 import printable

KEPT_BYTES = 4 << 20
WORDS_BYTES = 300
PAGE_BYTES = 1 << 16
STEPS = 4
"""To a connection: TCP, CONNECT and TLS have each its own limit, and this is over all of them."""
_PASSWORD = re.compile(
    rb"""<input[^>]*type\s*=\s*["']?password|<title[^>]*>[^<]*\b(?:log|sign)[- ]?(?:in|on)\b""", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and for how long the answer is listened to.

    Attributes:
        name: of what is changed against the first one; ``first`` for that.
        changed: the same in words.
        fields: of the request, beside Host and User-Agent.
        secret: which of them, in lower case, are shown nowhere.
        versions: of HTTP, over TLS the server chooses.
        proxy: asked in the server's place; None for none.
        warm_up: ask with HEAD first, and the question on the same connection.
    """

    name: str
    address: Address
    changed: str = ""
    method: str = "GET"
    body: bytes = b""
    fields: Mapping[str, str] = field(default_factory=dict)
    secret: frozenset[str] = frozenset()
    versions: tuple[int, ...] = (1,)
    seconds: float = 10.0
    trust: Trust = SYSTEM
    proxy: Proxy | None = None
    warm_up: bool = False
    enough: int = 1 << 30
    """Events after which it is left."""

    @property
    def shown(self) -> dict[str, str]:
        """Its fields, without what lets somebody in."""
        return {n: LEFT_OUT if n.lower() in self.secret or is_secret(n) else v for n, v in self.fields.items()}

    @property
    def hides(self) -> list[str]:
        """What lets somebody in, and so is shown nowhere, also where an answer repeats it."""
        named = [(n, v) for n, v in self.fields.items() if n.lower() in self.secret or is_secret(n)]
        password = self.address.credentials.partition(b":")[2].decode("utf-8", "replace")
        return [*(each for n, v in named for each in values_in(n, v)), *values_of_query(str(self.address)), password]

    def told(self, events: int) -> str:
        """How far it is, in a few words."""
        return f"{self.changed or 'as asked'}: {counted(events, 'event')}, for up to {self.seconds:g} s"

    def without_end(self, watch: Watch, *, has_head: bool, is_there: bool) -> tuple[End, str]:
        """How an answer is told that nobody waits for any longer, and what there is to say of it."""
        if has_head:
            return "open", ""
        if watch.is_over:
            return "stopped", "" if is_there else "no connection until then"
        return ("silent", "") if is_there else ("refused", f"no connection within {self.seconds:g} s")

    @property
    def wiring(self) -> Wiring:
        """What its connection has."""
        ledger, limit_s = Ledger(KEPT_BYTES), self.seconds
        return through(Wiring(ledger, "probe", 0, MSS, {}, self.trust, limit_s, limit_s, self.versions), self.proxy)

    @property
    def target(self) -> str:
        """Of its request: a proxy is asked by the whole address (RFC 9112 section 3.2.2)."""
        return str(self.address) if self._is_whole else target(self.address)

    @property
    def sent(self) -> dict[str, str | bytes]:
        """All fields of its request."""
        fields = {n: v.encode() if n == "Last-Event-ID" else v for n, v in self.fields.items()}  # WHATWG HTML 9.2.3
        own: dict[str, str | bytes] = {"Host": self.address.authority, "User-Agent": "labkit probe", **fields}
        return {**own, **self.proxy.fields} if self._is_whole and self.proxy is not None else own

    @property
    def _is_whole(self) -> bool:
        return self.proxy is not None and not self.proxy.tunnels(self.address)


@dataclass(slots=True)
class _Answer:
    """What is known of an answer so far."""

    sent_ns: int = 0
    response: Response | None = None
    head_s: float | None = None
    reader: BodyReader = field(default_factory=lambda: BodyReader("whole"))
    pieces: list[Piece] = field(default_factory=list)
    words: bytes = b""
    begins: int = 0
    """Where its head begins on the connection."""
    says_its_end: bool = True
    """Whether its body has another end than that of the connection."""

    def since(self, t_ns: int) -> float:
        return (t_ns - self.sent_ns) / 1e9


async def ask(question: Question, watch: Watch, on_head: Callable[[Response], None] | None = None) -> Observation:
    """Ask, listen for as long as the question says, and tell what came. Raises nothing of the network."""
    http: Exchanges | None = None
    answer = _Answer(now_ns())
    seen = Observation(
        question.name,
        shown(str(question.address)),
        question.changed,
        question.method,
        question.shown,
        proxy=str(question.proxy or ""),
        kept=question.warm_up,
        offers_http2=2 in question.versions,
    )
    end, complaint = "open", ""
    try:
        async with watch.within(STEPS * question.seconds):
            http = await speaking(question.address, question.wiring)
            http.connection.read_silence_s = None
        if question.warm_up:
            async with watch.within(question.seconds):
                await _warm_up(http, question)
        async with watch.within(question.seconds), watch.showing(lambda: question.told(len(answer.reader.events))):
            end = await _exchange(http, question, answer, on_head)
    except TimeoutError:
        end, complaint = question.without_end(watch, has_head=answer.response is not None, is_there=http is not None)
    except (TLSFailed, Refused) as error:
        end, complaint = "refused", str(error)
    except WireError as error:
        end, complaint = "broken", str(error)
    except ConnectionLost as error:
        record = http.record if http is not None else None
        end, complaint = _lost(record, answer, str(error)), str(error)
    finally:
        if http is not None:
            http.close()
    return _told(seen, question, answer, http, end, complaint, watch.began_ns)


async def _warm_up(http: Exchanges, question: Question) -> None:
    """An exchange before the one that is measured, on the same connection."""
    await http.request("HEAD", question.target, question.sent)
    await http.response()
    async for _ in http.values(AsItComes()):
        pass
    if not http.next_cycle():
        raise ConnectionLost("the server keeps no connection open behind an answer")


async def _exchange(
    http: Exchanges, question: Question, answer: _Answer, on_head: Callable[[Response], None] | None
) -> Any:
    answer.begins = http.record.carried_in
    await http.request(question.method, question.target, question.sent, body=question.body)
    answer.sent_ns = now_ns()
    response = await http.response()
    if question.proxy is not None:
        question.proxy.refuse_to_log_in(response.status)
    answer.response = response
    received = http.received_ns or http.connection.received_ns
    answer.head_s = answer.since(received)
    answer.says_its_end = http.says_its_end
    if on_head is not None:
        on_head(response)
    content_type = response.headers.get("content-type", "")
    if response.status == 200:
        answer.reader = BodyReader(kind_of(content_type), content_type)
    async with contextlib.aclosing(http.values(AsItComes())) as values:
        async for data in values:
            t_s, at = answer.since(http.received_ns), answer.reader.at
            answer.pieces.append(Piece(t_s, at, len(data)))
            answer.reader.feed(t_s, data)
            if response.status != 200 or answer.reader.kind == "whole":
                answer.words = (answer.words + data)[:PAGE_BYTES]
            if len(answer.reader.events) >= question.enough:
                return "open"
    answer.reader.end(is_whole=answer.says_its_end)
    return "clean" if answer.says_its_end else "closed"


def headers_shown(question: Question, response: Response) -> dict[str, str]:
    """An answer's fields, without what lets somebody in."""
    hides = question.hides
    return {n: LEFT_OUT if is_secret(n) else hidden(v, hides) for n, v in response.headers.items()}


def _lost(record: ConnectionRecord | None, answer: _Answer, why: str) -> Any:
    if record is None or (answer.response is None and record.carried_in == 0 and record.closed_by is None):
        return "refused"
    if record.closed_by == "reset":
        return "reset"
    return "closed" if NO_FAREWELL in why and not answer.says_its_end else "cut"  # many servers leave it out


def _told(
    seen: Observation, question: Question, answer: _Answer, http: Exchanges | None, end: Any, complaint: str, began: int
) -> Observation:
    now = now_ns()
    record = http.record if http is not None else None
    ended_ns = record.closed_ns if record is not None and record.closed_ns is not None else now
    pieces, chunks = answer.pieces, list[int]()
    if isinstance(http, HTTPConnection) and record is not None and record.dropped_bytes == 0:
        size = http.exchange.response.size_bytes if http.waiting and http.exchange.response is not None else 0
        if size:
            chunked = "chunked" in (http.exchange.response.values.get("transfer-encoding", "") if size else "")  # type: ignore[union-attr]
            pieces, chunks = body_pieces(record, answer.sent_ns, answer.begins + size, is_chunked=chunked)
    response, reader = answer.response, answer.reader
    if response is not None:
        headers = headers_shown(question, response)
        if location(response.status, response.headers) and end in ("clean", "closed", "open"):
            complaint = f"it leads on to {printable(str(location(response.status, response.headers)))}"
        seen = replace(seen, status=response.status, http_version=response.http_version, headers=headers)
    heard = record.heard_ns if record is not None else 0
    return replace(
        seen,
        started_s=(answer.sent_ns - began) / 1e9,
        head_s=answer.head_s,
        kind=reader.kind,
        pieces=tuple(pieces),
        chunks=tuple(chunks),
        events=tuple(reader.events),
        heartbeats=tuple(reader.heartbeats),
        violations=tuple(reader.violations),
        retry_ms=reader.retry_ms,
        split_characters=reader.split_characters,
        decoded_bytes=reader.at,
        begun=reader.begun,
        reads_as_events=reader.kind == "whole" and reads_as_events(answer.words),
        last_s=answer.since(heard) if heard > answer.sent_ns else answer.head_s,
        end=end,
        end_s=answer.since(ended_ns),
        issuer=http.connection.issuer if http is not None else "",
        complaint=printable(hidden(complaint, question.hides), 400),
        words=printable(hidden(answer.words.decode("utf-8", "replace"), question.hides), WORDS_BYTES),
        asks_password=_asks_password(response, answer.words),
    )


def _asks_password(response: Response | None, begins: bytes) -> bool:
    is_page = response is not None and "html" in response.headers.get("content-type", "").lower()
    return is_page and _PASSWORD.search(begins) is not None


def body_pieces(
    record: ConnectionRecord, sent_ns: int, begins: int, *, is_chunked: bool
) -> tuple[list[Piece], list[int]]:
    """The pieces of a body as its connection has brought them, coded as they were, and where its chunks begin."""
    cutter, at = ChunkCutter(), 0
    pieces, chunks = list[Piece](), list[int]()
    for transfer in record.transfers:
        if transfer.direction != "in" or transfer.stop <= begins:
            continue
        data, size = transfer.data[max(0, begins - transfer.start) :], 0
        if is_chunked:
            try:
                found = cutter.pieces(data)
            except WireError:
                found = cutter.before_error
            for framing, carried in found:
                if carried and framing:
                    chunks.append(at + size)
                size += len(carried)
        else:
            size = len(data)
        if size:
            pieces.append(Piece((transfer.t_ns - sent_ns) / 1e9, at, size))
        at += size
    return pieces, chunks
