"""What 07_control_room claims: each sentence, its source, its experiment, its judge."""

from __future__ import annotations

from labkit.claims.claim import Claim, of_notebook

CLAIMS = of_notebook(
    "07_control_room",
    Claim(
        "B1",
        source="browsers",
        sentence="a hidden tab is another client",
    ),
)
