"""Where the winner changes as one input is changed and the others are kept.

What is printed is true as it is printed: the value before a change is rounded towards the present input, the one behind
it away from it, and the winner is asked for at both.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from labkit.choosing.figures import Figures
from labkit.choosing.needs import Needs
from labkit.choosing.options import NOTHING, winner
from labkit.techniques import find

STEPS_A_DECADE = 8
SCANNED: dict[str, tuple[float, float]] = {
    "rate_per_s": (1e-6, 1e4),
    "staleness_s": (1e-3, 86_400),
    "payload_bytes": (1, 1e7),
    "clients": (1, 1e7),
    "upstream_per_s": (1e-5, 1e2),
    "one_way_s": (1e-4, 2),
}
DIGITS = (3, 4, 5, 6)
"""Of a printed value: as few as leave it true."""


@dataclass(frozen=True)
class Flip:
    """Where the winner changes as one input is changed and the others are kept.

    Attributes:
        at: the last value, as it is printed, at which *before* wins; of a switch or an obstacle, that.
        then: the first one, as it is printed, at which *after* does; None for a switch.
    """

    parameter: str
    at: float | str
    before: str
    after: str
    rises: bool = True
    then: float | None = None

    @property
    def text(self) -> str:
        """``interval polling wins down to 97.2 s tolerated; at 97 s, SSE``."""
        if isinstance(self.at, str) or self.then is None:
            return f"{self.parameter}={self.at}: {named(self.after)} instead of {named(self.before)}"
        word = "up to" if self.rises else "down to"
        after = "nothing does" if self.after == NOTHING else named(self.after)
        then = shown(self.parameter, self.then, what=False)
        return f"{named(self.before)} wins {word} {shown(self.parameter, self.at)}; at {then}, {after}"

    def __str__(self) -> str:
        return self.text


class Flips(tuple[Flip, ...]):
    """Every flip; shows one a line."""

    def __repr__(self) -> str:
        return "\n".join(map(str, self)) or "No single input changes the answer."

    def _repr_html_(self) -> str:
        items = "".join(f"<li>{html.escape(line)}</li>" for line in repr(self).splitlines())
        return f"<ul>{items}</ul>"


def flips_of(needs: Needs, figures: Mapping[str, Figures]) -> Flips:
    """Every flip: numbers first, then switches and obstacles."""
    return Flips([*_number_flips(needs, figures), *_switch_flips(needs, figures)])


def first_at(needs: Needs, figures: Mapping[str, Figures], parameter: str, wanted: str, most: float) -> float | None:
    """The next larger value, as it is printed, from which on *wanted* wins; None if nothing or another does first."""
    found = _next_change(needs, figures, parameter, most)
    return found.then if found is not None and found.after == wanted else None


def _number_flips(needs: Needs, figures: Mapping[str, Figures]) -> Iterator[Flip]:
    for parameter, (low, high) in SCANNED.items():
        for end in (high, low):
            found = _next_change(needs, figures, parameter, end)
            if found is not None:
                yield found


def _switch_flips(needs: Needs, figures: Mapping[str, Figures]) -> Iterator[Flip]:
    present, others = winner(needs, figures), list[tuple[str, str, Needs]]()
    for name in ("latest_only", "tls", *(["ordered"] if needs.upstream_per_s else [])):
        other = not getattr(needs, name)
        others.append((name, str(other), needs.changed(name, other)))
    for obstacle in ("buffering-proxy", "blocks-upgrade", "http2-edge", "idle-timeout:30"):
        if obstacle not in needs.path:
            others.append(("path", obstacle, needs.changed("path", (*needs.path, obstacle))))
    for name, value, changed in others:
        after = winner(changed, figures)
        if after != present:
            yield Flip(name, value, present, after)


def _next_change(needs: Needs, figures: Mapping[str, Figures], parameter: str, end: float) -> Flip | None:
    """The nearest change towards *end*."""
    present, start = winner(needs, figures), float(getattr(needs, parameter))
    rises, last = end > start, start or SCANNED[parameter][0]
    if start == 0 and not rises:
        return None
    step = 10 ** ((1 if rises else -1) / STEPS_A_DECADE)
    while (at := last * step) <= end if rises else (at := last * step) >= end:
        if winner(needs.changed(parameter, at), figures) != present:
            return _between(needs, figures, parameter, (last, at), present)
        last = at
    return None


def _between(
    needs: Needs, figures: Mapping[str, Figures], parameter: str, ends: tuple[float, float], present: str
) -> Flip | None:
    """The change between two values, to a thousandth, and as it may be printed."""
    before, beyond = ends
    while abs(math.log(beyond / before)) > 1e-3:
        middle = math.sqrt(before * beyond)
        if winner(needs.changed(parameter, middle), figures) == present:
            before = middle
        else:
            beyond = middle
    rises, start = beyond > before, float(getattr(needs, parameter))
    for digits in DIGITS:
        inside = printed(parameter, before, digits, up=not rises)
        if inside < start if rises else inside > start:
            continue
        next_one = printed(parameter, inside, digits, up=rises, further=True)
        for outside in (next_one, printed(parameter, beyond, digits, up=rises)):
            after = winner(needs.changed(parameter, outside), figures) if outside > 0 else present
            if after != present and winner(needs.changed(parameter, inside), figures) == present:
                return Flip(parameter, inside, present, after, rises, outside)
    return None


def _unit(parameter: str, value: float) -> tuple[float, str, str]:
    """In what a value is printed: how many of it make one of the parameter's own, its name, and of what it is."""
    if parameter in ("rate_per_s", "upstream_per_s"):
        noun = "events" if parameter == "rate_per_s" else "messages upstream"
        return (3600.0, f" {noun}/h", "") if value < 0.01 else (1.0, f" {noun}/s", "")
    if parameter in ("staleness_s", "one_way_s"):
        what = " tolerated" if parameter == "staleness_s" else " one way"
        return (1e3, "\u00a0ms", what) if value < 1 else (1.0, "\u00a0s", what)
    return 1.0, " bytes" if parameter == "payload_bytes" else f" {parameter}", ""


def printed(parameter: str, value: float, digits: int, *, up: bool, further: bool = False) -> float:
    """The value, rounded up or down to so many digits in the unit in which it is printed; clients and bytes whole.

    Args:
        further: the next one that can be printed so.
    """
    factor = _unit(parameter, value)[0]
    number = value * factor
    places = digits - 1 - math.floor(math.log10(number))
    if parameter in ("clients", "payload_bytes"):
        places = min(places, 0)
    scaled = number * 10.0**places
    whole = math.ceil(scaled - 1e-6) if up else math.floor(scaled + 1e-6)
    whole += (1 if up else -1) if further else 0
    return whole / 10.0**places / factor


def shown(parameter: str, value: float, *, what: bool = True) -> str:
    """An input's value for people: ``0.4 events/h``, ``97 s tolerated``."""
    factor, unit, of_what = _unit(parameter, value)
    number = value * factor
    text = f"{number:,.0f}" if abs(number) >= 1000 and number == round(number) else f"{float(f'{number:.6g}'):,.10g}"
    return f"{text}{unit}{of_what if what else ''}"


def named(technique: str) -> str:
    """Its name in a sentence: of a poll the title, since other techniques poll too; of none, that."""
    if technique == NOTHING:
        return NOTHING
    found = find(technique)
    return found.title[:1].lower() + found.title[1:] if found.kind == "poll" else found.short
