"""What each check can tell apart: planted worlds and true ones, simulated, and what the checks said of them.

``make power`` prints the table. A claim passes if at least 95 % of its planted worlds, each wrong by no more than the
smallest effect that its check states, are refuted and none is confirmed, and at most one of 2 000 true ones is refuted.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from labkit.course.claims import judge
from power.planted import PLANTED, UNSIMULATED, Planted

PLANTED_WORLDS, TRUE_WORLDS = 200, 2000


@dataclass(frozen=True)
class Outcome:
    """How often each verdict came of one row's planted worlds, and of its true ones."""

    row: Planted
    planted: Counter[str]
    true: Counter[str]
    cpu_s: float

    @property
    def passed(self) -> bool:
        told = sum(self.planted.values())
        strong = not told or self.planted["refuted"] >= 0.95 * told
        return strong and not confirmed(self.planted) and self.true["refuted"] <= 1 + sum(self.true.values()) // 2001

    def cells(self) -> list[str]:
        counts = [self.planted["refuted"], confirmed(self.planted), self.true["refuted"]]
        counts += [self.true["undecided"], confirmed(self.true)]
        row = self.row
        return ["" if self.passed else "FAIL", row.id, row.effect, *map(str, counts), f"{self.cpu_s:.1f}"]


def confirmed(found: Counter[str]) -> int:
    """All that stands for it: under a condition, and by construction, too."""
    return found["confirmed"] + found["refined"] + found["illustrated"]


def tried(row: Planted, share: float, seed: int) -> Outcome:
    """Judge this share of the worlds of one row; true ones only where they are not those of the row before."""
    began_s = time.process_time()
    planted = verdicts(row, round(PLANTED_WORLDS * share), seed, True)
    true = verdicts(row, round(TRUE_WORLDS * share) * row.true, seed, False)
    return Outcome(row, planted, true, time.process_time() - began_s)


def verdicts(row: Planted, count: int, seed: int, is_planted: bool) -> Counter[str]:
    rngs = (np.random.default_rng((seed, is_planted, number)) for number in range(count))
    return Counter(judge(row.id, row.world(rng, is_planted)).verdict for rng in rngs)


def line(cells: Sequence[str]) -> str:
    widths = (4, 4, 2 + max(len(row.effect) for row in PLANTED), 10, 10, 10, 10, 10, 6)
    return "".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("claims", nargs="*", metavar="CLAIM", help="which (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--share", type=float, default=1.0, help="of the 200 planted worlds and the 2 000 true ones")
    asked = parser.parse_args()
    print(line(["", "", "", "planted:", "", "true:", "", "", ""]))
    print(line(["", "", "smallest effect", "refuted", "confirmed", "refuted", "undecided", "confirmed", "CPU s"]))
    outcomes = []
    for row in PLANTED:
        if not asked.claims or row.id in asked.claims:
            outcomes.append(tried(row, asked.share, asked.seed))
            print(line(outcomes[-1].cells()), flush=True)
    if not asked.claims:
        print("\nNot simulated:", *(f"  {id}: {why}" for id, why in UNSIMULATED.items()), sep="\n")
    print(f"\n{sum(outcome.cpu_s for outcome in outcomes) / 60:.1f} minutes of CPU")
    return 0 if all(outcome.passed for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
