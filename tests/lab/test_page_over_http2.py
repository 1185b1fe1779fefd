"""The page at ``GET /`` over TLS and HTTP/2, in a real Chromium that believes the lab's key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from conftest import CHROMIUM_FLAGS, UNIT
from labkit.commands.serve import TRUSTING
from labkit.lab.lab import Lab
from wait import until

pytest.importorskip("h2", reason='HTTP/2 is not installed (pip install "labkit[http2]")')
pytest.importorskip("trustme")
pytestmark = pytest.mark.browser

WAIT_MS = 15_000 * UNIT
LIVE = """(number) => [...document.querySelectorAll('#techniques tr')].every((row) =>
    row.dataset.technique === 'plugin-socket' || row.querySelector('[data-field=id]').textContent === number)"""
OPEN = """async (url) => {
    const said = [], socket = new WebSocket(url.replace('https', 'wss') + '/websocket/echo');
    await new Promise((resolve) => {
        socket.onopen = () => socket.send('hello');
        socket.onmessage = (event) => { said.push(event.data); socket.close(1000); };
        socket.onclose = (event) => { said.push(event.code, event.wasClean); resolve(); };
    });
    return said;
}"""
AT_THE_END = """(url) => {
    const socket = new WebSocket(url.replace('https', 'wss') + '/websocket');
    window.ended = new Promise((resolve) => { socket.onclose = (e) => resolve([e.code, e.reason, e.wasClean]); });
    return new Promise((resolve) => { socket.onmessage = resolve; }).then(() => true);
}"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab("page over HTTP/2", http=(1, 2), tls=True) as opened:
        yield opened


@pytest.fixture(scope="module")
def page(lab: Lab, chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A page of a Chromium that is told to believe this lab as `serve --tls` says it is done."""
    from playwright.sync_api import sync_playwright

    profile = str(tmp_path_factory.mktemp("profile"))
    believing = TRUSTING.format(lab.fingerprint).split()[-1]
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch_persistent_context(
            profile, executable_path=chromium, args=[*CHROMIUM_FLAGS, believing]
        )
        opened.set_default_timeout(WAIT_MS)
        yield opened.new_page()
        opened.close()


def test_every_technique_counts_and_all_share_connections(lab: Lab, page: Any) -> None:
    spoken: dict[str, str] = {}
    sockets: list[int] = []
    tools = page.context.new_cdp_session(page)
    tools.send("Network.enable")
    tools.on(
        "Network.responseReceived",
        lambda event: spoken.update({event["response"]["url"].partition("?")[0]: event["response"]["protocol"]}),
    )
    tools.on("Network.webSocketHandshakeResponseReceived", lambda event: sockets.append(event["response"]["status"]))
    page.goto(lab.url)
    until(lambda: lab.stats()["subscribers"] == 4 or page.wait_for_timeout(50), "all that are held", WAIT_MS / 1000)
    number = lab.publish("hello")
    page.wait_for_function(LIVE, arg=str(number))
    page.reload()  # whoever was held leaves its streams, and comes back
    until(lambda: lab.stats()["subscribers"] == 4 or page.wait_for_timeout(50), "they come back", WAIT_MS / 1000)
    number = lab.publish("again")
    page.wait_for_function(LIVE, arg=str(number))
    routes = {f"{lab.url}{path}" for path in ("/", "/polling", "/long-polling", "/http-streaming", "/sse")}
    assert routes <= set(spoken) and set(spoken.values()) == {"h2"}
    assert sockets and set(sockets) == {200}  # 101 would be HTTP/1's
    assert lab.stats()["connections"] <= 2  # Chromium may have opened a second one before the first had spoken
    assert page.evaluate(OPEN, lab.url) == ["hello", 1000, True]
    assert page.evaluate(AT_THE_END, lab.url)
    lab.close()
    assert page.evaluate("() => window.ended") == [1001, "the lab has closed", True]
