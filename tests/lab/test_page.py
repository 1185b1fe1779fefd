"""The page at ``GET /``, in a real Chromium: every technique counts, tabs share connections, gaps are shown."""

from __future__ import annotations

import importlib.util
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import urlopen

import pytest

import labkit
from conftest import UNIT
from labkit.techniques import TECHNIQUES, Technique
from labkit.techniques.sse import SSE

NAMES = ("polling", "long-polling", "http-streaming", "sse", "websocket")
HELD = ("long-polling", "http-streaming", "sse")
NOTHING = "\u2013"  # shown where there is no figure
WAIT_MS = 15_000 * UNIT
SOON_MS = 2_000 * UNIT

# What a reader sees of each technique; empty strings where nothing is shown.
READ = """() => Object.fromEntries([...document.querySelectorAll('#techniques tr')].map((row) => [
    row.dataset.technique,
    Object.fromEntries([...row.querySelectorAll('[data-field]')].map((f) => [f.dataset.field, f.textContent])),
]))"""

# Headless Chromium never hides a page: the page is told so in its own words.
HIDE = """(hidden) => {
    Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden });
    document.dispatchEvent(new Event('visibilitychange'));
}"""

Seen = dict[str, dict[str, str]]


@pytest.fixture
def lab() -> Iterator[labkit.Lab]:
    with labkit.Lab("page") as opened:
        yield opened


@pytest.fixture
def context(browser: Any) -> Iterator[Any]:
    """One browser profile: its tabs share connections and Web Locks."""
    opened = browser.new_context()
    opened.set_default_timeout(WAIT_MS)
    yield opened
    opened.close()


def tab(context: Any, url: str) -> Any:
    """A tab on the page. What goes wrong in its code fails the test that reads it."""
    page = context.new_page()
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.goto(url)
    return page


def seen(page: Any, wanted: Callable[[Seen], bool] = lambda _: True, within_ms: float = WAIT_MS) -> Seen:
    """What the page shows, once it is what is *wanted*."""
    shown: Seen = page.evaluate(READ)
    for _ in range(int(within_ms / 50)):
        if wanted(shown):
            assert page.faults == []
            return shown
        page.wait_for_timeout(50)
        shown = page.evaluate(READ)
    raise AssertionError(f"not within {within_ms} ms: {shown}")


def live(row: dict[str, str]) -> bool:
    return row["state"].startswith(("connected", "parked"))


def waits(row: dict[str, str]) -> bool:
    return row["state"].startswith("waiting for a connection")


def all_live(shown: Seen) -> bool:
    return all(map(live, shown.values()))


def counted(count: int) -> Callable[[Seen], bool]:
    return lambda shown: all(row["count"] == str(count) for row in shown.values())


def counts_or_waits(count: int) -> Callable[[Seen], bool]:
    return lambda shown: all(row["count"] == str(count) or waits(row) for row in shown.values())


def publish(page: Any, text: str) -> str:
    """Publish from the page with Enter; what it says then."""
    before = page.inner_text("#outcome")
    page.fill("#text", text)
    page.press("#text", "Enter")
    page.wait_for_function("(before) => document.querySelector('#outcome').innerText !== before", arg=before)
    return str(page.inner_text("#outcome"))


def regular(row: dict[str, str]) -> bool:
    """The page checks each id against the one before: it saw none missing, none twice, none out of order."""
    return row["irregular"] == ""


@pytest.mark.browser
def test_every_technique_counts_twenty_events_in_order(lab: labkit.Lab, context: Any) -> None:
    page = tab(context, lab.url)
    seen(page, all_live, SOON_MS)
    for number in range(1, 21):
        lab.publish(f"event {number}: 가격")
    shown = seen(page, counted(20))
    assert tuple(shown) == NAMES
    for row in shown.values():
        assert (row["id"], row["data"], row["gap"]) == ("20", "event 20: 가격", "")
        assert regular(row)
        assert row["own"] == NOTHING  # this page published none of them: there is no latency to tell
        assert row["spread"] == "first" or re.fullmatch(r"\+[0-9.]+ ms", row["spread"])
    assert any(row["spread"] == "first" for row in shown.values())


