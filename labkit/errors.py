"""The kit's own exceptions. Each message says what to do next."""

from __future__ import annotations


class LabkitError(Exception):
    """Base of every error that labkit raises on purpose."""


class LabClosed(LabkitError):
    """The lab was closed, replaced by a newer one of its name, or its process has died."""


class AddressError(LabkitError, ValueError):
    """An address that the kit's clients do not speak to: another scheme (``https``, ``ftp``), no host, no port."""


class NoAnswer(LabkitError):
    """The lab's process lives but does not answer: it stands still or is busy."""


class UnknownTechnique(LabkitError, ValueError):
    """No technique has that name; the message lists the known ones."""


class BadTechnique(LabkitError, ValueError):
    """Something that cannot be served or measured as a technique; the message says what is wrong with it."""


class UnknownOption(LabkitError, ValueError):
    """A technique takes no option of that name; the message lists those that it takes."""


class EventTooLarge(LabkitError, ValueError):
    """The data of one event is over the lab's limit."""


class ScheduleError(LabkitError, ValueError):
    """A schedule cannot be run: a negative rate, a trace with a broken line (the line is named)."""


class DurationError(LabkitError, ValueError):
    """No number of seconds, or so many that milliseconds may have been meant, which the message then asks."""


class CursorError(LabkitError, ValueError):
    """A cursor does not parse."""


class ConnectionLost(LabkitError):
    """The connection ended before the exchange did: cut, reset, or closed by the other side."""


class Refused(LabkitError):
    """The server answered, but not with what was asked for.

    Attributes:
        status: the HTTP status code, or the WebSocket close code.
        retry_after_s: seconds that the server asked to wait, if it did.
    """

    def __init__(self, message: str, *, status: int = 0, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class WireError(LabkitError, ValueError):
    """Bytes that break the rules of their format.

    Attributes:
        clause: the rule that was broken, such as ``RFC 6455 section 5.5``.
    """

    def __init__(self, message: str, *, clause: str) -> None:
        super().__init__(f"{message} ({clause})")
        self.clause = clause
