"""The kit's own clients at the cases of `python -m labkit vectors`: the row of README.md's table.

    PYTHONPATH=tests/strangers python docs/vectors/try_labkit.py http://127.0.0.1:PORT >> results.jsonl

What they had is said as `tests/strangers` has it. One line of JSON for each case.
"""

from __future__ import annotations

import asyncio
import json
import sys
import urllib.request
import uuid
from typing import Any

from kit_clients import had

import labkit
from labkit.strangers.vectors.case import Case
from labkit.strangers.vectors.catalogue import ALL

AT_ONCE = 16
LIMIT_S = 120.0


async def try_case(base: str, case: Case) -> dict[str, Any]:
    token = uuid.uuid4().hex
    try:
        async with asyncio.timeout(LIMIT_S):
            reported = await had(case, f"{base}{case.address}?visit={token}")
    except Exception as error:  # of what the kit's users do not expect
        raised = f"{type(error).__name__}: {error}"[:120]
        return {"right": False, "differences": [{"what": "it", "expected": "an end", "had": raised}]}
    request = urllib.request.Request(f"{base}/cases/{case.name}/had?visit={token}", json.dumps(reported).encode())
    found: dict[str, Any] = json.loads(await asyncio.to_thread(lambda: urllib.request.urlopen(request).read()))
    return found


async def main(base: str) -> None:
    free = asyncio.Semaphore(AT_ONCE)

    async def one(case: Case) -> None:
        async with free:
            found = await try_case(base, case)
        told = {"client": f"labkit {labkit.__version__}", "case": case.name, "right": found["right"]}
        print(json.dumps({**told, "differences": found["differences"][:3]}), flush=True)

    await asyncio.gather(*(one(case) for case in ALL))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1].rstrip("/")))
