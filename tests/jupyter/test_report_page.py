"""The page of ``measure --html``, outside JupyterLab: dark where the reader's system is, light in print."""

from __future__ import annotations

from pathlib import Path

import pytest
from looks import read
from playwright.sync_api import Browser

import labkit
from conftest import UNIT
from labkit.commands.report import write_html


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with labkit.Lab() as lab:
        run = labkit.measure(lab, ["polling", "sse"], labkit.periodic(10, 1), one_way_s=0.01, progress=False)
    return write_html(run, tmp_path_factory.mktemp("report") / "run.html")


@pytest.mark.timeout(120 * UNIT)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_report_is_readable_in_the_scheme_of_the_reader_s_system(browser: Browser, report: Path, scheme: str) -> None:
    page = browser.new_page(color_scheme=scheme)
    page.goto(report.as_uri())
    page.locator(".js-plotly-plot .main-svg").nth(3).wait_for(state="attached", timeout=60_000 * UNIT)
    seen = read(page)
    assert seen["plots"] == 4 and seen["poor"] == []
    turned = "getComputedStyle(document.querySelector('.js-plotly-plot')).filter !== 'none'"
    assert page.evaluate(turned) is (scheme == "dark")
    assert page.locator("[data-title^='Share chart']").count() == 0
    page.emulate_media(media="print")
    assert page.evaluate(turned) is False
    page.close()
