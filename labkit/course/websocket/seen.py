"""What the experiments of 05_websocket saw: the values that its checks judge. Pure."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    import pandas as pd

Outcome = Literal["as it must", "ends, no code", "wrong", "no answer"]
SIGNS: dict[str, str] = {"as it must": "✓", "ends, no code": "~", "wrong": "✗", "no answer": "?"}


class Shown:
    """Displays as its table. ``left``: with its cells at the left, where they are text."""

    left: ClassVar[bool] = False

    def table(self) -> pd.DataFrame:
        raise NotImplementedError

    def __repr__(self) -> str:
        return str(self.table().to_string())

    def _repr_html_(self) -> str:
        text = str(self.table().reset_index().rename_axis(columns=None).to_html(border=0, index=False))
        for cell in ("td", "th") if self.left else ():
            text = text.replace(f"<{cell}>", f"<{cell} style='text-align:left'>")
        return text


@dataclass(frozen=True, repr=False)
class Handshake(Shown):
    """One opening handshake, and what an HTTP parser makes of each part of the connection.

    ``parsed``: part -> what the parser said, beginning with ``takes`` or ``rejects``.
    """

    key: str
    accept: str
    request: bytes
    answer: bytes
    down: bytes
    up: bytes
    parsed: Mapping[str, str]
    settings: Mapping[str, Any] = field(default_factory=dict)
    left: ClassVar[bool] = True

    def table(self) -> pd.DataFrame:
        import pandas as pd

        parts = {"request": self.request, "answer": self.answer, "then, from the client": self.up}
        parts["then, from the server"] = self.down
        rows = [[name, len(data), repr(data[:44])[1:], self.parsed[name]] for name, data in parts.items()]
        columns = ["", "bytes", "begins with", "an HTTP parser"]
        return pd.DataFrame(rows, columns=columns).set_index("")


@dataclass(frozen=True)
class Header:
    """One frame as it lay on the wire, all of it: header, key and payload."""

    sender: str  # "client" or "server"
    payload_bytes: int
    frame_bytes: int

    @property
    def header_bytes(self) -> int:
        return self.frame_bytes - self.payload_bytes


@dataclass(frozen=True, repr=False)
class Headers(Shown):
    """The frames of several payload sizes, from both sides."""

    frames: Sequence[Header]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        """Header bytes, one row for each payload."""
        import pandas as pd

        rows = [(f.payload_bytes, f"header from the {f.sender} (B)", f.header_bytes) for f in self.frames]
        frame = pd.DataFrame(rows, columns=["payload (B)", "sender", "header (B)"])
        return frame.pivot(index="payload (B)", columns="sender", values="header (B)")


@dataclass(frozen=True, repr=False)
class BothWays(Shown):
    """Messages that crossed on one WebSocket. Times in seconds, from sent to held at the other end.

    ``up``, ``down``: (sent at, latency) from the client and from the server; ``lost`` how many never came;
    ``late_s``: the 95th percentile of how late a timer of the same loop was.
    """

    one_way_s: float
    up: Sequence[tuple[float, float]]
    down: Sequence[tuple[float, float]]
    lost: int
    late_s: float
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def crossed(self) -> int:
        """Messages from the client that were on their way while one from the server was."""
        down = [(at, at + took) for at, took in self.down]
        return sum(any(at < stop and start < at + took for start, stop in down) for at, took in self.up)

    def table(self) -> pd.DataFrame:
        import pandas as pd

        rows = []
        for name, sent in (("client to server", self.up), ("server to client", self.down)):
            took = pd.Series([latency * 1e3 for _, latency in sent], dtype=float)
            rows.append([name, len(took), took.median(), took.min(), took.max()])
        return pd.DataFrame(rows, columns=["", "messages", "median ms", "min ms", "max ms"]).set_index("").round(1)


@dataclass(frozen=True)
class Cell:
    """What one implementation did in one case."""

    implementation: str
    role: str  # "server" or "client": the side that is tried
    claim: str
    clause: str
    case: str
    wanted: str
    found: str
    outcome: Outcome


@dataclass(frozen=True, repr=False)
class Conformance(Shown):
    """Cases by implementation; ``masks``: implementation -> (frames seen, of them masked, different keys)."""

    cells: Sequence[Cell]
    masks: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def of(self, claim: str) -> list[Cell]:
        return [cell for cell in self.cells if cell.claim == claim]

    def table(self, claim: str | None = None, role: str = "server") -> pd.DataFrame:
        """One row for each case, one column for each implementation of *role*: what it did."""
        import pandas as pd

        cells = [c for c in self.cells if c.role == role and claim in (None, c.claim)]
        rows = [(c.clause, c.case, c.wanted, c.implementation, f"{SIGNS[c.outcome]} {c.found}") for c in cells]
        frame = pd.DataFrame(rows, columns=["section", "case", "must", "implementation", "did"])
        order = list(dict.fromkeys(frame["implementation"]))
        wide = frame.pivot(index=["section", "case", "must"], columns="implementation", values="did")
        return wide.loc[list(dict.fromkeys(zip(frame["section"], frame["case"], frame["must"], strict=True))), order]

    def show(self, claim: str | None = None, role: str = "server") -> Any:
        """The table of :meth:`table`, for a notebook."""
        return Page(self.table(claim, role))

    def scores(self) -> pd.DataFrame:
        """How many cases each implementation met, by role."""
        import pandas as pd

        frame = pd.DataFrame([(c.role, c.implementation, c.outcome) for c in self.cells])
        frame.columns = pd.Index(["role", "implementation", "outcome"])
        counts = frame.groupby(["role", "implementation"], sort=False)["outcome"].value_counts().unstack(fill_value=0)
        return counts.reindex(columns=list(SIGNS), fill_value=0).sort_index(
            level=0, ascending=False, sort_remaining=False
        )

    def __repr__(self) -> str:
        return str(self.scores().to_string())

    def _repr_html_(self) -> str:
        return str(self.scores().to_html(border=0))


class Page:
    """A wide table with small type that does not repeat what rows share."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame

    def __repr__(self) -> str:
        return repr(self._frame)

    def _repr_html_(self) -> str:
        head = "".join(f"<th style='text-align:left'>{html.escape(str(name))}</th>" for name in self._frame.columns)
        rows = "".join(
            "<tr>"
            + "".join(f"<td style='text-align:left'>{html.escape(str(part))}</td>" for part in (*index, *values))
            + "</tr>"
            for index, values in zip(self._frame.index, self._frame.to_numpy(), strict=True)
        )
        return (
            f"<table style='font-size:85%'><tr><th>section</th><th style='text-align:left'>case</th>"
            f"<th style='text-align:left'>must</th>{head}</tr>{rows}</table>"
        )


