"""Of 08_side_by_side: what it runs, what it claims, what it draws, what it asks."""

from __future__ import annotations

from labkit.course.side_by_side.comparison import compare
from labkit.course.side_by_side.messages import upstream
from labkit.course.side_by_side.newest_value import ages
from labkit.course.side_by_side.products import eight_products
from labkit.course.side_by_side.servers import server_costs
from labkit.course.side_by_side.traces import CUT_S, HEALED_S, cut_link, one_trace, without_page

__all__ = [
    "CUT_S",
    "HEALED_S",
    "ages",
    "compare",
    "cut_link",
    "eight_products",
    "one_trace",
    "server_costs",
    "upstream",
    "without_page",
]
