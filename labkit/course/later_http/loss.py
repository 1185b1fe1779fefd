"""H4 where the kernel allows it: one packet of ten streams' one connection is lost, and one of ten connections'.

Two processes, each with a network namespace of its own and a TUN device; this one carries the packets between them,
each for one transit, and drops two. What happens then is TCP's affair. Needs Linux, ``unshare``, ``ip``, and a kernel
that lets this user have namespaces; where it does not, ``why`` says so.
"""

from __future__ import annotations

import contextlib
import heapq
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace

from labkit.course.alone import started_now
from labkit.course.later_http import raw
from labkit.course.later_http.marks import NEW, OLD
from labkit.course.later_http.not_run import NotRun, or_says_why
from labkit.course.later_http.standing_still import Stalled, one_stalls
from labkit.lab.lab import Lab
from labkit.lab.process import child_environment
from labkit.wire.events import now_ns

ONE_WAY_S = 0.1
EVERY_S, STUCK = 0.1, 1.8
READY_S, ENDS_S = 30.0, 60.0
CODE = "from labkit.course.later_http.far_end import main; main()"


class NotAllowed(Exception):
    """This machine lets nobody make a network, and why."""


@or_says_why
def one_lost_packet(otherwise: Stalled | None = None) -> Stalled:
    """Lose one packet of ten streams on one connection, and one of ten streams on ten.

    Args:
        otherwise: what is given where no namespaces are to be had, with the reason as its caption.
    """
    raw.h2()
    try:
        return _one_lost_packet()
    except NotAllowed as why:
        if otherwise is None or isinstance(otherwise, NotRun):
            return Stalled({OLD: [], NEW: []}, ONE_WAY_S, EVERY_S, (0.0, 0.0), 0.0, 0.0, "", why=str(why))
        return replace(otherwise, caption_text=f"no packet was lost here ({why}); the relay's run instead")


def one_loss(lab: Lab) -> Stalled:
    """A lost packet where that is allowed, else a connection that stands still."""
    found = one_lost_packet()
    return found if not isinstance(found, NotRun) and not found.why else one_stalls(lab)


def _one_lost_packet() -> Stalled:
    with _end("server") as (server, at_server), _end("client") as (client, at_client):
        with _carried(at_server, at_client) as (dropped, late_s):
            if _heard(client, READY_S) != b"ready":
                raise NotAllowed("the two ends do not reach each other")
            server.sendall(b"go")
            client.settimeout(ENDS_S)
            report = b"".join(iter(lambda: client.recv(1 << 16), b""))
    if not report or len(dropped) < 2:
        raise NotAllowed("the ends did not report" if not report else "no packet could be lost")
    late = json.loads(report)
    ordered = {name: late[name] for name in (OLD, NEW)}
    how = "one packet of each version is lost once, on the kernel's own TCP"
    worst_s, settings = max(*late_s, late["timers_s"]), started_now(one_way_s=ONE_WAY_S)
    return Stalled(
        ordered, ONE_WAY_S, EVERY_S, (0.0, 0.0), STUCK * ONE_WAY_S, worst_s, how, real=True, settings=settings
    )


def _heard(control: socket.socket, within_s: float) -> bytes:
    control.settimeout(within_s)
    try:
        return control.recv(16)
    except OSError:
        return b""


@contextlib.contextmanager
def _end(role: str) -> Iterator[tuple[socket.socket, int]]:
    """One end: the socket to talk to it by, and its TUN device."""
    unshare = shutil.which("unshare")
    if not (sys.platform == "linux" and unshare and shutil.which("ip") and os.path.exists("/dev/net/tun")):
        raise NotAllowed("it takes Linux with unshare, ip and /dev/net/tun")
    mine, its = socket.socketpair()
    tun = -1
    with mine:
        with its:
            child = subprocess.Popen(
                [unshare, "-rn", sys.executable, "-c", CODE, role, str(its.fileno())],
                pass_fds=(its.fileno(),), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
                env=child_environment(),
            )  # fmt: skip
        try:
            mine.settimeout(READY_S)
            with contextlib.suppress(OSError):
                _, found, _, _ = socket.recv_fds(mine, 8, 1)
                tun = found[0] if found else -1
            if tun < 0:
                child.kill()
                said = child.communicate()[1].decode(errors="replace").strip().splitlines() or ["it said nothing"]
                raise NotAllowed(f"no namespace, or no device in it: {said[-1][:100]}")
            os.set_blocking(tun, False)
            yield mine, tun
        finally:
            child.kill()
            child.communicate()
            if tun >= 0:
                os.close(tun)


@contextlib.contextmanager
def _carried(server: int, client: int) -> Iterator[tuple[list[int], list[float]]]:
    """Packets are carried both ways meanwhile: the ports whose packet was lost, and how late packets were."""
    dropped, late_s, ended = list[int](), list[float](), threading.Event()
    carrying = threading.Thread(target=_carry, args=(server, client, dropped, late_s, ended), name="labkit-datagrams")
    carrying.start()
    try:
        yield dropped, late_s
    finally:
        ended.set()
        carrying.join()


def _carry(server: int, client: int, dropped: list[int], late_s: list[float], ended: threading.Event) -> None:
    from labkit.course.later_http.far_end import MARK

    under_way: list[tuple[int, int, int, bytes]] = []
    other, number = {server: client, client: server}, 0
    while not ended.is_set():
        wait_s = min(0.05, max(0.0, (under_way[0][0] - now_ns()) / 1e9)) if under_way else 0.05
        for device in select.select([server, client], [], [], wait_s)[0]:
            with contextlib.suppress(BlockingIOError):
                while packet := os.read(device, 2048):
                    port = int.from_bytes(packet[20:22], "big")
                    if MARK in packet and port not in dropped:
                        dropped.append(port)
                        continue
                    number += 1
                    heapq.heappush(under_way, (now_ns() + round(ONE_WAY_S * 1e9), number, other[device], packet))
        while under_way and under_way[0][0] <= now_ns():
            due_ns, _, device, packet = heapq.heappop(under_way)
            late_s.append((now_ns() - due_ns) / 1e9)
            with contextlib.suppress(OSError):
                os.write(device, packet)
