"""What a notebook's page can do as a subscriber, and the check of a subscriber's settings."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from labkit.errors import LabClosed, LabkitError, UnknownTechnique
from labkit.network.between import Between, led_through
from labkit.server.limits import check_topic
from labkit.techniques.websocket import WEBSOCKET
from labkit.theory import Mark, Nature, Silent
from labkit.theory.durations import seconds

if TYPE_CHECKING:
    from labkit.lab.lab import Lab

COMM = "notebook-comm"
NO_PAGE = "no page attached"
NO_PROXY = "attach the page through the port, or to a lab without tls=True"
COMM_NATURE = Nature(
    "Notebook comm",
    "notebook comm",
    "stream",
    Mark("#858585", "star", "4px,2px,1px,2px"),
    Silent("a page does not come through the run's link"),
)
CARRIER = WEBSOCKET
"""By which the kernel receives what it sends on over the comm."""
MIN_INTERVAL_S, MAX_INTERVAL_S = 0.05, 3600


def has_front_end() -> bool:
    """Whether this kernel was started by a Jupyter server, for a page; nbmake and jupyter_client start it without."""
    return "JPY_SESSION_NAME" in os.environ


def to_believe(lab: Lab) -> str:
    """What makes a browser believe the certificate of a lab that speaks TLS; empty for one that does not."""
    if not lab.cafile:
        return ""
    return (
        f"the browser must believe this lab's certificate: open {lab.url}/ in another tab of it and go on past the "
        f"warning, or let it trust {lab.cafile}"
    )


def check(
    lab: Lab,
    names: list[str],
    topic: str,
    choices: dict[str, str],
    poll_interval_s: float,
    through: Between | None = None,
) -> None:
    """Raise what says which setting a page cannot do here, and what it can."""
    if lab.closed:
        raise LabClosed(f"lab {lab.name!r} is closed: start another with labkit.Lab()")
    if lab.http == (2,) and not lab.cafile:
        raise LabkitError(
            "no browser speaks HTTP/2 in clear text: attach the page to a lab with tls=True or http=(1, 2)"
        )
    if through is not None and not isinstance(through, Between):
        raise LabkitError(f"through={through!r:.60}: expected a labkit.Link, another relay, or a real intermediary")
    gateway = next((hop.name for hop in led_through(through)[0] if hop.stretch.gateway), None)
    if lab.cafile and gateway:
        raise LabkitError(f"{gateway} reads HTTP, and this lab speaks TLS: put it before a lab without tls=True")
    if lab.cafile and choices["via"] == "proxy":
        raise LabkitError(f"jupyter-server-proxy speaks no TLS to a lab: {NO_PROXY}")
    served = [technique.name for technique in lab.techniques]
    can = [technique.name for technique in lab.techniques if technique.in_browser]
    if CARRIER.name in served:
        can.append(COMM)  # the kernel receives by it
    they = ", ".join(can) or "nothing"
    for name in names:
        if name not in can:
            why = ": it has no half in JavaScript" if name in served else ""
            raise UnknownTechnique(f"a page cannot do {name!r} here{why}; it can do: {they}")
    if not names:
        raise UnknownTechnique(f"no technique was named; a page can do: {they}")
    known: dict[str, tuple[str, ...]] = {"via": ("auto", "port", "proxy"), "accept": ("", "text/event-stream", "*/*")}
    known["while_hidden"] = ("pause", "go on")
    for setting, value in choices.items():
        if value not in known[setting]:
            raise ValueError(f"{setting}={value!r}: expected one of {', '.join(map(repr, known[setting]))}")
    check_topic(topic)
    seconds("poll_interval_s", poll_interval_s, MAX_INTERVAL_S)
    if poll_interval_s < MIN_INTERVAL_S:
        raise ValueError(f"poll_interval_s={poll_interval_s!r}: expected {MIN_INTERVAL_S} to {MAX_INTERVAL_S} seconds")
