"""Which techniques a lab can serve: one that cannot be is refused, in a sentence, before anything is started."""

from __future__ import annotations

from collections.abc import Iterable

from labkit.errors import BadTechnique
from labkit.techniques import Technique, distinct, find, meet

OWN_ROUTES = ("/", "/events", "/browser", "/websocket/echo")
OWN_FOLDER = "/page/"


def served(techniques: Iterable[Technique | str]) -> tuple[Technique, ...]:
    """The techniques, those that were named looked up.

    Raises:
        UnknownTechnique: a name that the kit does not know; lists the known ones.
        BadTechnique: something that is none, two of one name, a route that is none or is taken, no handler for one.
    """
    found = distinct(find(one) if isinstance(one, str) else one for one in techniques)
    routes = dict.fromkeys(OWN_ROUTES, "the lab itself")
    for technique in found:
        if technique.port != "http":
            continue
        name, route = technique.name, technique.route
        if technique.handler is None:
            raise BadTechnique(f"{name} has no handler: on the HTTP port somebody has to answer to {route!r}")
        if not route.startswith("/"):
            raise BadTechnique(f"{name}: the route {route!r} begins with no slash; try {'/' + route!r}")
        if route in routes or route.startswith(OWN_FOLDER):
            taken_by = routes.get(route, "the lab itself")
            raise BadTechnique(f"{name}: the route {route!r} is taken by {taken_by}; choose another")
        routes[route] = name
    meet(found)
    return found
