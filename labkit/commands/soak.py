"""``python -m labkit soak``: each claim's check, again and again beside a busy core: does it give the same verdict?

One claim after the other is put to the test, each in a process of its own, while another process keeps a core busy. A
claim passes if all its verdicts are the same, *undecided* aside: what noise may do to a check is to keep it from a
verdict, never to turn it. A check that never decides is none, and fails. With ``--idle`` nothing else is kept busy, and
checks have no excuse: each must decide 7 times of 10, and all together 95 of 100. What has been tried is kept in a
file, and a second call goes on from there.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from labkit.errors import LabkitError, package
from labkit.measuring.rounding import counted

HELP = "put claims to the test again and again beside a busy core"
TIMEOUT_S = 300.0
NEEDED = ("pandas", "scipy")
"""By what experiments are judged: the plain installation goes without."""
DECIDED, ALL_DECIDED = 0.7, 0.95
"""On an idle machine, the least share of a claim's verdicts, and of all, that must be decided."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ids", nargs="*", metavar="CLAIM", help="which claims (default: all)")
    parser.add_argument("--times", type=int, default=20, help="how often each (default: %(default)s)")
    parser.add_argument("--idle", action="store_true", help="without the busy core, and most verdicts must be decided")
    parser.add_argument(
        "--file", type=Path, help="results (default: build/soak.jsonl, with --idle build/soak-idle.jsonl)"
    )
    parser.add_argument("--once", metavar="CLAIM", help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> int:
    """Try the claims that were named, or all; 1 if a verdict turned, or too few were decided.

    Raises:
        LabkitError: a claim that has no experiment.
    """
    for name in () if arguments.once else NEEDED:
        package(name)
    known = experiments()
    ids = [arguments.once] if arguments.once else arguments.ids or list(known)
    unknown = [id for id in ids if id not in known]
    if unknown:
        raise LabkitError(f"no experiment for {', '.join(unknown)}; there are: {', '.join(known)}")
    if arguments.once:
        try:
            print(json.dumps(once(arguments.once)))
        except LabkitError as error:
            print(json.dumps({"id": arguments.once, "verdict": "error", "reason": str(error), "seconds": 0}))
        return 0
    file = arguments.file or Path("build/soak-idle.jsonl" if arguments.idle else "build/soak.jsonl")
    file.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.nullcontext() if arguments.idle else busy_core():
        results = soak(ids, arguments.times, file)
    print("\n".join(_report(results, arguments.idle)))
    return 0 if passed(results, arguments.idle) else 1


def experiments() -> dict[str, Callable[[], Any]]:
    """The experiment of each claim that has one, by id."""
    from labkit.course.claims import CLAIMS

    return {claim.id: claim.experiment for claim in CLAIMS.values() if claim.experiment is not None}


def once(id: str) -> dict[str, Any]:
    """Put one claim to the test, here. Returns its verdict and reason, and how long it took."""
    from labkit.claims.checking import judge

    began_s = time.monotonic()
    found = judge(id, experiments()[id]())
    return {"id": id, "verdict": found.verdict, "reason": found.reason, "seconds": round(time.monotonic() - began_s, 1)}


def soak(ids: Sequence[str], times: int, file: Path) -> dict[str, list[dict[str, Any]]]:
    """Try each claim until *file* holds *times* results of it."""
    done = _read(file)
    for id in ids:
        while len(done.setdefault(id, [])) < times:
            print(f"{id} {len(done[id]) + 1}/{times}: ", end="", flush=True)  # a try may take a minute
            result = _apart(id)
            done[id].append(result)
            with file.open("a", encoding="utf-8") as out:
                out.write(json.dumps(result, ensure_ascii=False) + "\n")
            print(f"{result['verdict']} ({result['seconds']} s)", flush=True)
    return {id: done[id][:times] for id in ids}


def steady(results: Iterable[dict[str, Any]]) -> bool:
    """Whether all verdicts are the same, undecided aside, and none is an error."""
    return len({r["verdict"] for r in results} - {"undecided"}) <= 1 and all(r["verdict"] != "error" for r in results)


def decided(results: Iterable[dict[str, Any]]) -> float:
    """The share of verdicts that are one way or the other; 0 of none."""
    verdicts = [result["verdict"] for result in results]
    return sum(verdict not in ("undecided", "error") for verdict in verdicts) / max(1, len(verdicts))


def good(tried: Sequence[dict[str, Any]], idle: bool) -> bool:
    """Whether a claim's verdicts never turned, and often enough there was one: on a busy machine, once."""
    return steady(tried) and decided(tried) >= (DECIDED if idle else 1 / max(1, len(tried)))


def passed(results: dict[str, list[dict[str, Any]]], idle: bool) -> bool:
    """Whether every claim is good and, on an idle machine, nearly all verdicts are decided."""
    enough = not idle or decided(chain.from_iterable(results.values())) >= ALL_DECIDED
    return enough and all(good(tried, idle) for tried in results.values())


@contextlib.contextmanager
def busy_core() -> Iterator[None]:
    """Keep one core busy while the ``with`` block runs."""
    process = multiprocessing.get_context("spawn").Process(target=_burn, daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def _burn() -> None:
    parent = os.getppid()
    while os.getppid() == parent:
        for _ in range(1_000_000):
            pass


def _apart(id: str) -> dict[str, Any]:
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "LABKIT_CLAIMS": str(Path(folder) / "claims.jsonl")}
        words = [sys.executable, "-m", "labkit", "soak", "--once", id]
        try:
            done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S)
            result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        except (subprocess.TimeoutExpired, ValueError, IndexError) as error:
            said = error.stderr if isinstance(error, subprocess.TimeoutExpired) else done.stderr
            why = str(said or error)[-500:]
            result = {"id": id, "verdict": "error", "reason": why, "seconds": round(time.monotonic() - began_s, 1)}
    return result


def _read(file: Path) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        result = json.loads(line)
        found.setdefault(result["id"], []).append(result)
    return found


def _report(results: dict[str, list[dict[str, Any]]], idle: bool) -> Iterator[str]:
    for id, tried in results.items():
        counts = ", ".join(f"{n} {verdict}" for verdict, n in Counter(r["verdict"] for r in tried).most_common())
        yield f"{'ok  ' if good(tried, idle) else 'FAIL'} {id:<4} {decided(tried):4.0%} decided: {counts}"
        if not steady(tried):
            rarest = Counter(r["verdict"] for r in tried).most_common()[-1][0]
            told = [r["reason"].replace("\n", "\n         ") for r in tried if r["verdict"] == rarest]
            yield from (f"       {rarest}: {reason}" for reason in told)
    every = list(chain.from_iterable(results.values()))
    yield f"{decided(every):.0%} of {counted(len(every), 'verdict')} decided"
