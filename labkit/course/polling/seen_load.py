"""What the experiments of 01_polling on load and single exchanges give to their checks, and two published tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labkit.course.polling.seen import Shown

if TYPE_CHECKING:
    import pandas as pd

    from labkit.measuring.run import Run


@dataclass(frozen=True, repr=False)
class Burden(Shown):
    """What clients cost a server in a process of its own, by kind: polls on one connection kept alive, polls with a
    connection each, a WebSocket held and silent.

    ``memory_kib`` and ``descriptors`` for each client held, one value a batch; ``cpu_us`` for each poll (of the
    WebSocket: for each heartbeat), one value a round, the same rounds for all kinds. ``time_wait`` sockets were left
    by ``closed`` polls that closed. ``why`` it was not measured.
    """

    memory_kib: dict[str, tuple[float, ...]] = field(default_factory=dict)
    descriptors: dict[str, tuple[float, ...]] = field(default_factory=dict)
    cpu_us: dict[str, tuple[float, ...]] = field(default_factory=dict)
    heartbeat_s: float = 15.0
    time_wait: int = 0
    closed: int = 0
    kernel_bytes: int | None = None
    why: str = ""
    settings: dict[str, Any] = field(default_factory=dict)

    def balance_s(self, kind: str) -> list[float]:
        """For each round, the interval at which polling costs as much CPU as the heartbeats of a WebSocket."""
        pairs = zip(self.cpu_us[kind], self.cpu_us["websocket"], strict=True)
        return [self.heartbeat_s * poll / beat for poll, beat in pairs]

    def table(self) -> pd.DataFrame:
        """One row for each kind, means."""
        import pandas as pd

        if self.why:
            return pd.DataFrame({"not run": [self.why]})
        rows = []
        for kind, values in self.memory_kib.items():
            rows.append(
                {
                    "kind": kind,
                    "memory (KiB/client)": sum(values) / len(values),
                    "descriptors/client": sum(self.descriptors[kind]) / len(self.descriptors[kind]),
                    "CPU (µs/poll or heartbeat)": sum(self.cpu_us[kind]) / len(self.cpu_us[kind]),
                }
            )
        return pd.DataFrame(rows).set_index("kind")


@dataclass(frozen=True, repr=False)
class Revalidated(Shown):
    """Polls with and without ``If-None-Match``.

    ``frame``: ``events`` held, ``resource_bytes`` (the body that ``after=0`` gets), ``how`` (``cursor`` or ``whole``),
    ``conditional``, ``status`` and ``bytes`` of a poll when nothing has changed, ``changed_status`` and
    ``changed_bytes`` of one after a further event.
    """

    frame: pd.DataFrame
    settings: dict[str, Any] = field(default_factory=dict)

    def saved(self, how: str) -> pd.DataFrame:
        """Bytes that the condition saves on a poll without news, and costs on one with news, by resource size."""
        part = self.frame[self.frame["how"] == how]
        plain = part[~part["conditional"]].set_index("resource_bytes")
        asked = part[part["conditional"]].set_index("resource_bytes")
        return plain[["bytes"]].assign(
            saved=plain["bytes"] - asked["bytes"], extra=asked["changed_bytes"] - plain["changed_bytes"]
        )

    def table(self) -> pd.DataFrame:
        """Bytes of a poll without news, by resource size."""
        named = self.frame.assign(
            poll=self.frame["how"] + self.frame["conditional"].map({True: ", If-None-Match", False: ""})
        )
        return named.pivot_table("bytes", "resource_bytes", "poll", sort=False)


@dataclass(frozen=True, repr=False)
class Overheads(Shown):
    """The published tables, and this wire's own bytes.

    ``polling`` and ``websocket``: headers and framing of one message, and TCP/IP headers (derived), each a list with a
    value for each subscriber; ``handshake_bytes`` of one WebSocket's opening; ``run`` what they were counted in.
    """

    polling: tuple[tuple[float, float], ...]
    websocket: tuple[tuple[float, float], ...]
    handshake_bytes: float
    events: int
    run: Run | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    def ratios(self, tcp_ip: bool) -> list[float]:
        """Overhead of a poll over that of a WebSocket message, for each subscriber."""
        pairs = zip(self.polling, self.websocket, strict=True)
        return [(p[0] + p[1] * tcp_ip) / (w[0] + w[1] * tcp_ip) for p, w in pairs]

    def table(self) -> pd.DataFrame:
        """Bytes of overhead for each message."""
        import pandas as pd

        rows = {}
        for name, found in (("polling", self.polling), ("websocket", self.websocket)):
            bare, derived = (sum(values) / len(found) for values in zip(*found, strict=True))
            rows[name] = {"headers and framing": bare, "TCP/IP (derived)": derived, "together": bare + derived}
        rows["ratio"] = {name: rows["polling"][name] / rows["websocket"][name] for name in rows["polling"]}
        return pd.DataFrame(rows).T


@dataclass(frozen=True)
class Published:
    """One row of somebody else's table: the inputs and the figure that they print (``printed_mbps``)."""

    source: str
    case: str
    clients: int
    every_s: float
    bytes_each: float
    printed_mbps: float
    decimals: int

    @property
    def mbit_per_s(self) -> float:
        return self.clients * self.bytes_each * 8 / self.every_s / 1e6

    @property
    def mibit_per_s(self) -> float:
        return self.clients * self.bytes_each * 8 / self.every_s / 2**20

    def prints(self, value: float) -> bool:
        """Whether *value* rounds, or is cut, to the printed figure."""
        scaled = value * 10**self.decimals
        return round(self.printed_mbps * 10**self.decimals) in (round(scaled), int(scaled))


KAAZING, HPBN = "Lubbers and Greco (Kaazing)", "High Performance Browser Networking"
PUBLISHED = (
    Published(KAAZING, "polling", 1_000, 1, 871, 6.6, 1),
    Published(KAAZING, "polling", 10_000, 1, 871, 66, 0),
    Published(KAAZING, "polling", 100_000, 1, 871, 665, 0),
    Published(KAAZING, "WebSocket", 1_000, 1, 2, 0.015, 3),
    Published(KAAZING, "WebSocket", 10_000, 1, 2, 0.153, 3),
    Published(KAAZING, "WebSocket", 100_000, 1, 2, 1.526, 3),
    Published(HPBN, "polling", 10_000, 60, 850, 1.13, 2),
)


@dataclass(frozen=True, repr=False)
class Tables(Shown):
    """The published figures beside what their inputs give, and what the same clients cost with this wire's bytes."""

    seen: Overheads | None = None

    def table(self) -> pd.DataFrame:
        """One row for each figure: as printed, in Mbit/s, in Mibit/s, and in Mbit/s on this wire, TCP/IP included."""
        import pandas as pd

        rows = []
        for row in PUBLISHED:
            own = self._own(row)
            rows.append(
                {
                    "whose": row.source,
                    "what": row.case,
                    "clients": row.clients,
                    "every (s)": row.every_s,
                    "bytes": row.bytes_each,
                    "printed 'Mbps'": f"{row.printed_mbps:g}",
                    "Mbit/s": row.mbit_per_s,
                    "Mibit/s": row.mibit_per_s,
                    **({} if own is None else {"this wire (Mbit/s)": own}),
                }
            )
        return pd.DataFrame(rows).set_index(["whose", "what", "clients"])

    def _own(self, row: Published) -> float | None:
        if self.seen is None:
            return None
        each = self.seen.polling if row.case == "polling" else self.seen.websocket
        bytes_each = sum(bare + derived for bare, derived in each) / len(each)
        return row.clients * bytes_each * 8 / row.every_s / 1e6
