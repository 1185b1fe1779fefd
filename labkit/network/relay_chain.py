"""Relays one behind the other: the path from the client through each of them to a target.

Pointing and starting what stands alone, and undoing both, is all that is done here; the bytes are the relays' affair.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from labkit.network.relay import Relay
from labkit.network.relay_target import Target, check_address

Hop = Relay | tuple[str, int]


@contextlib.contextmanager
def chain(through: Hop | Sequence[Hop] | None, target: Target) -> Iterator[Target]:
    """Make the path client -> first -> ... -> last -> *target* for as long as the ``with`` block runs.

    Each unbound relay is pointed at the next one and each that does not run is started; both are undone at the
    end. A relay that already has a target, or a bare address, leads where it leads: it must be the last.

    Args:
        through: a relay, an address or a sequence of them, nearest the client first; None for none.

    Yields:
        What the client connects to: something with ``.ports``, or ``(host, port)``.

    Raises:
        AddressError: a URL in place of ``(host, port)``.
        ValueError: a bound relay or an address is not the last, or a relay is named twice.
    """
    path = _path(through)
    with contextlib.ExitStack() as undo:
        ahead = target
        for hop in reversed(path):
            if isinstance(hop, Relay):
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
    if isinstance(through, Relay):
        return [through]
    if isinstance(through, str) or (isinstance(through, tuple) and len(through) == 2 and isinstance(through[0], str)):
        return [check_address(through)]
    path = [hop if isinstance(hop, Relay) else check_address(hop) for hop in through]
    if len({id(hop) for hop in path}) < len(path):
        raise ValueError("through names the same relay twice")
    for hop in path[:-1]:
        if not isinstance(hop, Relay):
            raise ValueError(f"through: the address {hop} leads where it leads, so it must be the last")
        if hop.target is not None:
            raise ValueError(f"through: {hop.name} already has a target, so it must be the last")
    return path
