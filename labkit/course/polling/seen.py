"""What the experiments of 01_polling give to their checks: plain values, each with a table."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labkit import theory

if TYPE_CHECKING:
    import pandas as pd

    from labkit.measuring.run import Run


class Shown:
    """Shows as its table in a notebook."""

    def table(self) -> pd.DataFrame:
        raise NotImplementedError

    def __repr__(self) -> str:
        return str(self.table().to_string(float_format=lambda value: f"{value:.4g}"))

    def _repr_html_(self) -> str:
        return str(self.table().to_html(float_format=lambda value: f"{value:.4g}"))


@dataclass(frozen=True)
class Poller:
    """One kind of poller in a run: its name there, its interval, whether it counts that from the answer."""

    name: str
    interval_s: float
    waiting: bool = False

    def theory(self, one_way_s: float) -> theory.Expectation:
        return theory.polling_latency(self.interval_s, one_way_s, waiting=self.waiting)


@dataclass(frozen=True, repr=False)
class Sweep(Shown):
    """Pollers with several intervals in one run, several of each, at phases iT/K."""

    run: Run
    pollers: tuple[Poller, ...]

    @property
    def settings(self) -> dict[str, Any]:
        return dict(self.run.settings)

    def latencies_ms(self, poller: Poller) -> pd.Series[float]:
        frame = self.run.deliveries
        return frame.loc[(frame["technique"] == poller.name) & frame["scheduled"], "latency_ms"].dropna()

    def table(self) -> pd.DataFrame:
        """One row for each poller: latencies in ms, and what theory expects."""
        import pandas as pd

        rows = []
        for poller in self.pollers:
            found, theory = self.latencies_ms(poller), poller.theory(float(self.run.settings["one_way_s"]))
            rows.append(
                {
                    "poller": poller.name,
                    "n": len(found),
                    "min_ms": found.min(),
                    "mean_ms": found.mean(),
                    "theory: mean_ms": theory.mean_s * 1e3,
                    "max_ms": found.max(),
                    "theory: max_ms": theory.max_s * 1e3,
                }
            )
        return pd.DataFrame(rows).set_index("poller")


@dataclass(frozen=True, repr=False)
class Costs(Shown):
    """What polls cost: for each interval, pollers of topics of their own, whose events are independent.

    ``frame`` has a row for each interval and topic: ``interval_s``, ``topic``, ``polls`` (after the first one),
    ``span_s`` from the first of them to the last, ``empty`` (of them), ``events`` they carried, ``bytes`` both ways,
    ``latency_ms`` (the events' mean). ``empty_bytes`` is one request and its empty answer, ``event_bytes`` what one
    event adds, both counted from single exchanges.
    """

    frame: pd.DataFrame
    rate_per_s: float
    one_way_s: float
    empty_bytes: float
    event_bytes: float
    lost: int
    settings: dict[str, Any] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        """One row for each interval, all topics together."""
        import pandas as pd

        rows = []
        for interval_s, part in self.frame.groupby("interval_s"):
            polls, events = part["polls"].sum(), part["events"].sum()
            rows.append(
                {
                    "interval_s": interval_s,
                    "requests/hour": 3600 * polls / part["span_s"].sum(),
                    "bytes/hour": 3600 * part["bytes"].sum() / part["span_s"].sum(),
                    "mean_ms": (part["latency_ms"] * part["events"]).sum() / events,
                    "bytes/event": part["bytes"].sum() / events,
                    "empty": part["empty"].sum() / polls,
                    "theory: empty": theory.empty_answer_fraction(self.rate_per_s, float(str(interval_s))),
                }
            )
        return pd.DataFrame(rows).set_index("interval_s")


@dataclass(frozen=True, repr=False)
class Waited(Shown):
    """Waiting for jobs. ``frame``: ``job``, ``durations``, ``how`` (which client), ``duration_s``, ``waited_s`` from
    the job's completion to the client's knowing, ``requests`` (without the submission), ``expected_s`` and
    ``expected_requests`` by the client's rule from the duration alone, ``margin_s`` by how
    much the job's end missed the nearest question."""

    frame: pd.DataFrame
    one_way_s: float
    lost: int
    held_up_s: float = 0.0
    settings: dict[str, Any] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        """Means by distribution of durations and client."""
        columns = ["waited_s", "expected_s", "requests", "expected_requests"]
        return self.frame.groupby(["durations", "how"], sort=False)[columns].mean()


@dataclass(frozen=True, repr=False)
class Herd(Shown):
    """Polls of clients that started together, and of as many at random phases: ``who``, ``asked_s``, ``waited_ms``."""

    frame: pd.DataFrame
    clients: int
    interval_s: float
    settings: dict[str, Any] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        """How long the polls waited for their answers, in ms, and the most that came within 10 ms."""
        import pandas as pd

        rows = {}
        for who, part in self.frame.groupby("who", sort=False):
            waited = part["waited_ms"]
            busiest = (part["asked_s"] * 100).astype(int).value_counts().max()
            rows[who] = {"polls": len(part), "p50_ms": waited.quantile(0.5), "p95_ms": waited.quantile(0.95),
                         "most within 10 ms": busiest}  # fmt: skip
        return pd.DataFrame(rows).T


@dataclass(frozen=True, repr=False)
class Aliased(Shown):
    """The same pollers with a source that keeps step with them, and with one that is dithered."""

    periodic: Run
    dithered: Run
    interval_s: float

    @property
    def settings(self) -> dict[str, Any]:
        return dict(self.periodic.settings)

    def table(self) -> pd.DataFrame:
        """Mean latency of each poller, in ms."""
        import pandas as pd

        return pd.DataFrame(
            {
                name: run.summary(by="subscriber")["mean_ms"].droplevel("technique")
                for name, run in (("in step", self.periodic), ("dithered", self.dithered))
            }
        )
