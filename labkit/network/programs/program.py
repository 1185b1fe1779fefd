"""What the kit knows of a program that may stand between: where it is, how it is started, its two configurations."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/usr/local/bin", "/usr/bin", "/opt/homebrew/bin", "/opt/homebrew/sbin")
"""Where programs are that the PATH of many people does not lead to."""


@dataclass(frozen=True, slots=True)
class Program:
    """One program. In its texts ``@port@`` is the port of its own, on 127.0.0.1, ``@target@``, ``@target_host@`` and
    ``@target_port@`` are what it stands in front of, and ``@folder@`` is its temporary folder, where it is started.

    Attributes:
        name: as :func:`labkit.real_intermediary` takes it.
        executables: what it is called on disk, the first that is there.
        file: what its configuration's file is called.
        arguments: that make it stay in the foreground and read that file.
        default: the configuration that has nothing but the target's address.
        recommended: the one that its own documentation advises for streams and WebSocket.
        install: how to install it, as a clause.
        version: arguments that make it say its version.
        grace_s: how long it may take to end when it is asked to, before it is killed.
        ready: a path at which it answers 200 by itself once it passes requests on; empty: it does as soon as it takes
            connections.
        behind: finds the program behind what the name leads to, where that may be a script.
        completed: the configuration with what depends on where the program is installed.
        edge: what stands in place of what in its texts where clients speak HTTP/2 to it, over TLS; key and certificate
            are in ``identity.pem``. Empty: the kit knows no such configuration.
    """

    name: str
    executables: tuple[str, ...]
    file: str
    arguments: tuple[str, ...]
    default: str
    recommended: str
    install: str
    version: tuple[str, ...] = ("-v",)
    grace_s: float = 1.0
    ready: str = ""
    behind: Callable[[Path], Path] = Path
    completed: Callable[[str, Path], str] = lambda text, executable: text
    edge: tuple[tuple[str, str], ...] = ()

    def find(self) -> Path | None:
        """Where it is installed: on the PATH, beside this Python, or in the usual folders."""
        for name in self.executables:
            if found := shutil.which(name, path=search_path()):
                return self.behind(Path(found))
        return None

    def text(self, config: str, http: int = 1) -> str:
        """A configuration, with what depends on where the program is installed."""
        text, found = (self.default if config == "default" else self.recommended), self.find()
        for clear, secure in self.edge if http == 2 else ():
            text = text.replace(clear, secure)
        return self.completed(text, found) if found else text


def filled(text: str, values: Mapping[str, object]) -> str:
    """*text* with each ``@name@`` replaced by its value."""
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    return text


def search_path() -> str:
    """Where programs are looked for, as a PATH."""
    own = str(Path(sys.executable).parent)  # what pip has installed beside a kernel whose environment is not activated
    return os.pathsep.join([*filter(None, os.environ.get("PATH", "").split(os.pathsep)), own, *FOLDERS])
