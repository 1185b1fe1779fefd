"""A kernel of its own, driven from here as a front end drives it, without a browser.

``12_where_the_server_lives`` does to such a kernel what it would not do to the one it runs in: patch its event loop.
The client lives on the lab loop. A kernel whose parent dies ends by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labkit import loop
from labkit.errors import LabkitError
from labkit.lab.process import child_environment

START_TIMEOUT_S = 60.0
LOOK_EVERY_S = 0.1


@dataclass
class Cell:
    """What came of one cell.

    Attributes:
        status: ``ok``, ``error``, ``aborted`` (an earlier cell failed), or ``lost``: no answer ever came.
        text: what it printed and its result, as plain text.
        stderr: what it wrote there; a widget callback's traceback too.
        error: name and message of its exception.
        finished_s: when its answer came, on the monotonic clock.
    """

    source: str
    status: str = "lost"
    text: str = ""
    stderr: str = ""
    error: str = ""
    finished_s: float | None = None
    _idle: bool = field(default=False, repr=False)

    @property
    def done(self) -> bool:
        return self.finished_s is not None and self._idle


class Kernel:
    """A running IPython kernel of this Python. Close it, or use it with ``with``.

    Args:
        environment: variables to set besides those of this process.

    Raises:
        LabkitError: jupyter_client or ipykernel is missing, or the kernel does not start.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = {**child_environment(), **(environment or {})}
        self._environment.pop("JPY_SESSION_NAME", None)  # no front end is attached to this one
        self._cells: dict[str, Cell] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="labkit-")  # short: its sockets' names have a limit
        self._log = Path(self._folder.name, "stderr")
        self._manager: Any = None
        self._client: Any = None
        self._readers: list[asyncio.Task[None]] = []
        self._last_words = ""
        try:
            loop.run(self._start())
        except ImportError as missing:
            self._folder.cleanup()
            raise LabkitError(f"{missing.name} is not installed: pip install ipykernel") from None

    # -- what a front end does ----------------------------------------------------------------------------------

    def run(self, *sources: str, timeout_s: float = 60.0, stop_on_error: bool = False) -> list[Cell]:
        """Send cells all at once, as Run All does, and wait for their answers.

        ipykernel 7.0 to 7.3 may stop listening for good when a cell arrives while an answer leaves: there, better
        run quick cells one by one.
        """
        return self.wait(self.send(*sources, stop_on_error=stop_on_error), timeout_s)

    def send(self, *sources: str, stop_on_error: bool = False) -> list[Cell]:
        """Send cells and return at once."""

        async def put() -> list[Cell]:
            return [self._put(source, stop_on_error) for source in sources]

        return loop.run(put())

    def wait(self, cells: list[Cell], timeout_s: float = 60.0) -> list[Cell]:
        """Wait until each of *cells* has its answer; after *timeout_s* those without one are lost."""
        deadline = time.monotonic() + timeout_s
        while not all(cell.done for cell in cells) and time.monotonic() < deadline and self.alive:
            time.sleep(0.01)
        return cells

    def comm(self, comm_id: str, content: Mapping[str, Any], **header: str) -> Cell:
        """Send a widget's message, such as a click. It has no reply, so its status stays ``lost``.

        Args:
            header: what else the message's header says (``subshell_id``).
        """

        async def put() -> Cell:
            data = {"comm_id": comm_id, "data": {"method": "custom", "content": dict(content)}}
            message = self._client.session.msg("comm_msg", data)
            message["header"] |= header
            cell = self._cells[message["header"]["msg_id"]] = Cell("(comm message)")
            self._client.shell_channel.send(message)
            return cell

        return loop.run(put())

    def close(self) -> None:
        """End the kernel: by asking it, else by force. The second call does nothing."""
        if self._manager is not None:
            loop.run(self._close())

    # -- looking at it ------------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        return int(self._manager.provisioner.pid)

    @property
    def alive(self) -> bool:
        return self._manager is not None and bool(loop.run(self._manager.is_alive()))

    @property
    def stderr(self) -> str:
        """What its process has written to standard error, outside of any cell."""
        return self._log.read_text(errors="replace") if self._log.exists() else self._last_words

    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- on the lab loop ----------------------------------------------------------------------------------------

    async def _start(self) -> None:
        from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
        from jupyter_client.manager import AsyncKernelManager

        class ThisPython(KernelSpecManager):
            """Whatever kernels are installed, the one of this Python."""

            def get_kernel_spec(self, kernel_name: str) -> Any:
                words = [sys.executable, "-Xfrozen_modules=off", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
                return KernelSpec(argv=words, display_name="labkit", language="python")

        self._manager = AsyncKernelManager(
            kernel_spec_manager=ThisPython(),
            connection_file=str(Path(self._folder.name, "kernel.json")),
            transport="tcp" if os.name == "nt" else "ipc",
        )
        try:
            with self._log.open("wb") as log:
                await self._manager.start_kernel(env=self._environment, stderr=log)
            await self._attach()
        except RuntimeError as error:
            await self._close()
            raise LabkitError(f"the kernel did not start ({error}): {self.stderr[-500:]}") from None

    async def _attach(self) -> None:
        self._client = self._manager.client()
        self._client.start_channels(stdin=False, hb=False)
        await self._client.wait_for_ready(timeout=START_TIMEOUT_S)
        reads = {self._client.get_shell_msg: self._answered, self._client.get_iopub_msg: self._published}
        self._readers = [asyncio.ensure_future(self._read(get, take)) for get, take in reads.items()]

    async def _read(self, get: Any, take: Any) -> None:
        # A send may swallow the notice that something has come; whoever then asks without an end waits for ever.
        while True:
            with contextlib.suppress(queue.Empty):
                take(await get(timeout=LOOK_EVERY_S))

    def _put(self, source: str, stop_on_error: bool) -> Cell:
        cell = Cell(source)
        self._cells[self._client.execute(source, stop_on_error=stop_on_error, allow_stdin=False)] = cell
        return cell

    def _answered(self, message: dict[str, Any]) -> None:
        cell = self._cells.get(message["parent_header"].get("msg_id"))
        if cell is not None:
            cell.status, cell.finished_s = message["content"]["status"], time.monotonic()

    def _published(self, message: dict[str, Any]) -> None:
        cell, content = self._cells.get(message["parent_header"].get("msg_id")), message["content"]
        if cell is None:
            return
        kind = message["msg_type"]
        if kind == "status" and content["execution_state"] == "idle":
            cell._idle = True
        elif kind == "stream" and content["name"] == "stderr":
            cell.stderr += content["text"]
        elif kind == "stream":
            cell.text += content["text"]
        elif kind in ("execute_result", "display_data"):
            cell.text += content["data"].get("text/plain", "")
        elif kind == "error":
            cell.error = f"{content['ename']}: {content['evalue']}"

    async def _leave(self) -> None:
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        self._readers = []
        if self._client is not None:
            self._client.stop_channels()
            self._client = None

    async def _close(self) -> None:
        manager, self._manager = self._manager, None
        await self._leave()
        if manager.has_kernel:
            with contextlib.suppress(Exception):
                await manager.shutdown_kernel(now=not await manager.is_alive())
        self._last_words = self.stderr
        self._folder.cleanup()
