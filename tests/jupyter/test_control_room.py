"""The control room on a page: by mouse, by keyboard, a dot that opens its event, its looks, its file.

One JupyterLab, and one notebook in it, serve all the tests but the last; each test has a lab and a panel of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import ROOT, UNKNOWN, Jupyter, Notebook
from looks import assert_readable_in_both_themes
from playwright.sync_api import Browser, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from conftest import UNIT

PANEL = "import labkit\nlab = labkit.Lab()\npanel = labkit.Panel(lab, rate_per_s=10)\npanel"
SAVED_BYTES = 200_000
WAIT_MS = 30_000 * UNIT

CONTROLS = "[...document.querySelectorAll('.labkit-panel :is(button, input, select)')]"
FOCUSED = f"""() => {{
    const held = document.activeElement;
    const style = getComputedStyle(held);
    return {{
        place: {CONTROLS}.indexOf(held),
        name: held.getAttribute('aria-label') ?? held.labels?.[0]?.textContent.trim() ?? held.textContent.trim(),
        outline: style.outlineStyle === 'none' ? 0 : parseFloat(style.outlineWidth),
    }};
}}"""
FIT = """
    const room = document.querySelector('.labkit-panel'), right = room.getBoundingClientRect().right;
    const words = [...room.querySelectorAll('label, span, p, button, select, input')];
    const drawn = [...room.querySelectorAll('.labkit-live-figure svg text')];
    const over = e => e.getBoundingClientRect().right > right + 1 || e.scrollWidth > e.clientWidth + 1 && e.clientWidth;
    const chart = room.querySelector('.labkit-live-figure').getBoundingClientRect();
    const svg = room.querySelector('.labkit-live-figure .main-svg').getBoundingClientRect();
    const out = e => { const b = e.getBoundingClientRect();
                       return b.left < svg.left - 1 || b.right > svg.right + 1 || b.bottom > svg.bottom + 1; };
    return {
        over: words.filter(over).map(e => e.outerHTML.slice(0, 80)), cut: drawn.filter(out).map(e => e.textContent),
        wide: Math.abs(svg.width - chart.width), bottom: room.getBoundingClientRect().bottom,
    };
"""


@pytest.fixture(scope="module")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    # a static picture starts a Chromium of its own: nothing here looks at one, and JupyterLab makes its own besides
    with Jupyter(tmp_path_factory.mktemp("notebooks"), environment={"PLOTLY_RENDERER": "plotly_mimetype"}) as running:
        yield running


@pytest.fixture(scope="module")
def opened(jupyter: Jupyter, browser: Browser) -> Iterator[Notebook]:
    """A notebook: a cell that makes a panel, one to ask it things, one that closes its lab."""
    jupyter.write("panel.ipynb", [PANEL, "print(panel.message)", "lab.close()"])
    notebook = jupyter.open(browser, "panel.ipynb")
    yield notebook
    notebook.evaluate("await panel.sessionContext.shutdown()")
    notebook.page.close()


@pytest.fixture
def notebook(opened: Notebook) -> Iterator[Notebook]:
    """The notebook with a new lab and a new panel on the screen."""
    opened.console.clear()
    opened.run_cell(0)
    assert opened.errors() == []
    opened.scroll_to(0)
    expect(opened.page.locator(".labkit-dial input[type=range]")).to_have_count(6, timeout=WAIT_MS)
    yield opened
    opened.run_cell(2)
    assert opened.errors() == [] and [line for line in opened.console if "labkit" in line.lower()] == []


def press(notebook: Notebook, name: str) -> None:
    notebook.page.locator(".labkit-panel").get_by_role("button", name=name, exact=True).click()


def standing(notebook: Notebook, *words: str) -> None:
    """Wait until the panel's line on the run holds these words."""
    for word in words:
        expect(notebook.page.locator(".labkit-standing")).to_contain_text(word, timeout=WAIT_MS)


def says(notebook: Notebook, words: str) -> None:
    expect(notebook.page.locator(".labkit-says")).to_contain_text(words, timeout=WAIT_MS)


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


