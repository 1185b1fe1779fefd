"""More fields in the requests to somebody else's server: sent with each, or refused in a sentence."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from labkit.__main__ import main
from labkit.errors import BadTechnique, LabkitError
from labkit.measuring.listening import listen
from wait import read_until, serving

ANSWERS = {
    "sse": b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: x\n\n",
    "polling": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
    "websocket": b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("name", ANSWERS)
def test_they_are_sent_with_each_request_once(name: str) -> None:
    heads: list[bytes] = []

    def answer(sock: socket.socket) -> None:
        heads.append(read_until(sock, b"\r\n\r\n"))
        sock.sendall(ANSWERS[name])

    with serving(answer) as url:
        listen(url, name, seconds=0.2, progress=False, headers={"mcp-session-id": "17", "USER-AGENT": "mine"})
    assert heads and all(head.count(b"\r\nMcp-Session-Id: 17\r\n") == 1 for head in heads)
    assert all(head.lower().count(b"user-agent: ") == 1 for head in heads)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--url", "http://127.0.0.1:9/", "--technique", "sse", "--header", "no colon"], "expected NAME:VALUE"),
        (["--url", "http://127.0.0.1:9/", "--technique", "sse", "--header", "a b: c"], "no field's name"),
        (["--url", "http://127.0.0.1:9/", "--technique", "sse", "--header", "last-event-id: 1"], "says that itself"),
        (["--url", "http://127.0.0.1:9/", "--technique", "websocket", "--header", "Upgrade: x"], "says that itself"),
        (["--url", "tcp://127.0.0.1:9/", "--technique", "plugin-socket", "--header", "a: b"], "speaks no HTTP"),
        (["--header", "a: b"], "--header goes with --url"),
    ],
)
def test_what_cannot_be_sent_is_refused(words: list[str], why: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["measure", *words]) == 2
    assert why in capsys.readouterr().err


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({"X-Version": 1}, "header X-Version: a name and its value are text, and not int"),
        ({"X-Key": None}, "header X-Key: a name and its value are text, and not NoneType"),
        ({1: "x"}, "header 1: a name and its value are text, and not int"),
        ([("X-Key", "secret")], "headers must be values by name, .* not a list"),
        ("X-Key: secret", "headers must be values by name, .* not a str"),
    ],
)
def test_what_is_no_text_is_refused_by_its_name_and_not_shown(headers: Any, why: str) -> None:
    with pytest.raises(LabkitError, match=why) as refused:
        listen("http://127.0.0.1:9/", "sse", seconds=0.1, progress=False, headers=headers)
    assert str(headers) not in str(refused.value)


@pytest.mark.parametrize("technique", [None, 5, ["sse"]])
def test_what_is_no_technique_is_said(technique: Any) -> None:
    with pytest.raises(BadTechnique, match="is no technique"):
        listen("http://127.0.0.1:9/", technique, seconds=0.1, progress=False)
