"""Streams through an nginx with nothing but ``proxy_pass``, which holds back whatever does not ask it not to."""

from __future__ import annotations

from pathlib import Path

import pytest
from behind_nginx import needs_nginx, nginx

from conftest import UNIT
from labkit.lab.lab import Lab
from wait import dial, get, read_until


@needs_nginx
@pytest.mark.parametrize("path", ["/sse", "/http-streaming", "/http-streaming?format=multipart"])
@pytest.mark.parametrize("asks", [True, False])
def test_an_event_comes_at_once_where_the_lab_asks_for_it(path: str, asks: bool, tmp_path: Path) -> None:
    with Lab("behind nginx", buffering_hint=asks) as lab, nginx(lab, tmp_path) as port, dial(port, get(path)) as sock:
        sock.settimeout(10 * UNIT if asks else 0.5 * UNIT)
        if not asks:
            with pytest.raises(TimeoutError):
                sock.recv(1)  # not even the head
            return
        assert read_until(sock, b"@").endswith(b"@")  # where it begins: subscribed
        lab.publish("hello")
        assert read_until(sock, b"hello").endswith(b"hello")
