"""The page that shows a notebook as a subscriber, in a real JupyterLab and a real Chromium.

Each notebook prints one line of JSON that the test reads: what a learner's own cell would have.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import READY, Jupyter, Notebook, launch
from tabs import WHY_NOT, Tabs

from conftest import UNIT

ALL = ["polling", "long-polling", "http-streaming", "sse", "websocket", "notebook-comm"]
START = "import json, labkit\nlab = labkit.Lab(process={process})\n"
STEADY = "labkit.periodic(rate_per_s=50, duration_s={seconds})"
REPORT = """
import collections
mine = run.deliveries.query("client == 'browser'")
print(json.dumps({"ids": {t: rows.event_id.tolist() for t, rows in mine.groupby("technique")},
    "rows": mine[["transit_ms", "clock_error_ms", "subscriber", "scheduled"]].to_dict("list"),
    "published": [n for _, n in run.published], "notes": run.notes, "pages": run.settings.get("pages", []),
    "failures": run.failures, "summary": run.summary()[["events", "lost", "duplicated"]].T.to_dict()}))
"""


@pytest.fixture(scope="module")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    with Jupyter(tmp_path_factory.mktemp("notebooks")) as running:
        yield running


def report(notebook: Notebook, number: int) -> dict[str, Any]:
    """The last line of a cell, as JSON."""
    lines = [line for line in notebook.text(number).splitlines() if line.startswith("{")]
    assert lines, (notebook.text(number), notebook.errors())
    return dict(json.loads(lines[-1]))


def opened(jupyter: Jupyter, browser: Any, *cells: str, process: bool = False, **where: Any) -> Notebook:
    """A notebook of these cells, after one that starts a lab, open in a page of its own profile."""
    name = f"n{len(list(jupyter.root.glob('*.ipynb')))}.ipynb"
    jupyter.write(name, [START.format(process=process), *cells])
    return jupyter.open(browser, name, **where)


def clean(notebook: Notebook) -> None:
    """No cell failed, and the kernel's labs are closed: the next notebook has a kernel of its own."""
    assert notebook.errors() == []
    notebook.evaluate("await panel.sessionContext.shutdown()")
    notebook.page.close()


@pytest.mark.parametrize("process", [False, True], ids=["thread", "process"])
def test_every_technique_of_a_page_receives_all_in_order_during_a_synchronous_measurement(
    jupyter: Jupyter, browser: Any, process: bool
) -> None:
    notebook = opened(
        jupyter,
        browser,
        f"subs = [labkit.BrowserSubscriber(lab, t) for t in {ALL}]\n"
        f"run = labkit.measure(lab, ['websocket'], {STEADY.format(seconds=2)}, progress=False)\n" + REPORT,
        "lab.close()",
        process=process,
    )
    notebook.run_all()
    told = report(notebook, 1)
    assert len(told["published"]) == 100
    assert told["ids"] == {technique: told["published"] for technique in sorted(ALL)}
    rows = told["rows"]
    assert all(rows["scheduled"])
    assert all(0 < error_ms < 1000 for error_ms in rows["clock_error_ms"])
    early = [ms + error for ms, error in zip(rows["transit_ms"], rows["clock_error_ms"], strict=True) if ms < -error]
    assert early == []  # nothing is there before it was published
    assert told["summary"]["sse (browser)"] == {"events": 100, "lost": 0, "duplicated": 0}
    assert {page["through"].split(":")[0] for page in told["pages"]} == {"port"}
    clean(notebook)


def test_what_an_answer_to_a_poll_left_over_is_asked_for_at_once(jupyter: Jupyter, browser: Any) -> None:
    interval_s = 2
    notebook = opened(
        jupyter,
        browser,
        f"sub = labkit.BrowserSubscriber(lab, 'polling', poll_interval_s={interval_s})\n"
        "large = labkit.periodic(rate_per_s=200, duration_s=0.5, payload_bytes=20_000)\n"
        "run = labkit.measure(lab, ['websocket'], large, settle_s=20, progress=False)\n" + REPORT,
        "lab.close()",
    )
    notebook.run_all()
    told = report(notebook, 1)
    # an answer's events have one time of arrival: rows of two reports may change places when the clock is set between
    assert sorted(told["ids"]["polling"]) == told["published"] and len(told["published"]) == 100  # 2 MB: eight answers
    assert max(told["rows"]["transit_ms"]) < 3 * 1000 * interval_s
    clean(notebook)


