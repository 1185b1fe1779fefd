"""The techniques, one file each, and their registry.

To add one: write ``techniques/mine.py`` with a handler, a client and a descriptor, and name it here; or pass
``Lab(techniques=(*labkit.TECHNIQUES, MINE))`` without touching the package.
"""

from __future__ import annotations

from collections.abc import Iterable

from labkit.errors import UnknownTechnique
from labkit.techniques.base import Opening, Technique
from labkit.techniques.http_streaming import HTTP_STREAMING
from labkit.techniques.long_polling import LONG_POLLING
from labkit.techniques.plugin_socket import PLUGIN_SOCKET
from labkit.techniques.polling import POLLING
from labkit.techniques.reading import Delivery
from labkit.techniques.sse import SSE
from labkit.techniques.websocket import WEBSOCKET

TECHNIQUES: tuple[Technique, ...] = (POLLING, LONG_POLLING, HTTP_STREAMING, SSE, WEBSOCKET, PLUGIN_SOCKET)

__all__ = ["TECHNIQUES", "Delivery", "Opening", "Technique", "find"]


def find(name: str, among: Iterable[Technique] = TECHNIQUES) -> Technique:
    """The technique of that name.

    Raises:
        UnknownTechnique: there is none; the message lists the known ones.
    """
    for one in among:
        if one.name == name:
            return one
    known = ", ".join(t.name for t in among)
    raise UnknownTechnique(f"unknown technique {name!r}; known are: {known}")
