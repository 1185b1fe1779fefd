"""The logbook: files of records, predictions and answers to exercises, one a line and never changed.

Records are kept in ``$LABKIT_CLAIMS``, or else in ``claims.jsonl`` of the user's data directory; predictions in
``claims.predictions.jsonl`` beside it, answers to exercises in ``claims.answers.jsonl``. What a line means is for
``recording.py`` and ``predicting.py`` to say.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from labkit.errors import LabkitError

LOCK_TIMEOUT_S = 10.0
"""How long to wait for another process that writes."""


def path() -> Path:
    """Where records are kept."""
    if os.environ.get("LABKIT_CLAIMS"):
        return Path(os.environ["LABKIT_CLAIMS"])
    from platformdirs import user_data_path

    return user_data_path("labkit") / "claims.jsonl"


def predictions_path() -> Path:
    """Where predictions are kept."""
    return path().with_name(path().stem + ".predictions.jsonl")


def answers_path() -> Path:
    """Where answers to exercises are kept."""
    return path().with_name(path().stem + ".answers.jsonl")


def append(file: Path, entry: dict[str, Any]) -> None:
    """Write one whole line under the file's lock, on a line of its own even after a torn one."""
    from filelock import FileLock

    line = json.dumps(entry, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode() + b"\n"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{file}.lock", timeout=LOCK_TIMEOUT_S), file.open("ab+") as out:
            if out.seek(0, os.SEEK_END):
                out.seek(-1, os.SEEK_END)
                line = line if out.read(1) == b"\n" else b"\n" + line
            out.write(line)
    except (OSError, TimeoutError) as error:
        raise LabkitError(f"cannot write {file} ({error}); set LABKIT_CLAIMS to a file that can be written") from error


def entries(file: Path) -> Iterator[dict[str, Any]]:
    """The lines that can be read; a torn one is skipped.

    Raises:
        LabkitError: the file may not be read.
    """
    try:
        lines = file.read_bytes().split(b"\n")
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise LabkitError(f"cannot read {file} ({error}); set LABKIT_CLAIMS to a file that can be read") from error
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and isinstance(entry.get("id"), str):
            yield entry


def notebook() -> str | None:
    """The name of the notebook that this kernel belongs to, where a Jupyter server says so."""
    session = os.environ.get("JPY_SESSION_NAME", "")
    return Path(session).stem if session.endswith(".ipynb") else None


def plain(value: Any) -> Any:
    """What JSON can hold: numpy's numbers as Python's, and null for a number that is none."""
    if isinstance(value, Mapping):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | None) else str(value)


def now() -> str:
    """When a line is written: UTC, in ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
