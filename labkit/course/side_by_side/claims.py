"""What 08_side_by_side claims: each sentence, its source, its experiment, its judge."""

from __future__ import annotations

from labkit.claims.claim import Claim, of_notebook
from labkit.claims.faults import LOST
from labkit.course.alone import in_a_lab
from labkit.course.side_by_side import judges
from labkit.course.side_by_side.comparison import compare
from labkit.course.side_by_side.messages import upstream
from labkit.course.side_by_side.newest_value import ages

CLAIMS = of_notebook(
    "08_side_by_side",
    Claim(
        "A1",
        source="practice",
        sentence="no technique is best in every column",
        unit="",
        judge=judges.no_technique_wins_everywhere,
        experiment=in_a_lab(compare),
    ),
    Claim(
        "A9",
        source="practice",
        sentence="where only the newest value matters, above the link's rate conflation gives a lower mean age"
        " at fewer bytes than delivering every event",
        measures="mean age of the newest value with conflation, at the highest rate",
        provokes=frozenset({LOST}),  # a link that is too slow
        judge=judges.conflation_pays,
        experiment=ages,
    ),
    Claim(
        "A10",
        source="practice",
        sentence="upstream a WebSocket needs fewer bytes a message than POST; POSTs on several connections can"
        " swap order, a WebSocket cannot",
        unit="bytes",
        measures="bytes of a message over the WebSocket, its answer included",
        judge=judges.upstream_costs,
        experiment=in_a_lab(upstream),
    ),
)
