"""What `labkit probe` says of planted causes and of healthy servers, so many times each (``make symptoms``).

Passes when no run is named wrongly, nine of ten are named or honestly graded, and nothing is found on a healthy server.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "strangers"), str(HERE.parent / "strangers" / "probe")]

import pytest  # noqa: E402

from labkit.strangers.probe.probing import probe  # noqa: E402
from symptoms.healthy import HEALTHY  # noqa: E402
from symptoms.judging import GOOD, judged  # noqa: E402
from symptoms.plants import PLANTS, Plant, World  # noqa: E402

ENOUGH = 0.9


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m symptoms", description=__doc__)
    parser.add_argument("words", nargs="*", metavar="WORD", help="of a row, program or server (default: all)")
    parser.add_argument("--times", type=int, default=5, help="how often each (default: 5)")
    parser.add_argument("--only", choices=("planted", "healthy"))
    asked = parser.parse_args()
    counts: Counter[str] = Counter()
    print("| row | planted | by | runs | said |\n|---|---|---|---|---|", flush=True)
    for plant in PLANTS if asked.only != "healthy" else ():
        if matches(asked.words, *map(str, plant.rows), plant.says, plant.by):
            counts += planted_row(plant, asked.times)
    false_alarms = 0
    print("\n| healthy server | runs | events, at least | found |\n|---|---|---|---|", flush=True)
    for name, world, seconds in HEALTHY if asked.only != "planted" else ():
        if matches(asked.words, name):
            false_alarms += healthy_row(name, world, seconds, asked.times)
    good, total = sum(counts[word] for word in GOOD), counts.total()
    print(f"\nplanted: {good} of {total} named or honestly graded ({told(counts)}); healthy: {false_alarms} findings")
    return int(counts["wrong"] > 0 or good < ENOUGH * total or false_alarms > 0)


def matches(words: Iterable[str], *said: str) -> bool:
    return not words or any(word == one or (not word.isdigit() and word in one) for word in words for one in said)


def told(counts: Counter[str]) -> str:
    return ", ".join(f"{n} {word}" for word, n in counts.most_common())


def planted_row(plant: Plant, times: int) -> Counter[str]:
    """Probe so many times; print the line, and what was said where it was not good."""
    counts, reports = Counter[str](), list[str]()
    rows = " or ".join(map(str, sorted(plant.rows)))
    try:
        with plant.world() as (url, options):
            for _ in range(times):
                report = probe(url, **{"seconds": plant.seconds, "say": None, **options})
                word = judged(report, plant.rows, is_risk=plant.is_risk)
                counts[word] += 1
                if word not in GOOD:
                    reports.append(str(report))
    except pytest.skip.Exception as missing:
        print(f"| {rows} | {plant.says} | {plant.by} | 0 | not run: {missing} |", flush=True)
        return counts
    print(f"| {rows} | {plant.says} | {plant.by} | {counts.total()} | {told(counts)} |", flush=True)
    for report in reports[:2]:
        print(report, file=sys.stderr, flush=True)
    return counts


def healthy_row(name: str, world: World, seconds: float, times: int) -> int:
    found, events = list[str](), list[int]()
    try:
        with world() as (url, options):
            for _ in range(times):
                report = probe(url, **{"seconds": seconds, "say": None, **options})
                events.append(len(report.seen.first.events))
                found += [f"row {each.row}: {each.says}" for each in report.findings]
                if report.findings:
                    print(report, file=sys.stderr, flush=True)
    except pytest.skip.Exception as missing:
        print(f"| {name} | 0 | - | not run: {missing} |", flush=True)
        return 0
    print(f"| {name} | {times} | {min(events)} | {'; '.join(sorted({*found})) or 'nothing'} |", flush=True)
    return len(found)


if __name__ == "__main__":
    sys.exit(main())
