"""The page of `labkit vectors`: its button tries Chromium, whose own faults are known and stay few."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from playwright.sync_api import Browser

from conftest import UNIT
from labkit.loop import get_loop
from labkit.strangers.vectors.catalogue import ALL
from labkit.strangers.vectors.server import VectorServer

CHROMIUM_IS_WRONG = {
    "latin-1-is-not-believed",  # refuses any charset but utf-8
    "bom-then-line-end",  # takes the first event for a part of the mark's line
    "ws-close-then-more",  # fails the connection in place of discarding
}
"""docs/vectors/README.md has them, with the version that was tried."""


@pytest.fixture
def address() -> Any:
    server = VectorServer(is_fast=True)
    port = asyncio.run_coroutine_threadsafe(server.start(), get_loop()).result(10 * UNIT)
    yield f"http://127.0.0.1:{port}/"
    asyncio.run_coroutine_threadsafe(server.close(), get_loop()).result(30 * UNIT)


@pytest.mark.timeout(300 * UNIT)  # some 20 s; every case is a page's own waiting, and a busy machine adds to each
def test_the_button_tries_this_browser_at_every_case(browser: Browser, address: str) -> None:
    page = browser.new_page()
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url) if address not in request.url else None)
    page.goto(address)
    page.click("#try")
    page.wait_for_function("document.body.dataset.tried", timeout=250_000 * UNIT)
    results = page.evaluate("results")
    tried = [case.name for case in ALL if case.kind != "parts" and not case.is_slow]
    assert {*results} == {*tried}
    wrong = {name: told["differences"] for name, told in results.items() if not told["right"]}
    assert {name: told for name, told in wrong.items() if name not in CHROMIUM_IS_WRONG} == {}
    outcome = page.inner_text("#outcome")
    assert re.fullmatch(
        rf"{len(tried)} of {len(tried)} tried: {len(tried) - len(wrong)} right, {len(wrong)} wrong.", outcome
    )
    page.check("#wrong")
    shown = page.eval_on_selector_all("tbody tr", "rows => rows.filter(row => !row.hidden).map(row => row.innerText)")
    assert len(shown) == len(wrong) and all("wrong:" in text for text in shown)
    assert [text for text in said if not text.startswith(("data:", "ws:"))] == []
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_on_either_ground(browser: Browser, address: str, scheme: Any) -> None:
    page = browser.new_page(color_scheme=scheme)
    page.goto(f"{address}lines/lines-crlf/about")
    ground = page.eval_on_selector("body", "body => getComputedStyle(body).backgroundColor")
    ink = page.eval_on_selector("h1", "title => getComputedStyle(title).color")
    light = [sum(map(int, re.findall(r"\d+", colour)[:3])) > 380 for colour in (ground, ink)]
    assert light == ([True, False] if scheme == "light" else [False, True])
    page.close()
