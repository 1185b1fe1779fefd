"""What the experiments of 02_long_polling that poll by hand give: what the checks judge and the charts draw."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labkit import theory

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Unaware:
    """A client that polls without a cursor beside one with: what was published while each listened, and what came.

    ``at_s``: when each was published, from the first client's start.
    """

    published: tuple[int, ...]
    without: tuple[int, ...]
    with_cursor: tuple[int, ...]
    rate_per_s: float
    one_way_s: float
    settings: dict[str, Any] = field(default_factory=dict)
    at_s: tuple[float, ...] = ()

    @property
    def lost(self) -> int:
        return len(set(self.published) - set(self.without))

    @property
    def expected_share(self) -> float:
        """The share of events that fall into a gap: a / (1 + a), a = lambda g.

        A cycle is a gap, in which a events are lost on average, and then one event that finds the poll parked: what
        came in the gap is not there to be fetched, so a poll always waits.
        """
        a = self.rate_per_s * theory.request_gap(self.one_way_s)
        return a / (1 + a)

    def table(self) -> pd.DataFrame:
        import pandas as pd

        rows = [
            ("without a cursor", len(self.published), len(self.without), self.lost, _twice(self.without)),
            ("with a cursor", len(self.published), len(self.with_cursor),
             len(set(self.published) - set(self.with_cursor)), _twice(self.with_cursor)),
        ]  # fmt: skip
        return pd.DataFrame(rows, columns=["client", "published", "arrived", "lost", "twice"]).set_index("client")

    def _repr_html_(self) -> str:
        return str(self.table().to_html())


def _twice(ids: tuple[int, ...]) -> int:
    return len(ids) - len(set(ids))


@dataclass(frozen=True)
class Valley:
    """Held requests through an intermediary that ends idle connections, for several hold time-outs."""

    idle_timeout_s: float
    rows: tuple[dict[str, float], ...]
    settings: dict[str, Any] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        """One row for each hold time-out: requests and broken connections a minute, the share of time deaf."""
        import pandas as pd

        return pd.DataFrame(list(self.rows)).set_index("hold_s")

    def _repr_html_(self) -> str:
        return str(self.table().round(2).to_html())


@dataclass(frozen=True)
class Held:
    """What each held client adds to a server in a process of its own, batch by batch: KiB and descriptors.

    ``kernel_bytes``: what the kernel keeps for the server's end of an idle connection, beside the process's own
    memory; None where it does not say.
    """

    memory_kib: dict[str, tuple[float, ...]] = field(default_factory=dict)
    descriptors: dict[str, tuple[float, ...]] = field(default_factory=dict)
    why: str = ""
    kernel_bytes: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        import pandas as pd

        rows = [
            (name, sum(kib) / len(kib), min(kib), max(kib), sum(self.descriptors[name]) / len(kib))
            for name, kib in self.memory_kib.items()
        ]
        columns = ["technique", "KiB per client", "least", "most", "descriptors per client"]
        return pd.DataFrame(rows, columns=columns).set_index("technique")

    def _repr_html_(self) -> str:
        return f"<p>{self.why}</p>" if self.why else str(self.table().round(1).to_html())


@dataclass(frozen=True)
class Threads:
    """A server with a bounded number of threads beside the lab, and one client too many. All by server, in seconds.

    ``poll_s``: how much longer than it asked for a long poll took that came when all threads were held; ``get_s``:
    until a plain poll was answered that came with it; ``short_s``: the longest that one of as many clients waited who
    only poll, while nobody holds a thread.
    """

    threads: int
    hold_s: float
    poll_s: dict[str, float]
    get_s: dict[str, float]
    short_s: dict[str, float]
    settings: dict[str, Any] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        import pandas as pd

        rows = [(name, self.poll_s[name], self.get_s[name], self.short_s[name]) for name in self.poll_s]
        columns = ["server", "a long poll more (s)", "a plain poll more (s)", "all of them polling (s)"]
        return pd.DataFrame(rows, columns=columns).set_index("server")

    def _repr_html_(self) -> str:
        return str(self.table().round(3).to_html())


@dataclass(frozen=True)
class Tabs:
    """What a real browser did with many tabs: when each request was answered, and what a shared connection lost.

    ``answered_s``: by request, in the order of asking; each was held ``hold_s``. ``shared``: by tab, the ids it got
    from the one connection, over the closing of the tab that held it.
    """

    answered_s: tuple[float, ...] = ()
    hold_s: float = 0.0
    published: tuple[int, ...] = ()
    shared: dict[str, tuple[int, ...]] = field(default_factory=dict)
    browser: str = ""
    why: str = ""
    settings: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        if self.why:
            return self.why
        answered = ", ".join(f"{s:.1f}" for s in self.answered_s)
        return f"{self.browser}: {len(self.answered_s)} requests held {self.hold_s:g} s, answered after {answered} s"

    def _repr_html_(self) -> str:
        return f"<p>{self}</p>"
