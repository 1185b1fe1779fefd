"""Nagle's algorithm is off on every socket of either side, from the first byte to the last."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import sys
from collections.abc import Mapping

import psutil
import pytest

from labkit.lab.lab import Lab
from labkit.lab.process import Child
from labkit.network.intermediary import Intermediary
from labkit.network.link import Link
from labkit.subscribing.contract.receiver import Receiver
from labkit.techniques import TECHNIQUES, Technique, exhibits
from raw_websocket import RawClient
from wait import dial, get, read_until

PIDFD_GETFD = 438  # the system call, which has the same number on every architecture
ALL = (*TECHNIQUES, *exhibits.EXHIBITS)


def delaying(pid: int | None = None, ours: socket.socket | None = None) -> list[str]:
    """The connected TCP sockets of a process, this one by default, on which Nagle's algorithm is on; not *ours*."""
    found = []
    for held in psutil.Process(pid).net_connections(kind="tcp"):
        if held.status != psutil.CONN_ESTABLISHED or (ours is not None and held.laddr == ours.getsockname()):
            continue
        with contextlib.suppress(OSError):  # closed meanwhile
            with socket.socket(fileno=os.dup(held.fd) if pid is None else descriptor_of(pid, held.fd)) as sock:
                if not sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY):
                    found.append(f"{held.laddr.port} to {held.raddr.port}")
    return found


def descriptor_of(pid: int, number: int) -> int:
    """A descriptor of a child's, as one of this process."""
    handle = os.pidfd_open(pid)
    try:
        taken = ctypes.CDLL(None, use_errno=True).syscall(PIDFD_GETFD, handle, number, 0)
    finally:
        os.close(handle)
    if taken < 0:
        pytest.skip(f"this system lets nobody look at a child's sockets: {os.strerror(ctypes.get_errno())}")
    return taken


def ask_kept(sock: socket.socket, times: int) -> None:
    for _ in range(times):
        sock.sendall(get("/polling"))
        assert read_until(sock, b"}").startswith(b"HTTP/1.1 200")


def test_it_is_off_after_a_response_and_after_ten_kept_requests() -> None:
    with Lab("nagle") as lab, dial(lab.port) as sock:
        for times in (1, 9):
            ask_kept(sock, times)
            assert delaying(ours=sock) == []


def test_it_is_off_after_a_101() -> None:
    with Lab("nagle") as lab:
        client = RawClient(lab.port, "/websocket")
        with client.sock:
            assert client.frame() is not None
            assert delaying(ours=client.sock) == []


def receiving(technique: Technique, ports: Mapping[str, int]) -> Receiver:
    options = {"interval_s": 0.01} if technique.name == "polling" else {}
    return Receiver(technique, technique.url("127.0.0.1", ports), after="0", **options)


@pytest.mark.parametrize("technique", ALL, ids=lambda t: t.name)
def test_it_is_off_on_both_sides_and_in_every_relay_between(technique: Technique) -> None:
    with contextlib.ExitStack() as stack:
        lab = stack.enter_context(Lab("nagle", techniques=ALL))
        far = stack.enter_context(Link(lab))
        near = far if technique.port == "plugin" else stack.enter_context(Intermediary(far))
        receiver = stack.enter_context(receiving(technique, near.ports))
        for count in range(1, 4):  # where each event has a response, those after the first are on a kept connection
            lab.publish("x")
            receiver.wait_for(count)
        assert delaying() == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows a child's sockets")
@pytest.mark.parametrize("technique", TECHNIQUES, ids=lambda t: t.name)
def test_it_is_off_in_a_lab_of_a_process_of_its_own(technique: Technique) -> None:
    with Lab("nagle", process=True) as lab:
        assert isinstance(lab._server, Child)
        with receiving(technique, lab.ports) as receiver:
            for count in range(1, 3):
                lab.publish("x")
                receiver.wait_for(count)
            assert delaying(lab._server.pid) == []
