"""Forever frame and JSONP polling in the real browser: every event once, in order."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser

from conftest import UNIT
from labkit.course import claims, relatives


@pytest.mark.timeout(120 * UNIT)
def test_a_page_gets_every_event_by_the_old_tricks(browser: Browser) -> None:
    with relatives.lab("old-tricks") as lab:
        page = browser.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"http://127.0.0.1:{lab.port}/forever-frame?page=1", wait_until="commit")
        seen = relatives.watch_page(lab, events=50, wait_s=15 * UNIT)
        assert seen.arrived == {"forever-frame": seen.wanted, "jsonp-polling": seen.wanted}, seen.why
        assert errors == []
        page.close()
        found = claims.judge("X2", relatives.Old(relatives.old_tricks(lab, events=24), seen))
        assert found.verdict in ("illustrated", "undecided") and "Chrome/" in found.reason
