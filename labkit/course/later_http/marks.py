"""How the two versions are drawn in every chart of this folder."""

from __future__ import annotations

from labkit.theory import Mark

OLD, NEW = "HTTP/1.1", "HTTP/2"
MARKS = {OLD: Mark("#B84300", "square", "dash"), NEW: Mark("#00487F", "circle", "solid")}
