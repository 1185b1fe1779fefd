"""A plugin, ``pytest --nbmake -p kernels_at_files``: kernels listen at files, where the system can."""

from __future__ import annotations

import shutil
import sys
import tempfile
from typing import Any
from uuid import uuid4

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Over TCP, Jupyter chooses a kernel's ports before it starts it.

    A server of another notebook, each of which starts many, may be given one of them meanwhile: the kernel dies of it,
    and nbmake waits for a minute.
    """
    if sys.platform != "linux":
        return
    from jupyter_client.manager import AsyncKernelManager

    folder = tempfile.mkdtemp(prefix="labkit-", dir="/tmp")  # the name of a socket is a hundred characters at the most
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    started = AsyncKernelManager.__init__

    def start(manager: Any, *args: Any, **options: Any) -> None:  # nbmake has no way to say it
        started(manager, *args, **{"transport": "ipc", "connection_file": f"{folder}/{uuid4().hex}.json"} | options)

    patch = pytest.MonkeyPatch()
    patch.setattr(AsyncKernelManager, "__init__", start)
    config.add_cleanup(patch.undo)
