"""What 12_where_the_server_lives claims: each sentence, its source, its experiment, its judge."""

from __future__ import annotations

from labkit.claims.claim import Claim, of_notebook
from labkit.course.where_the_server_lives import judges

CLAIMS = of_notebook(
    "12_where_the_server_lives",
    Claim(
        "A7",
        source="Jupyter",
        sentence="the notebook itself is an intermediary",
        unit="events",
        measures="events that came as they were written, by the Accept header",
    ),
    Claim(
        "A8",
        source="practice",
        sentence="where the server lives decides what a busy cell does to it",
        measures="median latency of what was due during the cell, on the kernel's own loop",
        judge=judges.where_the_server_lives,
    ),
)