@pytest.mark.browser
def test_what_is_published_on_the_page_reaches_every_technique_and_has_a_latency(lab: labkit.Lab, context: Any) -> None:
    page = tab(context, lab.url)
    seen(page, all_live, SOON_MS)
    assert publish(page, "by Enter") == "Published as event 1, over the WebSocket."
    page.fill("#text", "by the button")
    page.click("#publish button")
    shown = seen(page, lambda s: counted(2)(s) and all(row["own"] != NOTHING for row in s.values()))
    assert {row["data"] for row in shown.values()} == {"by the button"}
    assert all(re.fullmatch(r"[0-9.]+ m?s", row["own"]) for row in shown.values())


@pytest.mark.browser
def test_bytes_are_those_that_a_page_can_see(lab: labkit.Lab, context: Any) -> None:
    page = tab(context, lab.url)
    seen(page, all_live, SOON_MS)
    lab.publish("é" * 10)
    shown = seen(page, counted(1))
    event = len('{"id":1,"data":"éééééééééé"}'.encode())
    cursor = lab.cursor()
    assert shown["websocket"]["bytes"] == str(event + len(f'{{"cursor":"{cursor}"}}'))
    assert shown["http-streaming"]["bytes"] == str(event + 1 + len(f'{{"cursor":"{cursor}"}}\n'))
    assert shown["sse"]["bytes"] == str(20 + len(cursor))


@pytest.mark.browser
def test_the_clock_is_estimated_with_its_uncertainty(lab: labkit.Lab, context: Any) -> None:
    page = tab(context, lab.url)
    page.wait_for_function("() => document.querySelector('#clock').innerText.includes('best of 16')")
    assert lab.id in page.inner_text("#lab")
    found = re.search(r"Round trip to the lab ([0-9.]+) ms.* ± ([0-9.]+) ms", page.inner_text("#clock"))
    assert found is not None
    trip_ms, error_ms = map(float, found.groups())
    assert trip_ms / 2 <= error_ms <= trip_ms / 2 + 0.2  # half the trip, and the tick of a page's clock


@pytest.mark.browser
def test_in_each_of_two_tabs_every_technique_counts_or_waits_and_publishing_works(
    lab: labkit.Lab, context: Any
) -> None:
    first, second = tab(context, lab.url), tab(context, lab.url)
    for page in (first, second):
        seen(page, lambda s: all(live(row) or waits(row) for row in s.values()), SOON_MS)
    for count, page in enumerate((first, second), 1):
        assert publish(page, f"from tab {count}").startswith("Published")
        for other in (first, second):
            seen(other, counts_or_waits(count), SOON_MS)
    assert sum(map(waits, (seen(page)[name] for page in (first, second) for name in HELD))) == 1  # five slots of six


@pytest.mark.browser
def test_a_post_gets_through_when_three_tabs_hold_all_the_slots(lab: labkit.Lab, context: Any) -> None:
    pages = [tab(context, lab.url) for _ in range(3)]
    for page in pages:
        seen(page, lambda s: all(live(row) or waits(row) for row in s.values()), SOON_MS)
    answered = pages[2].evaluate(
        """async () => (await fetch('events',
            { method: 'POST', body: 'x', signal: AbortSignal.timeout(5000) })).json()"""
    )
    assert answered == {"id": 1}
    for page in pages:
        seen(page, counts_or_waits(1), SOON_MS)


@pytest.mark.browser
def test_closing_a_tab_lets_the_waiting_techniques_of_another_go_on(lab: labkit.Lab, context: Any) -> None:
    first, second = tab(context, lab.url), tab(context, lab.url)
    seen(first, lambda s: all_live(s) or any(map(waits, s.values())))
    seen(second, lambda s: all(live(row) or waits(row) for row in s.values()))
    lab.publish("while one waits")
    first.close()
    shown = seen(second, lambda s: all_live(s) and counted(1)(s), SOON_MS)
    assert all(map(regular, shown.values()))


@pytest.mark.browser
def test_a_hidden_tab_gives_its_connections_away_and_goes_on_from_its_cursor(lab: labkit.Lab, context: Any) -> None:
    first, second = tab(context, lab.url), tab(context, lab.url)
    seen(first, all_live, SOON_MS)
    seen(second, lambda s: any(map(waits, s.values())), SOON_MS)
    first.evaluate(HIDE, True)
    shown = seen(first, lambda s: all(s[name]["state"].startswith("hidden") for name in HELD), SOON_MS)
    assert live(shown["websocket"])
    seen(second, all_live, SOON_MS)
    lab.publish("while the first is hidden")
    seen(second, counted(1))
    assert seen(first, lambda s: s["websocket"]["count"] == "1")["sse"]["count"] == "0"
    second.close()
    first.evaluate(HIDE, False)
    shown = seen(first, lambda s: all_live(s) and counted(1)(s))
    assert all(map(regular, shown.values()))
    assert {shown[name]["spread"] for name in HELD} == {NOTHING}  # caught up on: that is no latency of the technique