@dataclass(frozen=True)
class Closing:
    """One close code: what made somebody send it, and its close frame as it lay on the wire (empty: none came)."""

    code: int
    meaning: str
    provoked_by: str
    sender: str
    frame: bytes

    @property
    def shown(self) -> str:
        """Header and code in hex, the reason as text."""
        reason = self.frame[4:].decode("utf-8", "replace")
        return self.frame[:4].hex(" ") + (f" “{reason}”" if reason else "") if self.frame else "no frame"


@dataclass(frozen=True, repr=False)
class Closings(Shown):
    rows: Sequence[Closing]
    settings: Mapping[str, Any] = field(default_factory=dict)
    left: ClassVar[bool] = True

    def table(self) -> pd.DataFrame:
        import pandas as pd

        rows = [[c.code, c.meaning, c.provoked_by, c.sender, c.shown] for c in self.rows]
        columns = ["code", "means", "provoked by", "sent by", "the close frame on the wire"]
        return pd.DataFrame(rows, columns=columns).set_index("code")


@dataclass(frozen=True)
class DeadPeer:
    """One peer whose link went silent. ``noticed_s``: until the server let it go, None if it did not in time."""

    implementation: str
    expected_s: float
    noticed_s: float | None


@dataclass(frozen=True, repr=False)
class DeadPeers(Shown):
    """Peers whose links went silent at one moment. Seconds from then; ``watched_s`` is how long it was watched.

    ``late_s``: the 95th percentile and the maximum of how late a timer of the same loop was.
    """

    peers: Sequence[DeadPeer]
    interval_s: float
    timeout_s: float
    one_way_s: float
    watched_s: float
    late_s: tuple[float, float]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def of(self, implementation: str) -> list[DeadPeer]:
        return [peer for peer in self.peers if peer.implementation == implementation]

    def table(self) -> pd.DataFrame:
        import pandas as pd

        rows = []
        for name in dict.fromkeys(peer.implementation for peer in self.peers):
            mine = self.of(name)
            noticed = [peer.noticed_s for peer in mine if peer.noticed_s is not None]
            first, last = (f"{min(noticed):.2f}", f"{max(noticed):.2f}") if noticed else ("never", "never")
            rows.append([name, len(mine), len(noticed), first, last])
        columns = ["", "peers", "noticed", "first after s", "last after s"]
        return pd.DataFrame(rows, columns=columns).set_index("")


