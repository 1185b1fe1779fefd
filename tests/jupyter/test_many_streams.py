"""Streams of a page and of several tabs over both versions, in the real browser that the experiments start."""

from __future__ import annotations

import pytest

from conftest import UNIT
from labkit.course import claims as checking
from labkit.course import later_http


@pytest.mark.timeout(180 * UNIT)
def test_six_streams_begin_over_http1_and_a_hundred_over_http2() -> None:
    seen = later_http.many_streams()
    found = checking.judge("S9", seen)
    assert found.verdict in ("confirmed", "undecided"), (found, seen)
    assert [page.protocol for page in seen.pages.values()] == ["http/1.1", "h2"]


@pytest.mark.timeout(180 * UNIT)
def test_tabs_share_one_connection_and_lose_nothing_when_one_is_closed() -> None:
    seen = later_http.shared_tabs()
    found = checking.judge("L11b", seen)
    assert found.verdict == "confirmed", (found, seen.why, seen.ways)


@pytest.mark.timeout(120 * UNIT)
def test_the_browser_takes_no_server_push() -> None:
    seen = later_http.first_words()
    assert checking.judge("H5", seen).verdict == "refuted", (seen, seen.missing)