def start(notebook: Notebook, at_least: int = 5) -> None:
    """Start a run, and wait until so many dots are drawn."""
    press(notebook, "Start")
    standing(notebook, "Running", "published")
    until(lambda: dots(notebook) >= at_least)


def stop(notebook: Notebook) -> None:
    """End the run, and wait until the plain figure stands in the live one's place."""
    press(notebook, "Stop")
    standing(notebook, "Stopped")
    notebook.page.locator(".labkit-panel .jp-RenderedPlotly .main-svg").first.wait_for(timeout=WAIT_MS)
    expect(notebook.page.locator(".labkit-live-figure")).to_have_count(0)


def test_the_panel_by_mouse(notebook: Notebook) -> None:
    start(notebook, 40)
    press(notebook, "Cut the link")
    says(notebook, "The link is cut")
    press(notebook, "Heal")
    says(notebook, "The link is whole")
    press(notebook, "Stall the link")
    says(notebook, "The link is stalled")
    press(notebook, "Heal")
    box = notebook.page.get_by_label("one-way delay", exact=True).bounding_box()
    assert box is not None
    notebook.page.mouse.move(box["x"] + 5, box["y"] + box["height"] / 2)
    notebook.page.mouse.down()
    notebook.page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2, steps=8)
    notebook.page.mouse.up()
    until(lambda: 0.004 < asked(notebook, "panel.one_way_s") < 0.01)  # a logarithmic slider, from 1 ms to 2 s
    assert asked(notebook, "panel.link.one_way_s") == asked(notebook, "panel.one_way_s")
    notebook.page.get_by_label("one event", exact=True).fill("by hand")
    press(notebook, "Publish")
    says(notebook, "is published")
    notebook.page.get_by_label("SSE", exact=True).uncheck()
    says(notebook, "Other techniques need another run")
    stop(notebook)
    assert asked(notebook, "[r.settings['techniques'].count('sse') for r in panel.runs]") == [1, 0]
    assert asked(notebook, "[int(r.summary().lost.sum()) for r in panel.runs]") == [0, 0]
    press(notebook, "Reset")
    says(notebook, "back where it began")
    expect(notebook.page.get_by_label("SSE", exact=True)).to_be_checked()


def tabbed_to(notebook: Notebook, name: str) -> None:
    """Press Tab until the control of this name has the focus."""
    keyboard = notebook.page.keyboard
    for _ in range(60):
        if notebook.page.evaluate(FOCUSED)["name"] == name:
            return
        keyboard.press("Tab")
    raise AssertionError(f"Tab never reaches {name!r}")


def test_tab_alone_reaches_every_control_and_shows_where_it_is(notebook: Notebook) -> None:
    notebook.evaluate("panel.content.mode = 'command'; panel.content.activate()")
    tabbed_to(notebook, "Start")
    controls = notebook.page.evaluate(f"{CONTROLS}.filter(e => !e.disabled && e.checkVisibility()).length")
    seen = [notebook.page.evaluate(FOCUSED)]
    while seen[-1]["place"] >= 0 and len(seen) < 60:
        notebook.page.keyboard.press("Tab")
        seen.append(notebook.page.evaluate(FOCUSED))
    visited = seen[:-1]  # the last Tab has left the panel again
    assert [one["place"] for one in visited] == list(range(controls))
    assert [one["name"] for one in visited if not one["name"] or one["outline"] < 2] == []


