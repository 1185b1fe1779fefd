"""The page through intermediaries that drop upgrades, hold back streams, rewrite Host, or have lost the lab."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from behind_nginx import needs_nginx, nginx
from test_page import NAMES, WAIT_MS, all_live, live, publish, seen, tab

import labkit
from conftest import CHROMIUM_FLAGS
from labkit.lab.page_files import PAGE
from wait import serving

pytestmark = pytest.mark.browser
HELD = ("http-streaming", "sse")
ELSEWHERE = "lab.test"  # a name that is not loopback's
RECOMMENDED = """proxy_http_version 1.1; proxy_buffering off; proxy_set_header Host $http_host;
    proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;"""
DEAF = "proxy_ignore_headers X-Accel-Buffering;"  # as lighttpd is


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Any]:
    """A browser that finds this machine under another name too."""
    from playwright.sync_api import sync_playwright

    flags = [*CHROMIUM_FLAGS, f"--host-resolver-rules=MAP {ELSEWHERE} 127.0.0.1"]
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=flags)
        yield opened
        opened.close()


@pytest.fixture
def elsewhere(browser: Any) -> Iterator[Any]:
    opened = browser.new_context()
    opened.set_default_timeout(WAIT_MS)
    yield opened
    opened.close()


@needs_nginx
def test_through_nginx_as_it_comes_streams_pass_and_that_a_websocket_does_not_is_said(
    elsewhere: Any, tmp_path: Path
) -> None:
    with labkit.Lab("page") as lab, nginx(lab, tmp_path) as port:
        page = tab(elsewhere, f"http://{ELSEWHERE}:{port}/")  # its files come although nginx rewrites Host
        shown = seen(page, lambda s: s["websocket"]["state"].startswith("failed"))
        allow = f"labkit serve --allow-origin http://{ELSEWHERE}:{port}"
        assert allow in shown["websocket"]["state"]
        assert allow in publish(page, "x")
        lab.allow_origin(f"http://{ELSEWHERE}:{port}")
        seen(page, lambda s: s["websocket"]["state"] == "failed: this path does not pass WebSocket")
        page.wait_for_function("() => document.querySelector('#lab').innerText.includes('does not pass WebSocket')")
        assert "by POST" in publish(page, "y")
        seen(page, lambda s: sum(row["data"] == "y" for row in s.values()) >= 3)  # two held, and polling
        lab.close()
        shown = seen(page, lambda s: s["polling"]["state"].startswith("reconnecting: HTTP 502"))
        assert not any("<" in row["state"] for row in shown.values())
        assert publish(page, "z").endswith("Try again.")
        page.wait_for_function("() => document.querySelector('#lab').innerText.includes('HTTP 502')")
        assert page.inner_text("#clock").strip() == ""


@needs_nginx
def test_through_a_recommended_nginx_everything_passes(elsewhere: Any, tmp_path: Path) -> None:
    with labkit.Lab("page") as lab, nginx(lab, tmp_path, RECOMMENDED) as port:
        page = tab(elsewhere, f"http://127.0.0.1:{port}/")
        seen(page, all_live)
        assert publish(page, "x") == "Published as event 1, over the WebSocket."


@needs_nginx
def test_an_answer_that_is_held_back_is_said_to_be(elsewhere: Any, tmp_path: Path) -> None:
    with labkit.Lab("page") as lab, nginx(lab, tmp_path, DEAF) as port:
        page = tab(elsewhere, f"http://127.0.0.1:{port}/")
        held = "held back: nothing comes until the answer ends"
        shown = seen(page, lambda s: all(s[name]["state"] == held for name in HELD))
        assert live(shown["polling"]) and live(shown["long-polling"])


def test_without_web_locks_techniques_take_turns_and_no_other_tab_is_blamed(elsewhere: Any) -> None:
    with labkit.Lab("page") as lab:
        lab.allow_origin(f"http://{ELSEWHERE}:{lab.port}")
        page = elsewhere.new_page()
        page.faults = []

        def quick(route: Any) -> None:
            slots = (PAGE / "slots.js").read_text()
            assert "15_000" in slots
            route.fulfill(body=slots.replace("15_000", "500"), content_type="text/javascript")

        page.route("**/slots.js", quick)
        page.goto(f"http://{ELSEWHERE}:{lab.port}/")
        shown = seen(page, lambda s: any("no Web Locks here" in row["state"] for row in s.values()))
        assert not any("other tabs" in row["state"] for row in shown.values())
        lab.publish("x")
        seen(page, lambda s: all(s[name]["count"] == "1" for name in NAMES))


def test_a_head_that_passes_and_a_body_that_does_not_is_noticed_by_what_others_have(elsewhere: Any) -> None:
    ports: list[int] = []
    with serving(lambda near: dam(near, ports[0])) as url, labkit.Lab("page") as lab:
        ports.append(lab.port)
        page = tab(elsewhere, url)
        seen(page, lambda s: live(s["polling"]) and live(s["sse"]))
        lab.publish("x")
        seen(page, lambda s: s["sse"]["state"].startswith("held back") and s["polling"]["count"] == "1")


def dam(near: socket.socket, port: int) -> None:
    """Pass everything but what follows the head of an answer on /sse."""
    with socket.create_connection(("127.0.0.1", port)) as far:
        dammed = answered = False
        while True:
            for source in select.select([near, far], [], [])[0]:
                data = source.recv(1 << 16)
                if not data:
                    return
                if source is near:
                    dammed = dammed or data.startswith(b"GET /sse")  # a connection may be kept for it
                    far.sendall(data)
                elif not dammed:
                    near.sendall(data)
                elif not answered:
                    near.sendall(data.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
                    answered = True
