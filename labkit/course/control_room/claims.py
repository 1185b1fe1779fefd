"""What 07_control_room claims: each sentence, its source, its experiment, its judge."""

from __future__ import annotations

from labkit.claims.claim import Claim

NOTEBOOK = "07_control_room"

CLAIMS = (
    Claim(
        "B1",
        source="browsers",
        sentence="a hidden tab is another client",
        notebook=NOTEBOOK,
    ),
)
