"""Where the winner changes as one input is changed and the others are kept."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from labkit.charts import style
from labkit.choosing.figures import Figures
from labkit.choosing.needs import Needs
from labkit.choosing.options import evaluate
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
NOTHING = "nothing"


@dataclass(frozen=True)
class Flip:
    """Where the winner changes as one input is changed and the others are kept."""

    parameter: str
    at: float | str
    before: str
    after: str
    rises: bool = True

    @property
    def text(self) -> str:
        """``polling wins until 0.4 events/h, then SSE``."""
        if isinstance(self.at, str):
            return f"{self.parameter}={self.at}: {named(self.after)} instead of {named(self.before)}"
        word = "up to" if self.rises else "down to"
        after = "nothing can do it" if self.after == NOTHING else named(self.after)
        return f"{named(self.before)} wins {word} {shown(self.parameter, self.at)}, then {after}"

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


def _number_flips(needs: Needs, figures: Mapping[str, Figures]) -> Iterator[Flip]:
    for parameter, (low, high) in SCANNED.items():
        for rises in (True, False):
            found = _next_change(needs, figures, parameter, high if rises else low)
            if found is not None:
                yield Flip(parameter, found[0], winner(needs, figures), found[1], rises)


def _switch_flips(needs: Needs, figures: Mapping[str, Figures]) -> Iterator[Flip]:
    present, others = winner(needs, figures), list[tuple[str, str, Needs]]()
    for name in ("latest_only", "tls"):
        other = not getattr(needs, name)
        others.append((name, str(other), needs.changed(name, other)))
    for obstacle in ("buffering-proxy", "blocks-upgrade", "idle-timeout:30"):
        if obstacle not in needs.path:
            others.append(("path", obstacle, needs.changed("path", (*needs.path, obstacle))))
    for name, value, changed in others:
        after = winner(changed, figures)
        if after != present:
            yield Flip(name, value, present, after)


def winner(needs: Needs, figures: Mapping[str, Figures]) -> str:
    best = evaluate(needs, figures)[0]
    return best.technique if best.feasible else NOTHING


def _next_change(needs: Needs, figures: Mapping[str, Figures], parameter: str, end: float) -> tuple[float, str] | None:
    """The nearest value towards *end* at which another technique wins, to one per cent, and which."""
    present, start = winner(needs, figures), float(getattr(needs, parameter))
    rises, last = end > start, start or SCANNED[parameter][0]
    if start == 0 and not rises:
        return None
    step = 10 ** ((1 if rises else -1) / STEPS_A_DECADE)
    while (at := last * step) <= end if rises else (at := last * step) >= end:
        after = winner(needs.changed(parameter, at), figures)
        if after != present:
            return _bisect(needs, figures, parameter, last, at, present)
        last = at
    return None


def _bisect(
    needs: Needs, figures: Mapping[str, Figures], parameter: str, before: float, beyond: float, present: str
) -> tuple[float, str]:
    while abs(math.log(beyond / before)) > 0.01:
        middle = math.sqrt(before * beyond)
        if winner(needs.changed(parameter, middle), figures) == present:
            before = middle
        else:
            beyond = middle
    return beyond, winner(needs.changed(parameter, beyond), figures)


def shown(parameter: str, value: float) -> str:
    """An input's value for people: ``0.4 events/h``."""
    if parameter in ("rate_per_s", "upstream_per_s"):
        noun = "events" if parameter == "rate_per_s" else "messages upstream"
        return f"{value * 3600:.3g} {noun}/h" if value < 0.01 else f"{value:.3g} {noun}/s"
    if parameter in ("staleness_s", "one_way_s"):
        what = "tolerated" if parameter == "staleness_s" else "one way"
        return f"{style.seconds(value)} {what}"
    return f"{float(f'{value:.2g}'):,.0f} {'bytes' if parameter == 'payload_bytes' else parameter}"


def named(technique: str) -> str:
    """Its name in a sentence: of a poll the title, since other techniques poll too."""
    found = find(technique)
    return found.title[:1].lower() + found.title[1:] if found.kind == "poll" else found.short
