"""How little probe and tap load before they begin: what somebody waits for who only wants to ask."""

from __future__ import annotations

import subprocess
import sys

import pytest
from planted_streams import endless, planted

from conftest import UNIT

HEAVY = {"pandas", "numpy", "plotly", "pyarrow", "scipy", "IPython", "ipywidgets", "psutil", "trustme", "h2",
         "labkit.course", "labkit.charts"}  # fmt: skip
OF_A_LAB = {"tornado", "labkit.techniques", "labkit.lab"}
"""A tap knows the techniques, and so loads these; a probe only where it is told which."""
STARTS = {
    "probe": (["probe", "{url}", "--seconds", "0.5"], HEAVY | OF_A_LAB, 300),
    "tap": (["tap", "--to", "{url}", "--seconds", "0"], HEAVY, 450),
}


@pytest.mark.timing
@pytest.mark.parametrize("name", STARTS)
def test_it_loads_nothing_that_it_does_not_use(name: str) -> None:
    words, heavy, most = STARTS[name]
    code = (
        "import sys; bare = {*sys.modules}\nfrom labkit.__main__ import main\nmain(sys.argv[1:])\n"
        f"print('loaded', len({{*sys.modules}} - bare), sorted({heavy} & {{*sys.modules}}))"
    )
    with planted(endless) as url:
        asked = [word.format(url=url) for word in words]
        done = subprocess.run(
            [sys.executable, "-c", code, *asked], capture_output=True, text=True, timeout=60 * UNIT, check=True
        )
    _, count, found = done.stdout.splitlines()[-1].split(" ", 2)
    assert found == "[]" and int(count) < most, done.stdout
