"""``allow_nested_asyncio()``: let ``asyncio.run(...)`` work in a cell, where a loop is running already.

For learners' own cells only: nothing of the kit needs it, since ``labkit.run`` and ``await`` do not nest. It changes
asyncio for the whole process and cannot be taken back without a restart, so it never happens by itself.

The work is done by nest-asyncio2. The original nest-asyncio, no longer maintained, loses queued cells and widget
messages on ipykernel 7.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass

from labkit.errors import LabkitError


@dataclass(frozen=True)
class Nesting:
    """What :func:`allow_nested_asyncio` has done.

    Attributes:
        patched: the names that now mean something else, in this process; empty if it was done before.
        loop_class: the class of the loop that may now be nested.
    """

    patched: tuple[str, ...]
    loop_class: str

    def __str__(self) -> str:
        if not self.patched:
            return f"asyncio.run(...) was allowed in a cell already ({self.loop_class}): nothing was patched again."
        return (
            f"asyncio.run(...) now works in a cell. nest-asyncio2 has replaced, for this whole process:"
            f" {', '.join(self.patched)}. A restart of the kernel takes it back."
        )

    __repr__ = __str__


def allow_nested_asyncio() -> Nesting:
    """Let ``asyncio.run(...)`` and ``loop.run_until_complete(...)`` be called where a loop is running.

    The nested call runs the outer loop meanwhile, so servers on that loop go on; other cells wait for its end.
    Calling it again does nothing.

    Returns:
        What was patched; shows as a sentence.

    Raises:
        LabkitError: under uvloop, whose loops cannot be patched; where the original nest-asyncio was applied before;
            or nest-asyncio2 is not installed.
    """
    loop = _current_loop()
    _refuse(loop)
    before = _patchable(type(loop))
    if hasattr(asyncio, "_nest_asyncio2") and hasattr(loop, "_nest_patched"):
        return Nesting((), type(loop).__name__)
    try:
        import nest_asyncio2
    except ImportError:
        raise LabkitError(
            "nest-asyncio2 is not installed: pip install nest-asyncio2, then restart the kernel"
        ) from None
    nest_asyncio2.apply(loop)
    after = _patchable(type(loop))
    return Nesting(tuple(name for name in after if after[name] is not before.get(name)), type(loop).__name__)


def _current_loop() -> asyncio.AbstractEventLoop:
    """The running loop, else this thread's own."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        pass
    policy = asyncio.get_event_loop_policy()
    kept = getattr(getattr(policy, "_local", None), "_loop", None)  # asking for it would make one
    if kept is None:
        kept = policy.new_event_loop()
        policy.set_event_loop(kept)
    return kept


def _refuse(loop: asyncio.AbstractEventLoop) -> None:
    """Raise where a patch would fail or do harm."""
    if type(loop).__module__.partition(".")[0] == "uvloop":
        raise LabkitError(
            "this loop is uvloop's, written in C, which cannot be nested: use `await`, or labkit.run(coro),"
            " or start the kernel with asyncio's own event loop policy"
        )
    if not isinstance(loop, asyncio.BaseEventLoop):
        raise LabkitError(f"a loop of type {type(loop).__name__} cannot be nested: use `await` or labkit.run(coro)")
    if hasattr(asyncio, "_nest_patched") and not hasattr(asyncio, "_nest_asyncio2"):
        raise LabkitError(
            "the original nest-asyncio has patched this process already, and loses cells on ipykernel 7:"
            " restart the kernel and call labkit.allow_nested_asyncio() instead"
        )


def _patchable(loop_class: type) -> dict[str, object]:
    """What nest-asyncio2 may replace, by name."""
    found: dict[str, object] = {
        f"asyncio.{name}": getattr(asyncio, name) for name in ("run", "Task", "Future", "get_event_loop")
    }
    for name in ("run_forever", "run_until_complete", "_run_once", "_check_running"):
        found[f"{loop_class.__name__}.{name}"] = getattr(loop_class, name, None)
    policy = type(asyncio.get_event_loop_policy())
    found[f"{policy.__name__}.get_event_loop"] = policy.get_event_loop
    tornado = sys.modules.get("tornado.concurrent")
    if tornado is not None:
        found["tornado.concurrent.Future"] = tornado.Future
    return found
