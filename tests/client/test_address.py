"""Which addresses the kit's clients speak to, and that none of the others is sent a byte."""

from __future__ import annotations

import asyncio
import socket
from contextlib import aclosing
from typing import Any

import pytest

import labkit
from labkit import loop
from labkit.client import address
from labkit.errors import AddressError, LabkitError
from labkit.measuring.listening import listen
from labkit.techniques import TECHNIQUES, Technique, exhibits
from wait import TIMEOUT_S

EVERY = (*TECHNIQUES, *exhibits.EXHIBITS)


@pytest.mark.parametrize(
    ("url", "schemes", "words"),
    [
        ("https://host/x", address.WEB, "TLS"),
        ("wss://host/x", address.WEB, "TLS"),
        ("HTTPS://host/x", address.TCP, "TLS"),
        ("ftp://host/x", address.WEB, "expected http:// or ws://"),
        ("tcp://host:1", address.WEB, "expected http:// or ws://"),
        ("http://host:1", address.TCP, "expected tcp://"),
        ("not-a-url", address.WEB, "expected http:// or ws://"),
        ("", address.WEB, "expected http:// or ws://"),
        ("http:///x", address.WEB, "and a host"),
        ("http://host:0x1/x", address.WEB, "no address"),
        ("http://host:65536/x", address.WEB, "no address"),
        ("http://[::1/x", address.WEB, "no address"),
    ],
)
def test_what_is_not_spoken_to_is_refused_with_what_is_expected(url: str, schemes: Any, words: str) -> None:
    with pytest.raises(AddressError, match=words):
        address.split(url, schemes)
    assert issubclass(AddressError, LabkitError)


@pytest.mark.parametrize("url", ["http://host", "HTTP://host:8/x", "ws://host/x?y=1", "http://[::1]:8/"])
def test_what_is_spoken_to_keeps_its_parts(url: str) -> None:
    assert address.split(url).geturl().lower() == url.lower()


@pytest.mark.parametrize("technique", EVERY, ids=lambda t: t.name)
@pytest.mark.parametrize("scheme", ["https", "wss", "ftp"])
def test_no_client_opens_a_connection_to_another_scheme(technique: Technique, scheme: str) -> None:
    async def first(url: str) -> Any:
        async with aclosing(technique.connect(url, token="s3cret")) as items:
            return await asyncio.wait_for(anext(items), TIMEOUT_S)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/x"
        with pytest.raises(AddressError):
            loop.run(first(url))
        with pytest.raises(AddressError):
            listen(url, technique, seconds=TIMEOUT_S, progress=False)
        with pytest.raises(BlockingIOError):
            listener.accept()


@pytest.mark.parametrize("relay", [labkit.Link, labkit.Intermediary])
def test_a_relays_target_is_no_url(relay: Any) -> None:
    with pytest.raises(AddressError, match=r"\(host, port\), not 'https://host/'"):
        relay("https://host/")


def test_a_path_is_no_url() -> None:
    with labkit.Lab("address") as lab, pytest.raises(AddressError, match="'https://host/'"):
        labkit.measure(lab, ["sse"], through="https://host/", progress=False)  # type: ignore[arg-type]
