"""Which records of a run are of one connection."""

from __future__ import annotations

from labkit.client.ledger import ConnectionRecord, Ledger
from labkit.measuring.explain.hops import hops

RELAY, LAB = ("127.0.0.1", 4000), ("127.0.0.1", 5000)


def relayed(ledger: Ledger, number: int, client: int, far: int) -> list[ConnectionRecord]:
    """A connection on its three hops, from these two ports."""
    ends = [("client", ("127.0.0.1", client), RELAY), ("wire.near", RELAY, ("127.0.0.1", client)),
            ("wire.far", ("127.0.0.1", far), LAB)]  # fmt: skip
    return [
        ledger.opened("", number, local=local, remote=remote, t_ns=1000 * number + at, hop=hop)
        for at, (hop, local, remote) in enumerate(ends)
    ]


def test_a_port_may_be_in_use_towards_two_servers_at_once() -> None:
    """The system gives the same port to a client of the relay's and to the relay itself, a client of the lab's."""
    ledger = Ledger()
    one, other = relayed(ledger, 1, client=6000, far=6002), relayed(ledger, 2, client=6002, far=6004)
    assert hops(one[0], ledger.connections) == one
    assert hops(other[0], ledger.connections) == other


def test_a_port_that_came_back_into_use_is_told_by_its_time() -> None:
    ledger = Ledger()
    one, other = relayed(ledger, 1, client=6000, far=6001), relayed(ledger, 2, client=6000, far=6003)
    assert [hops(each[0], ledger.connections) for each in (one, other)] == [one, other]
