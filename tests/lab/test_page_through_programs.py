"""The page at ``GET /`` through programs of others, as their documentation advises: every technique delivers."""

from __future__ import annotations

from typing import Any

import pytest
from test_page import WAIT_MS, all_live, counted, publish, regular, seen, tab

import labkit

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("program", ["nginx", "haproxy"])
def test_through_a_real_program_every_technique_of_the_page_delivers(browser: Any, program: str) -> None:
    between = labkit.real_intermediary(program, config="recommended")
    if between.missing:
        pytest.skip(between.missing)
    context = browser.new_context()
    context.set_default_timeout(WAIT_MS)
    with labkit.Lab("page") as lab, between.bind(lab):
        page = tab(context, between.url)
        seen(page, all_live)
        for number in range(1, 6):
            lab.publish(f"event {number}")
        assert publish(page, "back") == "Published as event 6, over the WebSocket."
        shown = seen(page, counted(6))
        assert all(map(regular, shown.values()))
        assert {row["data"] for row in shown.values()} == {"back"}
        context.close()
