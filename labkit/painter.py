"""The browser that paints the static pictures beside a notebook's charts: one for all of them.

A browser for each picture takes two seconds of CPU, most of what a notebook with ten charts costs. This one starts with
the first picture and ends with the interpreter. It has a session of its own, so that a kernel's interrupt does not
reach it; where the kernel is killed, the pipe to it ends, and so does it.
"""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import Coroutine, Mapping
from typing import Any

LONGEST_S = 90.0
"""No picture takes longer, the browser's start included; then there is none."""


class Painter:
    """A browser on a thread of its own, started when it is asked for something. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._browser: Any = None

    def png(self, figure: Mapping[str, Any], width: int, height: int) -> bytes:
        """A figure as a picture, in layout pixels.

        Raises:
            Exception: whatever kaleido or its browser has to say; the next picture gets another browser.
        """
        with self._lock:
            try:
                return self._do(self._paint(dict(figure), {"format": "png", "width": width, "height": height}))
            except BaseException:  # an interrupt too: what it was about to give is nobody's
                self._end()
                raise

    def close(self) -> None:
        """End the browser and the thread; the next picture starts others."""
        with self._lock:
            self._end()

    async def _paint(self, figure: dict[str, Any], opts: dict[str, Any]) -> bytes:
        if self._browser is None:
            from kaleido import Kaleido

            self._browser = await Kaleido()
        return bytes(await self._browser.calc_fig(figure, opts=opts))

    def _do(self, what: Coroutine[Any, Any, bytes]) -> bytes:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, name="labkit-painter", daemon=True)
            self._thread.start()
            atexit.register(self.close)
        future = asyncio.run_coroutine_threadsafe(what, self._loop)
        try:
            return future.result(LONGEST_S)
        finally:
            future.cancel()

    def _end(self) -> None:
        loop, thread, browser = self._loop, self._thread, self._browser
        self._loop = self._thread = self._browser = None
        if loop is None or thread is None:
            return
        atexit.unregister(self.close)
        if browser is not None:
            asyncio.run_coroutine_threadsafe(_closed(browser), loop).exception(LONGEST_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _closed(browser: Any) -> None:
    await browser.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


PAINTER = Painter()
