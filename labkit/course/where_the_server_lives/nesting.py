"""Cells nested by ``asyncio.run`` in a kernel of their own, since what they do to it cannot be taken back.

The original nest-asyncio loses what arrives during a nested call on ipykernel 7: that kernel runs every cell in one
context, which is entered already. What is lost has no answer, ever; a front end shows ``[*]``.
"""

from __future__ import annotations

import pickle
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.course.shown import Shown, as_table
from labkit.course.where_the_server_lives.homes import Seen
from labkit.course.where_the_server_lives.kernels import Cell, Kernel
from labkit.errors import LabkitError

if TYPE_CHECKING:
    import pandas as pd

GRACE_S = 1.5  # for an answer, once the nested cell has ended


@dataclass(repr=False)
class Nested(Shown):
    """What became of a kernel with a nested loop: its cells, and the server on its loop.

    Attributes:
        cells: label -> what came of it.
        seen: the server's events, as :func:`watch` keeps them.
    """

    index = "bare"

    library: str
    cells: dict[str, Cell]
    seen: Seen
    ipykernel: str

    def table(self) -> pd.DataFrame:
        """One row per cell: ``ok``, or ``lost`` if no answer ever came."""
        rows = [(label, cell.status) for label, cell in self.cells.items()]
        return as_table(rows, columns=["cell", f"{self.library}, ipykernel {self.ipykernel}"]).set_index("cell")


SETUP = """
import asyncio, contextlib, pickle, ipykernel, ipywidgets, {module}
from labkit.course.where_the_server_lives import residence
{module}.apply()
stack = contextlib.AsyncExitStack()
seen = await stack.enter_async_context(residence.watch("kernel-loop"))
button = ipywidgets.Button()
clicks = []
button.on_click(clicks.append)
await asyncio.sleep({quiet_s})
print(ipykernel.__version__, button.comm.comm_id)
"""
NESTED = 'with seen.busy("asyncio.run(...)"):\n    asyncio.run(asyncio.sleep({busy_s}))'
RESULT = """
await asyncio.sleep({quiet_s})
await stack.aclose()
print(pickle.dumps((seen.homes[0], len(clicks))).hex())
"""


def nested(library: str = "nest-asyncio", *, busy_s: float = 2.0, quiet_s: float = 0.5) -> Nested:
    """In a child kernel: patch asyncio, nest a loop in a cell while two more cells are queued and a button is clicked.

    Args:
        library: ``nest-asyncio`` or ``nest-asyncio2``.
        busy_s: how long the nested ``asyncio.run(asyncio.sleep(busy_s))`` takes.

    Raises:
        LabkitError: the library is not installed, or the child kernel failed.
    """
    module = library.replace("-", "_")
    with Kernel() as kernel:
        setup = kernel.run(SETUP.format(module=module, quiet_s=quiet_s))[0]
        if setup.status != "ok":
            raise LabkitError(f"{library} could not be tried: {setup.error or setup.stderr or 'no answer'}")
        version, comm_id = setup.text.split()
        sent = kernel.send(NESTED.format(busy_s=busy_s), "print('first')", "print('second')")
        time.sleep(busy_s / 2)
        click = kernel.comm(comm_id, {"event": "click"})
        kernel.wait([sent[0]], busy_s + 20)
        kernel.wait(sent, GRACE_S)
        result = kernel.run(RESULT.format(quiet_s=quiet_s))[0]
    if result.status != "ok":
        raise LabkitError(f"{library}: the child kernel gave no result: {result.error or 'no answer'}")
    home, clicks = pickle.loads(bytes.fromhex(result.text))
    click.status = "ok" if clicks else "lost"
    labels = ("asyncio.run(...)", "first cell queued behind it", "second cell queued behind it")
    cells = {**dict(zip(labels, sent, strict=True)), "a click meanwhile": click}
    home.name = library
    return Nested(library, cells, Seen([home], {"technique": "sse"}), version)
