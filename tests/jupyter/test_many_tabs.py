"""Six connections to a host, and one shared by all tabs, in the real browser."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser

from conftest import UNIT
from labkit.course import claims as checking
from labkit.course.long_polling import tabs as tabs


@pytest.mark.timeout(120 * UNIT)
def test_the_seventh_request_waits_and_a_shared_connection_loses_nothing(browser: Browser) -> None:
    with tabs.tabs_lab() as lab:
        page = browser.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"http://127.0.0.1:{lab.port}/many-tabs", wait_until="commit")
        seen = tabs.watch_tabs(lab, wait_s=15 * UNIT)
        page.close()
    found = checking.judge("L11", seen)
    assert (found.verdict, errors) == ("confirmed", []), (seen, found)
    assert seen.shared["another"] == seen.published
