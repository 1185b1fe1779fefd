"""``--header NAME:VALUE``."""

from __future__ import annotations

import pytest

from labkit.commands.headers import headers_of
from labkit.errors import LabkitError, WireError
from labkit.wire.http1 import field_value


def test_what_is_given_several_times_is_joined_whatever_the_case() -> None:
    told = ["Cookie: a=1", "cookie: b=2", "X-Tag: one", "x-tag:two", "Empty:"]
    assert headers_of(told) == {"Cookie": "a=1; b=2", "X-Tag": "one, two", "Empty": ""}


def test_what_has_no_colon_is_not_shown() -> None:
    with pytest.raises(LabkitError, match="expected NAME:VALUE") as error:
        headers_of(["Authorization Bearer secret"])
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("value", ["secret\u2019", "secret\r\nX: y", "secret\0"])
def test_a_value_that_cannot_be_sent_is_not_shown(value: str) -> None:
    with pytest.raises(WireError) as error:
        field_value(value)
    assert "secret" not in str(error.value)
