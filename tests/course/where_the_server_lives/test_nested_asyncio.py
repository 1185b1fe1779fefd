"""``allow_nested_asyncio`` refuses where it would fail, and what nesting does to a kernel. See also test_kernel.py."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import ipykernel
import pytest

from conftest import UNIT
from labkit.course.where_the_server_lives import nested_asyncio as nested
from labkit.course.where_the_server_lives.nesting import nested as nest_in_a_kernel
from labkit.errors import LabkitError


class UvloopLoop(asyncio.SelectorEventLoop):
    """Stands for uvloop's: the same module name is what it is known by."""

    __module__ = "uvloop.loop"


def test_uvloop_is_refused_with_the_way_out() -> None:
    with asyncio.Runner(loop_factory=UvloopLoop) as runner:

        async def ask() -> None:
            nested.allow_nested_asyncio()

        with pytest.raises(LabkitError, match=r"uvloop.*await.*labkit\.run"):
            runner.run(ask())


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask() -> None:
        nested.allow_nested_asyncio()

    monkeypatch.setitem(sys.modules, "nest_asyncio2", None)
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        with pytest.raises(LabkitError, match="pip install nest-asyncio2"):
            runner.run(ask())


def test_after_the_original_library_it_asks_for_a_restart() -> None:
    code = (
        "import asyncio, nest_asyncio, labkit\n"
        "async def main():\n    nest_asyncio.apply()\n    labkit.allow_nested_asyncio()\n"
        "asyncio.run(main())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30 * UNIT)
    assert "LabkitError: the original nest-asyncio has patched this process already" in done.stderr
    assert "restart the kernel" in done.stderr


def test_outside_a_running_loop_it_patches_the_threads_own_and_says_so_once() -> None:
    code = (
        "import asyncio, labkit\n"
        "first, second = labkit.allow_nested_asyncio(), labkit.allow_nested_asyncio()\n"
        "print(first.patched and 'asyncio.run' in str(first), second.patched)\n"
        "async def inner():\n    return 'inner'\n"
        "async def outer():\n    return asyncio.run(inner())\n"
        "print(asyncio.run(outer()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30 * UNIT)
    assert (done.stdout, done.stderr) == ("True ()\ninner\n", "")


@pytest.mark.parametrize("library", ["nest-asyncio", "nest-asyncio2"])
def test_only_the_original_on_ipykernel_7_loses_what_is_queued(library: str) -> None:
    found = nest_in_a_kernel(library, busy_s=1.0)
    outer, *meanwhile = found.cells.values()
    assert outer.status == "ok"
    loses = library == "nest-asyncio" and int(ipykernel.__version__.partition(".")[0]) >= 7
    assert {cell.status for cell in meanwhile} == {"lost" if loses else "ok"}
    assert found.seen.homes[0].lost == 0  # the server on the loop goes on either way
    assert found.seen.deliveries["during"].sum() >= 20