@dataclass(frozen=True, repr=False)
class Deflated(Shown):
    """permessage-deflate in three modes. Everything is per message, but the memory, which is per connection.

    ``wire_bytes``: kind -> mode -> bytes on the wire of one echoed message, its frame header included.
    ``payload_bytes``: kind -> bytes. ``cpu_us``: mode -> CPU of the server's process, one value for each round.
    ``rss_bytes``: mode -> what one connection added to the server's resident memory.
    """

    payload_bytes: Mapping[str, float]
    wire_bytes: Mapping[str, Mapping[str, float]]
    cpu_us: Mapping[str, Sequence[float]]
    rss_bytes: Mapping[str, float]
    connections: int
    settings: Mapping[str, Any] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        import pandas as pd

        rows = []
        for mode in self.cpu_us:
            sizes = [f"{self.wire_bytes[kind][mode]:.0f}" for kind in self.payload_bytes]
            cpu_us = sorted(self.cpu_us[mode])[len(self.cpu_us[mode]) // 2]
            rows.append([mode, *sizes, f"{cpu_us:.0f}", f"{self.rss_bytes[mode] / 1024:.0f}"])
        kinds = [f"{kind}, {size:.0f} B" for kind, size in self.payload_bytes.items()]
        columns = ["", *kinds, "server CPU (µs)", "memory per connection (KiB)"]
        return pd.DataFrame(rows, columns=columns).set_index("")


@dataclass(frozen=True, repr=False)
class Beside(Shown):
    """Echo over a WebSocket beside echo over bare TCP. ``bytes``: payload -> (WebSocket, TCP), both directions.

    ``trips_s``: payload -> pairs (WebSocket, TCP) of round trips through a link of ``one_way_s``; ``bare_s``: the
    same with no network between, one payload.
    """

    one_way_s: float
    bytes: Mapping[int, tuple[int, int]]
    trips_s: Mapping[int, Sequence[tuple[float, float]]]
    bare_s: Sequence[tuple[float, float]]
    late_s: float
    settings: Mapping[str, Any] = field(default_factory=dict)

    def ratio_of_bytes(self, payload_bytes: int) -> float:
        websocket, tcp = self.bytes[payload_bytes]
        return websocket / tcp

    def table(self) -> pd.DataFrame:
        import pandas as pd

        rows = []
        for size, (websocket, tcp) in self.bytes.items():
            trips = pd.DataFrame(self.trips_s[size], columns=["websocket", "tcp"]).median() * 1e3
            ratios = [websocket / tcp, trips["websocket"] / trips["tcp"]]
            rows.append([size, websocket, tcp, trips["websocket"], trips["tcp"], *ratios])
        columns = [
            "payload (B)",
            "WebSocket (B)",
            "TCP (B)",
            "WebSocket (ms)",
            "TCP (ms)",
            "bytes ratio",
            "time ratio",
        ]
        return pd.DataFrame(rows, columns=columns).set_index("payload (B)").round(3)
