"""A program in the care of a watchdog, the parent's end: starts both, reads the log, ends both. POSIX only."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from labkit.errors import LabkitError
from labkit.network.watchdog import LOG

WATCHDOG = Path(__file__).with_name("watchdog.py")
START_S = 20.0
STOP_S = 5.0  # of the watchdog, beyond what it gives the program
KEPT_BYTES = 256 << 10  # of a log


class Watched:
    """One program in a temporary folder of its own, and the watchdog that ends it when this process is gone.

    Args:
        name: of the program; the folder's name has it.
        command: absolute path and arguments; ``@folder@`` stands for the folder, where it is started.
        files: what to write there, by name.
        environment: the program's own, besides ``HOME``, ``TMPDIR`` and ``PWD``, which are the folder.
        grace_s: from being asked to end to being ended.

    Raises:
        LabkitError: it cannot be executed.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        files: Mapping[str, str],
        environment: Mapping[str, str],
        grace_s: float,
    ) -> None:
        self._watchdog = subprocess.Popen(
            [sys.executable, "-I", "-S", str(WATCHDOG)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            cwd="/",
            start_new_session=True,
        )
        assert self._watchdog.stdin is not None and self._watchdog.stdout is not None
        self._to, self._from = self._watchdog.stdin, self._watchdog.stdout
        self._unread, self._kept, self.ended = b"", "", False
        """ended: whether the program has ended by itself, as far as it was asked."""
        self.pid, self.folder, self._stop_s = 0, Path(), grace_s + STOP_S
        told = {"name": name, "command": command, "files": files, "environment": environment, "grace_s": grace_s}
        try:
            with contextlib.suppress(BrokenPipeError):  # then it does not answer either
                self._to.write(json.dumps(told).encode() + b"\n")
            said = self._hear(START_S) or {"failed": "its watchdog did not start"}
            if "failed" in said:
                raise LabkitError(f"{name} cannot be started: {said['failed']}")
            self.pid, self.folder = said["pid"], Path(said["folder"])
        except BaseException:
            self.close()
            raise

    def _hear(self, timeout_s: float) -> dict[str, Any] | None:
        """The watchdog's next word; None if there is none in time, or it is gone."""
        deadline, poll = time.monotonic() + timeout_s, select.poll()
        poll.register(self._from, select.POLLIN)
        while b"\n" not in self._unread:
            if not poll.poll(1e3 * max(0.0, deadline - time.monotonic())):
                return None
            data = self._from.read(4096)
            if not data:
                self.ended = True
                return None
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        said: dict[str, Any] = json.loads(line)
        return said

    def look(self) -> bool:
        """Whether the program has ended by itself, or with its watchdog."""
        if not self.ended and (said := self._hear(0)) is not None:
            self.ended = "status" in said
        return self.ended

    def log(self) -> str:
        """What it has written, the newest 256 KiB; after the end, what that was then."""
        try:
            with (self.folder / LOG).open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - KEPT_BYTES))
                self._kept = file.read().decode(errors="replace")
        except OSError:
            pass
        return self._kept

    def close(self) -> None:
        """End the program with all of its workers, and remove its folder."""
        self.log()
        self._to.close()
        try:
            left = self._watchdog.wait(self._stop_s) != 0
        except subprocess.TimeoutExpired:
            left = True
            self._watchdog.kill()
            self._watchdog.wait()
        if left and self.pid:  # somebody killed the watchdog: its work is done here
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            shutil.rmtree(self.folder, ignore_errors=True)
        self._from.close()

    def abandon(self) -> None:
        """Let go without ending anything: this is a fork of its parent, and the pipe must end with the parent alone."""
        self._to.close()
        self._from.close()
        self._watchdog.returncode = 0  # not this process's to wait for
