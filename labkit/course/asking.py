"""What a technique's descriptor expects, for a chart, an exercise or a check that needs a figure and no excuse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labkit.claims.finding import NoVerdict
from labkit.techniques import Technique
from labkit.theory import Expectation, Path, Silent


def expected(technique: Technique, options: Mapping[str, Any], path: Path) -> Expectation:
    """The latency that theory expects of it.

    Raises:
        NoVerdict: there is no theory for it; the message says why.
    """
    found = technique.expect(options, path)
    if isinstance(found, Silent):
        raise NoVerdict("not run", found.why)
    return found


def at_rate(technique: Technique, rate_per_s: float, one_way_s: float, **options: Any) -> Expectation:
    """The same for Poisson events over a link of one transit, with these options."""
    return expected(technique, options, Path(one_way_s=one_way_s, rate_per_s=rate_per_s, poisson=True))
