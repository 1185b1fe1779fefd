"""The late ones of W2: a median sees nothing of the message in five that had to wait."""

from __future__ import annotations

import math
from collections.abc import Sequence

from labkit.claims.judging import Part
from labkit.claims.seen import rare
from labkit.claims.values import shown

Sent = Sequence[tuple[float, float]]
"""Of each message: when it was sent, and how long it took, in seconds."""

SHADOW_S = 0.04
"""How long after a message a sender may wait for its acknowledgement: what Linux delays one for at least."""


def late_part(name: str, sent: Sent, other: Sent, limit_s: float) -> Part:
    """Whether next to none of *sent* took longer than *limit_s*.

    Nagle's algorithm holds back what is sent while something is not acknowledged: on a WebSocket, what follows the
    answer to a message of the *other* side's. A busy machine makes late whatever comes; so more late ones than chance
    gives refute where they are late in that shadow, and decide nothing where they are late anywhere.
    """
    arrivals = [at + took for at, took in other]
    shadowed = [any(0 <= at - came < SHADOW_S for came in arrivals) for at, _ in sent]
    late = [is_in for is_in, (_, took) in zip(shadowed, sent, strict=True) if took > limit_s]
    text = f"{len(late)} of {len(sent)} {name} later than {shown(limit_s, 's')}"
    verdict = rare(len(late), len(sent))
    if late:
        text += f", {sum(late)} of them within {shown(SHADOW_S, 's')} after one that came the other way"
    if verdict == "refuted" and _at_least(sum(late), len(late), sum(shadowed) / len(sent)) >= 0.005:
        return Part("undecided", text + ", which is no more than chance")
    return Part(verdict, text)


def _at_least(found: int, n: int, share: float) -> float:
    """The chance that *found* or more of *n* are among a *share* of all."""
    return math.fsum(math.comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(found, n + 1))
