"""The child that keeps a program: makes its folder, starts it, and ends it with all of its workers when told to.

It is run as a file, by ``watched.py``, and imports nothing but the standard library. Its standard input is a pipe whose
other end only the parent has: a parent that was killed leaves neither the program nor the folder behind. (Linux could
kill the program with its parent by itself (prctl), but with the parent's *thread* in truth, and macOS cannot.)

Both are in sessions of their own, so that an interrupt of the parent reaches neither. Where the parent is root, the
program runs as ``nobody``, who owns the folder.

In comes one line of JSON, then nothing until the end: ``name``, ``command``, ``environment``, ``files`` (name to text)
and ``grace_s``. Out come lines of JSON: ``folder`` and ``pid``, or ``failed``; later ``status``, if the program ends by
itself. ``@folder@`` in the command and in the files stands for the folder.
"""

from __future__ import annotations

import json
import os
import pwd
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from typing import Any

LOG = "log.txt"
"""In the folder: what the program writes to its standard output and error."""


def main() -> None:
    """Keep one program until the pipe ends, or a signal asks for the end."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    asked_to_end = []
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: asked_to_end.append(True))
    line = sys.stdin.buffer.readline()
    if not line.endswith(b"\n"):
        return
    told = json.loads(line)
    folder = tempfile.mkdtemp(prefix=f"labkit-{told['name']}-", dir=place())
    try:
        try:
            program = start(folder, told)
        except OSError as error:
            say(failed=f"{type(error).__name__}: {error}")
            return
        say(folder=folder, pid=program.pid)
        while not asked_to_end:
            readable, _, _ = select.select([0, woken], [], [])
            if 0 in readable and not os.read(0, 4096):
                break
            if woken in readable:
                os.read(woken, 4096)
            if program.returncode is None and program.poll() is not None:
                signal_all(program, signal.SIGKILL)  # now: another group may come to have this number later
                say(status=program.returncode)
        if program.returncode is None:
            end(program, told["grace_s"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def start(folder: str, told: dict[str, Any]) -> subprocess.Popen[bytes]:
    """Start the program in *folder*.

    Raises:
        OSError: it cannot be executed.
    """
    user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    for name, text in {**told["files"], LOG: ""}.items():
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(text.replace("@folder@", folder))
        if user is not None:
            os.chown(file.name, user.pw_uid, user.pw_gid)
    environment = {**told["environment"], "HOME": folder, "TMPDIR": folder, "PWD": folder}
    command = [word.replace("@folder@", folder) for word in told["command"]]
    keywords: dict[str, Any] = {}
    with open(command[0], "rb") as executable, open(os.path.join(folder, LOG), "ab") as log:
        if user is not None:
            os.chown(folder, user.pw_uid, user.pw_gid)
            keywords = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            if os.path.isdir("/proc/self/fd") and not reachable(command[0]):
                keywords |= {"executable": f"/proc/self/fd/{executable.fileno()}", "pass_fds": [executable.fileno()]}
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            env=environment,
            start_new_session=True,
            **keywords,
        )


def place() -> str | None:
    """Where the folder is to be: where temporary files are, or else where ``nobody`` comes; None leaves it open."""
    usual = [tempfile.gettempdir(), "/tmp", "/var/tmp"]
    return next((at for at in usual if os.geteuid() or reachable(os.path.join(at, "folder"))), None)


def reachable(path: str) -> bool:
    """Whether anybody can go there: not into root's home, for one."""
    while (path := os.path.dirname(path)) != "/":
        if not (os.path.isdir(path) and os.stat(path).st_mode & 1):
            return False
    return True


def end(program: subprocess.Popen[bytes], grace_s: float) -> None:
    """End the program and all of its workers, first by asking."""
    signal_all(program, signal.SIGTERM)
    try:
        program.wait(grace_s)
    except subprocess.TimeoutExpired:
        pass
    signal_all(program, signal.SIGKILL)
    program.wait()


def signal_all(program: subprocess.Popen[bytes], number: int) -> None:
    """To its whole process group: a worker may outlive its master."""
    try:
        os.killpg(program.pid, number)
    except (ProcessLookupError, PermissionError):  # macOS says the latter of a group whose processes have all ended
        pass


def say(**what: object) -> None:
    """A line to the parent, if it is there."""
    try:
        os.write(1, json.dumps(what).encode() + b"\n")
    except BrokenPipeError:
        pass


if __name__ == "__main__":
    main()
