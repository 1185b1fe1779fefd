"""The ground of the page: the style sheet by which what is shown follows JupyterLab's light or dark theme.

A kernel cannot know which theme its front end has, nor that a reader changes it later; a style sheet on the page can.
"""

from __future__ import annotations

import html
import re
import sys
import threading
from pathlib import Path

_FILE = (Path(__file__).parent / "ground.css").read_text(encoding="utf-8")
SHEET = " ".join(re.sub(r"/\*.*?\*/", "", _FILE, flags=re.DOTALL).split())
"""Keyed on JupyterLab's ``data-jp-theme-light``; where there is no such page, charts stay light."""
OF_THE_SYSTEM = SHEET.replace("@media screen", "@media screen and (prefers-color-scheme: dark)").replace(
    '[data-jp-theme-light="false"] ', ""
)
"""The same for a page of the kit's own, outside JupyterLab: dark where the reader's system is."""
_brought_in = -1


def bring() -> None:
    """Put the sheet into the output of the cell that runs, before its first chart.

    Each cell that has a chart brings it, as any one of them may be run again or cleared.
    """
    global _brought_in
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is None or not hasattr(shell, "kernel") or threading.current_thread() is not threading.main_thread():
        return
    if shell.execution_count != _brought_in:
        from IPython.display import display

        _brought_in = shell.execution_count
        display({"text/html": f"<style>{SHEET}</style>", "text/plain": ""}, raw=True)  # type: ignore[no-untyped-call]


def frame(address: str, height: int) -> None:
    """Show a page of the kit's own in the output of the cell that runs, on the notebook's ground.

    What is drawn in a frame of another origin cannot see the theme of the page around it; the frame itself can. From
    any thread.

    Args:
        height: in pixels.
    """
    from IPython.display import display

    framed = f'<iframe class="labkit-frame" src="{html.escape(address)}" width="100%" height="{height}"'
    shown = f'<style>{SHEET}</style>{framed} style="border: 0"></iframe>'
    display({"text/html": shown, "text/plain": address}, raw=True)  # type: ignore[no-untyped-call]
