"""The page's own EventSource put to claims E1, E2, E3 and E6, in a real JupyterLab and a real Chromium."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from harness import Jupyter, Notebook

START = """
import json, labkit
from labkit.course import sse
def tell(id, seen):
    record = labkit.check(id, seen)
    print("\\n" + json.dumps([record.verdict, "\\n".join([record.reason, *record.holds]), record.measured]))
"""
CELLS = {
    "E1": "tell('E1', sse.conformance())",
    "E3": "tell('E3', sse.endings())",
    "E6": "tell('E6', sse.heartbeats(rounds=2))",
    "E2": "lab = labkit.Lab()\nlink = labkit.Link(lab, one_way_s=0.02).start()\n"
    "page = labkit.BrowserSubscriber(lab, 'sse', through=link)\n"
    "tell('E2', sse.Resumption(sse.returns({0.2: 9}), sse.cut(lab, link, duration_s=3)))\nlink.close(); lab.close()",
}


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory, browser: Any) -> Iterator[Notebook]:
    """All of it run once: a kernel and its imports take longer than most of the claims."""
    with Jupyter(tmp_path_factory.mktemp("event-source")) as jupyter:
        jupyter.write("e.ipynb", [START, *CELLS.values()])
        opened = jupyter.open(browser, "e.ipynb")
        opened.run_all()
        yield opened
        opened.evaluate("await panel.sessionContext.shutdown()")


def found(notebook: Notebook, id: str) -> tuple[str, str, float]:
    """Verdict, reason and measured value of a claim."""
    assert notebook.errors() == []
    printed = notebook.text(1 + list(CELLS).index(id))
    verdict, reason, measured = json.loads(next(line for line in printed.splitlines() if line.startswith("[")))
    return verdict, reason, measured


def test_the_browser_keeps_the_rules_of_the_event_stream(notebook: Notebook) -> None:
    verdict, reason, measured = found(notebook, "E1")
    assert verdict in ("confirmed", "refined"), reason
    assert measured >= 27, reason
    assert reason.startswith("Chrome/"), reason


def test_the_browser_stops_at_a_204_and_fails_at_another_type(notebook: Notebook) -> None:
    verdict, reason, _ = found(notebook, "E3")
    assert verdict == "confirmed", reason
    assert "EventSource of this page, 200, then 204: 2 requests, 1 event" in reason


def test_a_page_sees_named_heartbeats_and_no_comments(notebook: Notebook) -> None:
    verdict, reason, _ = found(notebook, "E6")
    assert verdict in ("confirmed", "undecided"), reason
    assert " comments seen, 0 of 2 stalls" in reason and "2 of 2 stalls noticed" in reason


def test_the_browser_comes_back_with_its_last_event_id_and_misses_nothing(notebook: Notebook) -> None:
    verdict, reason, _ = found(notebook, "E2")
    assert verdict in ("confirmed", "undecided"), reason
    assert "EventSource of this page: each reconnection brought the last event id" in reason
    assert "sse (browser): 30 events over a cut link, 0 lost" in reason
