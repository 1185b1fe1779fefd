"""A process of its own in which a part of an experiment runs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

from labkit.lab.process import child_environment


def start(part: Callable[[], None], *arguments: str) -> subprocess.Popen[str]:
    """Call *part*, a function of a module, in a child whose standard input and output are pipes.

    The child is in a session of its own, so the kernel's interrupt does not reach it. Its ``sys.argv[1:]`` are
    *arguments*; to end with its parent, it reads its standard input.
    """
    return subprocess.Popen(
        [sys.executable, "-c", f"from {part.__module__} import {part.__name__} as part; part()", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        env=child_environment(),
        text=True,
    )
