"""Promises for the tests of the frame, in a module that the process of the code can import."""

from __future__ import annotations

import time
from typing import Any

from labkit.claims.coding import Coding, Promise, need


def doubles(double: Any) -> None:
    found = double(2)
    need(found == 4, f"double(2) is 4, yours gives {found!r}")


def doubles_text(double: Any) -> None:
    found = double("a")
    need(found == "aa", f"double('a') is 'aa', yours gives {found!r}", "a text has a double as well")


def waits(double: Any) -> None:
    double(3)
    time.sleep(0)


DOUBLE = Coding(
    "double(value)",
    (
        Promise("It doubles a number.", doubles, "twice the value", limit_s=2.0),
        Promise("It doubles a text.", doubles_text, "twice the value"),
        Promise("It comes back.", waits, "twice the value"),
    ),
    "value + value.",
)


def has_get(handler: Any) -> None:
    need(handler().get() == 17, "get() gives 17")


class Base:
    pass


HANDLER = Coding("Handler(Base)", (Promise("It gives 17.", has_get, "17"),), "17", form="class", base=Base)
