"""A kernel to which a test does what a front end can: interrupt, restart, kill it, open a subshell."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

from labkit import loop
from labkit.course.where_the_server_lives.kernels import START_TIMEOUT_S, Kernel

STOP_TIMEOUT_S = 5.0


class DrivenKernel(Kernel):
    """A :class:`Kernel` with the rest of a front end's buttons."""

    _replies: dict[str, asyncio.Future[Any]]

    def subshell(self) -> str | None:
        """Open a subshell, as JupyterLab does for the comms of widgets; None where the kernel has none."""

        async def ask() -> str | None:
            info = await self._ask("kernel_info_request")
            if "kernel subshells" not in info.get("supported_features", ()):
                return None
            return str((await self._ask("create_subshell_request"))["subshell_id"])

        return loop.run(ask())

    def interrupt(self) -> None:
        """What the stop button does."""
        loop.run(self._manager.interrupt_kernel())

    def restart(self) -> None:
        """What the restart button does: ask it to end, and start another."""

        async def again() -> None:
            await self._leave()
            with self._log.open("ab") as log:
                await self._manager.restart_kernel(newports=True, stderr=log)
            await self._attach()

        loop.run(again())

    def kill(self) -> None:
        """SIGKILL: nothing in the kernel gets a chance to tidy up."""
        os.kill(self.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
        loop.run(asyncio.wait_for(self._gone(), STOP_TIMEOUT_S))

    async def _attach(self) -> None:
        await super()._attach()
        self._replies = {}
        self._readers.append(asyncio.ensure_future(self._read(self._client.get_control_msg, self._told)))

    async def _ask(self, kind: str) -> dict[str, Any]:
        """One request on the control channel, and the content of its reply."""
        message = self._client.session.msg(kind, {})
        reply = self._replies[message["header"]["msg_id"]] = asyncio.get_running_loop().create_future()
        self._client.control_channel.send(message)
        content: dict[str, Any] = await asyncio.wait_for(reply, START_TIMEOUT_S)
        return content

    def _told(self, message: dict[str, Any]) -> None:
        reply = self._replies.pop(message["parent_header"].get("msg_id"), None)
        if reply is not None and not reply.done():
            reply.set_result(message["content"])

    async def _gone(self) -> None:
        while await self._manager.is_alive():  # noqa: ASYNC110  a process tells nobody that it has ended
            await asyncio.sleep(0.01)