OWN = '''
from dataclasses import replace
from labkit.techniques.sse import SSE
half = """
import { untilAway } from "./base.js";
const size = "a name of the page's own code";
export const held = false;
export async function receive(reader, { address, signal }) {
  const source = new EventSource(address({ after: reader.cursor }));
  source.onopen = () => reader.open(size);
  source.onmessage = ({ data, lastEventId: cursor }) => {
    reader.event({ id: Number.parseInt(cursor), data }, cursor, performance.now());
  };
  await untilAway(signal, () => {}).finally(() => source.close());
}
"""
mine = replace(SSE, name="mine", route="/my/own", page=half)
lab = labkit.Lab(techniques=[*labkit.TECHNIQUES, mine])
sub = labkit.BrowserSubscriber(lab, ["mine", "sse"])
'''


def test_a_learners_technique_runs_in_the_page_by_its_own_half(jupyter: Jupyter, browser: Any) -> None:
    run = f"run = labkit.measure(lab, ['websocket'], {STEADY.format(seconds=1)}, progress=False)\n" + REPORT
    notebook = opened(jupyter, browser, OWN, run, "lab.close()")
    notebook.run_all()
    told = report(notebook, 2)
    assert len(told["published"]) == 50
    assert told["ids"] == {"mine": told["published"], "sse": told["published"]}
    assert told["pages"][0]["streams"]["mine"] == ["subscribed", "a name of the page's own code"]
    clean(notebook)


def test_a_run_keeps_apart_what_it_did_not_publish(jupyter: Jupyter, browser: Any) -> None:
    notebook = opened(
        jupyter,
        browser,
        "sub = labkit.BrowserSubscriber(lab, 'sse')\n"
        f"run = labkit.measure(lab, ['websocket'], {STEADY.format(seconds=1)}, progress=False,\n"
        "    at={0.5: lambda: lab.publish('from elsewhere')})\n" + REPORT,
        "lab.close()",
    )
    notebook.run_all()
    told = report(notebook, 1)
    assert len(told["ids"]["sse"]) == 51
    assert told["rows"]["scheduled"].count(False) == 1
    assert told["summary"]["sse (browser)"] == {"events": 50, "lost": 0, "duplicated": 0}
    clean(notebook)


def test_after_a_cut_link_the_browser_itself_goes_on_from_the_last_event_id(jupyter: Jupyter, browser: Any) -> None:
    notebook = opened(
        jupyter,
        browser,
        "link = labkit.Link(lab, one_way_s=0.01).start()\n"
        "sub = labkit.BrowserSubscriber(lab, 'sse', through=link)\n"
        f"run = labkit.measure(lab, ['websocket'], {STEADY.format(seconds=2)}, at={{0.9: link.cut, 1.1: link.heal}},\n"
        "    settle_s=10, progress=False)\n"
        + REPORT
        + "sent = [b''.join(t.data for t in r.transfers if t.direction == 'out') for r in link.ledger.connections"
        " if r.hop.endswith('near')]\n"
        "print([line for data in sent for line in data.decode().split('\\r\\n') if line.startswith('Last-Event-ID')])",
        "link.close(); lab.close()",
    )
    notebook.run_all()
    told = report(notebook, 1)
    assert told["ids"]["sse"] == told["published"]
    assert re.search(r"\['Last-Event-ID: \d+@[a-z0-9]+'\]", notebook.text(1))
    clean(notebook)


