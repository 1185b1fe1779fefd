"""The techniques, one file each, and their registry.

To add one: write ``techniques/mine.py`` with a handler, a client and a descriptor, and name it here; or pass
``Lab(techniques=(*labkit.TECHNIQUES, MINE))`` without touching the package.
"""

from __future__ import annotations

from collections.abc import Iterable

from labkit.errors import BadTechnique, UnknownTechnique
from labkit.techniques.base import Opening, Technique
from labkit.techniques.delivery import Delivery
from labkit.techniques.http_streaming import HTTP_STREAMING
from labkit.techniques.long_polling import LONG_POLLING
from labkit.techniques.plugin_socket import PLUGIN_SOCKET
from labkit.techniques.polling import POLLING
from labkit.techniques.sse import SSE
from labkit.techniques.websocket import WEBSOCKET

TECHNIQUES: tuple[Technique, ...] = (POLLING, LONG_POLLING, HTTP_STREAMING, SSE, WEBSOCKET, PLUGIN_SOCKET)

__all__ = ["TECHNIQUES", "Delivery", "Opening", "Technique", "distinct", "find", "known", "meet"]


_met: dict[str, Technique] = {}


def meet(techniques: Iterable[Technique]) -> None:
    """Remember techniques from elsewhere, for those who ask for them by name (:func:`known`)."""
    _met.update({one.name: one for one in techniques if one not in TECHNIQUES})


def known() -> tuple[Technique, ...]:
    """The kit's techniques, and those from elsewhere that a lab of this process has served."""
    return (*TECHNIQUES, *(one for name, one in _met.items() if name not in {t.name for t in TECHNIQUES}))


def distinct(techniques: Iterable[Technique]) -> tuple[Technique, ...]:
    """The techniques, as long as each is one and has a name of its own: rows and bytes are told apart by it.

    Raises:
        BadTechnique: something else, or two of one name.
    """
    found: dict[str, Technique] = {}
    for one in techniques:
        if not isinstance(one, Technique):
            raise BadTechnique(f"{one!r:.60} is no technique: expected a labkit.techniques.Technique, or a name")
        if one.name in found:
            raise BadTechnique(f"two techniques are called {one.name!r}: another is technique.variant('another name')")
        found[one.name] = one
    return tuple(found.values())


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
