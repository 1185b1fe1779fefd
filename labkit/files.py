"""A file that is written whole or not at all, and whether one can be."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from labkit.errors import LabkitError

NOT_ORDINARY = "it is no ordinary file, and would be replaced by one"
PART_OF_NAME = 40
"""Characters of a file's name that stand in that of its unfinished one, which is longer and has a limit as well."""


def check(path: str | Path) -> None:
    """Say now what would keep a file from being written to *path* at the end of what takes its time.

    Raises:
        LabkitError: it cannot be written, and why; nothing was touched.
    """
    path = Path(path)
    folder = path.absolute().parent
    if str(path) == "-":
        why = "it names no file, and what is printed goes to the terminal"
    elif path.is_dir():
        why = "it is a folder"
    elif path.exists() and not path.is_file():
        why = NOT_ORDINARY
    elif not folder.is_dir():
        why = f"{folder} is no folder"
    elif not os.access(folder, os.W_OK):
        why = f"nothing may be put into {folder}"
    else:
        return
    raise LabkitError(f"{path} cannot be written: {why}")


@contextmanager
def whole(path: str | Path) -> Iterator[BinaryIO]:
    """Give a new file beside *path*, which takes its place once all of it is on the disk.

    Whatever goes wrong on the way, an interrupt too, leaves nothing behind, and what stood at *path* still does.

    Raises:
        LabkitError: it cannot be written, and why; a device or a pipe is left alone.
    """
    path = Path(path)
    part = path.parent / f".{path.name[:PART_OF_NAME]}.{secrets.token_hex(4)}.part"
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise LabkitError(f"{path} cannot be written: {NOT_ORDINARY}")
        with part.open("xb+") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise LabkitError(f"{path} cannot be written: {error.strerror or error}; nothing was changed there") from error
    finally:
        with suppress(OSError):  # it was never made
            part.unlink()


def write(path: str | Path, text: str) -> Path:
    """Write *text* in UTF-8, whole or not at all.

    Raises:
        LabkitError: it cannot be written, and why.
    """
    with whole(path) as file:
        file.write(text.encode())
    return Path(path)
