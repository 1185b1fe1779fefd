"""What the arithmetic does not know, each under the answers that it could change."""

from __future__ import annotations

from labkit.choosing.needs import Needs
from labkit.choosing.options import Option

RARE_PER_S = 1 / 600
"""Events so rare that a page may be closed when one comes."""
LOSS_S = 1.0
"""A retransmission takes a round trip to 1 s: where less is tolerated, loss decides as much as the technique."""


def unknown(needs: Needs, best: Option) -> list[str]:
    """The sentences that apply to this answer."""
    holds = best.feasible and best.kind != "poll" and not needs.finite
    found = [
        (needs.mobile, "phones asleep: no connection of theirs is held, and only the system's push reaches them "
                       "(Web Push, APNs, FCM)"),
        (needs.mobile, "the radio: each heartbeat or poll wakes it for some seconds, which is what the battery pays"),
        (not needs.mobile and needs.rate_per_s <= RARE_PER_S and not needs.finite,
         "a page that is closed when the event comes: mail or Web Push reach its reader"),
        (holds, "serverless platforms: a connection held is billed by its time there, or ended"),
        (best.feasible and best.servers > 1, "a backplane: what it costs to bring each event to all of the servers"),
        (best.feasible and needs.staleness_s <= LOSS_S,
         "loss: a lost segment comes later by a round trip or more, by 200 ms or more where none follows it (Linux), "
         "and all behind it waits"),
    ]  # fmt: skip
    return [said for applies, said in found if applies]
