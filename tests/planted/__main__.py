"""What no simulation makes, run: each claim with its lie planted, so many times (``make planted``).

A row passes when every run has the verdict that its lie is to bring, for the reason that it names, or is undecided, and
at least one is decided. The same experiments without a lie are what ``labkit soak`` runs.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from planted.plants import PLANTS

HERE = Path(__file__).parent
TIMEOUT_S = 600


def once(id: str) -> dict[str, str]:
    """The verdict on one claim whose lie is planted in every process of its experiment."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.pathsep.join([str(HERE / "startup"), str(HERE.parent), str(HERE.parent.parent)])
        told = {"LABKIT_PLANTED": id, "LABKIT_CLAIMS": f"{folder}/claims.jsonl", "PYTHONPATH": path}
        words = [sys.executable, "-m", "labkit", "soak", "--once", id]
        try:
            done = subprocess.run(words, env={**os.environ, **told}, capture_output=True, text=True, timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return {"verdict": "error", "reason": f"not within {TIMEOUT_S} s"}
    try:
        found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        found = {"verdict": "error", "reason": done.stderr[-800:]}
    return found


def row(id: str, found: list[dict[str, str]]) -> tuple[bool, str]:
    """Whether all of them said what the lie is to bring, and the line that tells."""
    plant = PLANTS[id]
    told = [one for one in found if one["verdict"] == plant.verdict and re.search(plant.says, one["reason"])]
    others = [one for one in found if one not in told and one["verdict"] != "undecided"]
    counts = ", ".join(f"{n} {verdict}" for verdict, n in Counter(one["verdict"] for one in found).most_common())
    passed = bool(told) and not others
    line = f"{'ok  ' if passed else 'FAIL'} {id:<4} {plant.lie}: {counts}"
    return passed, line if passed else f"{line}\n       {(others or found)[0]['reason'][:400]}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m planted", description=__doc__)
    parser.add_argument("claims", nargs="*", metavar="CLAIM", help="which claims (default: all)")
    parser.add_argument("--times", type=int, default=10, help="how often each (default: 10)")
    asked = parser.parse_args()
    if unknown := [id for id in asked.claims if id not in PLANTS]:
        parser.error(f"nothing is planted for {', '.join(unknown)}; there is for {', '.join(PLANTS)}")
    passed = True
    for id in asked.claims or PLANTS:
        good, line = row(id, [once(id) for _ in range(asked.times)])
        passed &= good
        print(line, flush=True)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
