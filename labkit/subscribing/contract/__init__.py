"""The contract that every technique keeps: promises, each tried on a lab of its own over real sockets.

Order, nothing lost and nothing twice, a gap told first, subscribers forgotten at once, bounded memory, a clean end.
What a promise has to know of a technique it asks its descriptor. ``labkit.contract(MINE)`` tries them all.

Not here: what a technique's bytes look like. A learner's own may write them as it likes.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from labkit import loop
from labkit.client.speaking import VERSIONS
from labkit.errors import LabkitError
from labkit.progress import Progress
from labkit.subscribing.contract import beginning, end, leaving, order, resuming, slow
from labkit.subscribing.contract.promise import Promise, Trial
from labkit.subscribing.contract.report import Outcome, Report
from labkit.subscribing.contract.waiting import Broken
from labkit.techniques import Technique, find

PROMISES: tuple[Promise, ...] = (
    *order.PROMISES,
    *resuming.PROMISES,
    *beginning.PROMISES,
    *leaving.PROMISES,
    *slow.PROMISES,
    *end.PROMISES,
)

__all__ = ["PROMISES", "Broken", "Outcome", "Promise", "Report", "contract"]


def contract(
    technique: Technique | str,
    *,
    only: str | Iterable[str] | None = None,
    http: int = 1,
    tls: bool = False,
    progress: bool = True,
) -> Report:
    """Try whether a technique keeps what every technique promises; takes a few seconds.

    Nothing of it stays: its labs, clients and sockets are closed. In a test: ``assert not contract(MINE).broken``.
    Every time-out is a multiple of ``LABKIT_TIME_SCALE`` seconds (1 by default): set 3 on a slow machine.

    Args:
        technique: yours, or the name of one that is registered.
        only: names of promises or of their groups; all by default.
        http: the version that it is tried over, 1 or 2; HTTP/2 in clear text, by prior knowledge.
        tls: try it on labs that speak TLS (``pip install "labkit[tls]"``).
        progress: show a line while it runs.

    Returns:
        A report: shown as a table, ``.table()`` gives it, ``.broken`` says how each broken promise was broken. The
        first interrupt returns what there is.

    Raises:
        TypeError: *technique* is no technique.
        UnknownTechnique: no registered one has that name.
        UnknownOption: it does not speak that version.
        ValueError: nobody does.
        LabkitError: no lab can be made with it, or *only* names no promise.
    """
    one = find(technique) if isinstance(technique, str) else technique
    if not isinstance(one, Technique):
        raise TypeError(f"labkit.contract takes a Technique, and {one!r:.80} is none")
    if loop.on_lab_loop():
        raise RuntimeError("labkit.contract was called on the lab loop itself: call it from a cell or a thread")
    chosen = choose(only)
    if http not in VERSIONS:
        raise ValueError(f"http={http!r}: expected 1 or 2")
    one.check_version(http, {})
    with Trial(one, http=http, tls=tls).lab():
        pass  # one that no lab can serve is refused here, in a sentence
    outcomes: list[Outcome] = []
    shown = Progress(enabled=progress)
    try:
        for number, promise in enumerate(chosen, 1):
            shown.show(f"{one.name}: {number} of {len(chosen)}, {promise.name}")
            outcomes.append(tried(promise, one, http, tls))
        report = Report(one.name, tuple(outcomes))
    except KeyboardInterrupt:
        report = Report(one.name, tuple(outcomes), interrupted=True)
    shown.done()
    return report


def choose(only: str | Iterable[str] | None) -> list[Promise]:
    """The promises of these names or groups."""
    names = [only] if isinstance(only, str) else list(only or ())
    known = {p.name for p in PROMISES} | {p.group for p in PROMISES}
    if unknown := [name for name in names if name not in known]:
        raise LabkitError(f"no promise is called {unknown[0]!r}; they are: {', '.join(p.name for p in PROMISES)}")
    return [p for p in PROMISES if only is None or p.name in names or p.group in names]


def tried(promise: Promise, technique: Technique, http: int = 1, tls: bool = False) -> Outcome:
    """Try one promise with every fan-out that it names; over HTTP/2 there is one."""
    if (reason := promise.why_not(technique)) is not None:
        return Outcome(promise, "does not apply", reason)
    began_s = time.monotonic()
    try:
        fanouts = promise.fanouts if http == 1 else promise.fanouts[:1]
        for fanout in fanouts:
            try:
                promise.keep(Trial(technique, fanout, http, tls=tls))
            except Broken as error:
                raise Broken(f"{error} (fanout={fanout!r})" if len(fanouts) > 1 else str(error)) from error
    except Broken as error:
        return Outcome(promise, "broken", str(error), time.monotonic() - began_s)
    return Outcome(promise, "held", took_s=time.monotonic() - began_s)