def test_through_a_link_a_pages_bytes_requests_and_connections_are_known(jupyter: Jupyter, browser: Any) -> None:
    notebook = opened(
        jupyter,
        browser,
        "from labkit.subscribing.contract.receiver import check_marks\n"
        "link = labkit.Link(lab, one_way_s=0.01).start()\n"
        "names = ['sse', 'websocket', 'http-streaming', 'long-polling']\n"
        "sub = labkit.BrowserSubscriber(lab, names, through=link)\n"
        f"run = labkit.measure(lab, names, {STEADY.format(seconds=1)}, one_way_s=0.01, progress=False)\n"
        "link.catch_up()\n"
        "near = [r for r in link.ledger.connections if r.hop == 'link.near']\n"
        "for record in near: check_marks(record)\n"
        "columns = ['connections', 'requests', 'payload_per_event', 'envelope_per_event', 'events']\n"
        "print(json.dumps({'summary': json.loads(run.summary()[columns].T.to_json()), 'near': len(near)}))",
        "link.close(); lab.close()",
    )
    notebook.run_all()
    told = report(notebook, 1)
    assert told["near"] >= 4
    for name in ("sse", "websocket", "http-streaming", "long-polling"):
        page, kernel = told["summary"][f"{name} (browser)"], told["summary"][name]
        assert page["connections"] >= 1 and page["events"] == kernel["events"]
        assert page["payload_per_event"] == pytest.approx(kernel["payload_per_event"], rel=0.05), name
        assert page["envelope_per_event"] == pytest.approx(kernel["envelope_per_event"], rel=0.5), name
    assert told["summary"]["long-polling (browser)"]["requests"] > 1
    clean(notebook)


def test_a_second_tab_is_another_subscriber_and_says_when_it_waits_for_a_connection(
    jupyter: Jupyter, browser: Any
) -> None:
    notebook = opened(
        jupyter,
        browser,
        "sub = labkit.BrowserSubscriber(lab, ['sse', 'http-streaming', 'long-polling', 'websocket'])\nsub",
        "import time\n"
        "deadline = time.monotonic() + 20\n"
        "while sum(p['attached'] and all(s['state'] != 'connecting' for s in p['streams']) for p in sub.pages()) < 2"
        " and time.monotonic() < deadline: time.sleep(0.05)\n"
        f"run = labkit.measure(lab, ['websocket'], {STEADY.format(seconds=1)}, progress=False)\n" + REPORT,
        "lab.close()",
    )
    for cell in (0, 1):
        notebook.run_cell(cell)
    notebook.wait_for_text("This page as a subscriber: attached")
    notebook.evaluate("await panel.context.save()")
    name = notebook.page.url.split("/")[-1].split("?")[0]
    second = jupyter.open(browser, name, context=notebook.page.context)
    second.wait_for_text("waiting for a connection", 20 * UNIT)
    second.run_cell(2)
    told = report(second, 2)
    assert sorted(set(told["rows"]["subscriber"])) == [0, 1]
    assert told["ids"]["websocket"].count(told["published"][0]) == 2
    streams = [state for page in told["pages"] for state, _ in page["streams"].values()]
    assert streams.count("waiting for a connection") == 1  # six were asked for, five may be held
    assert any("waiting for a connection" in note for note in told["notes"])
    assert "Starved" in second.page.locator(".labkit-browser").first.inner_text()
    second.run_cell(3)
    second.page.close()
    clean(notebook)


def test_a_page_that_is_reloaded_leaves_its_rows_and_goes_on_from_its_cursor(jupyter: Jupyter, browser: Any) -> None:
    notebook = opened(
        jupyter,
        browser,
        "sub = labkit.BrowserSubscriber(lab, ['sse', 'websocket'])\nsub",
        f"run = labkit.measure(lab, ['websocket'], {STEADY.format(seconds=4)}, settle_s=0.5, progress=False)",
        REPORT,
        "import asyncio\nfor _ in range(400):\n    if sub.count('sse') >= len(run.published): break\n"
        "    await asyncio.sleep(0.05)\n"
        "print(json.dumps({'ids': sub.deliveries.query(\"technique == 'sse'\").event_id.tolist()}))",
        "sub",
        "lab.close()",
    )
    for cell in (0, 1):
        notebook.run_cell(cell)
    notebook.wait_for_text("This page as a subscriber: attached")
    notebook.run_cell(2, wait=False)
    notebook.page.get_by_text(re.compile(r"sse: subscribed.* [1-9]\d* events")).wait_for()
    notebook.reload()
    notebook.wait_idle()
    notebook.run_cell(3)  # a page that comes back does not get what the running cell would have printed
    told = report(notebook, 3)
    got = told["ids"]["sse"]
    assert 0 < len(got) < len(told["published"])
    assert got == told["published"][: len(got)]
    assert any("was away" in note and "stay" in note for note in told["notes"])
    notebook.run_cell(4)
    assert report(notebook, 4)["ids"] == told["published"]
    notebook.run_cell(5)  # shown anew: the saved one may read as harness.UNKNOWN
    notebook.page.get_by_text("This page as a subscriber: attached through").last.wait_for()
    notebook.run_cell(6)
    clean(notebook)


