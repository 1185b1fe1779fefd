"""What a run is asked for, beside its durations: refused before anything starts, by the name of what is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Integral
from typing import Any

from labkit.errors import ScheduleError
from labkit.lab.lab import Lab
from labkit.measuring.schedules import Schedule


def check_kinds(lab: object, schedule: object, techniques: object) -> None:
    """Refuse another thing where a lab, a schedule or techniques are meant.

    Raises:
        ValueError, ScheduleError: names the parameter, and says what it takes.
    """
    if not isinstance(lab, Lab):
        elsewhere = ": somebody else's server is listened to by `labkit measure --url`" * isinstance(lab, str)
        raise ValueError(f"lab must be a labkit.Lab, not {lab!r:.60}{elsewhere}")
    if not isinstance(schedule, Schedule):
        raise ScheduleError(
            f"schedule must be one, as labkit.poisson(rate_per_s=5, duration_s=8) is, not {schedule!r:.60}"
        )
    if not isinstance(techniques, Iterable):
        raise ValueError(
            f"techniques must be names or techniques, or None for all of the lab's, not {techniques!r:.60}"
        )


def check_whole(least: int, **parameters: object) -> None:
    """Refuse what counts nothing.

    Raises:
        ValueError: names the parameter.
    """
    for name, value in parameters.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
            raise ValueError(f"{name} must be a whole number of at least {least}, not {value!r:.60}")


def check_topic(topic: object) -> None:
    """Refuse what names no topic.

    Raises:
        ValueError: it is no text.
    """
    if not isinstance(topic, str):
        raise ValueError(f"topic must be text, not {topic!r:.60}")


def check_options(options: object) -> None:
    """Refuse options that do not say of which technique they are.

    Raises:
        ValueError: another thing than options by technique.
    """
    each = options.values() if isinstance(options, Mapping) else (None,)
    if options is not None and not all(isinstance(given, Mapping) for given in each):
        raise ValueError(f"options must be by technique, as {{'polling': {{'etag': True}}}} is, not {options!r:.60}")


def check_actions(at: Any) -> None:
    """Refuse what cannot be done at a second.

    Raises:
        ValueError: names the second.
    """
    if at is not None and not isinstance(at, Mapping):
        raise ValueError(f"at must say what to do at which second, as {{2.0: link.cut}} does, not {at!r:.60}")
    for second, action in (at or {}).items():
        if not callable(action):
            raise ValueError(
                f"at {second!r:.20} s stands {action!r:.60}, which is not to be called; write it without ()"
            )
