"""multipart/x-mixed-replace on the wire: parts between boundaries (RFC 2046 section 5.1).

The boundary may stand behind each part, so that a reader knows at once that it is whole, or before each. Not here:
what a part holds, header fields of a part, and nested parts.
"""

from __future__ import annotations

import re

from labkit.wire.spans import MAX_ITEM_BYTES, TOO_LONG, Item, Run

_BOUNDARY = re.compile(r';\s*boundary\s*=\s*(?:"([^"]*)"|([^\s;]+))', re.IGNORECASE)


def boundary_of(content_type: str) -> str:
    """The boundary that a Content-Type names; empty where it names none."""
    found = _BOUNDARY.search(content_type)
    return (found[1] or found[2] or "") if found else ""


class PartDecoder:
    """The bytes of one multipart body in, the bodies of its parts out, as bytes.

    What stands before the first boundary and after the last one is framing (the preamble and the epilogue).

    Args:
        content_type: names the boundary.
        max_item_bytes: the longest part that is held; nothing of a longer one is read. None: any.
    """

    def __init__(self, content_type: str, *, max_item_bytes: int | None = MAX_ITEM_BYTES) -> None:
        name = boundary_of(content_type).encode("latin-1", "replace")
        self._delimiter = re.compile(b"--" + re.escape(name) + b"(?:(--)|[ \t]{0,100}\r\n)")
        self._longest = len(name) + 128  # a delimiter with as much padding as anybody sends
        self._max_item_bytes = max_item_bytes
        self._buffer = bytearray()
        self._searched = 0
        self._is_first = True
        self._is_ended = False
        self._skipping = False

    def items(self, data: bytes) -> list[Item]:
        """Take what one read brought, and give the parts that it completed."""
        if self._is_ended:
            return [(None, [(len(data), "framing", "epilogue", None)])] if data else []
        self._buffer += data
        items: list[Item] = []
        while (found := self._find()) is not None:
            whole = bytes(self._buffer[: found.start()])
            items.append(self._part(whole, found.end() - found.start()))
            self._is_first = False
            del self._buffer[: found.end()]
            self._searched = 0
            if found[1] is not None:
                self._is_ended = True
                rest = len(self._buffer)
                self._buffer.clear()
                return [*items, (None, [(rest, "framing", "epilogue", None)])] if rest else items
        self._searched = max(0, len(self._buffer) - self._longest)
        if self._skipping or self._is_too_long(self._searched):
            passed = max(0, self._searched - 1)  # the byte before a delimiter tells whether it begins a line
            items.append((None, [(passed, "payload", TOO_LONG, None)]))
            del self._buffer[:passed]
            self._searched, self._skipping = self._searched - passed, True
        return items

    def _find(self) -> re.Match[bytes] | None:
        """The next delimiter that begins a line."""
        at = self._searched
        while (found := self._delimiter.search(self._buffer, at)) is not None:
            if found.start() == 0 or self._buffer[found.start() - 1] == 0x0A:
                return found
            at = found.start() + 1
        return None

    def _part(self, whole: bytes, delimiter: int) -> Item:
        closing: Run = (delimiter, "framing", "delimiter", None)
        if self._skipping or self._is_too_long(len(whole)):
            self._skipping = False
            return None, [(len(whole), "payload", TOO_LONG, None), closing]
        if self._is_first:
            return None, [(len(whole), "framing", "preamble", None), closing]  # RFC 2046 section 5.1.1
        blank = 0 if whole.startswith(b"\r\n") else whole.find(b"\r\n\r\n") + 2
        if blank == 1:
            return None, [(len(whole), "framing", "part head", None), closing]
        before, raw = blank + 2, whole[blank + 2 :]
        body = raw.removesuffix(b"\r\n")
        runs: list[Run] = [(before, "framing", "part head", None), (len(body), "payload", "", None)]
        runs.append((len(raw) - len(body) + delimiter, "framing", "delimiter", None))
        return body, runs

    def _is_too_long(self, size: int) -> bool:
        return self._max_item_bytes is not None and size > self._max_item_bytes

    def end(self) -> list[Item]:
        """The body has ended; a part without the boundary behind it never became whole."""
        return []