def test_a_page_that_loses_its_network_says_so_and_misses_nothing(jupyter: Jupyter, browser: Any) -> None:
    notebook = opened(
        jupyter,
        browser,
        "sub = labkit.BrowserSubscriber(lab, ['polling', 'sse', 'websocket'], poll_interval_s=0.2)\nsub",
        "sub.wait(); ids = [lab.publish(str(i)) for i in range(10)]",
        "ids += [lab.publish(str(i)) for i in range(10)]",
        "import time\ndeadline = time.monotonic() + 20\n"
        "while sub.count() < 60 and time.monotonic() < deadline: time.sleep(0.05)\n"
        "print(json.dumps({t: rows.event_id.tolist() for t, rows in sub.deliveries.groupby('technique')}))",
        "lab.close()",
    )
    for cell in (0, 1, 2):
        notebook.run_cell(cell)
    notebook.page.context.set_offline(True)
    notebook.wait_for_text("lost its network")
    notebook.page.context.set_offline(False)
    notebook.page.get_by_text("lost its network").wait_for(state="detached")
    notebook.wait_ready()
    for cell in (3, 4):
        notebook.run_cell(cell)
    assert report(notebook, 4) == {t: list(range(1, 21)) for t in ("polling", "sse", "websocket")}
    notebook.run_cell(5)
    clean(notebook)


def test_a_lab_that_closes_says_so_on_the_page_and_loses_nothing(jupyter: Jupyter, browser: Any) -> None:
    notebook = opened(
        jupyter,
        browser,
        "sub = labkit.BrowserSubscriber(lab, 'sse')\nsub",
        "sub.wait(); lab.publish('one')\nimport time\nwhile not sub.count(): time.sleep(0.01)\n"
        "lab.close(); print(json.dumps({'ids': sub.deliveries.event_id.tolist(), 'says': sub.status(),"
        " 'waits': sub.wait()}))",
        process=True,
    )
    notebook.run_all()
    told = report(notebook, 2)
    assert told["ids"] == [1]
    assert told["says"] == "BrowserSubscriber(sse): the lab is closed; 1 event had arrived"
    assert told["waits"] is False
    notebook.wait_for_text("This page as a subscriber: the lab is closed.")
    shown = notebook.page.locator(".labkit-browser").first.inner_text()  # and nothing of how it was
    assert "sse: ended; 1 event, last id 1" in shown and "clock" not in shown and "visible" not in shown
    notebook.wait_for_text("To have it back, run the cells with labkit.Lab() and labkit.BrowserSubscriber again.")
    clean(notebook)


def test_running_the_cell_again_replaces_the_subscriber(jupyter: Jupyter, browser: Any) -> None:
    notebook = opened(
        jupyter,
        browser,
        "for _ in range(8): sub = labkit.BrowserSubscriber(lab, ['sse', 'http-streaming'])\n"
        "print(json.dumps({'there': sub.wait(), 'attached': len(lab.attached), 'says': sub.status()}))",
        "lab.close()",
    )
    notebook.run_all()
    told = report(notebook, 1)
    assert told["there"] and told["attached"] == 1
    assert "waiting" not in told["says"]
    clean(notebook)


def test_another_lab_at_the_port_is_not_believed_and_the_page_says_what_to_do(jupyter: Jupyter, browser: Any) -> None:
    notebook = opened(
        jupyter,
        browser,
        "other = labkit.Lab('other')\nlab.ports = other.ports\nsub = labkit.BrowserSubscriber(lab, 'sse')\nsub",
        "other.close(); lab.close()",
    )
    for cell in (0, 1):
        notebook.run_cell(cell)
    notebook.wait_for_text("the lab cannot be reached from this page")
    said = notebook.page.locator(".labkit-browser").first.inner_text()
    assert "another lab answers there" in said
    assert "allow local network access" in said
    notebook.run_cell(2)
    clean(notebook)