def test_the_panel_by_keyboard_alone(notebook: Notebook) -> None:
    keyboard = notebook.page.keyboard
    notebook.evaluate("panel.content.mode = 'command'; panel.content.activate()")
    tabbed_to(notebook, "Start")
    for key, word in (("Space", "Running"), ("Enter", "Stopped"), ("Space", "Running")):
        keyboard.press(key)
        standing(notebook, word)
    tabbed_to(notebook, "WebSocket")
    keyboard.press("Space")
    says(notebook, "Other techniques need another run")
    tabbed_to(notebook, "event rate")
    for _ in range(5):
        keyboard.press("ArrowRight")
    standing(notebook, "16 events/s")
    tabbed_to(notebook, "event rate, events per second, exact")
    keyboard.press("Control+a")
    keyboard.type("25")
    keyboard.press("Enter")
    standing(notebook, "25 events/s")
    tabbed_to(notebook, "poll interval")
    keyboard.press("Home")
    says(notebook, "The polling subscriber started again")
    tabbed_to(notebook, "source")
    keyboard.press("ArrowDown")
    standing(notebook, "at regular times")
    tabbed_to(notebook, "one event")
    keyboard.type("typed")
    keyboard.press("Enter")
    says(notebook, "is published")
    newest = int(notebook.page.get_by_label("event id", exact=True).input_value())
    tabbed_to(notebook, "event id")
    keyboard.press("Control+a")
    keyboard.type(str(newest - 1))
    tabbed_to(notebook, "Open event")
    keyboard.press("Space")
    says(notebook, f"Event {newest - 1} is open below")
    assert asked(notebook, "[panel.rate_per_s, panel.source, 'websocket' in panel.techniques]") == [
        25, "periodic", False,
    ]  # fmt: skip


def test_a_bad_number_typed_into_a_dial_is_a_sentence(notebook: Notebook) -> None:
    exact = notebook.page.get_by_label("event rate, events per second, exact")
    exact.fill("5000")
    exact.press("Enter")
    says(notebook, "rate_per_s=5000.0: expected a number of events per second from 0.1 to 1000")
    expect(exact).to_have_value("10")


def test_no_control_of_a_closed_panel_can_be_reached(notebook: Notebook) -> None:
    assert notebook.page.evaluate(f"{CONTROLS}.every(control => !control.disabled)")
    asked(notebook, "lab.close()")
    says(notebook, "To have it back, run the cells with labkit.Lab() and labkit.Panel(lab) again")
    until(lambda: notebook.page.evaluate(f"{CONTROLS}.every(control => control.disabled)"))


def test_what_somebody_is_typing_stays(notebook: Notebook) -> None:
    event_id, text = (notebook.page.get_by_label(name, exact=True) for name in ("event id", "one event"))
    event_id.fill("12")
    text.fill("first")
    text.press("Enter")
    says(notebook, "Event 1 is published")
    expect(text).to_have_value("")
    expect(event_id).to_have_value("12")
    press(notebook, "Open event")
    says(notebook, "Nothing has run yet")
    text.fill("second")
    press(notebook, "Publish")
    says(notebook, "Event 2 is published")
    expect(event_id).to_have_value("2")  # nobody has typed since the press


def test_an_error_of_a_callback_is_seen_in_the_panel_and_ends_nothing(notebook: Notebook) -> None:
    start(notebook)
    asked(notebook, "setattr(panel._runs.live, 'publish', lambda data: 1 / 0)")
    notebook.page.get_by_label("one event", exact=True).fill("by hand")
    press(notebook, "Publish")
    says(notebook, "ZeroDivisionError: division by zero (below: where it came from)")
    traceback = notebook.page.locator(".labkit-panel [data-mime-type='application/vnd.jupyter.stderr']")
    expect(traceback).to_contain_text("ZeroDivisionError")
    expect(traceback).to_be_visible()
    drawn = asked(notebook, "panel.draws")
    until(lambda: asked(notebook, "panel.draws") > drawn)
    stop(notebook)


