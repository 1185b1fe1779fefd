"""What theory is told of a path, and what it answers where it has no closed form. Pure values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

HOLD_S = 30.0  # RFC 6202 section 5.5: the longest that gets through nearly everywhere
HEARTBEAT_S = 15.0  # a stream is silent for at most as long, unless a lab is told otherwise
SILENCE_S = max(3 * HEARTBEAT_S, HOLD_S + HEARTBEAT_S)  # after which nobody is there: two heartbeats have not come
QUIET_S = 300.0  # the same of somebody else's server, which promises no heartbeat


@dataclass(frozen=True, slots=True)
class Stretch:
    """What theory is told of what one relay stands for on a path.

    Attributes:
        name: what a reader knows it by.
        one_way_s: one transit through it.
        jitter_s: each read takes up to this much longer.
        handshake: whether it charges a new connection with the round trip of TCP's handshake.
        gateway: whether it reads HTTP, and has connections of its own to what is behind it.
        idle_timeout_s: it ends a connection that is quiet for so long; None: never.
        tls: whether a new connection through the path begins with TLS: one round trip more (RFC 8446 section 2).
        obstacle: why nothing can be expected of what goes through it, as a clause; empty if something can.
    """

    name: str = ""
    one_way_s: float = 0.0
    jitter_s: float = 0.0
    handshake: bool = True
    gateway: bool = False
    idle_timeout_s: float | None = None
    tls: bool = False
    obstacle: str = ""


@dataclass(frozen=True, slots=True)
class Path:
    """The way between a server and its subscribers, and how events are published on it.

    Attributes:
        one_way_s: one network transit d.
        jitter_s: each read takes up to this much longer.
        fresh_connections: each request opens a connection, which costs the handshake.
        hold_s: the server's own hold time-out.
        rate_per_s: events a second, where that is known.
        poisson: whether they are a Poisson process.
        handshake_s: what a new connection takes before its first request can leave; None: a round trip, 2d.
        gateway: whether something on it reads HTTP and has connections of its own.
        idle_timeout_s: the least time for which a connection may be quiet; None: any.
        heartbeat_s: the server's streams are never quiet for longer, where they have heartbeats.
        obstacle: why nothing can be expected on it, as a clause; empty if something can.
    """

    one_way_s: float = 0.0
    jitter_s: float = 0.0
    fresh_connections: bool = False
    hold_s: float = HOLD_S
    rate_per_s: float | None = None
    poisson: bool = False
    handshake_s: float | None = None
    gateway: bool = False
    idle_timeout_s: float | None = None
    heartbeat_s: float = HEARTBEAT_S
    obstacle: str = ""

    def __post_init__(self) -> None:
        for name in ("one_way_s", "jitter_s", "hold_s", "rate_per_s", "handshake_s", "idle_timeout_s", "heartbeat_s"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ValueError(f"{name} must be zero or more, not {value!r}")

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Path:
        """As a run's settings have it; what they do not say is as by default."""
        schedule = settings.get("schedule") or {}
        schedule = {**schedule, **(schedule.get("settings") or {})}
        path, hold_s = settings.get("path"), settings.get("hold_s")
        through = {} if path is None else _through([Stretch(**each) for each in path])
        if not settings.get("steady", True):
            through["obstacle"] = "a setting was changed in its course, or a connection cut"
        return cls(
            one_way_s=settings.get("one_way_s") or 0.0,
            jitter_s=settings.get("jitter_s") or 0.0,
            fresh_connections=not settings.get("keep_alive", True),
            hold_s=HOLD_S if hold_s is None else hold_s,
            rate_per_s=schedule.get("rate_per_s"),
            poisson=bool(schedule.get("poisson", schedule.get("name") == "poisson")),
            heartbeat_s=settings.get("heartbeat_s") or HEARTBEAT_S,
            **through,
        )

    def gap_s(self, fresh: bool) -> float:
        """From an answer's leaving the server to the next request's arriving there: 2d, and a handshake if *fresh*."""
        handshake_s = 2 * self.one_way_s if self.handshake_s is None else self.handshake_s
        return 2 * self.one_way_s + (handshake_s if fresh or self.fresh_connections else 0.0)

    def why_not(self, *, quiet_s: float, fresh: bool = False) -> str:
        """Why no closed form holds for connections that are quiet for up to *quiet_s*, *fresh* for each request."""
        limit_s = self.idle_timeout_s
        if limit_s is not None and quiet_s >= limit_s:
            return f"something on the path ends a connection that is quiet for {limit_s:g} s, as this one may be"
        if self.jitter_s and (fresh or self.fresh_connections):
            return "with jitter, and a connection each time: the handshake may hide the jitter of the request"
        return ""


def _through(stretches: Sequence[Stretch]) -> dict[str, Any]:
    """What several relays in a row are together."""
    limits_s = [each.idle_timeout_s for each in stretches if each.idle_timeout_s is not None]
    obstacles = [each.obstacle for each in stretches if each.obstacle]
    if sum(each.jitter_s > 0 for each in stretches) > 1:
        obstacles.append("more than one link has jitter: the closed forms are about one")
    tcp_s = sum(2 * each.one_way_s for each in stretches if each.handshake)
    tls_s = sum(2 * each.one_way_s for each in stretches) if any(each.tls for each in stretches) else 0.0
    return {
        "handshake_s": tcp_s + tls_s,
        "gateway": any(each.gateway for each in stretches),
        "idle_timeout_s": min(limits_s, default=None),
        "obstacle": next(iter(obstacles), ""),
    }


@dataclass(frozen=True, slots=True)
class Silent:
    """There is no theory for it, and why not, as a clause."""

    why: str
