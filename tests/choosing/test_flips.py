"""Where an answer changes: what is printed is true, by brute force."""

from __future__ import annotations

import math
import random
import re
from dataclasses import replace
from typing import Any

import pytest

import labkit
from labkit.choosing import Choice, Flip
from labkit.choosing import flips as module

CALM: dict[str, Any] = {"rate_per_s": 1.0, "staleness_s": 2.0}
UNITS = {"ms": 1e-3, "s": 1.0, "events/h": 1 / 3600, "events/s": 1.0, "messages upstream/h": 1 / 3600,
         "messages upstream/s": 1.0, "bytes": 1.0, "clients": 1.0}  # fmt: skip
PRINTED = re.compile(r"(?:up to|down to|at) ([\d,.]+).(ms|s|events/h|events/s|messages upstream/[hs]|bytes|clients)\b")


def some_needs(count: int) -> list[dict[str, Any]]:
    """Needs from all over, the same ones each time."""
    rng, found = random.Random(15), list[dict[str, Any]]()
    for _ in range(count):
        one_way_s = rng.choice((0.005, 0.05, 0.1))
        found.append({
            "rate_per_s": 10 ** rng.uniform(-4, 2), "staleness_s": one_way_s * 10 ** rng.uniform(0, 4),
            "one_way_s": one_way_s, "clients": round(10 ** rng.uniform(0, 5)), "tls": rng.random() < 0.5,
            "latest_only": rng.random() < 0.3, "upstream_per_s": rng.choice((0, 0, 0.02, 2)),
            "payload_bytes": rng.choice((20, 2000)),
            "path": rng.choice(("plain", "idle-timeout:30", ("buffering-proxy", "ends-tls"))),
            "prices": rng.choice((None, None, {"per_gb": 1}, {"per_million_requests": 1})),
        })  # fmt: skip
    return found


def at(choice: Choice, parameter: str, value: float) -> str:
    """Who wins there."""
    return Choice(replace(choice.needs, **{parameter: value}), choice.figures).winner


def numbers(choice: Choice) -> list[Flip]:
    return [flip for flip in choice.flips() if not isinstance(flip.at, str)]


def printed_values(flip: Flip) -> list[float]:
    """The two numbers of its sentence, as somebody reads them."""
    text = flip.text.replace("\u00a0", " ").replace(" tolerated", "").replace(" one way", "")
    return [float(number.replace(",", "")) * UNITS[unit] for number, unit in PRINTED.findall(text)]


@pytest.mark.parametrize("needs", [CALM, {"rate_per_s": 1 / 3600, "staleness_s": 300}, *some_needs(12)])
def test_a_flip_is_true_as_it_is_printed(needs: dict[str, Any]) -> None:
    """At the first printed value the present winner wins, at the second the other; both are on their own sides."""
    choice = labkit.choose(**needs)
    for flip in numbers(choice):
        inside, outside = printed_values(flip)
        assert at(choice, flip.parameter, inside) == flip.before == choice.winner, flip.text
        assert at(choice, flip.parameter, outside) == flip.after != flip.before, flip.text
        start = getattr(choice.needs, flip.parameter)
        assert start <= inside * (1 + 1e-9) < outside if flip.rises else start >= inside * (1 - 1e-9) > outside
        assert abs(math.log(outside / inside)) < 0.02 or flip.parameter in ("clients", "payload_bytes")


@pytest.mark.parametrize("needs", [CALM, {"rate_per_s": 0.1, "staleness_s": 1, "one_way_s": 0.1}, *some_needs(5)])
def test_the_winner_stays_on_a_grid_up_to_the_flip(needs: dict[str, Any]) -> None:
    """And where there is none, over all that was scanned."""
    choice = labkit.choose(**needs)
    found = {(flip.parameter, flip.rises): float(flip.at) for flip in numbers(choice)}
    for parameter in ("rate_per_s", "staleness_s", "clients"):
        start = float(getattr(choice.needs, parameter))
        for rises, end in zip((False, True), module.SCANNED[parameter], strict=True):
            last = found.get((parameter, rises), end)
            if (last > start) != rises:
                continue
            for n in range(31):
                value = start * (last / start) ** (n / 30)
                value = min(value, last) if rises else max(value, last)
                assert at(choice, parameter, value) == choice.winner, (parameter, value)


def test_what_is_tolerated_is_not_said_to_be_less_than_a_transit() -> None:
    """``down to 99 ms tolerated`` where one transit is 100 ms."""
    choice = labkit.choose(rate_per_s=0.1, staleness_s=1, one_way_s=0.1)
    flip = next(f for f in numbers(choice) if f.parameter == "staleness_s" and not f.rises)
    assert isinstance(flip.at, float) and flip.at >= 0.1 and flip.after == "nothing" and "nothing does" in flip.text


@pytest.mark.parametrize(
    ("parameter", "value", "up", "rounded"),
    [
        ("staleness_s", 97.26, True, 97.3),
        ("staleness_s", 97.26, False, 97.2),
        ("staleness_s", 0.0999996, True, 0.1),
        ("staleness_s", 0.0999996, False, 0.0999),
        ("rate_per_s", 1.2345 / 3600, False, 1.23 / 3600),
        ("clients", 12345.6, True, 12400),
        ("clients", 12.3, False, 12),
        ("payload_bytes", 12.3, True, 13),
    ],
)
def test_values_are_rounded_to_the_side_that_is_asked_for(
    parameter: str, value: float, up: bool, rounded: float
) -> None:
    assert module.printed(parameter, value, 3, up=up) == pytest.approx(rounded, rel=1e-12)


def test_flips_are_sentences() -> None:
    flips = labkit.choose(rate_per_s=1 / 3600, staleness_s=300).flips()
    assert re.search(
        r"interval polling wins down to [\d.]+ s tolerated; at [\d.]+ s, SSE", repr(flips).replace("\u00a0", " ")
    )
    assert "<li>" in flips._repr_html_()


def test_switches_and_obstacles_flip_too() -> None:
    flips = labkit.choose(**CALM).flips()
    assert any((flip.parameter, flip.at) == ("path", "buffering-proxy") for flip in flips)
    order = labkit.choose(rate_per_s=1e-3, staleness_s=300, upstream_per_s=0.01).flips()
    assert any(flip.parameter == "ordered" for flip in order)
