"""The kit's own exceptions. Each message says what to do next."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

NOTEBOOK = frozenset(
    "anywidget choreographer IPython ipywidgets jupyter_client jupyter_core jupyterlab_pygments kaleido nbclient "
    "nbformat nest_asyncio2 numpy pandas plotly psutil pyarrow pygments scipy traitlets".split()
)
"""What a server, a client and a listener go without, by the names that are imported."""


class LabkitError(Exception):
    """Base of every error that labkit raises on purpose."""


class MissingPackage(LabkitError, ImportError):
    """A package that the plain installation goes without; the message says what brings it."""


@contextmanager
def naming_extras(what: str = "this") -> Iterator[None]:
    """Say what brings a package that turns out to be missing, and *what* needs it."""
    try:
        yield
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name not in NOTEBOOK:
            raise
        raise MissingPackage(f'{what} needs {name}, which is not installed: pip install "labkit[notebook]"') from None


def package(name: str, what: str = "this") -> Any:
    """Import one of :data:`NOTEBOOK` where *what* needs it.

    Raises:
        MissingPackage: it is not installed.
    """
    with naming_extras(what):
        return importlib.import_module(name)


class LabClosed(LabkitError):
    """The lab was closed, replaced by a newer one of its name, or its process has died."""


class AddressError(LabkitError, ValueError):
    """An address that the kit's clients do not speak to: another scheme (``ftp``), no host, no port."""


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


class TLSFailed(LabkitError):
    """No TLS could be agreed on: a certificate that is not believed, or one of the two sides speaks none."""


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
