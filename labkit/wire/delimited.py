"""Lines, and messages with a NUL behind each: a body or a connection cut at one byte.

Not here: what the lines or messages say.
"""

from __future__ import annotations

from labkit.wire.spans import MAX_ITEM_BYTES, TOO_LONG, Item, Run


class Delimited:
    """Bytes in, out what stands between the delimiters, each as bytes; nothing is handed over of an empty one.

    Args:
        delimiter: one byte. A CR before an LF belongs to the delimiter.
        label: what the delimiter is called.
        max_item_bytes: the longest line that is held; nothing of a longer one is read. None: any.
        ends_last: whether the end of the body ends its last line too.
    """

    def __init__(
        self,
        delimiter: bytes = b"\n",
        label: str = "delimiter",
        *,
        max_item_bytes: int | None = MAX_ITEM_BYTES,
        ends_last: bool = False,
    ) -> None:
        self._delimiter = delimiter
        self._label = label
        self._max_item_bytes = max_item_bytes
        self._ends_last = ends_last
        self._rest = bytearray()
        self._skipping = False

    def items(self, data: bytes) -> list[Item]:
        """Take what one read brought, and give what it completed."""
        *whole, rest = data.split(self._delimiter)
        items: list[Item] = []
        for end in whole:
            if self._skipping:
                items.append((None, [(len(end), "payload", TOO_LONG, None), (1, "framing", self._label, None)]))
                self._skipping = False
                continue
            raw = end
            if self._rest:
                raw = bytes(self._rest + end)
                self._rest.clear()
            items.append(self._item(raw))
        if self._skipping:
            items.append((None, [(len(rest), "payload", TOO_LONG, None)]))
        else:
            self._rest += rest
            if self._is_too_long(self._rest):
                items.append((None, [(len(self._rest), "payload", TOO_LONG, None)]))
                self._rest.clear()
                self._skipping = True
        return items

    def _item(self, raw: bytes) -> Item:
        if self._is_too_long(raw):
            return None, [(len(raw), "payload", TOO_LONG, None), (1, "framing", self._label, None)]
        behind = 1
        if self._delimiter == b"\n" and raw.endswith(b"\r"):
            raw, behind = raw[:-1], 2
        runs: list[Run] = [(len(raw), "payload", "", None)] if raw else []
        runs.append((behind, "framing", self._label, None))
        return raw or None, runs

    def _is_too_long(self, raw: bytes | bytearray) -> bool:
        return self._max_item_bytes is not None and len(raw) > self._max_item_bytes

    def end(self) -> list[Item]:
        """The body has ended; a line without its end has not become whole, unless that was said to end it."""
        raw = bytes(self._rest)
        if not raw or not self._ends_last:
            return []
        self._rest.clear()
        return [(raw, [(len(raw), "payload", "", None)])]
