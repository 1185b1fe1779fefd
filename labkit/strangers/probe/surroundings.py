"""What of this machine, or of the client, may make a difference: proxies that other programs go through."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from labkit.client.address import Address
from labkit.strangers.probe.finding import Note
from labkit.strangers.probe.plan import Plan
from labkit.strangers.secrets import shown

EVERY = ("ALL_PROXY", "all_proxy")
BY_SCHEME = {True: ("HTTPS_PROXY", "https_proxy", *EVERY), False: ("http_proxy", "HTTP_PROXY", *EVERY)}
"""Where programs look for a proxy, by whether it is for TLS."""


def around(plan: Plan, environment: Mapping[str, str]) -> list[Note]:
    """The notes on it.

    Args:
        environment: this process's variables.
    """
    notes, place = list[Note](), plan.first.address
    named = next((name for name in BY_SCHEME[place.is_secure] if environment.get(name)), "")
    if named and plan.first.proxy is None and not is_excepted(place, environment):
        notes.append(Note(6, f"{named} is set here, and was not used: programs that heed it go through that proxy, and "
                          "--proxy ADDRESS asks as they do"))  # fmt: skip
    if plan.also is not None and not plan.sendable:
        where = shown(str(plan.also))
        notes.append(Note(0, f"{where} was not asked: the request has a body (--again allows it)"))
    return notes


def is_excepted(place: Address, environment: Mapping[str, str]) -> bool:
    """Whether NO_PROXY takes it out: ``*``, a host, a domain and all below it, an address or a network, with a port."""
    listed = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    return any(_covers(each.strip().lower(), place) for each in listed.split(","))


def _covers(entry: str, place: Address) -> bool:
    if not entry or entry == "*":
        return bool(entry)
    try:
        return ipaddress.ip_address(place.host) in ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        pass  # one of the two is a name
    name, colon, port = entry.rpartition(":")
    if colon and port.isdigit() and name.count(":") == 0:
        if int(port) != place.port:
            return False
        entry = name
    name = entry.removeprefix("*").lstrip(".")
    return place.host == name or place.host.endswith(f".{name}")
