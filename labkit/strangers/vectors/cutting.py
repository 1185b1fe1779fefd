"""Where the bytes of an answer are cut into writes. Pure.

``whole`` as the case has them; ``every``: each byte a write, of the first :data:`EACH_BYTES`, ``all``: of the head too;
a number: one cut, so many bytes behind the head.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from labkit.errors import LabkitError
from labkit.strangers.vectors.case import Pause, Write

EACH_BYTES = 512
"""Beyond so many bytes of one write the rest follows at once: it would take minutes."""


def check(how: str) -> str:
    """The same, if it is a way to cut.

    Raises:
        LabkitError: it is none; the message lists them.
    """
    if how in ("whole", "every", "all") or (how.isascii() and how.isdigit() and len(how) <= 9):
        return how
    raise LabkitError(f"cut={how[:40]!r} is none of whole, every, all and a number of bytes")


def cut(steps: Sequence[Write | Pause], how: str, pause_s: float) -> Iterator[Write | Pause]:
    """The steps with their writes cut, and a pause at each cut."""
    before = 0
    for step in steps:
        if isinstance(step, Pause):
            yield step
            continue
        pieces = [step.data]
        if how == "all" or (how == "every" and not step.is_head):
            alone = step.data[:EACH_BYTES]
            pieces = [alone[at : at + 1] for at in range(len(alone))] + [step.data[EACH_BYTES:]]
        elif how.isdigit() and not step.is_head:
            at = min(max(int(how) - before, 0), len(step.data))
            before += len(step.data)
            pieces = [step.data[:at], step.data[at:]]
        pieces = [piece for piece in pieces if piece]
        for number, piece in enumerate(pieces):
            if number:
                yield Pause(pause_s)
            yield Write(piece, step.is_head)
