"""The story of one event: what each of its bytes was for, and when each side of each hop had them.

===========  ============================================================
story        the values: a story has passages, a passage parts and steps
extents      which bytes of a connection are told of an event
hops         a connection's records on both sides of every relay
trace        how an event's story is found in the ledger
dump         a story as text and as HTML
explanation  which event is meant, and what ``run.explain`` returns
===========  ============================================================

Not here: the drawing, which is ``charts.sequence``.
"""

from __future__ import annotations

from labkit.measuring.explain.explanation import Explanation, arrivals_of, explain
from labkit.measuring.explain.hops import hops
from labkit.measuring.explain.story import Part, Passage, Step, Story

__all__ = ["Explanation", "Part", "Passage", "Step", "Story", "arrivals_of", "explain", "hops"]
