"""What the scripts beside this file have printed, as results.json and as the table of README.md.

    python docs/vectors/table.py DATE results.jsonl...

Everything below README.md's last heading is written anew; a client that has no line in these files keeps its results.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
HEADING = "## Who fails what\n"


def main(date: str, *paths: str) -> None:
    lines = [json.loads(line) for path in paths for line in Path(path).read_text(encoding="utf-8").splitlines()]
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in lines:
        found[line["client"]].append(line)
    file = HERE / "results.json"
    results = json.loads(file.read_text(encoding="utf-8")) | {of: _summed(date, told) for of, told in found.items()}
    file.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    readme = HERE / "README.md"
    above = readme.read_text(encoding="utf-8").partition(HEADING)[0]
    readme.write_text("\n".join([above + HEADING, *_table(results), ""]), encoding="utf-8")


def _summed(date: str, told: list[dict[str, Any]]) -> dict[str, Any]:
    wrong = {line["case"]: line["differences"][0] for line in told if not line["right"]}
    return {"tried": date, "cases": len(told), "right": len(told) - len(wrong), "wrong": dict(sorted(wrong.items()))}


def _table(results: dict[str, dict[str, Any]]) -> list[str]:
    rows = [
        f"| {client} | {of['tried']} | {of['right']} of {of['cases']} | {', '.join(map('`{}`'.format, of['wrong']))} |"
        for client, of in results.items()
    ]
    return ["| client | tried | right | wrong at |", "|---|---|---|---|", *rows]


if __name__ == "__main__":
    main(*sys.argv[1:])
