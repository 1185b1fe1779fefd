"""The answer to a choice in one or two sentences."""

from __future__ import annotations

from collections.abc import Mapping

from labkit.charts import style
from labkit.choosing.figures import Figures
from labkit.choosing.flips import named
from labkit.choosing.needs import Needs
from labkit.choosing.options import UNPAYING, Option, evaluate
from labkit.measuring.rounding import counted, rounded
from labkit.techniques import find

UNPAID = "MQTT, CoAP or the phone's push service keep one connection for all that a device has, or wake it"


def sentence(needs: Needs, figures: Mapping[str, Figures], options: list[Option]) -> str:
    """What to use, what it is like with, and on how many servers."""
    best = options[0]
    if not best.feasible:
        return _nothing(needs, figures, options)
    alike = alike_with(options)
    if needs.finite and not best.burden:
        said = "The POST's own response, read with fetch as it comes: HTTP streaming, as an event stream if you wish"
    elif alike:
        names = [_name(each, needs) for each in (best, *alike)]
        said = f"{capital(_either(names))}: alike in {unit(needs)}, {_costs([best, *alike], needs)}"
    elif best.kind == "poll":
        said = (
            f"Interval polling is the right answer: a poll every {style.seconds(best.every_s)} is never later than "
            f"the {style.seconds(needs.staleness_s)} that are tolerated, at {_costs([best], needs)}"
        )
    else:
        said = f"{capital(_name(best, needs))}: at most {style.seconds(best.worst_s)} late, at {_costs([best], needs)}"
    if best.servers > 1:
        said += f"; on {counted(best.servers, 'server', f'{best.servers:,.0f}')}"
    rest = _next(needs, options, alike)
    return f"{said}.{f' {rest}' if rest else ''}"


def alike_with(options: list[Option]) -> list[Option]:
    """The options between which and the best the figures do not decide."""
    return [option for option in options[1:] if option.is_alike(options[0])]


def unit(needs: Needs) -> str:
    """What is minimized."""
    return "money" if needs.prices else "the server's work"


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _either(names: list[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]] if names[:-1] else names)


def _name(option: Option, needs: Needs) -> str:
    post = needs.upstream_per_s and option.kind != "poll" and not find(option.technique).bidirectional
    return named(option.technique) + (" with a POST for each message" if post else "")


def _costs(options: list[Option], needs: Needs) -> str:
    low, high = min(o.cost for o in options), max(o.cost for o in options)
    shown = rounded(low) if rounded(low) == rounded(high) else f"{rounded(low)} to {rounded(high)}"
    return f"{shown} {'an hour' if needs.prices else 'core-s/h'}"


def _next(needs: Needs, options: list[Option], alike: list[Option]) -> str:
    best = options[0]
    others = [o for o in options[1:] if o.feasible and o not in alike]
    if needs.finite or not others:
        if needs.finite or alike:
            return ""
        unpaid = any(o.why_not.startswith(UNPAYING) for o in options)
        return "Nothing else pays." if unpaid else "Nothing else can do this."
    second = others[0]
    if second.burden and not best.burden:
        plain = [o for o in others if not o.burden]
        if not plain:
            return ""
        second = plain[0]
    least, most = second.cost_low / max(best.cost_high, 1e-12), second.cost_high / max(best.cost_low, 1e-12)
    name, ends = _name(second, needs), dict.fromkeys((_figure(least), _figure(most)))
    if least >= 1.1:
        return f"The next, {name}, costs {' to '.join(ends)} times as much."
    times = f"{_figure(second.cost / best.cost)} times as much" if second.cost > 1.1 * best.cost > 0 else "as much"
    return f"The next, {name}, costs {times}; by the figures' ranges anything from {' to '.join(ends)} times."


def _figure(value: float) -> str:
    return f"{float(f'{value:.2g}'):,.10g}"


def _nothing(needs: Needs, figures: Mapping[str, Figures], options: list[Option]) -> str:
    if needs.servers is not None:
        more = needs.changed("servers", None)
        best = evaluate(more, figures)
        if best[0].feasible:
            given = counted(needs.servers, "server", f"{needs.servers:,.0f}")
            return f"Not on {given}. {sentence(more, figures, best)}"
    unpaid = [o for o in options if o.why_not.startswith(UNPAYING)]
    if unpaid:
        least = min(unpaid, key=lambda o: o.upkeep)
        why = least.why_not.removeprefix(f"{UNPAYING}: ")
        return f"None of the five pays: the least, {named(least.technique)}, takes {why}."
    return f"No technique can do this. {capital(named(options[0].technique))}: {options[0].why_not}."
