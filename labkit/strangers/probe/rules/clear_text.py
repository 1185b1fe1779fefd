"""What may have read along where an answer crossed a network in clear text: row 6."""

from __future__ import annotations

from urllib.parse import urlsplit

from labkit.strangers.probe.observation import Observation


def clear_text(one: Observation) -> tuple[str, ...]:
    """That cause, where an answer that was held crossed a network in clear text."""
    place = urlsplit(one.address)
    if place.scheme != "http" or (place.hostname or "") in ("localhost", "::1") or _is_loopback(place.hostname):
        return ()
    return ("a program on this machine that reads clear text, such as an antivirus (row 6): ask https://",)


def _is_loopback(host: str | None) -> bool:
    return (host or "").startswith("127.")
