"""Techniques of the past and relatives of long polling, as emulations of the wire: to be looked at, not to be used.

Each is a technique like the others, server and client on one page, and is served by a lab that is told to::

    lab = labkit.Lab("exhibits", techniques=(*labkit.TECHNIQUES, *labkit.techniques.exhibits.EXHIBITS))

They carry the events of the lab, so they are measured and drawn like everything else.
"""

from __future__ import annotations

from labkit.techniques import Technique
from labkit.techniques.exhibits.bayeux import BAYEUX
from labkit.techniques.exhibits.bosh import BOSH
from labkit.techniques.exhibits.forever_frame import FOREVER_FRAME
from labkit.techniques.exhibits.jsonp_polling import JSONP_POLLING

__all__ = ["BAYEUX", "BOSH", "EXHIBITS", "FOREVER_FRAME", "JSONP_POLLING"]

EXHIBITS: tuple[Technique, ...] = (FOREVER_FRAME, JSONP_POLLING, BAYEUX, BOSH)
