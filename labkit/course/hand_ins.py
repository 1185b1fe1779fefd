"""The files that a class has handed in: which of them are hand-ins, and what is wrong with each of the others.

A folder of hand-ins has everything in it: torn files, other people's JSON, the same student twice. One of them must not
cost a lecturer all the others, so each that is left out is said, with the reason, and the rest is read.
"""

from __future__ import annotations

import json
import math
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from labkit.errors import LabkitError

FORMAT = 1
MOST_BYTES = 16 << 20
"""A hand-in has some tens of KiB; what is larger than this is not read."""


@dataclass(frozen=True)
class HandIn:
    """One file that can be read: its content, as :func:`labkit.submit` wrote it."""

    path: Path
    content: dict[str, Any]

    @property
    def student(self) -> str:
        return str(self.content["student"]["id"])

    @property
    def written(self) -> datetime:
        """When; a time without a zone counts as UTC, and one that is not said is the oldest."""
        return _time(self.content.get("written")) or datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class LeftOut:
    """A file that does not count, and why."""

    path: Path
    why: str

    def __str__(self) -> str:
        return f"{self.path}: {self.why}"


def read_all(paths: Iterable[Path]) -> tuple[list[HandIn], list[LeftOut]]:
    """Read what can be read, one hand-in of each student: the newest."""
    newest: dict[str, HandIn] = {}
    seen: dict[Path, Path] = {}
    left: list[LeftOut] = []
    for path in paths:
        try:
            first = seen.setdefault(path.resolve(), path)
            if first is not path:
                raise LabkitError(f"the same file as {first}")
            found = HandIn(path, read(path))
        except (LabkitError, OSError, RuntimeError) as error:  # resolve() of a link to itself
            left.append(LeftOut(path, str(error)))
            continue
        known = newest.get(key := found.student.strip().lower())
        older, newer = (found, known) if known is not None and known.written > found.written else (known, found)
        newest[key] = newer
        if older is not None:
            left.append(LeftOut(older.path, f"{older.student} handed in again: {newer.path} is newer"))
    return list(newest.values()), left


def read(path: Path) -> dict[str, Any]:
    """The content of one hand-in.

    Raises:
        LabkitError: it is none, or cannot be read; the message says why.
    """
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            raise LabkitError("a folder" if stat.S_ISDIR(about.st_mode) else "not a file")
        if about.st_size > MOST_BYTES:
            raise LabkitError(f"too large for a hand-in: {about.st_size >> 20} MiB")
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise LabkitError(f"cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise LabkitError("not UTF-8") from None
    if not text.strip():
        raise LabkitError("empty")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LabkitError(f"not JSON ({str(error)[:80]})") from None
    check(content)
    return content  # type: ignore[no-any-return]


def check(content: object) -> None:
    """See to it that a hand-in has what is read of it, in the types that it is read as.

    Raises:
        LabkitError: it has not; the message names the member.
    """
    if not isinstance(content, dict) or type(content.get("labkit")) is not int:
        raise LabkitError("other JSON: labkit.submit() did not write it")
    if content["labkit"] > FORMAT:
        raise LabkitError(f"of a newer labkit: format {content['labkit']}, and this one reads {FORMAT}")
    if content["labkit"] != FORMAT:
        raise LabkitError(f"format {content['labkit']}, which was never written")
    _member("written", content.get("written"), _time, "a time, such as 2026-11-27T09:00:00+00:00")
    id = _dict("student", content.get("student")).get("id")
    _member("student.id", id, lambda value: is_text(value) and value.strip(), "a name or number as text")
    for place, claim in enumerate(_member("claims", content.get("claims"), _is_list, "a list")):
        _check_claim(f"claims[{place}]", _dict(f"claims[{place}]", claim))
    for exercise, answer in _dict("answers", content.get("answers")).items():
        name = f"answers[{exercise!r:.20}]"
        given = _dict(name, answer)
        _member(f"{name}.right", given.get("right"), lambda value: isinstance(value, bool), "true or false")
        _member(f"{name}.numbers_of", given.get("numbers_of", ""), is_text, "a text")


def _check_claim(name: str, claim: dict[str, Any]) -> None:
    for member in ("id", "verdict"):
        _member(f"{name}.{member}", claim.get(member), is_text, "a text")
    ratio = claim.get("ratio")
    _member(
        f"{name}.ratio", ratio, lambda value: value is None or (_is_number(value) and value > 0), "above 0, or null"
    )
    record, guess = (_dict(f"{name}.{part}", claim.get(part) or {}) for part in ("record", "prediction"))
    for part, of in (("record", record), ("prediction", guess)):
        _member(f"{name}.{part}.unit", of.get("unit", ""), is_text, "a text")
    _member(f"{name}.record.measured", record.get("measured"), _is_measured, "a value, or several")
    guessed = guess.get("value")
    _member(f"{name}.prediction.value", guessed, lambda found: found is None or _is_number(found), "a number, or null")


def _is_measured(value: object) -> bool:
    """What a record may have of a claim: one value, or several, by name or in a row."""
    parts = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else [value]
    return all(part is None or isinstance(part, bool) or _is_number(part) or is_text(part) for part in parts)


def _member(name: str, value: Any, right: Callable[[Any], object], expected: str) -> Any:
    if not right(value):
        raise LabkitError(f"{name} is {value!r:.40}: expected {expected}")
    return value


def _dict(name: str, value: Any) -> dict[str, Any]:
    return _member(name, value, lambda found: isinstance(found, dict), "an object")  # type: ignore[no-any-return]


def _is_list(value: object) -> bool:
    return isinstance(value, list)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_text(value: object) -> bool:
    """A lone surrogate, which JSON can hold, cannot be shown."""
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)


def _time(value: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
