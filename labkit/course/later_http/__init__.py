"""Of 14_later_http: what it runs, what it claims, what it draws, what it asks."""

from __future__ import annotations

from labkit.course.later_http.both_versions import same_stream
from labkit.course.later_http.ends import endings
from labkit.course.later_http.fronts import at_the_edge
from labkit.course.later_http.loss import one_lost_packet
from labkit.course.later_http.page_streams import many_streams
from labkit.course.later_http.price import header_price
from labkit.course.later_http.reloading import drained
from labkit.course.later_http.settings_said import first_words
from labkit.course.later_http.standing_still import one_stalls
from labkit.course.later_http.tabs_sharing import shared_tabs
from labkit.course.later_http.windows import starved
from labkit.errors import MissingPackage
from labkit.lab.lab import Lab

__all__ = ["at_the_edge", "drained", "endings", "first_words", "header_price", "lab", "many_streams", "one_lost_packet",
           "one_stalls", "same_stream", "shared_tabs", "starved"]  # fmt: skip


def lab() -> Lab:
    """A lab that speaks HTTP/1 and HTTP/2 on one port; HTTP/1 alone where what HTTP/2 takes is not installed."""
    try:
        return Lab(http=(1, 2))
    except MissingPackage as why:
        print(why)
        return Lab()
