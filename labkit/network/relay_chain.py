"""Relays and programs one behind the other: the path from the client through each of them to a target.

Pointing and starting what stands alone, and undoing both, is all that is done here; the bytes are their affair.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from labkit.network.between import Between, led_through
from labkit.network.relay_target import Target, check_address

Hop = Between | tuple[str, int]


@contextlib.contextmanager
def chain(through: Hop | Sequence[Hop] | None, target: Target) -> Iterator[Target]:
    """Make the path client -> first -> ... -> last -> *target* for as long as the ``with`` block runs.

    Each unbound one is pointed at the next and each that does not run is started; both are undone at the end. One
    that already has a target, or a bare address, leads where it leads: it must be the last. Where one of them is
    missing on this machine, nothing is started.

    Args:
        through: a relay, a real intermediary, an address or a sequence of them, nearest the client first; None for
            none.

    Yields:
        What the client connects to: something with ``.ports``, or ``(host, port)``. What is missing has none.

    Raises:
        AddressError: a URL in place of ``(host, port)``.
        ValueError: a bound one or an address is not the last, or one is named twice.
    """
    path = _path(through)
    behind, _ = led_through(path[-1] if path else None)
    for hop in (*path, *behind):
        if isinstance(hop, Between) and hop.missing and not hop.running:
            yield hop
            return
    with contextlib.ExitStack() as undo:
        ahead = target
        for hop in reversed(path):
            if isinstance(hop, Between):
                if hop.target is None:
                    undo.callback(hop.bind, None)
                    hop.bind(ahead)
                if not hop.running:
                    undo.enter_context(hop)
            ahead = hop
        yield ahead


def _path(through: Hop | Sequence[Hop] | None) -> list[Hop]:
    if through is None:
        return []
    if isinstance(through, Between):
        return [through]
    if isinstance(through, str) or (isinstance(through, tuple) and len(through) == 2 and isinstance(through[0], str)):
        return [check_address(through)]
    path = [hop if isinstance(hop, Between) else check_address(hop) for hop in through]
    if len({id(hop) for hop in path}) < len(path):
        raise ValueError("through names the same one twice")
    for hop in path[:-1]:
        if not isinstance(hop, Between):
            raise ValueError(f"through: the address {hop} leads where it leads, so it must be the last")
        if hop.target is not None:
            raise ValueError(f"through: {hop.name} already has a target, so it must be the last")
    return path