def test_a_hidden_page_says_so_gives_its_connections_back_and_catches_up(jupyter: Jupyter, browser: Any) -> None:
    notebook = opened(
        jupyter,
        browser,
        "sub = labkit.BrowserSubscriber(lab, ['sse', 'websocket', 'polling'])\n"
        "on = labkit.BrowserSubscriber(lab, 'sse', while_hidden='go on')\nsub",
        "sub.wait(); on.wait(); ids = [lab.publish(str(i)) for i in range(5)]\nimport time\n"
        "deadline = time.monotonic() + 10\n"
        "while on.count() < 5 and time.monotonic() < deadline: time.sleep(0.01)\n"
        "print(json.dumps({'on': on.count(), 'sse': sub.count('sse'), 'says': sub.status()}))",
        "deadline = time.monotonic() + 10\n"
        "while sub.count() < 15 and time.monotonic() < deadline: time.sleep(0.01)\n"
        "print(json.dumps({t: rows.event_id.tolist() for t, rows in sub.deliveries.groupby('technique')}))",
        "lab.close()",
    )
    for cell in (0, 1):
        notebook.run_cell(cell)
    notebook.wait_for_text("sse: subscribed")
    # headless Chromium never hides a page: the page is told that it is hidden
    hide = "is => { Object.defineProperty(document, 'hidden', {value: is, configurable: true});"
    hide += "document.dispatchEvent(new Event('visibilitychange')) }"
    notebook.page.evaluate(hide, True)
    notebook.wait_for_text("sse: hidden (goes on when this tab is seen)")
    notebook.wait_for_text("This page is hidden since")
    notebook.run_cell(2)
    told = report(notebook, 2)
    assert (told["on"], told["sse"]) == (5, 0)
    assert "hidden" in told["says"]
    notebook.page.evaluate(hide, False)
    notebook.run_cell(3)
    assert report(notebook, 3) == {t: [1, 2, 3, 4, 5] for t in ("polling", "sse", "websocket")}
    notebook.run_cell(4)
    clean(notebook)


@pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))
def test_in_a_tab_that_is_really_hidden_timers_slow_down_and_streams_do_not(jupyter: Jupyter) -> None:
    """Claim B1."""
    cells = [
        START.format(process=False),
        "going = labkit.BrowserSubscriber(lab, ['polling', 'sse', 'websocket'], poll_interval_s=0.1,"
        " while_hidden='go on')\nresting = labkit.BrowserSubscriber(lab, 'sse')\ngoing",
        f"run = labkit.measure(lab, ['websocket'], {STEADY.format(seconds=4)}, progress=False)\n" + REPORT + "\n"
        "mean = run.deliveries.query(\"client == 'browser'\").groupby('technique').latency_ms.mean()\n"
        "print(json.dumps({'going': going.count('sse'), 'resting': resting.count(), 'says': going.status(),"
        " 'mean_ms': mean.to_dict()}))",
        "import time\ndeadline = time.monotonic() + 20\n"
        "while resting.count() < 200 and time.monotonic() < deadline: time.sleep(0.05)\n"
        "print(json.dumps({'resting': resting.deliveries.event_id.tolist()}))\nlab.close()",
    ]
    jupyter.write("hidden.ipynb", cells)
    with Tabs() as tabs:
        tabs.evaluate(f"location.href = {json.dumps(jupyter.address('hidden.ipynb'))}")
        tabs.until(lambda: tabs.notebook(READY), "the notebook is not there")

        def run(number: int) -> None:
            tabs.notebook(
                f"panel.content.activeCellIndex = panel.content.widgets.indexOf(cells[{number}]);"
                "jupyterapp.commands.execute('notebook:run-cell'); return true"
            )
            tabs.until(lambda: tabs.notebook(f"return cells[{number}].model.executionCount"), f"cell {number}")

        def told(number: int) -> dict[str, Any]:
            outputs = f"return cells[{number}].model.outputs.toJSON().map(o => o.text ?? '').join('')"
            printed = tabs.until(lambda: re.search(r'^.*"resting".*$', tabs.notebook(outputs) or "", re.M), "no report")
            return dict(json.loads(printed[0]))

        run(0)
        run(1)
        tabs.until(lambda: "attached through" in (tabs.notebook("return panel.node.innerText") or ""), "not attached")
        tabs.show(1)
        tabs.until(lambda: "slowed down" in (tabs.notebook("return panel.node.innerText") or ""), "not said")
        run(2)
        found = told(2)
        assert (found["going"], found["resting"]) == (200, 0)
        assert "hidden" in found["says"]
        assert found["mean_ms"]["polling"] > 3 * 50  # asked for every 100 ms, it asks about once a second
        assert found["mean_ms"]["sse"] < found["mean_ms"]["polling"] / 3
        tabs.show(0)
        run(3)
        assert told(3)["resting"] == list(range(1, 201))


