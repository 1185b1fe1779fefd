"""What 12_where_the_server_lives claims: each sentence, its source, its experiment, its judge."""

from __future__ import annotations

from labkit.claims.claim import Claim
from labkit.course.where_the_server_lives import judges

NOTEBOOK = "12_where_the_server_lives"

CLAIMS = (
    Claim(
        "A7",
        source="Jupyter",
        sentence="the notebook itself is an intermediary",
        unit="events",
        notebook=NOTEBOOK,
    ),
    Claim(
        "A8",
        source="practice",
        sentence="where the server lives decides what a busy cell does to it",
        notebook=NOTEBOOK,
        judge=judges.where_the_server_lives,
    ),
)
