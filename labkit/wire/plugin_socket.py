"""What the two sides of a plugin socket say: NUL-ended messages, of which the client's first is its request."""

from __future__ import annotations

import json
from typing import Any

from labkit.wire.delimited import Delimited
from labkit.wire.messages import FROM_CLIENT
from labkit.wire.spans import MAX_HELD_BYTES, Category, Exchange, Item, Run


class FromClient:
    """The client's messages: its policy request or its subscription, then what it publishes."""

    def __init__(self, exchange: Exchange) -> None:
        self.has_asked = self.is_policy = False
        self._exchange = exchange
        self._decoder = Delimited(b"\0", "NUL", max_item_bytes=MAX_HELD_BYTES)

    def items(self, data: bytes) -> list[Item]:
        return [self._told(*item) for item in self._decoder.items(data)]

    def end(self) -> list[Item]:
        return []

    def _told(self, value: Any, runs: list[Run]) -> Item:
        category: Category = "payload" if self.has_asked else "envelope"
        label = FROM_CLIENT if self.has_asked else self._first(value or b"")
        return value, [
            (count, category, label, None) if was == "payload" else (count, was, name, None)
            for count, was, name, _ in runs
        ]

    def _first(self, raw: bytes) -> str:
        self.has_asked, self.is_policy = True, raw.startswith(b"<")
        try:
            topic = json.loads(raw)["subscribe"].get("topic", "")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            topic = ""
        self._exchange.topic = topic if isinstance(topic, str) else ""
        return "policy request" if self.is_policy else "subscribe"