# -- far from the kernel: under a base_url, another host name, through jupyter-server-proxy ---------------------------


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory, browser: Any) -> Iterator[tuple[Jupyter, Any]]:
    """A JupyterLab under a base_url and a host name, and a browser that does not reach the kernel's machine."""
    root: Path = tmp_path_factory.mktemp("far")
    with Jupyter(root, base_url="/user/x/", host="lab.test") as running:
        distant = launch(browser, hosts=["lab.test"], unreachable=["127.0.0.1"])
        yield running, distant
        distant.close()


@pytest.mark.parametrize("process", [False, True], ids=["thread", "process"])
def test_a_page_far_away_goes_through_the_proxy_with_its_token(far: tuple[Jupyter, Any], process: bool) -> None:
    jupyter, distant = far
    names = ["polling", "long-polling", "sse", "websocket", "notebook-comm"]
    notebook = opened(
        jupyter,
        distant,
        f"subs = [labkit.BrowserSubscriber(lab, t, poll_interval_s=0.25) for t in {names}]\n"
        f"run = labkit.measure(lab, ['websocket'], {STEADY.format(seconds=2)}, settle_s=10, progress=False)\n" + REPORT,
        "print(json.dumps({'port': lab.port, 'token': subs[0].token,\n"
        "    'origins': [] if lab.process else sorted(lab._server.context.allow_origins)}))",
        "lab.close()",
        process=process,
    )
    for cell in (0, 1, 2):
        notebook.run_cell(cell)
    told, lab = report(notebook, 1), report(notebook, 2)
    assert told["ids"] == {technique: told["published"] for technique in sorted(names)}
    assert {page["through"] for page in told["pages"]} == {
        f"proxy: http://lab.test:{jupyter.port}/user/x/proxy/{lab['port']}/"
    }
    ask = "const url = `/user/x/proxy/${argument[0]}/polling?token=${argument[1]}`; return (await fetch(url)).status"
    assert notebook.evaluate(ask, [lab["port"], lab["token"]]) == 200
    assert notebook.evaluate(ask, [lab["port"], ""]) == 403
    assert notebook.evaluate(ask, [lab["port"], lab["token"][:-1]]) == 403
    assert lab["origins"] == []  # the origin alone opens nothing
    assert lab["token"] not in jupyter.log
    notebook.run_cell(3)
    clean(notebook)


def test_what_the_proxy_holds_back_is_shown(far: tuple[Jupyter, Any]) -> None:
    """Claim A7: jupyter-server-proxy streams an answer only where Accept is text/event-stream."""
    jupyter, distant = far
    notebook = opened(
        jupyter,
        distant,
        "streamed = labkit.BrowserSubscriber(lab, 'http-streaming', via='proxy', accept='text/event-stream')\n"
        "held = labkit.BrowserSubscriber(lab, 'http-streaming', via='proxy', accept='*/*')\nheld",
        f"run = labkit.measure(lab, ['websocket'], {STEADY.format(seconds=1)}, progress=False)\n" + REPORT,
        "print(json.dumps({'streamed': streamed.count(), 'held': held.count()}))",
        "lab.close()",
    )
    for cell in range(2):
        notebook.run_cell(cell)
    notebook.wait_for_text("something on the way holds the answer back")
    for cell in (2, 3):
        notebook.run_cell(cell)
    assert report(notebook, 3) == {"streamed": 50, "held": 0}
    assert any("waiting for an answer" in note for note in report(notebook, 2)["notes"])
    notebook.run_cell(4)
    clean(notebook)
