"""``python -m labkit verdicts``: run the notebooks, one after the other, and write what they found.

Each runs in a kernel of its own, without a page. Claims that need one come out as *not run*.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit import loop
from labkit.commands.notebooks import FIRST, find_notebook
from labkit.errors import LabkitError

if TYPE_CHECKING:
    from nbclient import NotebookClient

HELP = "run every notebook and write the verdict on every claim"
CELL_TIMEOUT_S = 300


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("notebooks", nargs="*", metavar="NOTEBOOK", help="only these (default: all, twelve minutes)")
    parser.add_argument("--out", default="verdicts", metavar="FOLDER", help="where to write (default: %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """As :func:`verdicts`."""
    return verdicts(arguments.notebooks, arguments.out)


def verdicts(notebooks: Sequence[str] = (), out: str | Path = "verdicts") -> int:
    """Run notebooks and write ``verdicts.json``, ``verdicts.md`` and the claims file they come from.

    What an earlier call has recorded in *out* stays, where this one does not record it anew.

    Args:
        notebooks: names or paths; every one of the course by default.
        out: the folder to write to.

    Returns:
        0, or 1 if a cell of a notebook raised an error.

    Raises:
        LabkitError: a notebook that is not found, or no nbclient.
    """
    try:
        import nbclient  # noqa: F401
    except ImportError:
        raise LabkitError(f"nbclient is not installed. Install it: {sys.executable} -m pip install nbclient") from None
    from labkit.course.claims import book

    paths = [find_notebook(_named(name)) for name in notebooks] or _all()
    folder = Path(out).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    failed = 0
    with _recording(folder / "claims.jsonl"):
        try:
            for number, path in enumerate(paths, 1):
                print(f"[{number}/{len(paths)}] {path.stem} ...", end=" ", flush=True)
                began_s = time.monotonic()
                error = _execute(path)
                failed += error is not None
                print(f"{time.monotonic() - began_s:.0f} s" + (f"\n    {error}" if error else ""), flush=True)
        finally:  # an interrupt keeps what there is
            found = book()
            written = found.write(folder)
            print(found.said())
            print("wrote " + " and ".join(str(path) for path in written))
    return 1 if failed else 0


def _named(name: str) -> str:
    return name if name.endswith(".ipynb") else f"{name}.ipynb"


def _all() -> list[Path]:
    first = find_notebook(FIRST)
    return sorted(first.parent.glob("[0-9][0-9]_*.ipynb"))


@contextlib.contextmanager
def _recording(file: Path) -> Iterator[None]:
    """Keep what this process and its kernels record in *file*."""
    before = os.environ.get("LABKIT_CLAIMS")
    os.environ["LABKIT_CLAIMS"] = str(file)
    try:
        yield
    finally:
        os.environ.pop("LABKIT_CLAIMS")
        if before is not None:
            os.environ["LABKIT_CLAIMS"] = before


async def _run_cells(client: NotebookClient, environment: dict[str, str]) -> None:
    """Execute the cells. An interrupt ends the kernel at once: asked politely, one in a long cell takes 5 s to go."""
    executing = asyncio.ensure_future(client.async_execute(env=environment))
    try:
        await asyncio.shield(executing)
    except asyncio.CancelledError:
        client.shutdown_kernel = "immediate"
        executing.cancel()
        await asyncio.wait([executing])
        raise


def _execute(path: Path) -> str | None:
    """Run one notebook; the error that ended it, in one line."""
    import nbformat
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    notebook: Any = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    # a chart's static picture starts a browser, and nobody will see these charts
    environment = {**os.environ, "PLOTLY_RENDERER": "plotly_mimetype", "JPY_SESSION_NAME": path.name}
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT_S,
        kernel_manager_class=AsyncKernelManager,
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
        resources={"metadata": {"path": str(path.parent)}},
    )
    try:
        loop.run(_run_cells(client, environment))  # on the main thread nbclient takes Ctrl-C for itself
    except CellExecutionError as error:
        return f"{error.ename}: {error.evalue}"
    except (CellTimeoutError, DeadKernelError) as error:
        return str(error).splitlines()[0]
    return None
