"""Messages as large as they may be, and larger: what a client publishes on its own connection."""

from __future__ import annotations

import json
from typing import Any

import pytest

from labkit.lab.lab import Lab
from labkit.subscribing.contract.receiver import Receiver
from labkit.techniques import find
from labkit.wire.frames import Frame, FrameDecoder, Opcode
from raw_websocket import RawClient
from wait import dial, read_all, read_until, until

MIB = 1 << 20
GROWS = {"control characters": "\x01" * MIB, "emoji": "\N{GRINNING FACE}" * (MIB // 4), "quotes": '"\\' * (MIB // 2)}


def answer_to(lab: Lab, technique: str, message: bytes) -> Any:
    """What a message that publishes is answered with; the event that comes back beside it is left out."""
    if technique == "websocket":
        client = RawClient(lab.port, "/websocket?topic=large")
        client.decoder = FrameDecoder(masked=False, max_payload_bytes=8 * MIB)
        with client.sock:
            client.send(Frame(Opcode.TEXT, message, mask=bytes(4)))
            while True:
                frame = client.frame()
                assert frame is not None and frame.opcode is Opcode.TEXT
                if b'"ref"' in frame.payload[:80]:
                    return json.loads(frame.payload)
    with dial(lab.plugin_port, b'{"subscribe":{"topic":"large"}}\0') as sock:
        sock.sendall(message + b"\0")
        rest = b""
        while more := sock.recv(MIB):
            *lines, rest = (rest + more).split(b"\0")
            for line in lines:
                if b'"ref"' in line[:80]:
                    return json.loads(line)
    raise AssertionError("the connection ended without an answer")


@pytest.mark.parametrize("technique", ["websocket", "plugin-socket"])
@pytest.mark.parametrize("data", GROWS.values(), ids=GROWS)
def test_an_event_of_the_largest_size_is_published_however_its_json_grows(technique: str, data: str) -> None:
    message = json.dumps({"publish": data, "ref": 1}).encode()
    assert len(message) >= 2 * MIB
    with Lab("large-messages") as lab:
        assert answer_to(lab, technique, message) == {"published": 1, "ref": 1}
        with Receiver(find(technique), lab.url_of(technique), topic="large", after="0") as receiver:
            assert receiver.wait_for(1)[0].data == data


@pytest.mark.parametrize("parts", [1, 7])
def test_a_message_over_the_limit_is_told_so_by_a_close_frame(parts: int) -> None:
    with Lab("large-messages") as lab:
        limit = 6 * MIB + 1024
        client = RawClient(lab.port, "/websocket/echo")
        with client.sock:
            for part in range(parts):
                opcode = Opcode.CONTINUATION if part else Opcode.TEXT
                client.send(Frame(opcode, b"a" * (limit // parts + 1), fin=part == parts - 1, mask=bytes(4)))
            assert client.closing()[0] == 1009
        until(lambda: lab.stats()["connections"] == 0)


def test_a_message_over_the_limit_is_told_so_by_an_error_line() -> None:
    with Lab("large-messages") as lab:
        with dial(lab.plugin_port, b'{"subscribe":{}}\0') as sock:
            read_until(sock, b"\0")
            sock.sendall(b'{"publish":"' + b"a" * (6 * MIB + 1024) + b'"}\0{"publish":"after it"}\0')
            answer = json.loads(read_all(sock)[:-1])
        assert answer == {"error": f"a message has at most {6 * MIB + 1024} bytes", "ref": None}
        until(lambda: lab.stats()["connections"] == 0)
        assert lab.stats()["published"] == 0
