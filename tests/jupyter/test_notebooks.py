"""Run All on the notebooks, as a person does: a real JupyterLab, a real Chromium.

``make test`` opens the one that a newcomer opens first; ``make test-browser`` opens every one. The control room's is
opened by its own tests.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import Jupyter
from looks import assert_readable_in_both_themes
from playwright.sync_api import Browser

from conftest import UNIT

FOLDER = Path(__file__).parent.parent.parent / "notebooks"
NOTEBOOKS = sorted(path.stem for path in FOLDER.glob("*.ipynb") if path.stem != "07_control_room")
CHOSEN = NOTEBOOKS if os.environ.get("LABKIT_ALL_IN_JUPYTER") == "1" else ["00_start_here"]

CHARTS = "return document.querySelectorAll('.jp-RenderedPlotly').length"
# JupyterLab shows a chart's stored picture or plotly's own drawing
SHOWN = (
    "const charts = [...document.querySelectorAll('.jp-RenderedPlotly')];"
    "return charts.filter(c => c.querySelector('.main-svg') || c.querySelector('img')?.naturalWidth > 100).length"
)


@pytest.fixture(scope="module")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    root = tmp_path_factory.mktemp("notebooks") / "root"
    shutil.copytree(FOLDER, root)
    with Jupyter(root) as jupyter:
        yield jupyter


@pytest.mark.timeout(300 * UNIT)
@pytest.mark.parametrize("name", CHOSEN)
def test_run_all_ends_without_an_error(jupyter: Jupyter, browser: Browser, name: str) -> None:
    notebook = jupyter.open(browser, f"{name}.ipynb", width=1400, height=1600)
    notebook.run_all(240 * UNIT)
    assert notebook.errors() == []
    assert notebook.pending() == []
    assert [line for line in notebook.console if "labkit" in line.lower()] == []
    assert notebook.evaluate(SHOWN) == notebook.evaluate(CHARTS)
    assert_readable_in_both_themes(notebook)
