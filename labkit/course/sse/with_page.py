"""What the kit's own client did, and beside it the EventSource of the page, if there was a page."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from labkit.course.shown import Shown
from labkit.webpage.settings import NO_PAGE

OURS = "labkit"
BROWSER = "EventSource of this page"


@dataclass(frozen=True, repr=False, kw_only=True)
class WithPage(Shown):
    """Of both clients. ``why``: why the page is not among them; ``browser``: what the page said it is."""

    left = True
    index = "column"

    why: str = NO_PAGE
    browser: str = ""
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def note(self) -> str:
        return f"{BROWSER}: not run ({self.why})" if self.why else ""
