"""The control room on a page: by mouse, by keyboard, a dot that opens its event, its looks, its file."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import ROOT, Jupyter, Notebook
from playwright.sync_api import Browser, expect

from conftest import UNIT

PANEL = "import labkit\nlab = labkit.Lab()\npanel = labkit.Panel(lab, rate_per_s=10)\npanel"
SAVED_BYTES = 200_000
PICTURES = ("image/png", "image/svg+xml")


@pytest.fixture(scope="module")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    with Jupyter(tmp_path_factory.mktemp("notebooks")) as running:
        yield running


@pytest.fixture
def notebook(jupyter: Jupyter, browser: Browser) -> Iterator[Notebook]:
    """A notebook that shows a panel, and a cell to ask it things."""
    name = f"n{len(list(jupyter.root.glob('*.ipynb')))}.ipynb"
    jupyter.write(name, [PANEL, "print(panel.message)", "lab.close()"])
    opened = jupyter.open(browser, name)
    opened.run_cell(0)
    opened.scroll_to(0)
    opened.page.locator(".labkit-dial input[type=range]").nth(5).wait_for()
    yield opened
    opened.run_cell(2)
    assert opened.errors() == [] and [line for line in opened.console if "labkit" in line.lower()] == []
    opened.evaluate("await panel.sessionContext.shutdown()")
    opened.page.close()


def press(notebook: Notebook, name: str) -> None:
    notebook.page.locator(".labkit-panel").get_by_role("button", name=name, exact=True).click()


def standing(notebook: Notebook, *words: str) -> None:
    """Wait until the panel's line on the run holds these words."""
    for word in words:
        expect(notebook.page.locator(".labkit-standing")).to_contain_text(word, timeout=30_000 * UNIT)


def says(notebook: Notebook, words: str) -> None:
    expect(notebook.page.locator(".labkit-says")).to_contain_text(words, timeout=30_000 * UNIT)


def asked(notebook: Notebook, code: str) -> Any:
    """What the kernel says to an expression."""
    notebook.evaluate("cells[1].model.sharedModel.setSource(argument)", f"import json\nprint(json.dumps({code}))")
    notebook.run_cell(1)
    return json.loads(notebook.text(1))


def until(holds: Callable[[], object], timeout_s: float = 30 * UNIT) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.1)


def dots(notebook: Notebook) -> int:
    """Dots on the latency chart."""
    return notebook.page.locator(".labkit-live-figure .xy .scatterlayer path.point").count()


def test_the_panel_by_mouse(notebook: Notebook) -> None:
    press(notebook, "Start")
    standing(notebook, "Running", "published")
    until(lambda: dots(notebook) > 40)
    press(notebook, "Start" if not asked(notebook, "panel.running") else "Cut the link")
    says(notebook, "The link is cut")
    press(notebook, "Heal")
    says(notebook, "The link is whole")
    press(notebook, "Stall the link")
    says(notebook, "The link is stalled")
    press(notebook, "Heal")
    slider = notebook.page.get_by_label("one-way delay", exact=True)
    box = slider.bounding_box()
    assert box is not None
    notebook.page.mouse.move(box["x"] + 5, box["y"] + box["height"] / 2)
    notebook.page.mouse.down()
    notebook.page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2, steps=8)
    notebook.page.mouse.up()
    until(lambda: 0.3 < asked(notebook, "panel.one_way_s") < 0.7)
    assert asked(notebook, "panel.link.one_way_s") == asked(notebook, "panel.one_way_s")
    notebook.page.get_by_label("one event", exact=True).fill("by hand")
    press(notebook, "Publish")
    says(notebook, "is published")
    notebook.page.get_by_label("SSE", exact=True).uncheck()
    says(notebook, "Other techniques need another run")
    press(notebook, "Stop")
    standing(notebook, "Stopped")
    notebook.page.locator(".labkit-panel .jp-RenderedPlotly .main-svg").first.wait_for(timeout=30_000 * UNIT)
    assert notebook.page.locator(".labkit-live-figure").count() == 0
    assert asked(notebook, "[r.settings['techniques'].count('sse') for r in panel.runs]") == [1, 0]
    assert asked(notebook, "[int(r.summary().lost.sum()) for r in panel.runs]") == [0, 0]
    press(notebook, "Reset")
    says(notebook, "back where it began")
    expect(notebook.page.get_by_label("SSE", exact=True)).to_be_checked()


def test_the_panel_by_keyboard_alone(notebook: Notebook) -> None:
    page = notebook.page
    page.locator(".labkit-panel button").first.focus()
    focused = "document.activeElement?.dataset.labkit ?? document.activeElement?.textContent ?? ''"
    page.keyboard.press("Space")
    standing(notebook, "Running")
    seen = [page.evaluate(focused)]
    while "rate_per_s" not in seen:
        assert len(seen) < 20, seen
        page.keyboard.press("Tab")
        seen.append(page.evaluate(focused))
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    standing(notebook, "16 events/s")
    page.keyboard.press("Tab")  # the exact number beside it
    page.keyboard.press("Control+a")
    page.keyboard.type("25")
    page.keyboard.press("Enter")
    standing(notebook, "25 events/s")
    page.get_by_label("poll interval", exact=True).focus()
    page.keyboard.press("Home")
    says(notebook, "The polling subscriber started again")
    page.get_by_label("source", exact=True).focus()
    page.keyboard.press("ArrowDown")
    standing(notebook, "at regular times")
    page.get_by_label("one event", exact=True).focus()
    page.keyboard.type("typed")
    page.keyboard.press("Enter")
    says(notebook, "is published")
    page.locator(".labkit-panel button").first.focus()
    page.keyboard.press("Enter")
    standing(notebook, "Stopped")
    notebook.page.get_by_label("event id", exact=True).fill("3")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    says(notebook, "Event 3 is open below")
    assert asked(notebook, "panel.rate_per_s") == 25


