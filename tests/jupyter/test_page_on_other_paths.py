"""The page of a notebook as a subscriber through real programs, and of a lab that speaks TLS."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from harness import Jupyter, Notebook
from playwright.sync_api import Error as PlaywrightError
from test_browser import ALL, REPORT, clean, report

from conftest import UNIT
from labkit.network.programs import PROGRAMS
from labkit.network.real_intermediary import RealIntermediary

HELD = ["http-streaming", "sse", "websocket"]
STEADY = "labkit.periodic(rate_per_s=25, duration_s=2)"


@pytest.fixture(scope="module")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    with Jupyter(tmp_path_factory.mktemp("paths")) as running:
        yield running


def test_through_real_programs_every_technique_of_a_page_receives_all(jupyter: Jupyter, browser: Any) -> None:
    names, programs = ["polling", "long-polling", *HELD], ("nginx", "haproxy")
    for program in programs:
        if missing := RealIntermediary(PROGRAMS[program], None, "default").missing:
            pytest.skip(missing)
    run = [
        f"with labkit.real_intermediary({program!r}, lab, 'recommended') as between:\n"
        f"    sub = labkit.BrowserSubscriber(lab, {names}, through=between, poll_interval_s=0.25)\n"
        f"    run = labkit.measure(lab, ['websocket'], {STEADY}, progress=False)\n"
        "    sub.end('tried')\n" + REPORT
        for program in programs
    ]
    jupyter.write("programs.ipynb", ["import json, labkit\nlab = labkit.Lab()", *run, "lab.close()"])
    notebook = jupyter.open(browser, "programs.ipynb")
    notebook.run_all()
    for cell, program in enumerate(programs, 1):
        told = report(notebook, cell)
        assert len(told["published"]) == 50
        assert told["ids"] == {name: told["published"] for name in sorted(names)}, (program, told["notes"])
    clean(notebook)


def test_a_page_attaches_to_a_lab_that_speaks_tls_once_its_certificate_is_accepted(
    jupyter: Jupyter, browser: Any
) -> None:
    jupyter.write(
        "tls.ipynb",
        [
            "import json, labkit\nlab = labkit.Lab(tls=True, http=(1, 2))\n"
            f"sub = labkit.BrowserSubscriber(lab, {ALL})\nsub",
            "print(json.dumps({'url': lab.url, 'status': sub.status(), 'attached': sub.attached}))",
            f"run = labkit.measure(lab, ['websocket'], {STEADY}, progress=False)\n" + REPORT,
            "lab.close()",
        ],
    )
    notebook = jupyter.open(browser, "tls.ipynb")
    for cell in (0, 1):
        notebook.run_cell(cell)
    before = report(notebook, 1)
    assert not before["attached"] and f"open {before['url']}/ in another tab" in before["status"]
    notebook.wait_for_text(f"open {before['url']}/ in another tab")
    accept(notebook, before["url"])
    notebook.wait_for_text("attached through the lab's own port")
    notebook.run_cell(2)
    told = report(notebook, 2)
    assert told["ids"] == {name: told["published"] for name in sorted(ALL)}, told["notes"]
    assert {page["through"] for page in told["pages"]} == {f"port: {before['url']}/"}
    notebook.run_cell(3)
    clean(notebook)


def accept(notebook: Notebook, url: str) -> None:
    """What a person does at a browser's warning: look at the details, and go on."""
    page = notebook.page.context.new_page()
    with pytest.raises(PlaywrightError, match="CERT_AUTHORITY_INVALID"):
        page.goto(url)
    page.click("#details-button", timeout=15_000 * UNIT)
    page.click("#proceed-link")
    page.wait_for_selector("#techniques")
    page.close()