@pytest.mark.browser
@pytest.mark.parametrize("process", [False, True])
def test_a_restarted_lab_is_a_gap_and_counting_goes_on(context: Any, process: bool) -> None:
    with labkit.Lab("page", process=process) as before:
        page = tab(context, before.url)
        seen(page, all_live)
        for _ in range(3):
            before.publish("before")
        seen(page, counted(3))
        with labkit.Lab("page", process=process) as after:
            assert after.url == before.url
            gap = f"gap after {before_cursor(3, page)}, next 1"
            seen(page, lambda s: all(row["gap"] == gap for row in s.values()))
            after.publish("after")
            shown = seen(page, lambda s: all_live(s) and counted(4)(s))
    assert {(row["id"], row["data"], row["gap"]) for row in shown.values()} == {("1", "after", gap)}
    assert all(map(regular, shown.values()))


def before_cursor(last: int, page: Any) -> str:
    """The cursor that a gap names, read from the page: the old lab is closed and has none any more."""
    shown = seen(page, lambda s: s["websocket"]["gap"])
    found = re.search(rf"{last}@[a-z0-9]{{4,12}}", shown["websocket"]["gap"])
    assert found is not None, shown["websocket"]["gap"]
    return found.group()


@pytest.mark.browser
@pytest.mark.parametrize(
    ("data", "shown"),
    [
        ("</script><img src=x onerror=alert(1)>", "</script><img src=x onerror=alert(1)>"),
        ("a\u2028b\u2029c", "a⟨U+2028⟩b⟨U+2029⟩c"),
        ("one\r\ntwo\n\rthree", "one␍␊two␊␍three"),
        ("\u202egnp.exe\u0000\u007f", "⟨U+202E⟩gnp.exe␀⟨U+007F⟩"),
        ("👩\u200d🔬 stays whole", "👩\u200d🔬 stays whole"),
        ("😀" * 200, "😀" * 160 + "… (400 characters)"),
        ("x" * 100_000, "x" * 160 + "… (100,000 characters)"),
        ("", "(empty)"),
        (b"\x00\xff\r\n", "binary, 4 bytes: 00 ff 0d 0a"),
        (b"", "binary, 0 bytes: "),
        (bytes(1000), "binary, 1,000 bytes: " + " ".join(["00"] * 24) + " …"),
    ],
)
def test_any_data_is_shown_safely(lab: labkit.Lab, context: Any, data: str | bytes, shown: str) -> None:
    page = tab(context, lab.url)
    page.on("dialog", lambda dialog: page.faults.append("a dialog: data was run as code"))
    seen(page, all_live)
    lab.publish(data)
    rows = seen(page, counted(1))
    assert {row["data"] for row in rows.values()} == {shown}
    assert page.query_selector("#techniques img") is None


@pytest.mark.browser
def test_a_topic_is_shown_as_safely_as_data(lab: labkit.Lab, context: Any) -> None:
    page = tab(context, f"{lab.url}/?topic={quote(chr(0x202E) + '<b>news' + chr(10))}")
    seen(page, all_live)
    assert page.text_content("#topic") == "Topic: ⟨U+202E⟩<b>news␊."


@pytest.mark.browser
def test_without_a_websocket_the_page_says_why_and_publishes_by_post(context: Any) -> None:
    with labkit.Lab("page", techniques=[t for t in TECHNIQUES if t.name != "websocket"]) as lab:
        page = tab(context, lab.url)
        seen(page, lambda s: s["websocket"]["state"].startswith("failed: HTTP 404: nothing here"))
        assert publish(page, "x") == "Published as event 1, by POST, since the WebSocket is closed."
        shown = seen(page, lambda s: all(s[name]["count"] == "1" for name in NAMES[:-1]))
        assert shown["long-polling"]["own"] != NOTHING


@pytest.mark.browser
def test_a_refused_event_is_an_error_in_words(context: Any) -> None:
    with labkit.Lab("page", max_event_bytes=100) as lab:
        page = tab(context, lab.url)
        seen(page, all_live)
        assert publish(page, "x" * 101).startswith("Not published: an event may have at most 100 bytes")
        assert publish(page, "short") == "Published as event 1, over the WebSocket."


