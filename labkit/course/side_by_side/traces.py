"""One trace through every technique, and one over a link that is cut."""

from __future__ import annotations

from labkit.errors import LabkitError
from labkit.lab.lab import Lab
from labkit.measuring import schedules
from labkit.measuring.measurement import measure
from labkit.measuring.run import Run
from labkit.network.link import Link

ONE_WAY_S = 0.05
CUT_S, HEALED_S = 1.0, 1.5


def one_trace(lab: Lab, *, rate_per_s: float = 8.0, duration_s: float = 6.0, seed: int = 8) -> Run:
    """One Poisson trace through every technique at once, and through the page if one is attached."""
    return measure(lab, schedule=schedules.poisson(rate_per_s, duration_s, seed=seed), one_way_s=ONE_WAY_S)


def without_page(run: Run) -> Run:
    """The same run as the kit's own clients had it: what a page received, and what it was told, left out."""
    deliveries = run.deliveries[run.deliveries["client"] != "browser"]
    missing = [gap for gap in run.missing if gap.get("client") != "browser"]
    return Run(
        deliveries,
        run.published,
        run.ledger,
        run.settings,
        run.floor_ms,
        run.failures,
        run.interrupted,
        missing,
        run.versions,
    )


def cut_link(lab: Lab, *, cut_at_s: float = CUT_S, healed_s: float = HEALED_S, duration_s: float = 5.0) -> Run:
    """Ten events a second through every technique, over a link that is cut and healed.

    Raises:
        LabkitError: it is not cut, healed and over in this order.
    """
    if not 0 < cut_at_s < healed_s < duration_s:
        raise LabkitError(
            f"cut_at_s={cut_at_s:g}, healed_s={healed_s:g}, duration_s={duration_s:g}: expected 0 < cut < healed < end"
        )
    link = Link(one_way_s=ONE_WAY_S)
    schedule = schedules.periodic(rate_per_s=10, duration_s=duration_s)
    return measure(lab, schedule=schedule, through=link, at={cut_at_s: link.cut, healed_s: link.heal})
