"""Many at once: row 25. Asked with ``--parallel N`` alone."""

from __future__ import annotations

from labkit.strangers.probe.finding import Finding, tap_between
from labkit.strangers.probe.observation import Seen

LATE_S = 1.0


def full(seen: Seen) -> Finding | None:
    """Some of those that were held at the same time got no head, or not before others had gone."""
    crowd = [one for one in seen if one.name.startswith("parallel") and one.end != "stopped"]
    if not crowd or not seen.first.status:
        return None
    usual_s = max(seen.first.head_s or 0.0, 0.05)
    served = [one for one in crowd if one.head_s is not None and one.head_s <= max(LATE_S, 5 * usual_s)]
    if len(served) == len(crowd):
        refused = [one for one in crowd if one.status != seen.first.status]
        if not refused:
            return None
        return Finding(25, "seen", f"of {len(crowd)} at once {len(refused)} were answered {refused[0].status}",
                       (f"{refused[0].status}: {refused[0].words}",),
                       remedy=("raise the limit of connections, at the server or at the hop",))  # fmt: skip
    return Finding(
        25, "seen", f"of {len(crowd)} at once {len(served)} got a head, the others none within "
        f"{max(one.end_s for one in crowd):.1f} s", (f"alone: a head after {1000 * usual_s:.0f} ms or less",),
        remedy=(f"a worker that does not hold a thread or a process for each request (gunicorn: -k gevent, or "
                f"--threads above {len(served)}; or an asynchronous server)",),
        elsewhere=tap_between(seen, "whether clients that have left still hold their places (row 18)"),
    )  # fmt: skip