def test_a_bad_number_typed_into_a_dial_is_a_sentence(notebook: Notebook) -> None:
    exact = notebook.page.get_by_label("event rate, events per second, exact")
    exact.fill("5000")
    exact.press("Enter")
    says(notebook, "rate_per_s=5000.0: expected a number of events per second from 0.1 to 1000")
    expect(exact).to_have_value("10")


def test_a_click_on_a_dot_opens_its_event_and_its_bytes(notebook: Notebook) -> None:
    press(notebook, "Start")
    until(lambda: dots(notebook) > 20)
    polling = notebook.page.locator(".labkit-live-figure .xy .scatterlayer .trace").first.locator("path.point")
    box = polling.nth(2).bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    notebook.page.mouse.move(x - 3, y)
    notebook.page.mouse.move(x, y)
    notebook.page.wait_for_timeout(300)  # plotly hovers before it clicks
    notebook.page.mouse.click(x, y)
    says(notebook, "is open below")
    details = notebook.page.locator(".labkit-details")
    details.locator(".main-svg").first.wait_for(timeout=30_000 * UNIT)
    for hop in ("client read", "link.near wrote", "link.far read"):
        expect(details).to_contain_text(hop)
    press(notebook, "Stop")
    standing(notebook, "Stopped")


def test_a_page_that_is_reloaded_goes_on_drawing(notebook: Notebook) -> None:
    press(notebook, "Start")
    until(lambda: dots(notebook) > 5)
    notebook.reload()
    notebook.page.locator(".labkit-live-figure .main-svg").first.wait_for(timeout=30_000 * UNIT)
    before = dots(notebook)
    until(lambda: dots(notebook) > max(5, before))
    notebook.page.locator(".labkit-live-figure .x4y4 .barlayer path").first.wait_for(timeout=30_000 * UNIT)
    press(notebook, "Stop")
    standing(notebook, "Stopped")


def test_the_panel_has_no_serious_accessibility_violation(notebook: Notebook) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python").Axe()
    press(notebook, "Start")
    until(lambda: dots(notebook) > 5)
    for theme in ("JupyterLab Light", "JupyterLab Dark"):
        notebook.evaluate("await jupyterapp.commands.execute('apputils:change-theme', {theme: argument})", theme)
        notebook.page.wait_for_timeout(500)  # a theme's style sheet is loaded after the command has returned
        for state in ("running", "stopped"):
            if state == "stopped":
                press(notebook, "Stop")
                standing(notebook, "Stopped")
            found = axe.run(notebook.page, context=".labkit-panel").response["violations"]
            bad = [
                (violation["id"], violation["impact"], [node["html"][:200] for node in violation["nodes"]][:3])
                for violation in found
                if violation["impact"] in ("serious", "critical")
            ]
            assert bad == [], (theme, state)
        press(notebook, "Start")
        standing(notebook, "Running")
    press(notebook, "Stop")
    standing(notebook, "Stopped")


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_the_panel_fits_a_laptop_s_screen(notebook: Notebook, tmp_path: Path, theme: str) -> None:
    notebook.evaluate(
        "await jupyterapp.commands.execute('apputils:change-theme', {theme: argument})", f"JupyterLab {theme}"
    )
    press(notebook, "Start")
    until(lambda: dots(notebook) > 60)
    notebook.page.locator(".labkit-panel").scroll_into_view_if_needed()
    notebook.evaluate("document.querySelector('.labkit-panel').scrollIntoView({block: 'start'})")
    folder = Path(os.environ.get("LABKIT_PHOTOGRAPHS", tmp_path))
    notebook.screenshot(folder / f"control-room-{theme.lower()}.png")
    seen = notebook.evaluate(
        "const outer = document.querySelector('.labkit-panel').getBoundingClientRect();"
        "const all = [...document.querySelectorAll('.labkit-panel *')];"
        "const inside = all.filter(e => !e.closest('.labkit-live-figure'));"
        "const out = inside.filter(e => e.getBoundingClientRect().right > outer.right + 1);"
        "const chart = document.querySelector('.labkit-live-figure').getBoundingClientRect();"
        "const svg = document.querySelector('.labkit-live-figure .main-svg').getBoundingClientRect();"
        "return {out: out.map(e => e.className), bottom: chart.bottom, wide: Math.abs(svg.width - chart.width)}"
    )
    assert seen["out"] == [] and seen["wide"] < 4
    assert seen["bottom"] <= 780  # all controls and all charts at once
    press(notebook, "Stop")
    standing(notebook, "Stopped")


@pytest.mark.timeout(300 * UNIT)
def test_the_notebook_runs_and_its_file_stays_small(jupyter: Jupyter, browser: Browser) -> None:
    shutil.copy(ROOT / "notebooks" / "07_control_room.ipynb", jupyter.root)
    notebook = jupyter.open(browser, "07_control_room.ipynb")
    notebook.run_all(240 * UNIT)
    assert notebook.errors() == [] and notebook.pending() == []
    notebook.evaluate("await panel.context.save()")
    saved = json.loads((jupyter.root / "07_control_room.ipynb").read_text(encoding="utf-8"))
    for cell in saved["cells"]:
        for output in cell.get("outputs", []):
            for kind in PICTURES:
                output.get("data", {}).pop(kind, None)
    assert len(json.dumps(saved, indent=1)) < SAVED_BYTES
    notebook.evaluate("await panel.sessionContext.shutdown()")
    notebook.page.close()
