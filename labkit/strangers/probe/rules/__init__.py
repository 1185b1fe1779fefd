"""The rules, one file for each family; each is a pure function of what was seen, and names its row."""

from __future__ import annotations

from labkit.strangers.probe.finding import Finding, Note, Rule
from labkit.strangers.probe.observation import Seen
from labkit.strangers.probe.rules import (
    at_once,
    beats,
    cached,
    compared,
    compressed,
    conformance,
    copied,
    crowded,
    ends,
    inspected,
    late,
    notes,
    published,
    refused,
    resumed,
    short,
)

RULES: tuple[Rule, ...] = (
    refused.not_reached,
    refused.no_answer,
    refused.redirected,
    refused.protocol_broken,
    refused.upgrade,
    refused.log_in,
    refused.status,
    published.held_on_the_way,
    inspected.clear_text_is_held,
    compared.other_type,
    compared.other_hop_holds,
    compressed.held_by_coding,
    compressed.one_late_by_coding,
    compared.held_by_accept,
    late.terminator_late,
    copied.pieces_of_a_buffer,
    cached.recorded,
    beats.heartbeats_kept,
    short.crash_looks_whole,
    ends.too_large,
    ends.cut,
    at_once.no_head,
    at_once.all_at_once,
    compressed.coded_and_silent,
    resumed.resumed,
    resumed.without_ids,
    crowded.full,
    late.waits_for_acknowledgement,
    conformance.broken_rules,
    conformance.wrong_type,
)
"""In the order in which they are asked."""
EXPLAINS: dict[int, tuple[int, ...]] = {
    1: (3, 4, 5, 7, 11, 24, 28),
    2: (1, 3, 4, 5, 7, 11, 24, 28),
    3: (4, 24, 28, 1),
    4: (28,),
    5: (1, 7, 24),
    6: (1, 2, 3, 5, 7, 11, 24, 28),
    7: (15,),
    20: (15,),
    23: (1, 4, 5, 11, 28),
    26: (24, 1),
    28: (1, 24),
}
"""What a row that was found already accounts for: it is not said a second time."""


def findings(seen: Seen) -> list[Finding]:
    """What went wrong, the surest first."""
    found: list[Finding] = []
    for rule in RULES:
        finding = rule(seen)
        if finding is not None and all(finding.row not in EXPLAINS.get(other.row, ()) for other in found):
            if all(finding.row != other.row or not finding.row for other in found):
                found.append(finding)
    order = ("seen", "consistent with", "not from here")
    return sorted(found, key=lambda finding: order.index(finding.grade))


def all_notes(seen: Seen) -> list[Note]:
    """What is worth knowing."""
    return [note for each in notes.NOTES if (note := each(seen)) is not None]