def test_a_click_on_a_dot_opens_its_event_and_its_bytes(notebook: Notebook) -> None:
    start(notebook, 20)
    polling = notebook.page.locator(".labkit-live-figure .xy .scatterlayer .trace").first.locator("path.point")
    details = notebook.page.locator(".labkit-details")

    def clicked() -> bool:  # the dots move on while it aims
        box = polling.nth(2).bounding_box()
        assert box is not None
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        notebook.page.mouse.move(x - 3, y)
        notebook.page.mouse.move(x, y)
        with contextlib.suppress(PlaywrightTimeout):  # it may be gone from under the pointer: aim again
            notebook.page.locator(".labkit-live-figure .hoverlayer .hovertext").first.wait_for(timeout=1000 * UNIT)
            notebook.page.mouse.click(x, y)
        return details.locator(".main-svg").count() > 0

    until(clicked)
    says(notebook, "is open below")
    said = re.search(r"Event \d+ over", notebook.page.locator(".labkit-says").inner_text())
    assert said is not None
    expect(details).to_contain_text(said[0])  # of polling, or of whose dot lies over it
    for hop in ("client read", "link.near wrote", "link.far read"):
        expect(details).to_contain_text(hop)
    stop(notebook)


def test_a_page_that_is_reloaded_goes_on_drawing(notebook: Notebook) -> None:
    start(notebook)
    drawn, unknown = notebook.page.locator(".labkit-live-figure .main-svg").first, notebook.page.get_by_text(UNKNOWN)
    for _ in range(3):
        notebook.reload()
        drawn.or_(unknown).first.wait_for(timeout=WAIT_MS)
        if not unknown.count():
            break
    drawn.wait_for(timeout=WAIT_MS)
    before = dots(notebook)
    until(lambda: dots(notebook) > max(5, before))
    notebook.page.locator(".labkit-live-figure .x4y4 .barlayer path").first.wait_for(timeout=WAIT_MS)
    expect(notebook.page.get_by_role("button", name="Stop", exact=True)).to_be_visible()
    stop(notebook)


def serious(notebook: Notebook) -> list[tuple[str, list[str]]]:
    """What axe-core calls serious or critical inside the panel."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(notebook.page, context=".labkit-panel").response["violations"]
    bad = [one for one in found if one["impact"] in ("serious", "critical")]
    return [(one["id"], [node["html"][:200] for node in one["nodes"]][:3]) for one in bad]


@pytest.mark.parametrize("theme", ["Dark", "Light"])
def test_the_panel_fits_a_laptop_s_screen_and_is_accessible(notebook: Notebook, tmp_path: Path, theme: str) -> None:
    notebook.dress(theme)
    start(notebook, 60)
    notebook.evaluate("document.querySelector('.labkit-panel').scrollIntoView({block: 'start'})")
    folder = Path(os.environ.get("LABKIT_PHOTOGRAPHS", tmp_path))
    notebook.screenshot(folder / f"control-room-{theme.lower()}.png")
    seen = notebook.evaluate(FIT)
    assert seen["over"] == [] and seen["cut"] == [] and seen["wide"] < 4
    assert seen["bottom"] <= 780  # all controls and all charts at once
    assert serious(notebook) == []
    stop(notebook)
    notebook.page.get_by_label("event id", exact=True).fill("3")
    press(notebook, "Open event")
    says(notebook, "Event 3 is open below")
    notebook.page.locator(".labkit-details .main-svg").first.wait_for(timeout=WAIT_MS)
    assert serious(notebook) == []


@pytest.mark.timeout(300 * UNIT)
def test_the_notebook_runs_and_its_file_stays_small(jupyter: Jupyter, browser: Browser) -> None:
    shutil.copy(ROOT / "notebooks" / "07_control_room.ipynb", jupyter.root)
    notebook = jupyter.open(browser, "07_control_room.ipynb")
    notebook.run_all(240 * UNIT)
    assert notebook.errors() == [] and notebook.pending() == []
    assert_readable_in_both_themes(notebook)
    notebook.evaluate("await panel.context.save()")
    saved = json.loads((jupyter.root / "07_control_room.ipynb").read_text(encoding="utf-8"))
    for cell in saved["cells"]:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("image/png", None)
    assert len(json.dumps(saved, indent=1, ensure_ascii=False).encode()) < SAVED_BYTES
    notebook.scroll_to(0)
    start(notebook)  # what the reader is to press is live
    notebook.evaluate("await panel.sessionContext.shutdown()")
    notebook.page.close()
