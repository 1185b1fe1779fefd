"""The page of a probe: the finding first, the line to change second, and text alone, whatever a server sends."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from planted_sockets import closing, message, opened
from planted_streams import LAST, STEP_S, Step, chunk, endless, head, held_whole, planted
from steady import probed

from labkit.strangers.probe.observation import Piece
from labkit.strangers.probe.page import longest_gap
from labkit.strangers.probe.probing import probe
from labkit.strangers.probe.report import Report

HOSTILE = "</pre></svg><script>document.title='ran'</script><img src=x onerror=\"document.title='ran'\">"


class Page(HTMLParser):
    """The elements of a page, in order, and their texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        assert not any(name.startswith("on") or name in ("src", "href", "style") for name, _ in attrs), (tag, attrs)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


OURS = "html meta title style h1 h2 h3 small div section table tr th td ul li p pre svg text line circle path rect"


def hostile(_: str) -> Iterator[Step]:
    yield head("200 OK", "text/event-stream", f"Server: {HOSTILE}", "X-A: \u202e", f"X-Cache: HIT {HOSTILE}")
    for _ in range(4):
        yield STEP_S / 2
        yield chunk(f"id: {HOSTILE}\nevent: {HOSTILE}\ndata: {HOSTILE}\u202e\n{HOSTILE}\n\n".encode())
    yield LAST


def hostile_socket(asked: str) -> Iterator[Step]:
    yield opened(asked)
    yield message(HOSTILE) + closing(1011, HOSTILE[:100])


def of_hostile(kind: str) -> Report:
    with planted(hostile if kind == "stream" else hostile_socket) as url:
        url = url.replace("http", "ws") if kind == "socket" else url
        return probe(f"{url}?q={HOSTILE}", seconds=20, headers={"X-A": HOSTILE}, expect="lasts=1s", say=None)


@pytest.mark.parametrize("kind", ["stream", "socket"])
def test_nothing_of_what_came_is_an_element_of_the_page(kind: str, tmp_path: Path) -> None:
    report = of_hostile(kind)
    text = report.to_html(tmp_path / "probe.html").read_text(encoding="utf-8")
    page = Page(text)
    assert {*page.names} <= {*OURS.split()} and page.names.count("style") == 1
    assert "default-src 'none'" in text and "\u202e" not in text
    assert any(HOSTILE[:20] in each for each in page.texts)


def test_the_finding_comes_first_and_the_line_to_change_second(tmp_path: Path) -> None:
    with planted(held_whole) as held, planted(endless) as direct:
        report = probed(held, [(1, "seen")], 1.5, also=direct)
    (found,) = report.findings
    text = report.to_html(tmp_path / "probe.html").read_text(encoding="utf-8")
    body = re.sub(r"<[^>]+>", "\n", text.partition("</style>")[2])
    lines = [line for line in unescape(body).splitlines() if line.strip()]
    assert lines[0].strip() == found.says and lines[1] == f"{found.grade} [row 1]"
    assert lines[2:4] == ["change", found.remedy[0]]
    assert lines[0] in text and held in text and direct in text
    assert text.count('class="event"') >= len(report.seen.others["also"].events)
    assert report.when and report.when in text


def test_a_page_of_nothing_wrong_says_so_first(tmp_path: Path) -> None:
    with planted(endless) as url:
        report = probed(url, [], 0.5)
    text = report.to_html(tmp_path / "probe.html").read_text(encoding="utf-8")
    assert "<h1>nothing is wrong with it in this probe</h1>" in text


def test_what_could_not_be_asked_has_a_page_too(tmp_path: Path) -> None:
    with planted(endless) as url:
        pass
    report = probe(url, seconds=0.5, say=None)
    text = report.to_html(tmp_path / "probe.html").read_text(encoding="utf-8")
    assert report.status == 2 and "<h1>it could not be asked: " in text


def test_the_longest_silence_is_found_and_an_even_stream_has_none() -> None:
    with planted(held_whole) as url:
        held = probe(url, seconds=20, say=None).seen.first
    gap = longest_gap(held)
    assert gap is not None and gap[0] == 0 and gap[1] == held.head_s
    even = replace(held, head_s=0.1, pieces=tuple(Piece(0.1 * n, 0, 1) for n in range(2, 9)), end_s=0.9)
    assert longest_gap(even) is None


@pytest.mark.browser
@pytest.mark.parametrize("kind", ["stream", "socket"])
def test_in_a_browser_nothing_of_it_runs_and_nothing_is_fetched(kind: str, tmp_path: Path, browser: Any) -> None:
    file = of_hostile(kind).to_html(tmp_path / "probe.html")
    for scheme in ("light", "dark"):
        context = browser.new_context(color_scheme=scheme, viewport={"width": 390, "height": 800})
        asked, page = list[str](), context.new_page()
        page.on("request", lambda request, asked=asked: asked.append(request.url))
        page.goto(file.as_uri())
        assert page.title().startswith("labkit probe: ") and page.title() != "ran"
        assert asked == [file.as_uri()]
        assert page.evaluate("document.scripts.length + document.images.length") == 0
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        shown = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        assert shown == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(17, 17, 17)")
        context.close()


def test_what_is_seen_is_written_as_json_without_loss(tmp_path: Path) -> None:
    report = of_hostile("stream")
    told = json.loads(report.to_json(tmp_path / "probe.json").read_text(encoding="utf-8"))
    assert told["status"] == report.status and told["when"] == report.when and not told["interrupted"]
    assert told["requests"][0]["events"][0]["said"] == HOSTILE[:60]
