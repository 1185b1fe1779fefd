"""What a run gives back: every delivery, every connection's bytes, and the statistics of both.

A :class:`Run` is plain data: no thread, no socket. It can be saved, loaded, compared, exported and asked about
one event. Statistics are over *scheduled* events, those that the run itself published; others keep their rows.
"""

from __future__ import annotations

import html
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from labkit.measuring import run_file, summaries
from labkit.measuring.natures import Natures
from labkit.measuring.recording import Recording
from labkit.measuring.rounding import blank, counted, rounded
from labkit.theory import Silent

if TYPE_CHECKING:
    import pandas as pd

    from labkit.measuring.explain import Explanation

_SHOWN = ["events", "lost", "pending", "duplicated", "gaps", "p50_ms", "p95_ms", "max_ms", "mean_ms",
          "expected_mean_ms", "bytes_per_event", "requests", "connections"]  # fmt: skip
STALLED = 0.05
"""Share of a run for which its receiving loop may have stood still without a word."""
_SHORT = {"expected_mean_ms": "theory: mean_ms", "bytes_per_event": "bytes/event"}


class Run(Recording):
    """One measurement.

    The arguments are those of :class:`labkit.measuring.recording.Recording`.
    """

    def summary(self, by: Literal["technique", "subscriber"] = "technique") -> pd.DataFrame:
        """One row per technique, or per technique and subscriber, indexed by it.

        Returns:
            ``events`` (delivered, each once per subscriber), ``lost`` (published and never arrived, conflated ones
            apart), ``pending`` (of an interrupted run: published, and not yet asked for or on its way),
            ``duplicated``, ``out_of_order``, ``gaps`` (reported), ``conflated``; latencies from due, of
            first arrivals, in ms; ``expected_mean_ms`` of theory; bytes of both directions per event delivered
            and what they were for (``tcp_ip``, derived, comes on top); requests, connections, why it failed.
            Events that a page received stand apart, as ``sse (browser)``: their bytes, requests and connections are
            known where the page comes through a relay, where several that share technique and topic are one row by
            subscriber, as ``0, 1 (shared)``; ``tcp_ip`` only where nothing else went over the connections.
        """
        return summaries.summary(self, by)

    def intervals(self) -> pd.DataFrame:
        """What can be said of a server that is not ours: the time between deliveries, per technique.

        Returns:
            ``events``, ``p50_ms``, ``p95_ms``, ``max_ms`` and ``mean_ms`` from one arrival to the next at the same
            subscriber, ``bytes_per_event``, ``requests``, ``connections``.
        """
        return summaries.intervals(self)

    def explain(self, event_id: int, technique: str | None = None, **where: Any) -> Explanation:
        """The story of one event: which hops, which bytes. See :func:`labkit.measuring.explain.explain`."""
        from labkit.measuring.explain import explain  # here and below: loaded when somebody asks

        return explain(self, event_id, technique, **where)

    def to_pcapng(self, path: str | Path, *, with_secrets: bool = False) -> Path:
        """Write the client connections as a capture for Wireshark; its TCP headers are synthetic.

        Args:
            with_secrets: with what ``Authorization``, ``Cookie`` and the like said, for which placeholders stand.
        """
        from labkit.measuring.export import to_pcapng

        return to_pcapng(self, path, with_secrets=with_secrets)

    def to_har(self, path: str | Path, *, with_secrets: bool = False) -> Path:
        """Write the HTTP exchanges, WebSocket messages included, as HAR 1.2 for a browser's developer tools.

        Args:
            with_secrets: as with :meth:`to_pcapng`.
        """
        from labkit.measuring.export import to_har

        return to_har(self, path, with_secrets=with_secrets)

    def save(self, path: str | Path, *, with_secrets: bool = False) -> Path:
        """Write everything to one Parquet file: the deliveries as its table, the rest in its metadata.

        Args:
            with_secrets: as with :meth:`to_pcapng`.
        """
        return run_file.save(self, path, with_secrets=with_secrets)

    @property
    def notes(self) -> list[str]:
        """What to know beside the summary: the floor, where theory is silent, what failed, if it was interrupted."""
        floor, notes = self.floor, []
        if self.floor_ms:
            median, most, longest = (rounded(floor[name]) for name in ("p50", "p95", "max"))
            notes.append(
                f"Floor of the apparatus, a lower bound: over a bare socket pair {counted(floor['n'], 'event')} took "
                f"a median of {median} ms, 95 % under {most} ms, at most {longest} ms. "
                f"What a technique's own server and client take comes on top{self._beyond_theory()}."
            )
        if not self.foreign:
            notes += Natures(self.settings).silences()
        held_up_ms = (self.settings.get("held_up_ms") or {}).get("total", 0.0)
        if held_up_ms > STALLED * 1e3 * float(self.settings.get("duration_s") or math.inf):
            notes.append(f"This machine was busy: {self.stalls}.")
        notes += [f"{technique} failed: {reason}" for technique, reason in self.failures.items()]
        notes += self.settings.get("notes") or []
        if self.interrupted:
            notes.append("Interrupted: these are the events up to then.")
        return notes

    def _beyond_theory(self) -> str:
        """By how much the median of each stream is over theory, which knows of the network alone.

        Only where theory has one latency for all events: of several (jitter, a stream that is ended and asked for
        again) the median lies elsewhere than the mean, whatever server and client take.
        """
        natures, frame = Natures(self.settings), self.deliveries
        medians = frame[frame["scheduled"] & (frame["client"] != "browser")].groupby("technique")["latency_ms"].median()
        said = []
        for technique, median_ms in medians.dropna().items():
            expected = natures.expected(str(technique))
            if isinstance(expected, Silent) or expected.min_s != expected.max_s:
                continue
            if natures.kind(str(technique)) == "stream":
                said.append(f"{natures.short(str(technique))} {median_ms - 1e3 * expected.mean_s:.2g} ms")
        return f": here, in the median, {', '.join(said)} over theory" if said else ""

    def __repr__(self) -> str:
        techniques = ", ".join(self.settings.get("techniques") or ()) or "no technique"
        came = counted(len(self.deliveries), "delivery")
        return f"<Run of {techniques}: {came}{', interrupted' if self.interrupted else ''}>"

    def _repr_html_(self) -> str:
        if self.foreign:
            table = self.intervals().rename(columns=summaries.INTERVALS | _SHORT)
        else:
            hidden = [] if self.interrupted else ["pending"]
            table = self.summary()[_SHOWN].drop(columns=hidden).rename(columns=_SHORT)
        shown = blank(table.to_html(na_rep="", float_format=rounded, border=0, index_names=False))
        if self.foreign and table.empty:
            shown = ""  # silence is no measurement; the notes say why
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self.notes)
        return f'<div class="labkit-run" style="overflow-x: auto">{shown}{notes}</div>'


def load(path: str | Path) -> Run:
    """Read a run that ``Run.save`` wrote.

    Raises:
        LabkitError: the file cannot be read, is something else, or was saved by a newer format.
    """
    with run_file.refusing(path):
        return Run(**run_file.read(path))
