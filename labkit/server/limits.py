"""What a lab takes: limits of an event's data and of a topic's name. Pure: no sockets. Safe from any thread."""

from __future__ import annotations

from numbers import Real

from labkit.errors import EventTooLarge
from labkit.wire.events import size_bytes

MAX_TOPIC_BYTES = 256


def check_counts(**counts: object) -> None:
    """Refuse what is no count of something, by the option's name.

    Raises:
        ValueError: it is no number, or below 1.
    """
    for name, count in counts.items():
        if not (isinstance(count, Real) and count >= 1):  # type: ignore[operator]
            raise ValueError(f"{name}={count!r}: expected a number of at least 1")


def message_limit(max_event_bytes: int) -> int:
    """The largest message that may publish an event: JSON may take six bytes to escape one."""
    return 6 * max_event_bytes + 1024


def too_large(max_event_bytes: int) -> str:
    return f"an event may have at most {max_event_bytes} bytes: send less, or raise Lab(max_event_bytes=...)"


def plain(data: str | bytes) -> str | bytes:
    """The same without a class of its own, as an Enum's member has: a process of its own cannot import a cell's."""
    return "".join([data]) if isinstance(data, str) else b"".join([data])


def check_data(data: str | bytes, max_event_bytes: int) -> None:
    """Refuse what no subscriber could be given.

    Raises:
        EventTooLarge: more bytes than the lab takes.
        ValueError: text that UTF-8 cannot carry (a lone surrogate).
    """
    try:
        size = size_bytes(data)
    except UnicodeEncodeError as error:
        raise ValueError(f"character {error.start} of the data is a lone surrogate: no UTF-8 can carry it") from None
    if size > max_event_bytes:
        raise EventTooLarge(too_large(max_event_bytes))


def check_topic(topic: str) -> None:
    """Refuse what cannot be asked for in an address.

    Raises:
        TypeError: no text.
        ValueError: more than 256 bytes, or text that UTF-8 cannot carry.
    """
    if not isinstance(topic, str):
        raise TypeError(f"topic is text, not {type(topic).__name__}")
    try:
        size = size_bytes(topic)
    except UnicodeEncodeError as error:
        raise ValueError(f"topic: character {error.start} is a lone surrogate: no UTF-8 can carry it") from None
    if size > MAX_TOPIC_BYTES:
        raise ValueError(f"topic: at most {MAX_TOPIC_BYTES} bytes")
