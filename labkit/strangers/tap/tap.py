"""``labkit.tap``: what passes between any client and any server, live, and a run of it at the end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from labkit import files, loop
from labkit.client import address
from labkit.client.ledger import Ledger
from labkit.client.tls import Trust
from labkit.errors import LabkitError
from labkit.measuring.rounding import counted
from labkit.measuring.run import Run
from labkit.strangers.secrets import shown
from labkit.strangers.tap import summing
from labkit.strangers.tap.comparing import Comparison, compare
from labkit.strangers.tap.exchanges import Seen, exchanges_of
from labkit.strangers.tap.log import Entry, Log, clock
from labkit.strangers.tap.making import run_of
from labkit.strangers.tap.page import page
from labkit.strangers.tap.relay import TapRelay
from labkit.strangers.tap.telling import Teller
from labkit.wire.events import now_ns

KEEP_BYTES = 1 << 20
NONE_PASSED = "No exchange passed."


class Tap:
    """A relay in front of a server, which tells what passes. Listens from the start to :meth:`close`.

    The arguments are those of :func:`tap`.
    """

    def __init__(
        self,
        to: str | None = None,
        *,
        listen: int = 0,
        as_sent: bool = False,
        content: bool = True,
        with_secrets: bool = False,
        cafile: str | None = None,
        insecure: bool = False,
        heard: Callable[[Entry], None] | None = None,
        one_way_s: float = 0.0,
        **link: Any,
    ) -> None:
        self.to = None if to is None else address.split(to)
        trust = Trust(cafile, insecure)
        if self.to is not None and self.to.is_secure:
            trust.check()
        named = "whichever server a client names" if self.to is None else str(self.to)
        named = named if with_secrets else shown(named)
        settings = {"to": named, "started": datetime.now(UTC).isoformat(), "clock": clock(), "content": content}
        self.log = Log(settings, contents=content, with_secrets=with_secrets, heard=heard)
        self.log.settings["started_ns"] = self.log.started_ns
        self._ledger = Ledger(KEEP_BYTES if content else 0)
        self._relay = TapRelay(
            self.to, self.log, port=listen, trust=trust, as_sent=as_sent, ledger=self._ledger,
            one_way_s=one_way_s, **link,
        )  # fmt: skip
        self._relay.start()
        self.log.settings["at"] = self._base

    @property
    def _base(self) -> str:
        return f"http://127.0.0.1:{self._relay.ports['http']}"

    @property
    def url(self) -> str:
        """What a client is to ask in place of the server: the same path there. Of a proxy, the proxy's address."""
        if self.to is None:
            return str(self.log.settings["at"])
        query = f"?{self.to.query}" if self.to.query else ""
        scheme = "ws" if self.to.scheme in ("ws", "wss") else "http"
        return f"{scheme}{self.log.settings['at'].removeprefix('http')}{self.to.path}{query}"

    @property
    def shown_url(self) -> str:
        """:attr:`url` for people: without what in its query lets somebody in, unless that is kept."""
        return self.url if self.log.with_secrets else shown(self.url)

    @property
    def rewrites(self) -> str:
        """What is done to heads, in one sentence."""
        if self.to is None:
            return "As an HTTP proxy: http is read, with a connection for each exchange, CONNECT passed and counted."
        if self._relay.as_sent:
            return "Heads pass as they were sent."
        return (
            f"Host, Origin and Referer are rewritten to {self.to.authority}, Location and cookies back; "
            "--as-sent leaves them."
        )

    def cut(self, how: str = "reset") -> None:
        """End every connection, by ``reset`` or ``fin``, and turn new ones away until :meth:`heal`."""
        self._relay.cut(how)
        self._relay.said(f"cut here ({how})")

    def stall(self) -> None:
        """Let nothing pass until :meth:`heal`."""
        self._relay.stall()
        self._relay.said("stalled here")

    def heal(self) -> None:
        """Undo :meth:`cut` and :meth:`stall`."""
        self._relay.heal()
        self._relay.said("healed here")

    def close(self) -> None:
        """End, with every connection. What was seen stays."""
        self._relay.close()

    @property
    def _has_ended(self) -> bool:
        return self.log.stopped_ns is not None

    @property
    def elapsed_ns(self) -> int:
        ended_ns = self.log.stopped_ns
        return (now_ns() if ended_ns is None else ended_ns) - self.log.started_ns

    @property
    def entries(self) -> list[Entry]:
        """What the log has, by time: all that has passed up to now, or to the end."""
        if not self._has_ended:
            self._relay.catch_up()
        return self.log.sorted()

    @property
    def exchanges(self) -> list[Seen]:
        """Those up to now, or to the end."""
        return exchanges_of(self.entries)

    def lines(self) -> list[str]:
        """What has happened, a line each."""
        teller = Teller()
        return [line for entry in self.entries if (line := teller.line(entry))]

    def summary(self) -> str:
        """The table and its notes, as text."""
        found = self.exchanges
        if not found:
            return NONE_PASSED
        return "\n".join([summing.table(summing.HEADS, summing.rows(found)), *self._notes(found)])

    def _notes(self, found: list[Seen]) -> list[str]:
        left = self.log.dropped
        more = [f"{counted(left, 'happening')} more passed, and are in no file: the first are kept."] if left else []
        return [*summing.notes(found, self.elapsed_ns), *more]

    def compare(self, behind: Tap) -> Comparison:
        """What the proxy between this tap, on the client's side, and *behind* did: ``--compare`` of two files."""
        return compare((self.log.settings, self.entries), (behind.log.settings, behind.entries))

    def run(self) -> Run:
        """All of it as a run: ``explain``, ``to_har``, ``to_pcapng``, ``save`` and charts are those of any other."""
        found = self.exchanges
        return run_of(self.log, self._ledger, found, self._notes(found))

    def save(self, path: str | Path) -> Path:
        """Write it, as the name ends: ``.jsonl``, a line for each happening, or ``.parquet``, the run.

        Raises:
            LabkitError: another ending, or it cannot be written.
        """
        suffix = Path(path).suffix
        if suffix == ".jsonl":
            return self.log.write(path, self.entries)
        if suffix == ".parquet":
            return self.run().save(path, with_secrets=self.log.with_secrets)
        raise LabkitError(f"{path}: a tap is written as .jsonl or as .parquet")

    def to_html(self, path: str | Path) -> Path:
        """Write a page: the table, its notes, the exchanges over time, and what happened line by line. No script in it.

        Raises:
            LabkitError: it cannot be written.
        """
        return files.write(path, self._page())

    def _page(self) -> str:
        found, title = self.exchanges, f"labkit tap of {self.log.settings['to']}"
        notes, rows = self._notes(found), summing.rows(found)
        return page(title, summing.HEADS, rows, notes, self.lines(), found, self.elapsed_ns)

    def _repr_html_(self) -> str:
        """What passed up to now; ``lines()`` has it one by one."""
        found = self.exchanges
        shown = summing.table(summing.HEADS, summing.rows(found)) if found else NONE_PASSED
        style = "white-space:pre; overflow-x:auto"  # JupyterLab breaks a pre inside words
        said = "".join(f"<p>{escape(note)}</p>" for note in self._notes(found))
        return f"<p>{escape(repr(self))}</p><pre style='{style}'>{escape(shown)}</pre>{said}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await loop.hop(self._closed())

    async def _closed(self) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "ended" if self._has_ended else f"at {self.shown_url}"
        return f"<Tap of {self.log.settings['to']} {state}, {len(self.log.entries)} happenings>"


def tap(to: str | None = None, **options: Any) -> Tap:
    """Listen in front of a server: point a client at ``.url`` in place of *to*, and see ``.lines()``.

    It holds nothing back, listens on 127.0.0.1, and reads what passes: event streams, streams, polls, WebSockets.

    Args:
        to: the server's address, ``http``, ``https``, ``ws`` or ``wss``. None: it is an HTTP proxy to whichever
            server a client names, as ``curl -x`` and a browser's ``--proxy-server`` do; what is encrypted is counted.
        listen: the port; a free one by default.
        one_way_s, jitter_s, rate_bytes_per_s: delay what passes, as :class:`labkit.Link` does; by default nothing.
        as_sent: leave ``Host``, ``Origin``, ``Referer``, ``Location`` and cookies as they were sent.
        content: keep what was carried; False keeps sizes and times alone.
        with_secrets: keep what ``Authorization``, ``Cookie`` and the like and token-like query values said.
        cafile, insecure: whom to believe to be the server, as of :func:`labkit.measure`'s ``--url``.
        heard: called with each entry of the log, on the lab loop.

    Raises:
        AddressError: an address that it does not speak to.
        LabkitError: the port cannot be listened on.
        ValueError: the server's name does not resolve.
    """
    return Tap(to, **options)