@pytest.mark.browser
def test_a_lab_that_is_gone_is_said_in_words(context: Any) -> None:
    with labkit.Lab("page") as lab:
        page = tab(context, lab.url)
        seen(page, all_live)
    seen(page, lambda s: all(row["state"].startswith("reconnecting") for row in s.values()))
    assert publish(page, "x") == "Not published: the lab does not answer."
    page.wait_for_function("() => document.querySelector('#lab').innerText.startsWith('The lab does not answer')")


@pytest.mark.browser
def test_a_hole_or_a_repetition_that_no_gap_explains_is_shown(lab: labkit.Lab, context: Any) -> None:
    page = context.new_page()
    page.faults = []
    answers = iter([(0, []), (5, [1, 2, 5]), (6, [5, 4, 6])])  # the first is where every technique starts from

    def faulty(route: Any) -> None:
        newest, ids = next(answers, (6, []))
        events = [{"id": number, "data": "x"} for number in ids]
        route.fulfill(json={"events": events, "cursor": f"{newest}@eeeeee"})

    page.route(re.compile("/polling"), faulty)
    page.goto(lab.url)
    shown = seen(page, lambda s: s["polling"]["count"] == "6")
    assert shown["polling"]["irregular"] == "2 missing, 2 repeated"


@pytest.mark.browser
def test_a_topic_in_the_address_is_the_topic_of_every_technique(lab: labkit.Lab, context: Any) -> None:
    page = tab(context, f"{lab.url}/?topic=prices%20%26%20more")
    seen(page, all_live)
    lab.publish("elsewhere")
    lab.publish("here", topic="prices & more")
    publish(page, "from the page")
    shown = seen(page, counted(2))
    assert {row["data"] for row in shown.values()} == {"from the page"}
    assert lab.cursor("prices & more").startswith("2@")
    assert "Topic: prices & more" in page.inner_text("header")


@pytest.mark.browser
@pytest.mark.parametrize("width", [360, 820, 1280])
def test_nothing_moves_as_figures_change(lab: labkit.Lab, context: Any, width: int) -> None:
    page = tab(context, lab.url)
    page.set_viewport_size({"width": width, "height": 800})
    seen(page, all_live)
    tops = "() => [...document.querySelectorAll('tbody tr, #lab, h2')].map((e) => e.getBoundingClientRect().top)"
    before = page.evaluate(tops)
    for number in range(1, 4):
        publish(page, f"a text that is rather long, long enough for more than one line of any table {number}")
        lab.publish("w" * 5000)
    seen(page, counted(6))
    assert page.evaluate(tops) == before
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.browser
def test_commands_name_the_pages_own_address(lab: labkit.Lab, context: Any) -> None:
    page = tab(context, lab.url)
    commands = page.eval_on_selector_all("#commands code", "found => found.map((code) => code.textContent)")
    assert f'curl -N "{lab.url}/sse"' in commands
    assert all(f"127.0.0.1:{lab.port}/" in command for command in commands)


@pytest.mark.browser
def test_what_a_shell_would_read_in_an_address_is_encoded_in_its_command(lab: labkit.Lab, context: Any) -> None:
    """A query's is encoded by the browser; a path's, such as a hub's with a user's name, is not."""
    page = context.new_page()
    page.route("**/user/**", lambda route: route.continue_(url=route.request.url.replace("/user/a$(b)!", "")))
    page.goto(f"{lab.url}/user/a$(b)!/")
    page.wait_for_selector("#commands code")
    commands = page.eval_on_selector_all("#commands code", "found => found.map((code) => code.textContent)")
    assert f'curl -N "{lab.url}/user/a%24(b)%21/sse"' in commands


def test_the_page_needs_nothing_from_elsewhere(lab: labkit.Lab) -> None:
    with urlopen(lab.url) as answer:
        policy, page = answer.headers["Content-Security-Policy"], answer.read().decode()
    assert policy.startswith("default-src 'self'; ")
    for name in re.findall(r'(?:src|href)="(page/[^"]+)"', page):
        with urlopen(f"{lab.url}/{name}") as answer:
            kind = {"js": "text/javascript", "css": "text/css"}[name.rpartition(".")[2]]
            assert answer.headers["Content-Type"] == f"{kind}; charset=utf-8"
    assert "//" not in page.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.browser
