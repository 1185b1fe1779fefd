"""For each claim that a simulation can make: worlds that are wrong by the least that its check must tell apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from power import long_polling, others, polling, runs, streams
from power.worlds import Rng


@dataclass(frozen=True)
class Planted:
    """One way in which a claim's world may be wrong: the smallest effect that its check states.

    Attributes:
        world: made with a generator, and whether it is planted.
        true: whether its true worlds are others than those of the row before.
    """

    id: str
    effect: str
    world: Callable[[Rng, bool], Any]
    true: bool = False


PLANTED = (
    Planted("P1", "sweep: a mean a transit off (T after each answer)", polling.swept, True),
    Planted("P1", "one poller: a mean a quarter of the period off", runs.one_poller, True),
    Planted("P2", "b: 5 bytes", lambda rng, wrong: polling.priced(rng, b=38.0 + 5.0 * wrong), True),
    Planted("P2", "h: 4 %", lambda rng, wrong: polling.priced(rng, h=300.0 * (1 + 0.04 * wrong))),
    Planted("P2", "a third fewer polls", lambda rng, wrong: polling.priced(rng, slower=1 + 0.33 * wrong)),
    Planted("P2", "a fifth of the polls every 0.2 s", lambda rng, wrong: polling.priced(rng, rare=1 - 0.57 * wrong)),
    Planted(
        "N1",
        "half a transit and a tenth of the wait",
        lambda rng, wrong: polling.waited(rng, late=float(wrong)),
        True,
    ),
    Planted("N1", "other requests for half of the jobs", lambda rng, wrong: polling.waited(rng, others=0.5 * wrong)),
    Planted(
        "L1",
        "rates: a stream's mean, 10 ms away at 2/s",
        lambda rng, wrong: long_polling.rated(rng, stream=wrong),
        True,
    ),
    Planted("L1", "rates: a gap twice as long", lambda rng, wrong: long_polling.rated(rng, twice=wrong)),
    Planted("L1", "holds: a stream's mean", long_polling.held, True),
    Planted("L1", "one client: a stream's mean", runs.one_long_poller, True),
    Planted("L1b", "rare: no nearer", lambda rng, wrong: long_polling.equal(rng, low_wrong=wrong), True),
    Planted("L1b", "often: half a transit", lambda rng, wrong: long_polling.equal(rng, high_wrong=wrong)),
    Planted("L2", "one event an answer", lambda rng, wrong: long_polling.rated(rng, one_each=wrong), True),
    Planted("L2", "a gap twice as long", lambda rng, wrong: long_polling.rated(rng, twice=wrong)),
    Planted("L3", "one event an answer", lambda rng, wrong: long_polling.rated(rng, one_each=wrong), True),
    Planted("L5", "a gap twice as long", long_polling.connected, True),
    Planted("L8", "a gap half as long", lambda rng, wrong: long_polling.unaware(rng, 0.5 if wrong else 1.0), True),
    Planted("L8", "a gap twice as long", lambda rng, wrong: long_polling.unaware(rng, 2.0 if wrong else 1.0)),
    Planted("L10", "the second of each pair waits", long_polling.pipelined, True),
    Planted("S3", "one stream: half a transit", runs.one_stream, True),
    Planted("S3", "one stream: a third late", runs.late_ones),
    Planted("S3", "after an end: a transit more", lambda rng, wrong: streams.recycled(rng, int(wrong)), True),
    Planted("S3", "after an end: a transit less", lambda rng, wrong: streams.recycled(rng, -int(wrong))),
    Planted("S7", "half a transit", streams.later_version, True),
    Planted("T2", "a wait that is there without Nagle", streams.two_writes, True),
    Planted("E2", "a quarter of the reconnection time", streams.resumed, True),
    Planted("W2", "one way: half a transit", lambda rng, wrong: streams.crossing(rng, late=wrong / 2), True),
    Planted("W2", "one way: late after what crossed it", lambda rng, wrong: streams.crossing(rng, some=float(wrong))),
    Planted("W9", "negotiated, and not applied", streams.deflated, True),
    Planted("X3", "a stream's mean", others.mannered, True),
    Planted("A8", "half of what is left of the cell", others.housed, True),
    Planted("A9", "no younger", others.aged, True),
    Planted("A10", "a tenth more bytes", others.sent_up, True),
)

MEMORY = "a process's memory, descriptors and CPU, read from the system"
BYTES = "the bytes of real servers and clients, which are exact: it has no statistics"
OTHERS = "other people's programs"
PAGE = "a real browser"
UNSIMULATED = {
    "P3": MEMORY, "P4": BYTES, "P5": BYTES, "L4": BYTES, "L5b": BYTES, "L6": "sockets that an intermediary ends",
    "L7": MEMORY, "L11": PAGE, "L12": "threads that the system runs", "S1": BYTES, "S1b": BYTES, "S1c": BYTES,
    "S2": OTHERS, "S5": BYTES, "S6": OTHERS, "S7b": "nothing runs it",
    "S8": "two parsers over the bytes of a real stream", "E1": OTHERS, "E3": OTHERS, "E5": BYTES, "E6": PAGE,
    "W1": BYTES, "W3": BYTES, "W4": OTHERS, "W5": OTHERS, "W6": OTHERS, "W7": "peers that fall silent",
    "W10": "two programs' own time", "W11": BYTES, "X1": BYTES, "X2": PAGE, "A1": MEMORY, "A7": PAGE, "B1": PAGE,
    "S9": PAGE, "L11b": PAGE, "H1": OTHERS, "H2": BYTES, "H3": "windows, which are full or not",
    "H4": "a connection that stands still or does not", "H5": OTHERS, "H6": OTHERS, "H7": OTHERS,
}  # fmt: skip
"""Why no simulation makes the worlds of a claim: it is run."""
