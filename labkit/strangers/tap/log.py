"""What has happened on the tapped connections, in the order of time: plain entries, a line of JSON for each in a file.

An entry has ``t_ns`` (from the beginning), ``what``, ``x`` (its exchange, where it is of one), and:

==========  ==========================================================================================================
opened      ``c`` (its connection), ``client``
request     ``c``, ``method``, ``target``, ``version``, ``fields``
answer      ``status``, ``version``, ``fields``
body        the first byte of an answer's body
event       ``id``, ``type``, ``bytes``; ``data`` (its beginning) and ``digest``, unless contents are left out
beat        a heartbeat: a comment of an event stream, or an event that is called one
gap         ``after``, ``next``: a lab's word that events cannot be delivered
message     of a WebSocket's client: ``bytes``, ``data``, ``digest``
control     ``way``, ``op``, and of a close ``code`` and ``reason``
piece       ``bytes`` of a body that is read no further: what came in one read
fin         ``by``: whose FIN has come, of an exchange that the other side has not ended since
sizes       ``bytes`` by category, up to then, of an exchange that was open when it was last looked at
end         ``how``, ``whole``, ``bytes`` by category
closed      ``c``, ``how``
note        ``text``
stopped     until then it was seen: what has no end by then was open
==========  ==========================================================================================================
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from labkit import files
from labkit.errors import LabkitError
from labkit.strangers.secrets import LEFT_OUT, is_secret, shown
from labkit.wire.events import now_ns

Entry = dict[str, Any]
KIND, FORMAT = "labkit tap", 1
MOST_ENTRIES = 200_000
SHOWN_CHARACTERS = 400


class Log:
    """The happenings of one tap.

    Args:
        settings: how the tap was made.
        contents: whether what was carried is kept.
        with_secrets: whether what lets somebody in is.
        heard: told each entry when it is put down.
    """

    def __init__(
        self,
        settings: Mapping[str, Any] | None = None,
        *,
        contents: bool = True,
        with_secrets: bool = False,
        heard: Callable[[Entry], None] | None = None,
    ) -> None:
        self.settings = dict(settings or {})
        self.contents = contents
        self.with_secrets = with_secrets
        self.started_ns = now_ns()
        self.entries: list[Entry] = []
        self.dropped = 0
        """How many there were beyond the most that are kept."""
        self.stopped_ns: int | None = None
        """When it ended; None while it goes on."""
        self._heard = heard or (lambda _: None)

    def put(self, what: str, t_ns: int, **more: Any) -> Entry:
        """Put one down, and give it back.

        Args:
            t_ns: on the kit's clock.
        """
        entry = {"t_ns": t_ns - self.started_ns, "what": what, **more}
        if self.stopped_ns is not None:
            return entry
        if len(self.entries) < MOST_ENTRIES:
            self.entries.append(entry)
        else:
            self.dropped += 1
        self._heard(entry)
        return entry

    def stop(self, t_ns: int) -> None:
        """Put nothing more down: what still ends, the tap's own end has ended."""
        if self.stopped_ns is None:
            self.put("stopped", t_ns)
            self.stopped_ns = t_ns

    def carried(self, data: str | bytes) -> dict[str, Any]:
        """What an entry says of these data."""
        raw = data.encode("utf-8", "replace") if isinstance(data, str) else data
        if not self.contents:
            return {"bytes": len(raw)}
        text = raw[: 4 * SHOWN_CHARACTERS].decode("utf-8", "replace")[:SHOWN_CHARACTERS]
        return {"bytes": len(raw), "data": text, "digest": hashlib.blake2b(raw, digest_size=8).hexdigest()}

    def fields(self, fields: Iterable[tuple[str, str]]) -> list[list[str]]:
        """A head's fields, without what lets somebody in."""
        if self.with_secrets:
            return [list(field) for field in fields]
        return [[n, LEFT_OUT if is_secret(n) else shown(value)] for n, value in fields]

    def target(self, target: str) -> str:
        return target if self.with_secrets else shown(target)

    def sorted(self) -> list[Entry]:
        """By time: what two connections had is put down a little after it passed."""
        return sorted(self.entries, key=lambda entry: int(entry["t_ns"]))

    def write(self, path: str | Path, entries: Sequence[Entry]) -> Path:
        """Write these, a line of JSON for each.

        Raises:
            LabkitError: it cannot be written.
        """
        head = {"labkit": KIND, "format": FORMAT, **self.settings, "entries": len(entries)}
        return files.write(path, "".join(f"{json.dumps(one, ensure_ascii=False)}\n" for one in [head, *entries]))


_OF_EXCHANGE: dict[str, dict[str, type]] = {
    "request": {"c": int, "method": str, "target": str, "version": str, "fields": list},
    "answer": {"status": int, "version": str, "fields": list},
    "body": {},
    "event": {"bytes": int},
    "beat": {"bytes": int},
    "gap": {},
    "message": {"bytes": int},
    "control": {"way": str, "op": str},
    "piece": {"bytes": int},
    "fin": {"by": str},
    "sizes": {"bytes": dict},
    "end": {"how": str, "whole": bool, "bytes": dict},
}
_SHAPES: dict[str, dict[str, type]] = {
    **{what: {"x": int, **more} for what, more in _OF_EXCHANGE.items()},
    "opened": {"c": int, "client": str},
}
_HEAD = {"format": int, "clock": str, "started": str, "started_ns": int, "entries": int}


def read(path: str | Path) -> tuple[dict[str, Any], list[Entry]]:
    """Settings and entries of a file that a tap wrote, ``.jsonl`` or a run's ``.parquet``.

    Raises:
        LabkitError: it cannot be read, is something else, or is damaged.
    """
    refused = LabkitError(f"{path} is no tap's file: write one with `labkit tap --to URL --out FILE.jsonl`")
    if Path(path).suffix == ".parquet":
        from labkit.measuring.run import load

        kept = load(path).settings.get("tap")
        if not kept:
            raise refused
        return kept["head"], kept["entries"]
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise LabkitError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError:
        raise refused from None
    first, *lines = text.split("\n")[:-1] or [""]
    head = _parsed(first)
    if head is None or head.get("labkit") != KIND:
        raise refused
    if isinstance(head.get("format"), int) and head["format"] > FORMAT:
        raise LabkitError(f"{path} was written by a newer labkit: update this one to read it")
    if not _has(head, _HEAD):
        raise LabkitError(f"{path} is damaged: its first line does not say how it was made")
    entries = [_parsed(line) for line in lines]
    for number, entry in enumerate(entries, 2):
        if entry is None or not _has(entry, {"t_ns": int, "what": str, **_SHAPES.get(str(entry.get("what")), {})}):
            raise LabkitError(f"{path} is damaged: line {number} is no happening of a tap; record it again")
    if len(entries) != head["entries"]:
        raise LabkitError(f"{path} is damaged: it has {len(entries)} of its {head['entries']} happenings; record it "
                          "again, and end the tap with Ctrl-C")  # fmt: skip
    return head, [entry for entry in entries if entry is not None]


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _has(value: Mapping[str, Any], shape: Mapping[str, type]) -> bool:
    """Whether these are in it, and of these types."""
    return all(isinstance(value.get(name), kind) for name, kind in shape.items()) and all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(text, str) for text in pair)
        for pair in value.get("fields", ())
    )


def clock() -> str:
    """What names the clock of this machine since it was started: two taps on one machine share it."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except OSError:
        return ""
    return hashlib.blake2b(f"{platform.node()}{boot}".encode(), digest_size=6).hexdigest()