def test_what_an_answer_to_a_poll_left_over_is_asked_for_at_once(lab: labkit.Lab, context: Any) -> None:
    page = context.new_page()
    page.faults = []
    asked_s: list[float] = []

    def in_parts(route: Any) -> None:
        asked_s.append(time.monotonic())
        number = len(asked_s) - 1  # the first is where every technique starts from
        events = [{"id": number, "data": "x"}] if 0 < number <= 12 else []
        more = {"more": True} if 0 < number < 12 else {}
        route.fulfill(json={"events": events, "cursor": f"{min(number, 12)}@eeeeee", **more})

    page.route(re.compile("/polling"), in_parts)
    page.goto(lab.url)
    shown = seen(page, lambda s: s["polling"]["count"] == "12")
    assert regular(shown["polling"])
    assert asked_s[12] - asked_s[1] < 5.5, "eleven intervals of a second, when each waits for its own"


# A learner's technique: SSE's handler, and a client in a file of its own, beside which its half for a page stands.
CLIENT = """from labkit.techniques.sse import SSE
def connect(*given, **options):
    return SSE.connect(*given, **options)
"""
HALF = """import { untilAway } from "./base.js";
export const terminal = { command: "mine" };
export async function receive(reader, { address, signal }) {
  const source = new EventSource(address({ after: reader.cursor }));
  source.onmessage = ({ data, lastEventId }) => {
    const [id, epoch] = lastEventId.split("@");
    reader.read({ id: Number(id), data: `mine: ${data}` }, performance.now(), epoch);
  };
  source.onopen = () => reader.open("by itself");
  await untilAway(signal, () => {}).finally(() => source.close());
}
"""


def learners(folder: Path, half: str | None) -> Technique:
    (folder / "mine.py").write_text(CLIENT)
    if half is not None:
        (folder / "mine.js").write_text(half)
    spec = importlib.util.spec_from_file_location("mine", folder / "mine.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return Technique("mine/1", "<i>My own</i>", "nobody's", "/my/own", SSE.handler, module.connect)


@pytest.mark.browser
def test_a_learners_technique_runs_by_the_half_beside_its_client(tmp_path: Path, context: Any) -> None:
    with labkit.Lab("page", techniques=(*TECHNIQUES, learners(tmp_path, HALF))) as lab:
        page = tab(context, lab.url)
        row = seen(page, lambda s: live(s["mine/1"]))["mine/1"]
        assert (row["title"], row["state"]) == ("<i>My own</i>", "connected: by\u00a0itself")
        lab.publish("x")
        shown = seen(page, counted(1))
        assert shown["mine/1"]["data"] == "mine: x"
        assert tuple(shown) == (*NAMES, "mine/1")
        assert f'mine "{lab.url}/my/own"' in page.inner_text("#commands")
        assert page.is_hidden("#none")


@pytest.mark.browser
@pytest.mark.parametrize(
    ("half", "why"),
    [
        ("export async function receive( {", "failed: its half for a page: "),
        ("export const held = 1;", "failed: receive"),
    ],
)
def test_a_fault_in_a_learners_half_is_said_in_its_row_alone(tmp_path: Path, context: Any, half: str, why: str) -> None:
    with labkit.Lab("page", techniques=(*TECHNIQUES, learners(tmp_path, half))) as lab:
        page = tab(context, lab.url)
        seen(page, lambda s: s["mine/1"]["state"].startswith(why))
        lab.publish("x")
        seen(page, lambda s: all(s[name]["count"] == "1" for name in NAMES))


@pytest.mark.browser
def test_a_technique_without_a_half_is_said_to_be_none_for_a_page(tmp_path: Path, context: Any) -> None:
    with labkit.Lab("page", techniques=(*TECHNIQUES, learners(tmp_path, None))) as lab:
        page = tab(context, lab.url)
        assert tuple(seen(page)) == NAMES
        said = "Not on this page, for want of a half in JavaScript: <i>My own</i> (mine/1)."
        assert page.inner_text("#none") == said


@pytest.mark.parametrize(
    "name", ["technique-plugin-socket.js", "technique-.js", "technique-../base.js", "sse.js", "base.py"]
)
def test_only_what_is_listed_is_served(lab: labkit.Lab, name: str) -> None:
    with pytest.raises(HTTPError, match="404"):
        urlopen(f"{lab.url}/page/{quote(name, safe='')}")
    with urlopen(f"{lab.url}/page/technique-sse.js") as answer:
        assert answer.read().decode() == SSE.page_half()
