"""The story of one event: the hops that it took, and what each of its bytes was for on both sides of each.

===========  ============================================================
story        the values: a story has steps, a step has parts
trace        how an event's story is found in the ledger
dump         a story as text and as HTML
explanation  which event is meant, and what ``run.explain`` returns
===========  ============================================================

Not here: the drawing, which is ``charts.sequence``.
"""

from __future__ import annotations

from labkit.measuring.explain.explanation import Explanation, explain
from labkit.measuring.explain.story import Part, Step, Story

__all__ = ["Explanation", "Part", "Step", "Story", "explain"]
